//! The availability monitor, which sends requests through a small load balancer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use snapbox::str;

use crate::call::{json, json_lines};
use crate::project::{LocalProject, NODES};
use ship_testing::behaviour::Behaviour;
use ship_testing::probe_client::get;

/// A minimal load balancer: forwards requests to the instances that respond, in turn.
struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    requests: AtomicUsize,
    is_over: AtomicBool,
    /// Answers with these words are lost on their way.
    loses: Mutex<Option<&'static str>>,
    /// What is to be lost is held back for now.
    holds: AtomicBool,
}

impl Front {
    fn before(project: &LocalProject) -> Self {
        let places = NODES.iter().flat_map(|node| {
            let address = project.address(node);
            [8081, 8082].map(|port| {
                format!("{address}:{port}")
                    .parse::<SocketAddr>()
                    .expect("a place")
            })
        });
        let places: Vec<_> = places.collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let front = Self {
            address: listener.local_addr().expect("bound"),
            shared: Arc::default(),
        };
        let shared = Arc::clone(&front.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, places) = (Arc::clone(&shared), places.clone());
                thread::spawn(move || serve(stream, &shared, &places));
            }
        });
        front
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn loses(&self, words: &'static str) {
        *self.shared.loses.lock().expect("no thread panics") = Some(words);
    }

    fn holds(&self, holds: bool) {
        self.shared.holds.store(holds, Ordering::Relaxed);
    }

    fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // Wakes up for each connection.
        drop(TcpStream::connect(self.address));
    }
}

/// Answers one request and closes the connection.
fn serve(mut stream: TcpStream, shared: &Shared, places: &[SocketAddr]) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return;
        }
        head.push(byte[0]);
    }
    let turn = shared.requests.fetch_add(1, Ordering::Relaxed);
    let page = (0..places.len()).find_map(|n| get(places[(turn + n) % places.len()]).ok());
    let loses = *shared.loses.lock().expect("no thread panics");
    let (status, body) = match (page, loses) {
        (Some(page), Some(words)) if page.contains(words) => {
            while shared.holds.load(Ordering::Relaxed) && !shared.is_over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(2));
            }
            return;
        }
        (Some(page), _) => ("200 OK", page),
        (None, _) => ("503 Service Unavailable", "no instance".to_owned()),
    };
    let length = body.len();
    // The client may have closed the connection.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

/// The last line, which is the one that a user reads.
#[track_caller]
fn last_line(stderr: &str) -> &str {
    stderr.lines().last().expect("a last line").trim()
}

#[track_caller]
fn assert_nothing_lost(line: &str) {
    let rest = line
        .strip_prefix("monitor: 0 of ")
        .unwrap_or_else(|| panic!("{line}"));
    let (requests, rest) = rest
        .split_once(" requests failed (p50 ")
        .unwrap_or_else(|| panic!("{line}"));
    assert!(
        requests
            .replace(',', "")
            .parse::<u64>()
            .is_ok_and(|requests| requests >= 5),
        "{line}"
    );
    assert!(
        rest.ends_with(" ms)") && rest.contains(" ms, p99 "),
        "{line}"
    );
}

/// Seldom enough for many tests on two cores.
const PROBE: &str = "\n[monitor]\ninterval = \"20ms\"\ntimeout = \"10s\"\nurl = ";

/// A small project whose playbook asks through a front.
fn monitored_project() -> (LocalProject, Front) {
    behind_a_front(LocalProject::small())
}

fn behind_a_front(project: LocalProject) -> (LocalProject, Front) {
    let front = Front::before(&project);
    let probe = format!("{PROBE}\"{}\"\n[rollout]\n", front.url());
    (project.with("[rollout]\n", &probe), front)
}

