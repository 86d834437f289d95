//! The project of a user: an inventory of four hosts that are all this machine, a playbook, and two
//! versions.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::call::{Call, json};
use crate::redact::Redact;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Done, Running};
use ship_testing::inventory::Inventory;
use ship_testing::local_machine::{free_addresses, kill, processes_in};
use ship_testing::namespace::{until, write};
use ship_testing::probe_client::get;
use ship_testing::project_dir::ProjectDir;

/// The hosts: `node1` at an address that ends in `.11`, and so on.
pub(crate) const NODES: [&str; 4] = ["node1", "node2", "node3", "node4"];

/// What is waited for has come by then.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The service, which starts fast.
pub(crate) const LIGHT_PAGE: &str = include_str!("../support/light_page.py");

const PLAYBOOK: &str = r#"version = "0.8"

[service]
name = "page"
command = "/usr/bin/env python3 -S page.py"
ports = [8081, 8082]
driver = "process"
stop_timeout = "30s"

[service.env]
GATE = "{gate}"
HOST = "{{ address }}"
PORT = "{{ port }}"
VERSION = "{{ version }}"

[artifact]
source = "page-{{ version }}"

[readiness]
http = "/"
interval = "100ms"
timeout = "5s"

[rollout]
replicas = 3
max_surge = 1
max_unavailable = 0
progress_deadline = "30s"
"#;

/// A user's directory. Whatever was started in it ends with it.
pub(crate) struct LocalProject {
    dir: ProjectDir,
    /// The first three parts of the hosts' addresses.
    net: String,
    redact: Redact,
    /// While this is held no other test takes the same addresses, not even one of another run.
    _reserved: TcpListener,
}

impl LocalProject {
    /// Four hosts, three replicas, and good versions 0.8 and 0.9.
    pub(crate) fn new() -> Self {
        let mut dir = ProjectDir::new(PLAYBOOK);
        dir.change_playbook("{gate}", &dir.path("gate").display().to_string());
        let (net, reserved) = free_addresses();
        let redact = Redact::new(dir.root(), &net);
        let project = Self {
            dir,
            net,
            redact,
            _reserved: reserved,
        };
        write(
            &project.path("inventory.toml"),
            &project.inventory("local", &NODES),
        );
        project.release("0.8", Behaviour::Good);
        project.release("0.9", Behaviour::Good);
        project
    }

    /// One host with one replica: enough where it does not matter how many there are.
    pub(crate) fn small() -> Self {
        Self::new()
            .with("replicas = 3", "replicas = 1")
            .on(&["node1"])
    }

    /// An inventory of these hosts.
    pub(crate) fn inventory(&self, fleet: &str, nodes: &[&str]) -> String {
        let add =
            |inventory: Inventory, node: &&str| inventory.local_host(node, &self.address(node));
        let inventory = Inventory::new("playbook.toml", fleet);
        nodes.iter().fold(inventory, add).text()
    }

    /// With no more hosts than these.
    pub(crate) fn on(self, nodes: &[&str]) -> Self {
        write(
            &self.path("inventory.toml"),
            &self.inventory("local", nodes),
        );
        self
    }

    /// Drains a host of the inventory, which must be there.
    pub(crate) fn drain(&self, node: &str) {
        let path = self.path("inventory.toml");
        let inventory = fs::read_to_string(&path).expect("our own file");
        let named = format!("name = \"{node}\"\n");
        assert!(inventory.contains(&named), "the inventory has no {node}");
        write(
            &path,
            &inventory.replace(&named, &format!("{named}drain = true\n")),
        );
    }

    /// With a part of the playbook changed, which must be there.
    pub(crate) fn with(mut self, old: &str, new: &str) -> Self {
        self.dir.change_playbook(old, new);
        self
    }

    /// Builds, or rebuilds, the artifact of a version.
    pub(crate) fn release(&self, version: &str, behaviour: Behaviour) {
        let dir = self.path(&format!("page-{version}"));
        write(&dir.join("page.py"), LIGHT_PAGE);
        write(&dir.join("behaviour"), behaviour.word());
    }

    /// Opens the gate for which some versions wait.
    pub(crate) fn open_gate(&self) {
        write(&self.path("gate"), "");
    }

