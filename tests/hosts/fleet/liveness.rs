//! Liveness probes, which hosts run without ship.

use std::time::{Duration, Instant};

use serde_json::Value;

use ship_testing::behaviour::Behaviour;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;
use ship_testing::probe_client::{get, running};
use ship_testing::project::{PAGE, Project};

/// What systemd and the kernel may add to configured delays.
const MARGIN: Duration = Duration::from_secs(15);

/// Hosts with one instance each and this liveness probe.
fn deployed(hosts: usize, probe: &str) -> (Fleet, Project) {
    let fleet = Fleet::boot(hosts);
    let liveness =
        format!("[liveness]\n{probe}\ninterval = \"500ms\"\nfailure_threshold = 2\n\n[rollout]");
    let project = Project::new(|playbook| fleet.inventory(playbook))
        .with("replicas = 3\n", "")
        .with("stop_timeout = \"5s\"", "stop_timeout = \"1s\"")
        .with("[rollout]", &liveness);
    project.deploy("1").exits(0);
    project.assert_settled("1", hosts);
    (fleet, project)
}

/// The pid and start time of a host's instance, which identify its process.
fn process(host: &Host) -> Option<String> {
    let found = host
        .exec("for pid in $(pgrep -f '[p]age.py'); do cut -d ' ' -f 1,22 /proc/$pid/stat; done")
        .stdout;
    (!found.trim().is_empty()).then(|| found.trim().to_owned())
}

/// The number of restarts of a host's instance in the status.
fn restarts(project: &Project, host: &Host) -> u64 {
    let status = project.status();
    let instances = status["instances"].as_array().expect("an array");
    let of_host = |instance: &&Value| instance["host"] == *host.name;
    instances.iter().find(of_host).expect("an instance")["restarts"]
        .as_u64()
        .expect("a number")
}

/// Waits until another process than `old` answers on a host.
fn await_new_process(host: &Host, old: &str) {
    namespace::until("another process", MARGIN + Duration::from_secs(10), || {
        process(host)
            .filter(|new| new != old)
            .and_then(|_| answers(host))
    });
}

fn answers(host: &Host) -> Option<()> {
    [8081, 8082]
        .iter()
        .find_map(|port| {
            get(format!("{}:{port}", host.address)
                .parse()
                .expect("an address"))
            .ok()
        })
        .map(drop)
}

/// Waits until the host has recorded that the present process has passed its probe. Earlier
/// failures do not count.
fn await_pass(host: &Host) {
    namespace::until("a pass", MARGIN, || {
        let noted = format!(".{} 0", process(host)?.replace(' ', "."));
        host.exec("cat /var/lib/ship/page/slots/*/liveness.failures")
            .stdout
            .contains(&noted)
            .then_some(())
    });
}

/// Stops the service with SIGSTOP: the kernel accepts connections, and the process never answers.
fn freeze(host: &Host) -> String {
    await_pass(host);
    host.exec("pkill -STOP -f '[p]age.py'").exits(0);
    process(host).expect("a stopped process")
}

#[test]
fn liveness_restarts_exited_and_stuck_instances_only() {
    namespace::with_hosts(|| {
        let (fleet, project) = deployed(3, "http = \"/\"");
        let [exits, hangs, healthy] = &fleet.hosts[..] else {
            panic!("three hosts")
        };
        let before = process(healthy);
        assert!(before.is_some());

        let old = process(exits).expect("a process");
        exits.exec("pkill -KILL -f '[p]age.py'").exits(0);
        await_new_process(exits, &old);

        let began = Instant::now();
        let old = freeze(hangs);
        await_new_process(hangs, &old);
        // Two probes of a second each, half a second apart, and a SIGTERM without effect.
        let took = began.elapsed();
        assert!(took < Duration::from_secs(4) + MARGIN, "it took {took:?}");
        let journal = "journalctl --no-pager --output=cat --unit='ship-page.liveness@*.service'";
        hangs.exec(journal).prints(&[
            "no answer within 1 s (1 of 2)",
            "no answer within 1 s (2 of 2)",
            "is stopped; systemd restarts it",
        ]);

        // Restarts are counted for each instance.
        let old = freeze(exits);
        await_new_process(exits, &old);
        assert_eq!(
            [exits, hangs, healthy].map(|host| restarts(&project, host)),
            [2, 1, 0]
        );
        assert_eq!(
            process(healthy),
            before,
            "a healthy instance is not restarted"
        );
        healthy
            .exec("systemctl list-timers --all --no-legend")
            .prints(&["ship-page.liveness@"]);
        // A probe that fails while the instance starts is logged.
        let logged = healthy.exec(journal).stdout;
        let counted: Vec<_> = logged
            .lines()
            .filter(|line| !line.ends_with("(not counted before the first success)"))
            .collect();
        assert!(counted.is_empty(), "passed probes are not logged: {logged}");
        project.assert_settled("1", 3);
    });
}

