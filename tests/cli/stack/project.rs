//! The project of a user with a stack: `api` and `worker`, which do not depend on each other, and
//! `web`, which comes after both.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::events::Events;
use crate::call::{Call, json};
use crate::project::LIGHT_PAGE;
use crate::redact::Redact;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Done, Running};
use ship_testing::local_machine::{free_addresses, kill, processes_in};
use ship_testing::namespace::write;
use ship_testing::probe_client::get;

/// The services, in the order of the inventory.
pub(super) const SERVICES: [&str; 3] = ["api", "worker", "web"];

const PLAYBOOK: &str = r#"version = "1"

[service]
name = "{name}"
command = "/usr/bin/env python3 -S page.py"
ports = [{port}, {other}]
driver = "process"
stop_timeout = "30s"

[service.env]
GATE = "{gate}"
HOST = "{{ address }}"
PORT = "{{ port }}"
VERSION = "{{ version }}"

[artifact]
source = "{name}-{{ version }}"

[readiness]
http = "/"
interval = "100ms"
timeout = "5s"

[rollout]
replicas = 1
max_surge = 1
max_unavailable = 0
progress_deadline = "30s"
"#;

const INVENTORY: &str = r#"[fleet]
name = "shop"

[[services]]
playbook = "api.toml"
hosts = "role=app"

[[services]]
playbook = "worker.toml"
hosts = "role in (app, batch)"

[[services]]
playbook = "web.toml"
hosts = "role=app"
after = ["api", "worker"]

[[hosts]]
name = "node1"
transport = "local"
address = "{net}.11"
labels = { role = "app" }

[[hosts]]
name = "node2"
transport = "local"
address = "{net}.12"
labels = { role = "batch" }
"#;

/// A user's directory. Whatever was started in it ends with it.
pub(super) struct StackProject {
    dir: TempDir,
    redact: Redact,
    /// While this is held no other test takes the same addresses.
    _reserved: TcpListener,
}