#[test]
fn deploy_without_failed_requests_reports_the_count() {
    let project = LocalProject::small();
    let front = Front::before(&project);
    project.deploy("0.8");
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--monitor",
        &front.url(),
        "--set",
        "monitor.interval=20ms",
    ];
    let done = project.ship(&args).any_stderr().run();
    assert_nothing_lost(last_line(&done.stderr));
    for version in ["0.8", "0.9"] {
        let printed = done
            .stderr
            .lines()
            .any(|line| line.contains("  served: ") && line.contains(&format!("by {version}, ")));
        assert!(printed, "{}", done.stderr);
    }
    // Later too it can be read.
    let status = project.ship(&["status"]).any_stdout().run();
    let reported = last_line(&status.stdout);
    assert!(
        reported.starts_with("deploy of 0.9 (revision 2): 0 of "),
        "{reported}"
    );
    let history = project
        .ship(&["history", "--revision", "2"])
        .any_stdout()
        .run();
    assert!(
        history.stdout.contains("\nmonitor   0 of "),
        "{}",
        history.stdout
    );
    let history = project
        .ship(&["history", "--revision", "1"])
        .any_stdout()
        .run();
    assert!(!history.stdout.contains("\nprobe "), "{}", history.stdout);
    let status = project.status();
    assert_eq!(
        (
            &status["rollout"]["monitor"]["failed"],
            &status["rollout"]["monitor"]["max_failed_requests"]
        ),
        (&0.into(), &0.into())
    );
}

#[test]
fn monitor_of_a_first_deploy_counts_from_the_first_response() {
    let (project, _front) = monitored_project();
    let done = project
        .ship(&["deploy", "inventory.toml"])
        .any_stderr()
        .run();
    let early = done
        .stderr
        .lines()
        .any(|line| line.contains("  early: ") && line.ends_with(", not counted"));
    assert!(early, "{}", done.stderr);
    assert!(
        last_line(&done.stderr).starts_with("monitor: 0 of "),
        "{}",
        done.stderr
    );
}

#[test]
fn failed_requests_roll_the_deploy_back() {
    let (project, front) = behind_a_front(LocalProject::new());
    project.deploy("0.8");
    front.loses("the version is: 0.9");
    // Long enough for a request to reach the first new instance.
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--set",
        "rollout.min_ready=5s",
    ];
    let done = project.ship(&args).any_stderr().status(3).run();
    assert_eq!(
        done.stderr.matches("  started   0.9").count(),
        1,
        "{}",
        done.stderr
    );
    let stderr = project.redacted(&done.stderr);
    for words in [
        "          doing: rolling out 0.9 and monitoring the service (",
        " requests failed (limit 0); first failure: connection closed before message completed\n",
        "          next: rolling back to 0.8 (revision 1); ",
        "          reason: too many requests failed: ",
        "          failed: ",
    ] {
        assert!(stderr.contains(words), "no {words:?} in\n{stderr}");
    }
    let last = last_line(&stderr);
    assert!(
        last.starts_with("monitor: ") && !last.starts_with("monitor: 0 of "),
        "{last}"
    );
    assert_eq!(project.history(), ["2 0.9 rolled-back", "1 0.8 succeeded"]);
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );
}

#[test]
fn failed_request_at_the_end_still_counts() {
    let (project, front) = monitored_project();
    project.deploy("0.8");
    front.loses("the version is: 0.9");
    front.holds(true);
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("0.8 (replaced)");
    front.holds(false);
    let done = deploy.wait().exits(3);
    assert!(
        !done.stderr.contains("successfully rolled out"),
        "{}",
        done.stderr
    );
    let (_, after) = done
        .stderr
        .rsplit_once("0.8 (replaced)")
        .expect("the line is printed");
    assert!(
        after.contains(" requests failed (limit 0)"),
        "{}",
        done.stderr
    );
    assert!(
        after.contains("next: rolling back to 0.8"),
        "{}",
        done.stderr
    );
    assert!(project.running()[0].ends_with(" 0.8"));
}