#[test]
fn liveness_spares_slow_start_and_reports_its_kill() {
    namespace::with_hosts(|| {
        let (fleet, project) = deployed(1, "http = \"/\"");
        let host = &fleet.hosts[0];
        // It listens after three seconds, longer than the probe may fail.
        project.release("3", Behaviour::Late);
        project.deploy("3").exits(0);
        assert_eq!(restarts(&project, host), 0);

        project.release("4", Behaviour::Good);
        let project = project.with("min_ready = \"0s\"", "min_ready = \"40s\"");
        let mut deploy = project.start_deploy("4");
        deploy.await_words("  ready ");
        let newest = "pgrep --newest -f '[p]age.py'";
        let passed = format!(
            "grep -q \".$({newest})\\.[0-9]* 0\" /var/lib/ship/page/slots/*/liveness.failures"
        );
        namespace::until("a pass", MARGIN, || {
            (host.exec(&passed).code == Some(0)).then_some(())
        });
        host.exec(&format!("kill -STOP $({newest})")).exits(0);
        let output = deploy.wait().exits(3).stderr;
        let why =
            "failed its liveness probe: no answer within 1 s (2 of 2) (killed by ship on the host)";
        assert!(
            output.contains(why) && !output.contains("exited unexpectedly"),
            "{output}"
        );
        project.assert_settled("3", 1);
    });
}

#[test]
fn liveness_continues_after_reboot_of_host() {
    namespace::with_hosts(|| {
        let (fleet, project) = deployed(1, "tcp = true");
        let project = project.with("tcp = true", "http = \"/\"");
        project.deploy("2").exits(0);
        let host = &fleet.hosts[0];
        host.exec("sync").exits(0);
        host.kill();
        assert_eq!(running(PAGE), 0);
        host.boot_again();
        namespace::until("the page is back", Duration::from_secs(30), || {
            answers(host)
        });
        let old = freeze(host);
        await_new_process(host, &old);
        assert_eq!(restarts(&project, host), 1);
    });
}

#[test]
fn liveness_command_runs_as_service_user_and_ends_with_its_release() {
    namespace::with_hosts(|| {
        let liveness = r#"command = "sh -c 'test $(id -un) = ship-page && test $VERSION = 1 && test ! -e /run/stuck'""#;
        let (fleet, project) = deployed(2, liveness);
        let [first, second] = &fleet.hosts[..] else {
            panic!("two hosts")
        };
        let (old, before) = (process(first).expect("a process"), process(second));
        await_pass(first);
        first.exec("touch /run/stuck").exits(0);
        namespace::until("another process", MARGIN + Duration::from_secs(10), || {
            process(first).filter(|new| *new != old)
        });
        first.exec("rm /run/stuck").exits(0);
        assert_eq!(process(second), before);

        // The timers are removed with the instances.
        let without = project
            .with(liveness, "")
            .with("[liveness]", "")
            .with("interval = \"500ms\"\nfailure_threshold = 2", "");
        without.deploy("2").exits(0);
        without.assert_settled("2", 2);
        for host in &fleet.hosts {
            assert_eq!(
                host.exec("systemctl list-timers --all --no-legend | grep ship-page")
                    .stdout,
                ""
            );
            assert_eq!(
                host.exec("ls /etc/systemd/system/timers.target.wants | grep ship-page")
                    .stdout,
                ""
            );
        }
    });
}
