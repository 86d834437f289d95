//! A series of unattended deploys that fail on real hosts. Each ends with the right exit code and
//! one clear line, and the old version keeps serving.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::reliability::ReportRow;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Done, Running};
use ship_testing::fleet::Fleet;
use ship_testing::namespace::{self, write};
use ship_testing::project::Project;
use ship_testing::traffic::Traffic;
use ship_testing::web::{Reply, Request, Web};

const REPLICAS: usize = 3;

/// Three hosts with version 1, and a web server with newer versions.
struct NightlyFleet {
    fleet: Fleet,
    project: Project,
    web: Web,
}

impl NightlyFleet {
    fn begin() -> Self {
        let fleet = Fleet::boot(3);
        fleet.hosts[0].small_disk("/var/lib/ship", "8m");
        let project = Project::new(|playbook| fleet.inventory(playbook));
        let dir = project.dir().to_owned();
        // Serves the files of the project's directory. The file `breaks` sets how often a download
        // is interrupted: `always` or `once`.
        let web = Web::start(move |request, _| {
            let (path, from) = (request.path.trim_start_matches('/'), request.range_start());
            let Ok(body) = fs::read(dir.join(path)) else {
                return Reply::status(404);
            };
            let whole = body.len();
            let reply = Reply::of(body).header("ETag", format!("\"{whole}\""));
            let reply = from.map_or_else(|| reply.clone(), |from| reply.clone().part(from));
            let breaks = dir.join("breaks");
            let always = fs::read(&breaks).is_ok_and(|text| text == b"always");
            if path.ends_with(".tar.gz") && breaks.exists() && (always || from.is_none()) {
                let until = whole * 9 / 10;
                return reply.breaking_after(until - from.unwrap_or(0).min(until));
            }
            reply
        });
        let (channel, source) = (web.url("latest.txt"), web.url("page-{{ version }}.tar.gz"));
        let project = project
            .with(
                "source = \"page-{{ version }}.tar.gz\"",
                &format!("source = \"{source}\""),
            )
            .with(
                "[readiness]",
                &format!(
                    "[artifact.channels]\nnightly = \"{channel}\"\n\n[unattended]\nsoak = \
                      \"500ms\"\n\n[readiness]"
                ),
            );
        project.deploy("1").exits(0);
        Self {
            fleet,
            project,
            web,
        }
    }

    /// Publishes a version, or an invalid text, as the newest.
    fn publish(&self, latest: &str) {
        write(&self.project.path("latest.txt"), latest);
    }

    fn start(&self, more: &[&str]) -> Running {
        let args = [
            "--version",
            "nightly",
            "--unattended",
            "--lock-timeout",
            "1m",
            "--progress",
            "plain",
        ];
        self.project.start("deploy", &[&args[..], more].concat())
    }

    /// Runs the nightly deploy and asserts its exit code and messages.
    #[track_caller]
    fn deploy(&self, exit: i32, words: &[&str]) -> Done {
        self.start(&[]).wait().exits(exit).prints(words)
    }

    /// Runs one night under observation, and writes its row of the reliability report.
    #[track_caller]
    fn record_night(&self, key: &str, exits: &[i32], result: &str, events: impl FnOnce()) {
        let began = Instant::now();
        let endpoints = self
            .fleet
            .hosts
            .iter()
            .flat_map(|host| [8081, 8082].map(|port| format!("{}:{port}", host.address)));
        let traffic = Traffic::begin(endpoints);
        events();
        let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
        ReportRow::new(result)
            .served(&served, REPLICAS, REPLICAS + 1)
            .exits(exits)
            .took(began.elapsed())
            .save(key);
    }
}

