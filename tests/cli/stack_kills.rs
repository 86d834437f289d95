//! Deployments of a stack whose `ship` is killed at random moments, on hosts that are this machine.

use std::net::TcpListener;

use ship_testing::inventory::Inventory;
use ship_testing::local_machine::{free_addresses, kill, processes_in};
use ship_testing::rng::SeededRng;
use ship_testing::stack::StackDir;
use ship_testing::stack_kills::StackKills;

use crate::project::LIGHT_PAGE;

/// Set to the printed seed, repeats the random numbers of a run.
const SEED: &str = "SHIP_STACK_SEED";
/// The kills in a usual run, and with `SHIP_LONG`.
const KILLS: u32 = 6;
const LONG_KILLS: u32 = 200;
/// The roles of the hosts: the API shares one host with the worker and two with the front end.
const ROLES: [&str; 4] = ["edge", "edge", "shared", "batch"];

const SERVICES: &str = r#"
[[services]]
playbook = "api.toml"
hosts = "role in (edge, shared)"

[[services]]
playbook = "worker.toml"
hosts = "role in (shared, batch)"
after = ["api"]

[[services]]
playbook = "front.toml"
hosts = "role = edge"
after = ["api", "worker"]
"#;

const API: &str = r#"version = "1"

[service]
name = "api"
command = "/usr/bin/env python3 -S page.py"
ports = [8081, 8082]
driver = "process"
env = { GATE = "none", HOST = "{{ address }}", PORT = "{{ port }}", VERSION = "{{ version }}" }

[artifact]
source = "page"

[readiness]
http = "/"
interval = "50ms"

[rollout]
progress_deadline = "30s"
"#;

const WORKER: &str = r#"version = "1"

[service]
name = "worker"
command = "/bin/sleep 3600"
slots = 2
driver = "process"
env = { VERSION = "{{ version }}" }

[artifact]
source = "page"

[readiness]
running = "100ms"

[rollout]
progress_deadline = "30s"
"#;

/// A stack of three services. Whatever was started in its directory ends with it.
struct LocalStack {
    dir: StackDir,
    /// While this is held, no other test takes the same addresses.
    _reserved: TcpListener,
}

impl LocalStack {
    fn new() -> Self {
        let (net, reserved) = free_addresses();
        let add = |inventory: Inventory, (number, role): (usize, &str)| {
            let lines = format!("transport = \"local\"\nlabels = {{ role = \"{role}\" }}\n");
            let (name, address) = (format!("node{number}"), format!("{net}.1{number}"));
            inventory.machine("hosts", &name, &address, &lines)
        };
        let hosts = (1..).zip(ROLES);
        let inventory = hosts.fold(Inventory::new("none", "shop"), add).text();
        let inventory = inventory.replacen("playbook = \"none\"\n", "", 1) + SERVICES;
        let dir = StackDir::new(&inventory).with_own_temporary_files();
        dir.write("api.toml", API);
        dir.write("worker.toml", WORKER);
        let front = API.replace("\"api\"", "\"front\"");
        dir.write("front.toml", &front.replace("[8081, 8082]", "[8091, 8092]"));
        dir.write("page/page.py", LIGHT_PAGE);
        dir.write("page/behaviour", "good");
        Self {
            dir,
            _reserved: reserved,
        }
    }
}

impl Drop for LocalStack {
    fn drop(&mut self) {
        processes_in(self.dir.root()).into_iter().for_each(kill);
    }
}

#[test]
fn killed_deployment_of_stack_is_resumed_or_undone() {
    let kills = if std::env::var_os("SHIP_LONG").is_some() {
        LONG_KILLS
    } else {
        KILLS
    };
    let stack = LocalStack::new();
    let seen = StackKills::cause(&stack.dir, kills, &mut SeededRng::from_env(SEED));
    println!("{seen}");
    assert!(seen.resumed + seen.aborted > 0, "{seen}");
}