    /// The directory.
    pub(crate) fn root(&self) -> &Path {
        self.dir.root()
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    /// The address of a host.
    pub(crate) fn address(&self, node: &str) -> String {
        format!("{}.1{}", self.net, node.trim_start_matches("node"))
    }

    /// Calls `ship` in the directory.
    pub(crate) fn ship(&self, args: &[&str]) -> Call<'_> {
        Call::new(self.root(), args, &self.redact)
    }

    /// Deploys a version, which must work.
    #[track_caller]
    pub(crate) fn deploy(&self, version: &str) -> Done {
        self.ship(&["deploy", "inventory.toml", "--version", version])
            .any_stderr()
            .run()
    }

    /// Starts to deploy a version.
    pub(crate) fn start_deploy(&self, version: &str) -> Running {
        self.ship(&["deploy", "inventory.toml", "--version", version])
            .spawn()
    }

    /// What `ship status --output json` prints.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        json(
            &self
                .ship(&["status", "inventory.toml", "--output", "json"])
                .any_stdout()
                .run()
                .stdout,
        )
    }

    /// What `ship history --output json` prints, newest first: revision, version and outcome of
    /// each.
    #[track_caller]
    pub(crate) fn history(&self) -> Vec<String> {
        let done = self
            .ship(&["history", "inventory.toml", "--output", "json"])
            .any_stdout()
            .run();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let row = |row: &Value| {
            format!(
                "{} {} {}",
                row["revision"],
                text(&row["version"]),
                text(&row["outcome"])
            )
        };
        json(&done.stdout)
            .as_array()
            .expect("an array")
            .iter()
            .map(row)
            .collect()
    }

    /// The version in each slot according to the hosts: `node1:8081 0.8`.
    #[track_caller]
    pub(crate) fn running(&self) -> Vec<String> {
        let status = self.status();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let row = |row: &Value| {
            format!(
                "{}:{} {}",
                text(&row["host"]),
                row["port"],
                text(&row["version"])
            )
        };
        status["instances"]
            .as_array()
            .expect("an array")
            .iter()
            .map(row)
            .collect()
    }

    /// The response of each instance, in the order of the hosts.
    #[track_caller]
    pub(crate) fn pages(&self) -> Vec<String> {
        let status = self.status();
        let page = |row: &Value| {
            let place = format!(
                "{}:{}",
                row["address"].as_str().unwrap_or_default(),
                row["port"]
            );
            get(place.parse().expect("an address and a port"))
                .unwrap_or_else(|error| panic!("{place}: {error}"))
        };
        let pages = status["instances"]
            .as_array()
            .expect("an array")
            .iter()
            .map(page);
        pages.map(|page| self.redacted(&page)).collect()
    }

    /// Waits until the status of an instance of a host is this.
    #[track_caller]
    pub(crate) fn await_status(&self, node: &str, word: &str) {
        until(word, DEADLINE, || {
            let status = self.status();
            let rows = status["instances"].as_array().expect("an array");
            rows.iter()
                .any(|row| row["host"] == node && row["status"] == word)
                .then_some(())
        });
    }

    /// A text with placeholders for what is of this project alone.
    pub(crate) fn redacted(&self, text: &str) -> String {
        self.redact.apply(text).trim_end().to_owned()
    }

    /// The process id of an instance.
    #[track_caller]
    pub(crate) fn pid(&self, node: &str, port: u16) -> u32 {
        let file = self.path(&format!(".ship/hosts/{node}/page/slots/{port}/pid"));
        let text = fs::read_to_string(file).expect("the instance was started");
        text.split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok())
            .expect("a process id")
    }

    /// Ends an instance behind ship's back, and waits until it is gone.
    #[track_caller]
    pub(crate) fn end_instance(&self, node: &str, port: u16) {
        let pid = self.pid(node, port);
        kill(pid);
        until("the end of an instance", DEADLINE, || {
            (!self.processes().contains(&pid)).then_some(())
        });
    }

    /// Asserts that no host has anything of ship's.
    #[track_caller]
    pub(crate) fn assert_hosts_untouched(&self) {
        assert!(
            !self.path(".ship/hosts").exists(),
            "something was made on a host"
        );
    }

    /// The processes that work in the directory: services, and `ship` itself.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes_in(self.root())
    }
}

impl Drop for LocalProject {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill(pid);
        }
    }
}