#[test]
fn old_version_serves_after_each_failed_night() {
    namespace::with_hosts(|| {
        let nights = NightlyFleet::begin();
        let NightlyFleet { project, web, .. } = &nights;

        nights.record_night(
            "night-no-channel",
            &[2, 2, 2],
            "One line named the channel and its content",
            || {
                nights.deploy(2, &["cannot resolve channel `nightly`", "404"]);
                nights.publish("");
                nights.deploy(2, &["cannot resolve channel `nightly`"]);
                nights.publish("<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n");
                nights.deploy(2, &["cannot resolve channel `nightly`"]);
                project.assert_settled("1", REPLICAS);
            },
        );

        nights.publish("2\n");
        nights.record_night(
            "night-download-breaks",
            &[2, 0],
            "It resumed where it had broken off",
            || {
                write(&project.path("breaks"), "always");
                nights.deploy(2, &["cannot download"]);
                project.assert_settled("1", REPLICAS);
                write(&project.path("breaks"), "once");
                drop(web.requests());
                nights.deploy(0, &["page 2 (revision 2): 3 of 3 available"]);
                let resumed = |request: &Request| {
                    request.path.ends_with("page-2.tar.gz") && request.range_start().is_some()
                };
                assert!(
                    web.requests().iter().any(resumed),
                    "the download started from the beginning"
                );
                fs::remove_file(project.path("breaks")).expect("a file of the test");
            },
        );

        project.release("3", Behaviour::Good);
        nights.publish("3\n");
        nights.record_night(
            "night-wrong-sum",
            &[2],
            "Nothing of it reached a host",
            || {
                let sums = format!("{}  page-3.tar.gz\n", "0".repeat(64));
                write(&project.path("SHA256SUMS"), &sums);
                nights.deploy(2, &["wrong SHA-256"]);
                project.assert_settled("2", REPLICAS);
                fs::remove_file(project.path("SHA256SUMS")).expect("a file of the test");
            },
        );

        nights.record_night(
            "night-disk-full",
            &[3, 0],
            "The message named the host; the next night deployed the same release",
            || {
                let host = &nights.fleet.hosts[0];
                host.exec("dd if=/dev/zero of=/var/lib/ship/ballast bs=1M 2>/dev/null; true")
                    .exits(0);
                nights.deploy(3, &[&host.name, "space"]);
                project.assert_settled("2", REPLICAS);
                host.exec("rm /var/lib/ship/ballast").exits(0);
                nights.deploy(0, &["page 3 (revision 4): 3 of 3 available"]);
            },
        );

        project.release("4", Behaviour::Late);
        nights.publish("4\n");
        nights.record_night(
            "night-killed",
            &[0, 3],
            "It continued where it was, or rolled back, as the playbook requests",
            || {
                let kill = || {
                    let mut deploy = nights.start(&[]);
                    deploy.await_words("started   ");
                    deploy.signal("KILL");
                    deploy.wait();
                };
                kill();
                nights.deploy(0, &["page 4 ("]);
                project.assert_settled("4", REPLICAS);
                project.release("5", Behaviour::Late);
                nights.publish("5\n");
                kill();
                nights
                    .start(&["--set", "unattended.on_interrupted=abort"])
                    .wait()
                    .exits(3)
                    .prints(&["is unfinished; rolling it back"]);
                assert_eq!(project.status()["version"], "4");
            },
        );

        project.release("6", Behaviour::Good);
        nights.publish("6\n");
        nights.record_night(
            "night-twice",
            &[0, 0],
            "The second waited and found nothing to do",
            || {
                let (one, other) = (nights.start(&[]), nights.start(&[]));
                let outputs = [one.wait().exits(0), other.wait().exits(0)].map(|done| done.stderr);
                assert_eq!(
                    outputs
                        .iter()
                        .filter(|output| output.contains("nothing to do: page 6"))
                        .count(),
                    1,
                    "{outputs:?}"
                );
                project.assert_settled("6", REPLICAS);
            },
        );

        project.release("7", Behaviour::Good);
        nights.publish("7\n");
        nights.record_night(
            "night-silent-endpoint",
            &[0],
            "A warning named the endpoint; the deploy was not affected",
            || {
                // It accepts connections and never answers.
                let unresponsive = TcpListener::bind("127.0.0.1:0").expect("a port");
                let url = format!(
                    "http://{}/hook",
                    unresponsive.local_addr().expect("its address")
                );
                let notify = [
                    "--set",
                    "notify.timeout=1s",
                    "--set",
                    &format!("notify.webhook.url={url}"),
                ];
                let began = Instant::now();
                nights
                    .start(&notify)
                    .wait()
                    .exits(0)
                    .prints(&["page 7 (", "warning: cannot notify "]);
                assert!(
                    began.elapsed() < Duration::from_mins(1),
                    "{:?}",
                    began.elapsed()
                );
                project.assert_settled("7", REPLICAS);
            },
        );
    });
}
