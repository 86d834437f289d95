//! A stack in two zones, of which one loses power in the middle of a deployment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use ship_testing::clients::{Load, LoadResult};
use ship_testing::command::Running;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::inventory::with_zones;
use ship_testing::namespace;
use ship_testing::stack::StackDir;

use super::stack::{
    API, API_PORT, CLIENTS, FRONT_PORT, WORKER, WORKER_PROGRAM, assert_api_is_as_new,
    front_playbook,
};
use crate::traffic::haproxy::{Backend, Haproxy};

/// The zones of the hosts.
const ZONES: [&str; 4] = ["a", "b", "a", "b"];
/// They lose power one after the other.
const HOSTS_OF_ZONE: usize = 2;
/// How long `HAProxy` and a client may wait for an answer of a host without power.
const DETECTION: Duration = Duration::from_secs(15);
/// The answers before the power is lost, and between two later moments.
const ANSWERS: u64 = 100;
const BOOT_DEADLINE: Duration = Duration::from_mins(1);
const EVENT_DEADLINE: Duration = Duration::from_mins(1);

/// Every service runs on every host.
const SERVICES: &str = r#"
[[services]]
playbook = "front.toml"
after = ["api", "worker"]

[[services]]
playbook = "worker.toml"
after = ["api"]

[[services]]
playbook = "api.toml"
"#;

/// A request that has no connection to a server yet is sent to another one.
const DEFAULTS: &str = "    option redispatch 1\n";

/// The next zone is replaced this long after the instances of a zone have become ready.
const PAUSE_BETWEEN_ZONES: &str = "min_ready = \"5s\"\n";

struct ZonedStack {
    fleet: Fleet,
    dir: StackDir,
}

impl ZonedStack {
    /// Version 1 runs, with one instance of each service on each host.
    fn deployed() -> Self {
        let fleet = Fleet::boot_behind(ZONES.len(), 1);
        // A login to a machine under load takes longer.
        let inventory = fleet.inventory("none").replace("\"5s\"", "\"15s\"");
        let inventory = inventory.replacen("playbook = \"none\"\n", "", 1);
        let dir = StackDir::new(&(with_zones(&inventory, &ZONES) + SERVICES));
        let api = format!("http://{}:{API_PORT}/", fleet.balancers[0].address);
        dir.write("api.toml", &zoned(API));
        let worker = zoned(WORKER).replace("{api}", &api);
        dir.write("worker.toml", &(worker + PAUSE_BETWEEN_ZONES));
        dir.write("front.toml", &zoned(&front_playbook(&api)));
        dir.write("api/work.py", include_str!("../../support/work.py"));
        dir.write("worker/worker.py", WORKER_PROGRAM);
        let front = include_str!("../../support/front_end.py");
        dir.write("front/front_end.py", front);
        Self { fleet, dir }
    }

