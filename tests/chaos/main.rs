//! `ship` on real hosts while things go wrong: killed controllers, rivals, cut networks, full disks, other people's hands.
//!
//! Each scenario boots a fleet of its own, tries a fault, asserts what is promised under it, and leaves a row for
//! `docs/RELIABILITY.md`.

#[path = "../support/mod.rs"]
mod support;

mod dice;
mod kills;
mod litter;
mod rivals;

use std::collections::BTreeSet;

use support::asker::ask;
use support::fleet::Fleet;
use support::project::Project;

/// Instances that the users want.
const REPLICAS: usize = 3;

/// Three hosts, and a user who wants three instances on them. A page says which process gave it: the same version may
/// come to the same place twice, and that is no gap in a life.
fn three_hosts() -> (Fleet, Project) {
    let fleet = Fleet::boot(3);
    let project = project(&fleet);
    (fleet, project)
}

/// A user's directory, with a history of its own.
fn project(fleet: &Fleet) -> Project {
    Project::new(|playbook| fleet.inventory(playbook)).with("PORT =", "TELL = \"self\", PORT =")
}

/// Every place where an instance may be.
fn places(fleet: &Fleet) -> Vec<String> {
    fleet.hosts.iter().flat_map(|host| [8081, 8082].map(|port| format!("{}:{port}", host.address))).collect()
}

/// Who answers where, by its version.
fn answers(fleet: &Fleet) -> BTreeSet<(String, String)> {
    let version = |page: &str| page.split("is: ").nth(1).and_then(|rest| rest.split(',').next()).map(str::to_owned);
    let places = places(fleet).into_iter();
    places
        .filter_map(|place| {
            let page = ask(place.parse().expect("address:port")).ok()?;
            Some((place, version(&page).expect("a page tells its version")))
        })
        .collect()
}
