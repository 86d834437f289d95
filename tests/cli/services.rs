//! Kinds of services: without ports, with several ports, with directories that outlive releases, and
//! with a server that is already there.

use std::fs;
use std::net::TcpListener;

use ship_testing::command::Done;
use ship_testing::namespace::write;

use crate::call::json;
use crate::project::LocalProject;

/// A worker that writes which signal has stopped it, and exits after `LIFE` seconds if it is set.
const WORKER: &str = r#"
import os, signal, sys, time
def stop(number, frame):
    print("stopped by", signal.Signals(number).name, flush=True)
    sys.exit(0)
for name in ("SIGTERM", "SIGQUIT"):
    signal.signal(getattr(signal, name), stop)
print("slot", os.environ["SLOT"], flush=True)
life = os.environ["LIFE"]
time.sleep(float(life) if life else 3600)
sys.exit(3)
"#;

/// Two hosts with two slots each, and three workers.
fn workers(readiness: &str) -> LocalProject {
    let project = LocalProject::new()
        .with("ports = [8081, 8082]", "slots = 2\nstop_signal = \"QUIT\"")
        .with("python3 -S page.py", "python3 -S worker.py")
        .with("HOST = \"{{ address }}\"", "SLOT = \"{{ slot }}\"")
        .with("PORT = \"{{ port }}\"", "LIFE = \"\"")
        .with("http = \"/\"", readiness)
        .on(&["node1", "node2"]);
    for version in ["0.8", "0.9"] {
        write(&project.path(&format!("page-{version}/worker.py")), WORKER);
    }
    project
}

/// Deploys 0.9 with these settings, and expects this exit code.
fn deploy_with(project: &LocalProject, status: i32, settings: &[&str]) -> Done {
    let mut args = vec!["deploy", "inventory.toml", "--version", "0.9"];
    for setting in settings {
        args.extend(["--set", setting]);
    }
    args.extend(["--progress", "plain"]);
    project
        .ship(&args)
        .status(status)
        .any_stdout()
        .any_stderr()
        .run()
}

#[test]
fn workers_are_replaced_one_at_a_time_in_numbered_slots() {
    let project = workers("running = \"500ms\"");
    project.deploy("0.8");
    let done = project.deploy("0.9");
    assert_eq!(done.stderr.matches(" stopped   0.8 (replaced)").count(), 3);
    let status = json(
        &project
            .ship(&["status", "--output", "json"])
            .any_stdout()
            .run()
            .stdout,
    );
    let places: Vec<_> = status["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| format!("{} {} {}", row["host"], row["slot"], row["port"]))
        .collect();
    assert_eq!(places.len(), 3, "{status}");
    assert!(
        places
            .iter()
            .all(|place| place.ends_with(" null") && !place.contains("8081")),
        "{places:?}"
    );
    let table = project
        .ship(&["status"])
        .any_stdout()
        .any_stderr()
        .run()
        .stdout;
    assert!(table.contains(".11 slot 1"), "{table}");
    let logs = project
        .ship(&["logs", "node1:1", "--lines", "50"])
        .any_stdout()
        .any_stderr()
        .run();
    assert!(logs.stdout.contains("slot 1"), "{}", logs.stdout);
}

#[test]
fn worker_gets_the_stop_signal_of_its_release() {
    let project = workers("running = \"200ms\"")
        .on(&["node1"])
        .with("replicas = 3", "replicas = 1");
    project.deploy("0.8");
    // The signal of the new release does not apply to instances of the old one.
    deploy_with(&project, 0, &["service.stop_signal=\"TERM\""]);
    let log = fs::read_to_string(project.path(".ship/hosts/node1/page/slots/1/log"));
    assert!(log.is_ok_and(|log| log.contains("stopped by SIGQUIT")));
}

#[test]
fn worker_that_crashes_is_never_rolled_out() {
    let project = workers("running = \"8s\"")
        .on(&["node1"])
        .with("replicas = 3", "replicas = 1");
    project
        .ship(&[
            "deploy",
            "inventory.toml",
            "--version",
            "0.8",
            "--set",
            "readiness.running=\"1s\"",
        ])
        .any_stdout()
        .any_stderr()
        .run();
    for life in ["0", "1", "6"] {
        let done = deploy_with(&project, 3, &[&format!("service.env.LIFE=\"{life}\"")]);
        assert!(
            done.stderr.contains("exited unexpectedly"),
            "{}",
            done.stderr
        );
    }
    assert_eq!(project.status()["version"], "0.8");
}

#[test]
fn readiness_command_of_a_worker_gets_its_process() {
    // The command passes only for the process that it was run for.
    let check = r#"command = "/bin/sh -c 'grep -q worker.py /proc/$SHIP_PID/cmdline && echo $SHIP_INSTANCE'""#;
    let project = workers(check)
        .on(&["node1"])
        .with("replicas = 3", "replicas = 1");
    let done = project.deploy("0.8");
    let name = project.status()["instances"][0]["name"].clone();
    let ready = format!(": {name}");
    assert!(done.stderr.contains(&ready), "{}", done.stderr);
}

/// A service that listens on a second port after a while.
const TWO_PORTS: &str = r#"
import http.server, os, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"admin" if self.server.server_port == admin else b"http")
    def log_message(self, *args):
        pass
