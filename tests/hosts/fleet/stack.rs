//! A stack on real hosts: an API, a worker and a front end that call it, under load.

use std::collections::BTreeSet;

use ship_testing::clients::{Clients, Load, LoadResult};
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;
use ship_testing::rng::SeededRng;
use ship_testing::stack::{StackDir, rollouts};
use ship_testing::stack_kills::StackKills;

use crate::traffic::haproxy::{Backend, Haproxy, ServerCount};

/// Set to the printed seed, repeats the random numbers of a run.
const SEED: &str = "SHIP_STACK_SEED";
/// The kills of `ship` at random moments.
const KILLS: u32 = 6;
/// The clients of the API, and as many of the front end.
pub(super) const CLIENTS: Clients = Clients {
    keepalive: 2,
    short: 2,
    downloads: 0,
};
/// The answers before and after the deployments.
pub(super) const ANSWERS_AROUND: u64 = 200;
/// The ports of the frontends of `HAProxy`.
pub(super) const API_PORT: u16 = 8080;
pub(super) const FRONT_PORT: u16 = 8090;
/// The replicas behind `HAProxy`.
const API_REPLICAS: usize = 3;
const FRONT_REPLICAS: usize = 2;

const SERVICES: &str = r#"
[[services]]
playbook = "front.toml"
hosts = "role = edge"
after = ["api", "worker"]

[[services]]
playbook = "worker.toml"
hosts = "role in (shared, batch)"
after = ["api"]

[[services]]
playbook = "api.toml"
hosts = "role in (edge, shared)"
"#;

/// The roles of the hosts: the API shares two hosts with the front end and one with the worker.
const ROLES: [&str; 4] = ["edge", "edge", "shared", "batch"];

pub(super) const API: &str = r#"version = "1"

[service]
name = "api"
command = "/usr/bin/python3 work.py"
ports = [8081, 8082]
env = { VERSION = "{{ version }}", PORT = "{{ port }}", HOST = "{{ address }}", AT_TERM = "end" }
driver = "systemd"
stop_timeout = "5s"

[artifact]
source = "api"

[traffic]
driver = "haproxy"
socket = "/run/haproxy/admin.sock"
drain_timeout = "20s"

[readiness]
http = "/"
interval = "100ms"
timeout = "2s"

[rollout]
replicas = 3
max_surge = "100%"
max_unavailable = 0
progress_deadline = "1m"
"#;

pub(super) const WORKER: &str = r#"version = "1"

[service]
name = "worker"
command = "/usr/bin/python3 worker.py"
slots = 2
user = "root"
env = { VERSION = "{{ version }}", API = "{api}" }
driver = "systemd"
stop_timeout = "5s"

[artifact]
source = "worker"

[readiness]
running = "500ms"

[rollout]
replicas = 2
max_surge = "100%"
max_unavailable = 0
progress_deadline = "1m"
"#;

/// Records its version and that of each answer of the API. Version `broken` ends at once.
pub(super) const WORKER_PROGRAM: &str = r#"
import os, sys, time, urllib.request
VERSION, API = os.environ["VERSION"], os.environ["API"]
if VERSION == "broken":
    sys.exit("fatal: the frobnicator is missing")
with open("/srv/calls", "a", buffering=1) as calls:
    while True:
        try:
            with urllib.request.urlopen(API, timeout=10) as reply:
                answer = reply.read().decode().split(": ")[-1].strip()
        except Exception as error:
            answer = f"failed: {error}"
        calls.write(f"{answer} {VERSION}\n")
        time.sleep(0.05)
"#;

/// The fleet with the balancer, and the user's directory.
struct Stack {
    fleet: Fleet,
    dir: StackDir,
}

/// Clients of the API and of the front end.
struct Traffic {
    api: Load,
    front: Load,
    api_servers: ServerCount,
    front_servers: ServerCount,
}

impl Stack {
    fn boot() -> Self {
        let fleet = Fleet::boot_behind(ROLES.len(), 1);
        let dir = StackDir::new(&inventory(&fleet));
        let api = format!("http://{}:{API_PORT}/", fleet.balancers[0].address);
        dir.write("api.toml", API);
        dir.write("worker.toml", &WORKER.replace("{api}", &api));
        dir.write("front.toml", &front_playbook(&api));
        let work = include_str!("../../support/work.py");
        dir.write("api/work.py", work);
        dir.write("worker/worker.py", WORKER_PROGRAM);
        let front = include_str!("../../support/front_end.py");
        dir.write("front/front_end.py", front);
        Self { fleet, dir }
    }

