//! `ship` on real hosts under faults: killed and concurrent controllers, lost networks, full disks,
//! manual changes.
//!
//! Each test boots its own fleet, causes a fault, asserts the promise, and writes a row of
//! `docs/reliability.md`.

mod concurrent;
mod kills;
mod leftovers;
mod manual_changes;
mod network;
mod suspended;
mod transfers;

use std::collections::BTreeSet;
use std::time::Duration;

use ship_testing::behaviour::Behaviour;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::probe_client::get;
use ship_testing::project::Project;

/// Set to the printed seed, repeats the random numbers of a run.
const SEED: &str = "SHIP_CHAOS_SEED";
/// The replicas of the service.
const REPLICAS: usize = 3;
/// The time limit for the state in which a fault is caused.
const DEADLINE: Duration = Duration::from_secs(30);
/// The size of an artifact whose transfer can be interrupted.
const LARGE_BYTES: usize = 16 << 20;

/// Three hosts, and a project with three replicas. A page names its process, because the same
/// version may return to the same endpoint, which is not an outage.
fn three_hosts() -> (Fleet, Project) {
    let fleet = Fleet::boot(3);
    let project = project(&fleet);
    (fleet, project)
}

/// Three hosts on version 1, with versions 2 and 3 in the history.
fn three_versions() -> (Fleet, Project) {
    let (fleet, project) = three_hosts();
    project.release("3", Behaviour::Good);
    for version in ["2", "3", "1"] {
        project.deploy(version).exits(0);
    }
    (fleet, project)
}

/// A user's directory, with its own history.
fn project(fleet: &Fleet) -> Project {
    Project::new(|playbook| fleet.inventory(playbook))
        .with("PORT =", "SHOW_PROCESS = \"yes\", PORT =")
}

/// Every endpoint of the fleet.
fn endpoints(fleet: &Fleet) -> Vec<String> {
    endpoints_on(&fleet.hosts)
}

/// Every endpoint of some hosts.
fn endpoints_on<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> Vec<String> {
    hosts
        .into_iter()
        .flat_map(|host| [8081, 8082].map(|port| format!("{}:{port}", host.address)))
        .collect()
}

/// The endpoints that answer, and their versions.
fn answers(fleet: &Fleet) -> BTreeSet<(String, String)> {
    let version = |page: &str| {
        page.split("is: ")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .map(str::to_owned)
    };
    let endpoints = endpoints(fleet).into_iter();
    endpoints
        .filter_map(|endpoint| {
            let page = get(endpoint.parse().expect("address:port")).ok()?;
            Some((endpoint, version(&page).expect("a page with a version")))
        })
        .collect()
}

/// The names of all instances.
fn instances(project: &Project) -> BTreeSet<String> {
    let status = project.status();
    let instances = status["instances"].as_array().expect("an array");
    instances
        .iter()
        .map(|instance| instance["name"].as_str().expect("text").to_owned())
        .collect()
}