http_port, admin = int(os.environ["PORT"]), int(os.environ["ADMIN"])
servers = [http.server.HTTPServer((os.environ["HOST"], port), Handler) for port in (http_port, admin)]
threading.Thread(target=servers[0].serve_forever).start()
servers[1].serve_forever()
"#;

fn two_ports() -> LocalProject {
    let project = LocalProject::small()
        .with(
            "ports = [8081, 8082]",
            "ports = [{ http = 8081, admin = 9081 }, { http = 8082, admin = 9082 }]",
        )
        .with("python3 -S page.py", "python3 -S two_ports.py")
        .with(
            "PORT = \"{{ port }}\"",
            "PORT = \"{{ ports.http }}\"\nADMIN = \"{{ ports.admin }}\"",
        )
        .with(
            "http = \"/\"",
            "http = \"/\"\nport = \"admin\"\nbody = \"admin\"",
        );
    for version in ["0.8", "0.9"] {
        write(
            &project.path(&format!("page-{version}/two_ports.py")),
            TWO_PORTS,
        );
    }
    project
}

#[test]
fn named_port_is_probed() {
    let project = two_ports();
    let done = project.deploy("0.8");
    assert!(done.stderr.contains(": \"admin\""), "{}", done.stderr);
    project.deploy("0.9");
    assert_eq!(project.status()["instances"][0]["port"], 8082);
}

#[test]
fn every_port_of_a_slot_must_be_free() {
    let project = two_ports();
    project.deploy("0.8");
    let _stranger = TcpListener::bind((project.address("node1"), 9082)).expect("a free port");
    let done = deploy_with(&project, 2, &[]);
    assert!(
        done.stderr.contains("node1: slot 8082 is taken by pid ")
            && done.stderr.contains(" on port 9082"),
        "{}",
        done.stderr
    );
    assert_eq!(project.status()["version"], "0.8");
}

#[test]
fn shared_dirs_keep_their_files_across_releases() {
    let project = LocalProject::small()
        .with("driver", "shared_dirs = [\"uploads\", \"var/cache\"]\ndriver")
        .with(
            "[rollout]",
            "[[hooks]]\non = \"before_start\"\ncommand = \"/bin/sh -c 'echo {{ version }} >> var/cache/starts'\"\n\n[rollout]",
        );
    project.deploy("0.8");
    project.deploy("0.9");
    project.ship(&["rollback"]).any_stdout().any_stderr().run();
    let shared = project.path(".ship/hosts/node1/page/shared");
    assert_eq!(
        fs::read_to_string(shared.join("var/cache/starts")).expect("written by the hook"),
        "0.8\n0.9\n0.8\n"
    );
    fs::write(shared.join("uploads/picture"), "a picture").expect("our own file");
    let checked = project.ship(&["check"]).any_stdout().run().stdout;
    assert!(
        checked.contains("shared: uploads (1 MiB), var/cache (1 MiB)"),
        "{checked}"
    );
    let done = deploy_with(&project, 0, &["service.shared_dirs=[\"var/cache\"]"]);
    let note = "note: the release no longer shares uploads; the data stays on the hosts";
    assert!(done.stderr.contains(note), "{}", done.stderr);
    assert_eq!(
        fs::read_to_string(shared.join("uploads/picture")).expect("left in place"),
        "a picture"
    );
}

#[test]
fn shared_dir_that_hides_files_of_the_artifact_is_refused() {
    let project = LocalProject::small().with("driver", "shared_dirs = [\"uploads\"]\ndriver");
    for file in ["a", "b", "c", "d"] {
        write(&project.path(&format!("page-0.9/uploads/{file}")), "text");
    }
    project.deploy("0.8");
    let done = deploy_with(&project, 2, &[]);
    let error = "error: the shared directory `uploads` would hide files of the artifact: `uploads/a`, `uploads/b`, `uploads/c`, 1 more\n --> playbook.toml:";
    assert!(done.stderr.contains(error), "{}", done.stderr);
    assert_eq!(project.status()["version"], "0.8");
}

#[test]
fn linked_service_with_max_surge_is_refused_before_a_host_is_touched() {
    let project = LocalProject::new()
        .with("command = \"/usr/bin/env python3 -S page.py\"\n", "")
        .with("ports = [8081, 8082]", "ports = [8081]")
        .with("\"process\"\nstop_timeout = \"30s\"", "\"link\"")
        .with("replicas = 3\n", "")
        .with("max_unavailable = 0\n", "");
    let done = deploy_with(&project, 2, &[]);
    let expected = "error: `max_surge` must be 0 with driver = \"link\": `current` leads to one \
                    release at a time\n  --> playbook.toml:23:13";
    assert!(done.stderr.contains(expected), "{}", done.stderr);
    assert!(
        done.stderr
            .contains("help: leave it out, or write max_surge = 0"),
        "{}",
        done.stderr
    );
    project.assert_hosts_untouched();
}