    /// Starts the balancer of the API and of the front end.
    fn haproxy(&self) -> Haproxy<'_> {
        let hosts = &self.fleet.hosts;
        let backends = [
            Backend {
                name: "api",
                port: API_PORT,
                hosts: &hosts[..API_REPLICAS],
                slots: &[8081, 8082],
            },
            Backend {
                name: "front",
                port: FRONT_PORT,
                hosts: &hosts[..FRONT_REPLICAS],
                slots: &[8091, 8092],
            },
        ];
        Haproxy::start_backends(&self.fleet.balancers[0], &backends)
    }

    /// Starts requests to a stack that serves.
    fn traffic(&self, haproxy: &Haproxy<'_>) -> Traffic {
        haproxy.await_servers_of("api", API_REPLICAS);
        haproxy.await_servers_of("front", FRONT_REPLICAS);
        let endpoint = |port: u16| format!("{}:{port}", self.fleet.balancers[0].address);
        let traffic = Traffic {
            api: Load::begin(&endpoint(API_PORT), CLIENTS),
            front: Load::begin(&endpoint(FRONT_PORT), CLIENTS),
            api_servers: haproxy.count_servers_of("api"),
            front_servers: haproxy.count_servers_of("front"),
        };
        traffic.await_answers();
        traffic
    }

    /// Asserts that every call of a worker was answered, and by an API that is at least as new.
    #[track_caller]
    fn assert_workers_answered(&self) {
        let calls = self.fleet.hosts.iter().map(calls).collect::<String>();
        let distinct: BTreeSet<_> = calls.lines().collect();
        println!("{} calls of workers: {distinct:?}", calls.lines().count());
        assert!(!distinct.is_empty(), "no worker called the API");
        distinct.into_iter().for_each(assert_api_is_as_new);
    }
}

impl Traffic {
    fn await_answers(&self) {
        self.api.await_answers(ANSWERS_AROUND);
        self.front.await_answers(ANSWERS_AROUND);
    }

    /// Stops the requests. Panics if one failed, if a service had fewer servers than replicas, or
    /// if a
    /// front end met an older API. Returns the results of the front end.
    #[track_caller]
    fn assert_none_failed(self) -> LoadResult {
        self.await_answers();
        let (api, front) = (self.api.end(), self.front.end());
        println!("API: {api}\nfront end: {front}");
        api.assert_none_failed(2 * ANSWERS_AROUND);
        front.assert_none_failed(2 * ANSWERS_AROUND);
        assert_eq!(self.api_servers.fewest(), API_REPLICAS);
        assert_eq!(self.front_servers.fewest(), FRONT_REPLICAS);
        front
            .versions
            .keys()
            .for_each(|pair| assert_api_is_as_new(pair));
        front
    }
}

/// Asserts that in `API CLIENT`, two versions, the client is not newer. The client is a number.
#[track_caller]
pub(super) fn assert_api_is_as_new(pair: &str) {
    let versions = pair.split_once(' ');
    let is_as_new = versions.is_some_and(|(api, client)| {
        let client: u32 = client.parse().unwrap_or(u32::MAX);
        // Version `broken` is newer than all numbers.
        api == "broken" || api.parse().is_ok_and(|api: u32| api >= client)
    });
    assert!(is_as_new, "a client got from an older API: {pair}");
}

/// What the workers of a host recorded.
fn calls(host: &Host) -> String {
    host.exec("cat /srv/calls 2>/dev/null || true")
        .exits(0)
        .stdout
}

/// The inventory of a fleet, with roles and services.
fn inventory(fleet: &Fleet) -> String {
    let playbook = "playbook = \"none\"\n";
    // A login to a machine under load takes longer.
    let whole = fleet.inventory("none").replace("\"5s\"", "\"15s\"");
    let mut inventory = whole.replacen(playbook, "", 1);
    for (host, role) in fleet.hosts.iter().zip(ROLES) {
        let name = format!("name = \"{}\"\n", host.name);
        let labelled = format!("{name}labels = {{ role = \"{role}\" }}\n");
        inventory = inventory.replacen(&name, &labelled, 1);
    }
    inventory + SERVICES
}

