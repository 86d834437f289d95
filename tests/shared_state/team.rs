//! A repository, the hosts to which it is deployed, and the server with the state.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::checkout::Checkout;
use crate::server::StateServer;
use ship_testing::behaviour::Behaviour;
use ship_testing::inventory::Inventory;
use ship_testing::local_machine::{free_addresses, kill, processes_in};
use ship_testing::namespace::{run, until, write};
use ship_testing::probe_client::get;

/// What is waited for has come by then.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The variable with the URL of the state.
pub(crate) const URL_VARIABLE: &str = "SHIP_STATE_URL";

const NODES: [&str; 4] = ["node1", "node2", "node3", "node4"];

const LIGHT_PAGE: &str = include_str!("../support/light_page.py");

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
timeout = "20s"

[rollout]
replicas = 3
max_surge = 1
max_unavailable = 0
progress_deadline = "60s"
"#;

/// Four hosts that are all this machine, and the operators who deploy to them. Whatever was started
/// ends with it.
pub(crate) struct Team {
    pub(crate) server: StateServer,
    dir: TempDir,
    /// The first three parts of the hosts' addresses.
    net: String,
    _reserved: TcpListener,
}

impl Team {
    /// A repository with the good versions 0.8 and 0.9, whose inventory says where the state is.
    pub(crate) fn new(server: StateServer) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("team-")
            .tempdir()
            .expect("a temporary directory");
        let (net, reserved) = free_addresses();
        let team = Self {
            server,
            dir,
            net,
            _reserved: reserved,
        };
        let gate = team.path("gate").display().to_string();
        let playbook = PLAYBOOK.replace("{gate}", &gate);
        write(&team.path("repository/playbook.toml"), &playbook);
        team.set_state(&format!("url_env = \"{URL_VARIABLE}\""));
        team.release("0.8", Behaviour::Good);
        team.release("0.9", Behaviour::Good);
        team
    }

    /// On which 0.8 and then 0.9 were deployed from one checkout.
    pub(crate) fn deployed_twice(server: StateServer) -> Self {
        let team = Self::new(server);
        let a = team.checkout("a");
        a.run("deploy", &["--reason", "ticket 4711"]);
        a.deploy("0.9");
        team
    }

    /// With a part of the playbook changed, which must be there.
    pub(crate) fn with(self, old: &str, new: &str) -> Self {
        let path = self.path("repository/playbook.toml");
        let playbook = fs::read_to_string(&path).expect("our own file");
        assert!(playbook.contains(old), "the playbook has no {old:?}");
        write(&path, &playbook.replacen(old, new, 1));
        self
    }

    /// Writes the inventory with this line in `[state]`.
    pub(crate) fn set_state(&self, line: &str) {
        let state = format!("{}\n[state]\n{line}\n", self.inventory());
        write(&self.path("repository/inventory.toml"), &state);
    }

    /// The inventory without `[state]`.
    pub(crate) fn inventory(&self) -> String {
        let add = |inventory: Inventory, node: &str| {
            let base_dir = self.base_dir(node).display().to_string();
            let lines = format!("transport = \"local\"\nbase_dir = \"{base_dir}\"\n");
            inventory.machine("hosts", node, &self.address(node), &lines)
        };
        let inventory = Inventory::new("playbook.toml", "shared");
        NODES.into_iter().fold(inventory, add).text()
    }

    /// Builds, or rebuilds, the artifact of a version in the repository.
    pub(crate) fn release(&self, version: &str, behaviour: Behaviour) {
        let dir = self.path(&format!("repository/page-{version}"));
        write(&dir.join("page.py"), LIGHT_PAGE);
        write(&dir.join("behaviour"), behaviour.word());
    }

    /// Removes the artifacts from the repository, as if they were built and deployed elsewhere.
    pub(crate) fn remove_artifacts(&self) {
        for version in ["0.8", "0.9"] {
            let dir = self.path(&format!("repository/page-{version}"));
            fs::remove_dir_all(dir).expect("our own directory");
        }
    }

    /// Opens the gate for which some versions wait.
    pub(crate) fn open_gate(&self) {
        write(&self.path("gate"), "");
    }

    /// A fresh checkout of the repository, on this machine.
    pub(crate) fn checkout(&self, name: &str) -> Checkout {
        let root = self.path(name);
        let (from, to) = (self.path("repository"), root.display().to_string());
        run("cp", &["-a", &from.display().to_string(), &to]);
        Checkout::new(root, self.server.url())
    }

    /// A fresh checkout on another machine, where no process of this one is visible. On this
    /// machine, if the test may not make namespaces.
    pub(crate) fn checkout_elsewhere(&self, name: &str) -> Checkout {
        self.checkout(name).on_machine(name, &self.path("machines"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    fn base_dir(&self, node: &str) -> PathBuf {
        self.path("hosts").join(node)
    }

    /// Removes all releases from a host, on which no instance runs.
    pub(crate) fn remove_releases(&self, node: &str) {
        let is_here = |slot: &String| slot.starts_with(node);
        assert!(
            !self.instances().keys().any(is_here),
            "an instance runs on {node}"
        );
        self.remove_all_releases(node);
    }

    /// Removes all releases from a host, also from under its instances.
    pub(crate) fn remove_all_releases(&self, node: &str) {
        let releases = self.base_dir(node).join("page/releases");
        fs::remove_dir_all(releases).expect("releases");
    }

    /// The directories with the files of each release on a host.
    pub(crate) fn release_files(&self, node: &str) -> Vec<PathBuf> {
        let releases = fs::read_dir(self.base_dir(node).join("page/releases"));
        let releases = releases.expect("releases").flatten();
        releases.map(|release| release.path().join("app")).collect()
    }

    /// The address of a host.
    fn address(&self, node: &str) -> String {
        format!("{}.1{}", self.net, node.trim_start_matches("node"))
    }

    /// The processes of the instances on the hosts, by slot: `node1:8081`. ship is not asked.
    pub(crate) fn instances(&self) -> BTreeMap<String, u32> {
        let mut found = BTreeMap::new();
        for node in NODES {
            for port in [8081, 8082] {
                let file = self.base_dir(node).join(format!("page/slots/{port}/pid"));
                let text = fs::read_to_string(file).unwrap_or_default();
                let pid = text
                    .split_whitespace()
                    .next()
                    .and_then(|pid| pid.parse().ok());
                if let Some(pid) = pid.filter(|pid: &u32| is_running(*pid)) {
                    found.insert(format!("{node}:{port}"), pid);
                }
            }
        }
        found
    }

    /// The versions that answer requests now: `node1 0.8`. ship is not asked.
    pub(crate) fn answers(&self) -> Vec<String> {
        let answer = |slot: &String| {
            let (node, port) = slot.split_once(':')?;
            let address = format!("{}:{port}", self.address(node));
            let page = get(address.parse().expect("an address")).ok()?;
            let (_, version) = page.trim_end().rsplit_once(' ')?;
            page.starts_with("I am")
                .then(|| format!("{node} {version}"))
        };
        self.instances().keys().filter_map(answer).collect()
    }

    /// Waits until these versions answer.
    #[track_caller]
    pub(crate) fn await_answers(&self, expected: &[&str]) {
        until("the answers", DEADLINE, || {
            (self.answers() == expected).then_some(())
        });
    }

    /// Asserts that no host has anything of ship's.
    #[track_caller]
    pub(crate) fn assert_hosts_untouched(&self) {
        assert!(!self.path("hosts").exists(), "something was made on a host");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        for pid in processes_in(self.root()) {
            kill(pid);
        }
    }
}

/// Whether a process runs. One that has ended may still be a zombie.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}