impl StackProject {
    /// Three services with one replica each, and good versions 1 and 2.
    pub(super) fn new() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let (net, reserved) = free_addresses();
        let project = Self {
            redact: Redact::new(dir.path(), &net),
            dir,
            _reserved: reserved,
        };
        write(
            &project.path("stack.toml"),
            &INVENTORY.replace("{net}", &net),
        );
        for (service, port) in SERVICES.iter().zip([8081, 8181, 8281]) {
            let playbook = PLAYBOOK
                .replace("{name}", service)
                .replace("{port}", &port.to_string())
                .replace("{other}", &(port + 1).to_string())
                .replace("{gate}", &project.path("gate").display().to_string());
            write(&project.path(&format!("{service}.toml")), &playbook);
            project.release(service, "1", Behaviour::Good);
            project.release(service, "2", Behaviour::Good);
        }
        project
    }

    /// The same, with version 1 deployed.
    pub(super) fn deployed() -> Self {
        let project = Self::new();
        project.deploy("1");
        project
    }

    /// Replaces the first occurrence of a part of a file, which must be there.
    #[track_caller]
    pub(super) fn change(&self, file: &str, old: &str, new: &str) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).expect("our own file");
        assert!(text.contains(old), "{file} has no {old:?}");
        write(&path, &text.replacen(old, new, 1));
    }

    /// Adds lines to a file.
    pub(super) fn append(&self, file: &str, lines: &str) {
        let path = self.path(file);
        let text = fs::read_to_string(&path).expect("our own file");
        write(&path, &format!("{text}{lines}"));
    }

    /// The stack with `[stack] on_failure = "hold"`.
    pub(super) fn holding(self) -> Self {
        self.append("stack.toml", "\n[stack]\non_failure = \"hold\"\n");
        self
    }

    /// Builds, or rebuilds, the artifact of a version of a service.
    pub(super) fn release(&self, service: &str, version: &str, behaviour: Behaviour) {
        let dir = self.path(&format!("{service}-{version}"));
        write(&dir.join("page.py"), LIGHT_PAGE);
        write(&dir.join("behaviour"), behaviour.word());
    }

    /// Opens the gate for which some versions wait.
    pub(super) fn open_gate(&self) {
        write(&self.path("gate"), "");
    }

    /// A path in the directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Calls `ship` in the directory.
    pub(super) fn ship(&self, args: &[&str]) -> Call<'_> {
        Call::new(self.dir.path(), args, &self.redact)
    }

    /// Calls `ship`, expects this exit code, and leaves the output to the test.
    #[track_caller]
    pub(super) fn run(&self, args: &[&str], status: i32) -> Done {
        let call = self.ship(args).any_stdout().any_stderr();
        call.status(status).run()
    }

    /// Deploys a version of all services, which must work.
    #[track_caller]
    pub(super) fn deploy(&self, version: &str) -> Done {
        self.run(&["deploy", "stack.toml", "--version", version], 0)
    }

    /// Starts to deploy version 2 of all services, with JSON events.
    pub(super) fn start_deploy(&self) -> Running {
        let args = ["deploy", "stack.toml", "--version", "2", "--output", "json"];
        self.ship(&args).spawn()
    }

    /// Deploys version 2 of all services, expects this exit code, and returns the events.
    #[track_caller]
    pub(super) fn deploy_events(&self, status: i32) -> Events {
        let args = ["deploy", "stack.toml", "--version", "2", "--output", "json"];
        Events::of(&self.run(&args, status).stdout)
    }

    /// What a verb prints with `--output json`.
    #[track_caller]
    pub(super) fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["--output", "json"]].concat();
        json(&self.run(&args, 0).stdout)
    }

    /// The versions that the instances serve, from their own responses: `api 1`.
    #[track_caller]
    pub(super) fn served(&self) -> Vec<String> {
        let status = self.json(&["status", "stack.toml"]);
        let services = status["services"].as_array().expect("an array");
        services.iter().flat_map(served_by).collect()
    }

    /// Asserts that the instances serve this version of each service, and nothing else.
    #[track_caller]
    pub(super) fn assert_serves(&self, version: &str) {
        let expected = SERVICES.map(|service| format!("{service} {version}"));
        assert_eq!(sorted(self.served()), sorted(expected.to_vec()));
    }

    /// The deployments, newest first: number, verb and outcome of each.
    #[track_caller]
    pub(super) fn deployments(&self) -> Vec<String> {
        let all = self.json(&["history", "stack.toml"]);
        let row = |it: &Value| {
            let (verb, outcome) = (text(&it["verb"]), text(&it["outcome"]));
            format!("{} {verb} {outcome}", it["deployment"])
        };
        all.as_array().expect("an array").iter().map(row).collect()
    }

    /// The revisions of a service, newest first: number, version and outcome of each.
    #[track_caller]
    pub(super) fn revisions(&self, service: &str) -> Vec<String> {
        let all = self.json(&["history", "stack.toml", "--service", service]);
        let row = |it: &Value| {
            let (version, outcome) = (text(&it["version"]), text(&it["outcome"]));
            format!("{} {version} {outcome}", it["revision"])
        };
        all.as_array().expect("an array").iter().map(row).collect()
    }

    /// The process ids of the instances. They stay the same unless an instance is replaced.
    pub(super) fn pids(&self) -> Vec<String> {
        let status = self.json(&["status", "stack.toml"]);
        let services = status["services"].as_array().expect("an array");
        let instances = services.iter().flat_map(|service| {
            let rows = service["instances"].as_array().expect("an array");
            rows.iter().map(|row| {
                let (host, port) = (text(&row["host"]), &row["port"]);
                let service = text(&service["service"]);
                let file = format!(".ship/hosts/{host}/{service}/slots/{port}/pid");
                let pid = fs::read_to_string(self.path(&file)).expect("the instance runs");
                format!("{service} {pid}")
            })
        });
        instances.collect()
    }

    /// A text with placeholders for what is of this project alone.
    pub(super) fn redacted(&self, text: &str) -> String {
        self.redact.apply(text).trim_end().to_owned()
    }
}

impl Drop for StackProject {
    fn drop(&mut self) {
        for pid in processes_in(self.dir.path()) {
            kill(pid);
        }
    }
}

fn served_by(service: &Value) -> Vec<String> {
    let name = text(&service["service"]);
    let page = |row: &Value| {
        let place = format!("{}:{}", text(&row["address"]), row["port"]);
        let page = get(place.parse().expect("an address and a port"))
            .unwrap_or_else(|error| panic!("{name} at {place}: {error}"));
        let version = page.trim_end().rsplit(' ').next();
        format!("{name} {}", version.unwrap_or_default())
    };
    let rows = service["instances"].as_array().expect("an array");
    rows.iter().map(page).collect()
}

pub(super) fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
