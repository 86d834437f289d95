//! `ship` on real hosts while things go wrong: killed controllers, rivals, cut networks, full
//! disks, other people's hands.
//!
//! Each scenario boots a fleet of its own, tries a fault, asserts what is promised under it, and
//! leaves a row for `docs/reliability.md`.

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

/// Makes the next run draw as this one did.
const SEED: &str = "SHIP_CHAOS_SEED";
/// Instances that the users want.
const REPLICAS: usize = 3;
/// What leads to a fault is there by then.
const DEADLINE: Duration = Duration::from_secs(30);
/// An artifact that takes long enough on its way to be cut off in the middle.
const LARGE_BYTES: usize = 16 << 20;

/// Three hosts, and a user who wants three instances on them. A page says which process gave it:
/// the same version may come to the same endpoint twice, and that is no gap in a life.
fn three_hosts() -> (Fleet, Project) {
    let fleet = Fleet::boot(3);
    let project = project(&fleet);
    (fleet, project)
}

/// Three hosts on the first of three versions that the history knows.
fn three_versions() -> (Fleet, Project) {
    let (fleet, project) = three_hosts();
    project.release("3", Behaviour::Good);
    for version in ["2", "3", "1"] {
        project.deploy(version).exits(0);
    }
    (fleet, project)
}

/// A user's directory, with a history of its own.
fn project(fleet: &Fleet) -> Project {
    Project::new(|playbook| fleet.inventory(playbook)).with("PORT =", "TELL = \"self\", PORT =")
}

/// Every endpoint where an instance may be.
fn endpoints(fleet: &Fleet) -> Vec<String> {
    endpoints_on(&fleet.hosts)
}

/// Every endpoint on some hosts where an instance may be.
fn endpoints_on<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> Vec<String> {
    hosts
        .into_iter()
        .flat_map(|host| [8081, 8082].map(|port| format!("{}:{port}", host.address)))
        .collect()
}

/// Who answers where, by its version.
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
            Some((endpoint, version(&page).expect("a page tells its version")))
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