#[test]
fn max_failed_requests_tolerates_failures() {
    let (project, front) = monitored_project();
    project.deploy("0.8");
    front.loses("the version is: 0.9");
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--set",
        "monitor.max_failed_requests=100000",
    ];
    let done = project.ship(&args).any_stderr().run();
    assert!(
        !last_line(&done.stderr).starts_with("monitor: 0 of "),
        "{}",
        done.stderr
    );
}

#[test]
fn rollback_counts_failed_requests_and_continues() {
    let (project, front) = monitored_project();
    project.deploy("0.8");
    project.deploy("0.9");
    front.loses("the version is: 0.8");
    let done = project.ship(&["rollback"]).any_stderr().run();
    let last = last_line(&done.stderr);
    assert!(
        last.starts_with("monitor: ") && !last.starts_with("monitor: 0 of "),
        "{last}"
    );
    assert!(project.running()[0].ends_with(" 0.8"));
}

#[test]
fn failing_monitor_url_is_refused_while_instances_are_ready() {
    let (project, front) = monitored_project();
    project.deploy("0.8");
    drop(front);
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .stderr(str![[r#"
error: 1 instance is ready, but 3 of 3 requests to the monitor URL http://127.0.0.1:[..]/ failed; no changes were made
  last error: connection refused
hint: fix the load balancer or `url` in [monitor], or roll out without the monitor: `--monitor off`

"#]])
        .status(2)
        .run();
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
    assert!(project.running()[0].ends_with(" 0.8"));
    let done = project
        .ship(&[
            "deploy",
            "inventory.toml",
            "--version",
            "0.9",
            "--monitor",
            "off",
        ])
        .any_stderr()
        .run();
    assert!(!done.stderr.contains("monitor"), "{}", done.stderr);
}

#[test]
fn rollout_with_nothing_to_do_sends_no_requests() {
    let (project, front) = monitored_project();
    project.deploy("0.8");
    let requests = front.requests();
    let done = project
        .ship(&["deploy", "inventory.toml"])
        .any_stderr()
        .run();
    assert!(done.stderr.starts_with("nothing to do"), "{}", done.stderr);
    assert_eq!(front.requests(), requests);
}

#[test]
fn monitor_result_is_a_json_event() {
    let (project, _front) = monitored_project();
    project.deploy("0.8");
    let done = project
        .ship(&["restart", "--output", "json"])
        .any_stdout()
        .any_stderr()
        .run();
    let events = json_lines(&done.stdout);
    let [.., probed, finished] = events.as_slice() else {
        panic!("{}", done.stdout)
    };
    assert_eq!(finished["event"], "rollout_finished");
    assert_eq!(
        (&probed["event"], &probed["failed"]),
        (&"availability_reported".into(), &0.into()),
        "{probed}"
    );
    assert_eq!(probed["answers"][0]["version"], "0.8");
    let history = project
        .ship(&["history", "--revision", "2", "--output", "json"])
        .any_stdout()
        .run();
    assert_eq!(
        json(&history.stdout)["monitor"]["requests"],
        probed["requests"]
    );
}

#[test]
fn interrupted_rollout_reports_requests_and_resume_monitors_again() {
    let project = LocalProject::small();
    project.release("0.9", Behaviour::Gated);
    let front = Front::before(&project);
    project.deploy("0.8");
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--monitor",
        &front.url(),
        "--set",
        "monitor.timeout=10s",
    ];
    let mut deploy = project.ship(&args).spawn();
    deploy.await_words("started   0.9");
    deploy.signal("INT");
    let done = deploy.wait_within(Duration::from_secs(30)).exits(130);
    assert!(
        last_line(&done.stderr).starts_with("monitor: 0 of "),
        "{}",
        done.stderr
    );
    project.open_gate();
    let done = project.ship(&["resume"]).any_stderr().run();
    assert!(
        last_line(&done.stderr).starts_with("monitor: 0 of "),
        "{}",
        done.stderr
    );
}
