//! Every kind of readiness probe.

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::write;

/// Deploys with these lines in `[readiness]`, and gives what the first instance answered to them.
fn answer_to(readiness: &str) -> String {
    let project = LocalProject::small().with("http = \"/\"", readiness);
    let done = project.deploy("0.8");
    let ready = done
        .stderr
        .lines()
        .find(|line| line.contains(" ready "))
        .expect("it became ready");
    let ready = project.redacted(ready);
    ready
        .split_once(" after [TOOK]")
        .expect("a duration")
        .1
        .to_owned()
}

#[test]
fn readiness_by_http() {
    assert_eq!(
        answer_to("http = \"/\""),
        ": \"I am: [NET].11, the version is: 0.8\""
    );
}

#[test]
fn readiness_by_http_with_status_and_body() {
    let readiness = "http = \"/\"\nstatus = 200\nbody = \"the version is: {{ version }}\"";
    assert_eq!(
        answer_to(readiness),
        ": \"I am: [NET].11, the version is: 0.8\""
    );
}

#[test]
fn readiness_by_tcp() {
    assert_eq!(answer_to("tcp = true"), ": \"connected\"");
}

#[test]
fn readiness_command_has_the_environment_of_the_service() {
    assert_eq!(
        answer_to("command = \"/bin/sh -c 'echo $VERSION at $PORT'\""),
        ": \"0.8 at 8081\""
    );
}

#[test]
fn readiness_via_ssh() {
    assert_eq!(
        answer_to("http = \"/\"\nvia = \"ssh\""),
        ": \"I am: [NET].11, the version is: 0.8\""
    );
    assert_eq!(
        answer_to("tcp = true\nvia = \"ssh\""),
        ": \"listens on [NET].11\""
    );
}

#[test]
fn failed_readiness_command_shows_its_output() {
    let project = LocalProject::small().with(
        "http = \"/\"",
        "command = \"/bin/sh -c 'echo the cache is cold; exit 3'\"",
    );
    let args = [
        "deploy",
        "inventory.toml",
        "--set",
        "rollout.progress_deadline=2s",
    ];
    let done = project.ship(&args).any_stderr().status(4).run();
    assert!(done.stderr.contains("the cache is cold"), "{}", done.stderr);
}

#[test]
fn readiness_sends_the_configured_host_header() {
    const SERVICE: &str = "import http.server, os\n\
        class Page(http.server.BaseHTTPRequestHandler):\n    \
            def do_GET(self):\n        \
                self.send_response(200 if self.headers['Host'] == 'www.example.org' else \
                400)\n        \
                self.end_headers()\n\
        http.server.ThreadingHTTPServer((os.environ['HOST'], int(os.environ['PORT'])), \
        Page).serve_forever()\n";
    for via in ["direct", "ssh"] {
        let asked = format!("http = \"/\"\nhost_header = \"www.example.org\"\nvia = \"{via}\"");
        let project = LocalProject::small().with("http = \"/\"", &asked);
        write(&project.path("page-0.8/page.py"), SERVICE);
        assert!(project.deploy("0.8").stderr.contains("ready     0.8 after"));
    }
}

#[test]
fn deploy_waits_for_a_slow_instance() {
    let project = LocalProject::small();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node1:8082  started");
    assert_eq!(project.running(), ["node1:8081 0.8", "node1:8082 0.9"]);
    project.open_gate();
    deploy.wait().exits(0);
    assert_eq!(project.running(), ["node1:8082 0.9"]);
}

#[test]
fn instance_that_dies_after_its_first_pass_replaces_no_other() {
    let project = LocalProject::small()
        .with("http = \"/\"", "command = \"/bin/true\"")
        .with("[rollout]", "[rollout]\nmin_ready = \"2s\"");
    write(
        &project.path("page-0.8/page.py"),
        "import time\ntime.sleep(3600)\n",
    );
    project.deploy("0.8");
    let old = project.pid("node1", 8081);
    project.release("0.9", Behaviour::Good);
    write(
        &project.path("page-0.9/page.py"),
        "import sys, time\ntime.sleep(1)\nsys.exit(7)\n",
    );
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    assert!(
        done.stderr.contains("0.9 exited unexpectedly"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("0.8 (replaced)"), "{}", done.stderr);
    assert_eq!(project.pid("node1", 8081), old);
    assert!(project.processes().contains(&old));
}

#[test]
fn child_in_another_session_is_stopped_with_the_instance() {
    let project = LocalProject::small();
    let page = std::fs::read_to_string(project.path("page-0.8/page.py")).expect("our own file");
    let launcher =
        "import os, time\nif os.fork():\n    while True:\n        time.sleep(1)\nos.setsid()\n";
    write(
        &project.path("page-0.8/page.py"),
        &format!("{launcher}{page}"),
    );
    let args = [
        "deploy",
        "inventory.toml",
        "--set",
        "rollout.progress_deadline=3s",
    ];
    let done = project.ship(&args).any_stderr().status(4).run();
    let reported = "(python3) answers on port 8081, a child of the instance in a session of its own; run it in the foreground";
    assert!(done.stderr.contains(reported), "{}", done.stderr);
    project
        .ship(&["deploy", "inventory.toml", "--set", "rollout.replicas=0"])
        .any_stderr()
        .run();
    assert_eq!(project.processes(), Vec::<u32>::new());
}
