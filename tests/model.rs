//! The planner against a hostile environment: breadth-first over everything that can happen to small fleets.
//!
//! Hosts vanish and return, starts fail, instances sicken, reports are lost, deadlines pass at bad moments, and the
//! controller dies at any point while its last commands are still on their way. The world and the checks are the
//! test's own: they count what is true, not what the controller believes.
//!
//! `SHIP_LONG=1` explores with more adversity. `--nocapture` shows how many states each configuration has.

#[path = "model/check.rs"]
mod check;
#[path = "model/controller.rs"]
mod controller;
#[path = "model/explore.rs"]
mod explore;
#[path = "model/world.rs"]
mod world;

use explore::{Config, explore};
use ship::core::plan::plan;
use ship::core::spec::OnFailure;
use world::{Adversity, Life, Release};

const CALM: Adversity = Adversity { bad_starts: 0, sickenings: 0, losses: 0, lost_reports: 0, crashes: 0, delays: 0 };

fn surge_onto_a_spare_host() -> Config {
    Config {
        name: "3 replicas on 4 hosts, surge 1",
        hosts: 4,
        ports: 1,
        replicas: 3,
        surge: 1,
        unavailable: 0,
        on_failure: OnFailure::RollBack,
        goals: vec![(Release::New, Some(Release::Old)), (Release::Old, None)],
        initial: (0..3).map(|host| (host, 0, Release::Old, Life::Ready)).collect(),
        staged: vec![],
        adversity: CALM,
        fence: true,
        reboots: false,
        at_least: 0,
    }
}

#[test]
fn probe_sizes() {
    for adversity in [
        CALM,
        Adversity { bad_starts: 1, ..CALM },
        Adversity { sickenings: 1, ..CALM },
        Adversity { losses: 1, ..CALM },
        Adversity { crashes: 1, ..CALM },
    ] {
        let config = Config { adversity, ..surge_onto_a_spare_host() };
        let begun = std::time::Instant::now();
        match explore(&config, &plan) {
            Ok(report) => println!("{adversity:?}: {report:?} {:?}", begun.elapsed()),
            Err(violation) => println!("{}", violation.path),
        }
    }
}