pub(super) fn front_playbook(api: &str) -> String {
    API.replace("\"api\"", "\"front\"")
        .replace("work.py", "front_end.py")
        .replace("[8081, 8082]", "[8091, 8092]")
        .replace("AT_TERM = \"end\"", &format!("API = \"{api}\""))
        .replace("replicas = 3", "replicas = 2")
}

/// The events of a deployment that takes all services to a version, one after the other.
fn in_order(services: [&str; 3], verb: &str, version: &str) -> Vec<String> {
    let both = |service| {
        [
            format!("{service} {verb} {version}"),
            format!("{service} succeeded"),
        ]
    };
    services.into_iter().flat_map(both).collect()
}

#[test]
fn deployments_and_rollbacks_keep_the_order_and_lose_no_requests() {
    // A deployment and its rollback are one round.
    let rounds = if std::env::var_os("SHIP_LONG").is_some() {
        20
    } else {
        5
    };
    namespace::with_hosts(|| {
        let stack = Stack::boot();
        let haproxy = stack.haproxy();
        stack.dir.deploy("1").exits(0);
        let traffic = stack.traffic(&haproxy);
        for round in 0..rounds {
            let version = (round + 2).to_string();
            let deployed = stack.dir.deploy(&version).exits(0);
            println!("{version} deployed in {:?}", deployed.took);
            let expected = in_order(["api", "worker", "front"], "deploy", &version);
            assert_eq!(rollouts(&deployed.stdout), expected);
            assert_eq!(stack.dir.whole_version(), version);
            let undone = stack.dir.rollback().exits(0);
            println!("{version} undone in {:?}", undone.took);
            let expected = in_order(["front", "worker", "api"], "rollback", "1");
            assert_eq!(rollouts(&undone.stdout), expected);
            assert_eq!(stack.dir.whole_version(), "1");
        }
        let front = traffic.assert_none_failed();
        // Each new version of the front end has answered.
        for round in 0..rounds {
            let pair = format!("{0} {0}", round + 2);
            assert!(front.versions.contains_key(&pair), "no answer of {pair}");
        }
        stack.assert_workers_answered();
        assert_eq!(stack.dir.history().len(), 2 * rounds + 1);
    });
}

#[test]
fn broken_worker_takes_the_api_back_and_leaves_the_front_end() {
    namespace::with_hosts(|| {
        let stack = Stack::boot();
        let haproxy = stack.haproxy();
        stack.dir.deploy("1").exits(0);
        let traffic = stack.traffic(&haproxy);
        let failed = stack.dir.deploy("broken").exits(3);
        let expected = [
            "api deploy broken",
            "api succeeded",
            "worker deploy broken",
            "worker rolled_back",
            "api rollback 1",
            "api succeeded",
        ];
        assert_eq!(rollouts(&failed.stdout), expected, "{}", failed.stderr);
        assert_eq!(stack.dir.whole_version(), "1");
        assert_eq!(stack.dir.last_outcome(), "rolled-back");
        let front = traffic.assert_none_failed();
        let pairs: Vec<_> = front.versions.keys().map(String::as_str).collect();
        assert_eq!(pairs, ["1 1", "broken 1"], "the front end does not change");
        stack.assert_workers_answered();
        // The next deployment starts from the old versions.
        stack.dir.deploy("2").exits(0);
        assert_eq!(stack.dir.whole_version(), "2");
    });
}

#[test]
fn killed_deployment_is_resumed_or_undone_without_failed_requests() {
    namespace::with_hosts(|| {
        let stack = Stack::boot();
        let haproxy = stack.haproxy();
        stack.dir.deploy("1").exits(0);
        let traffic = stack.traffic(&haproxy);
        let seen = StackKills::cause(&stack.dir, KILLS, &mut SeededRng::from_env(SEED));
        println!("{seen}");
        traffic.assert_none_failed();
        stack.assert_workers_answered();
        assert!(seen.resumed + seen.aborted > 0, "{seen}");
    });
}