    fn haproxy(&self) -> Haproxy<'_> {
        let backend = |name, port, slots| Backend {
            name,
            port,
            hosts: &self.fleet.hosts,
            slots,
        };
        let backends = [
            backend("api", API_PORT, &[8081, 8082]),
            backend("front", FRONT_PORT, &[8091, 8092]),
        ];
        Haproxy::start_backends_with(DEFAULTS, &self.fleet.balancers[0], &backends)
    }

    /// The zone of a host that an event names.
    fn zone_of(&self, host: &Value) -> &'static str {
        let hosts = self.fleet.hosts.iter().zip(ZONES);
        let mut named = hosts.filter(|(it, _)| *host == it.name.as_str());
        named.next().unwrap_or_else(|| panic!("{host}")).1
    }

    fn other_zone(zone: &str) -> &'static str {
        if zone == "a" { "b" } else { "a" }
    }

    /// The hosts of a zone.
    fn zone<'a>(&'a self, zone: &'a str) -> impl Iterator<Item = &'a Host> {
        let hosts = self.fleet.hosts.iter().zip(ZONES);
        hosts
            .filter(move |(_, it)| *it == zone)
            .map(|(host, _)| host)
    }

    /// The versions of each service that run ready on the hosts of a zone, one for each instance:
    /// `api 1 1`.
    #[track_caller]
    fn versions_in(&self, zone: &str) -> Vec<String> {
        let names: BTreeSet<_> = self.zone(zone).map(|host| host.name.as_str()).collect();
        let status = self.dir.ship("status", &["--output", "json"]).stdout;
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let mut services = BTreeMap::<&str, Vec<&str>>::new();
        for service in status["services"].as_array().expect("an array") {
            let name = service["service"].as_str().expect("a name");
            let versions = services.entry(name).or_default();
            for instance in service["instances"].as_array().expect("an array") {
                let host = instance["host"].as_str().expect("a host");
                if names.contains(host) && instance["ready"] == true {
                    versions.extend(instance["version"].as_str());
                }
            }
        }
        let services = services.into_iter();
        services
            .map(|(name, versions)| format!("{name} {}", versions.join(" ")))
            .collect()
    }

    /// Boots the hosts of a zone again, and waits for their instances.
    #[track_caller]
    fn return_power(&self, zone: &str) {
        for host in self.zone(zone) {
            host.boot_again();
        }
        namespace::until("the zone serves again", BOOT_DEADLINE, || {
            let is_whole = |line: &String| line.split(' ').count() == 3;
            self.versions_in(zone).iter().all(is_whole).then_some(())
        });
    }
}

/// A playbook with an instance on each host, of which those of one zone may be replaced together.
fn zoned(playbook: &str) -> String {
    let (head, _) = playbook.split_once("[rollout]").expect("a rollout");
    format!(
        "{head}[rollout]\nreplicas = 4\nzones = \"zone\"\nmax_surge = 0\nmax_unavailable = \
         2\nprogress_deadline = \"10s\"\n"
    )
}

/// The clients of the API and of the front end.
struct ZonedTraffic {
    api: Load,
    front: Load,
}

impl ZonedTraffic {
    fn begin(stack: &ZonedStack, haproxy: &Haproxy<'_>) -> Self {
        let begin = |name, port: u16| {
            haproxy.await_servers_of(name, ZONES.len());
            let endpoint = format!("{}:{port}", stack.fleet.balancers[0].address);
            Load::begin(&endpoint, CLIENTS)
        };
        let traffic = Self {
            api: begin("api", API_PORT),
            front: begin("front", FRONT_PORT),
        };
        traffic.await_answers();
        traffic
    }

    fn await_answers(&self) {
        self.api.await_answers(ANSWERS);
        self.front.await_answers(ANSWERS);
    }

    /// Stops the requests. Panics if one failed that no host without power had: each client waits
    /// for one answer at a time, so that it can lose one with each host. The power was lost at
    /// these moments after the beginning of each load.
    #[track_caller]
    fn assert_lost_only_with_the_power(self, [api_lost, front_lost]: [Duration; 2]) {
        self.await_answers();
        let (api, front) = (self.api.end(), self.front.end());
        println!("power lost after {api_lost:?}\nAPI: {api}\nfront end: {front}");
        assert_in_flight(&api, api_lost);
        assert_in_flight(&front, front_lost);
        front
            .versions
            .keys()
            .for_each(|pair| assert_api_is_as_new(pair));
    }

    /// How long the loads have lasted.
    fn lasted(&self) -> [Duration; 2] {
        [self.api.lasted(), self.front.lasted()]
    }
}

#[track_caller]
fn assert_in_flight(load: &LoadResult, lost: Duration) {
    let clients = CLIENTS.keepalive + CLIENTS.short;
    assert!(load.failed.len() <= clients * HOSTS_OF_ZONE, "{load}");
    for failed in &load.failed {
        let is_in_flight = failed.after >= lost && failed.after <= lost + DETECTION;
        assert!(is_in_flight, "power lost after {lost:?}: {load}");
    }
}

/// Waits until a running deployment has printed this many events that are meant, and returns them.
#[track_caller]
fn await_events(
    deploy: &mut Running,
    count: usize,
    what: &str,
    is_meant: impl Fn(&Value) -> bool,
) -> Vec<Value> {
    namespace::until(what, EVENT_DEADLINE, || {
        let printed = deploy.stdout_so_far();
        let events = printed
            .lines()
            .map_while(|it| serde_json::from_str(it).ok());
        let meant: Vec<Value> = events.filter(&is_meant).collect();
        let has_come = meant.len() >= count;
        assert!(has_come || !deploy.has_ended(), "{printed}");
        has_come.then_some(meant)
    })
}

/// The API runs version 2 everywhere, and the worker is replaced in one zone, when the other one
/// loses power.
#[test]
fn zone_without_power_holds_the_deployment_which_resume_finishes() {
    namespace::with_hosts(|| {
        let stack = ZonedStack::deployed();
        let haproxy = stack.haproxy();
        stack.dir.deploy("1").exits(0);
        let traffic = ZonedTraffic::begin(&stack, &haproxy);
        let mut deploy = stack.dir.start_deploy("2");
        let ready = await_events(
            &mut deploy,
            HOSTS_OF_ZONE,
            "the worker is replaced",
            |event| event["service"] == "worker" && event["event"] == "instance_ready",
        );
        // Either zone may be the first one.
        let replaced = stack.zone_of(&ready[0]["slot"]["host"]);
        let dark = ZonedStack::other_zone(replaced);
        let lost = traffic.lasted();
        stack.zone(dark).for_each(Host::kill);
        let held = deploy.wait().exits(4);
        assert!(
            held.stdout.contains("\"outcome\":\"held\""),
            "{}",
            held.stdout
        );
        // The services in the zone that lives serve, each in one version.
        traffic.await_answers();
        let whole = ["api 2 2", "front 1 1", "worker 2 2"];
        assert_eq!(stack.versions_in(replaced), whole, "{}", held.stdout);
        stack.return_power(dark);
        assert_eq!(
            stack.versions_in(dark),
            ["api 2 2", "front 1 1", "worker 1 1"]
        );
        stack.dir.ship("resume", &[]).exits(0);
        assert_eq!(stack.dir.whole_version(), "2");
        assert_eq!(stack.dir.last_outcome(), "succeeded");
        traffic.assert_lost_only_with_the_power(lost);
    });
}

/// The zone in which the API is replaced loses power.
#[test]
fn zone_that_loses_power_while_it_is_replaced_is_undone_by_abort() {
    namespace::with_hosts(|| {
        let stack = ZonedStack::deployed();
        let haproxy = stack.haproxy();
        stack.dir.deploy("1").exits(0);
        let traffic = ZonedTraffic::begin(&stack, &haproxy);
        let mut deploy = stack.dir.start_deploy("2");
        let stopped = await_events(&mut deploy, 1, "the API is stopped", |event| {
            event["service"] == "api"
                && event["event"] == "action_started"
                && event["action"]["do"] == "stop"
        });
        let dark = stack.zone_of(&stopped[0]["action"]["slot"]["host"]);
        let lost = traffic.lasted();
        stack.zone(dark).for_each(Host::kill);
        deploy.wait().exits(4);
        traffic.await_answers();
        let whole = ["api 1 1", "front 1 1", "worker 1 1"];
        assert_eq!(stack.versions_in(ZonedStack::other_zone(dark)), whole);
        stack.zone(dark).for_each(Host::boot_again);
        stack.dir.ship("abort", &[]).exits(0);
        assert_eq!(stack.dir.whole_version(), "1");
        assert_eq!(stack.dir.last_outcome(), "rolled-back");
        traffic.assert_lost_only_with_the_power(lost);
    });
}
