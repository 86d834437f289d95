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

fn side_by_side() -> Config {
    Config {
        name: "2 replicas on 2 hosts with 2 ports, surge 1",
        hosts: 2,
        ports: 2,
        replicas: 2,
        initial: (0..2).map(|host| (host, 0, Release::Old, Life::Ready)).collect(),
        ..surge_onto_a_spare_host()
    }
}

fn in_place(hosts: usize) -> Config {
    Config {
        name: "in place, unavailable 1",
        hosts,
        replicas: hosts,
        surge: 0,
        unavailable: 1,
        initial: (0..hosts).map(|host| (host, 0, Release::Old, Life::Ready)).collect(),
        ..surge_onto_a_spare_host()
    }
}

#[test]
fn probe_sizes() {
    let a = |b, s, l, r, c, d| Adversity {
        bad_starts: b,
        sickenings: s,
        losses: l,
        lost_reports: r,
        crashes: c,
        delays: d,
    };
    let configs = [
        surge_onto_a_spare_host(),
        side_by_side(),
        in_place(2),
        in_place(3),
        Config { name: "surge 1 unavailable 1", unavailable: 1, ..surge_onto_a_spare_host() },
        Config { name: "sbs surge 1 unavailable 1", unavailable: 1, ..side_by_side() },
        Config { name: "sbs surge 2", surge: 2, ..side_by_side() },
        Config { name: "scale to 1", replicas: 1, ..side_by_side() },
        Config { name: "scale to 0", replicas: 0, ..side_by_side() },
        Config { name: "from nothing", initial: vec![], goals: vec![(Release::New, None)], ..side_by_side() },
        Config { name: "hold", on_failure: OnFailure::Hold, ..side_by_side() },
        Config {
            name: "sick old",
            initial: vec![(0, 0, Release::Old, Life::Ready), (1, 0, Release::Old, Life::Sick)],
            ..side_by_side()
        },
        Config { name: "ancient", staged: vec![Release::Ancient], ..side_by_side() },
        Config {
            name: "rollback",
            goals: vec![(Release::Old, None), (Release::New, Some(Release::Old))],
            initial: vec![(0, 0, Release::New, Life::Ready), (1, 0, Release::New, Life::Sick)],
            ..side_by_side()
        },
    ];
    let limit: u64 = std::env::var("LIMIT").map_or(6, |it| it.parse().unwrap());
    for config in configs {
        for adversity in [
            CALM,
            a(1, 0, 0, 0, 0, 0),
            a(0, 1, 0, 0, 0, 0),
            a(0, 0, 1, 0, 0, 0),
            a(0, 0, 0, 1, 0, 0),
            a(0, 0, 0, 0, 1, 0),
            a(1, 0, 0, 0, 0, 1),
            a(1, 1, 0, 0, 0, 0),
            a(1, 0, 0, 1, 0, 0),
            a(1, 0, 1, 0, 0, 0),
            a(1, 0, 0, 0, 1, 0),
            a(0, 1, 1, 0, 0, 0),
            a(0, 1, 0, 0, 1, 0),
            a(0, 0, 1, 0, 1, 0),
            a(1, 1, 1, 0, 0, 1),
        ] {
            let config = Config { adversity, ..config.clone() };
            let begun = std::time::Instant::now();
            match explore(&config, &plan) {
                Ok(report) => println!("{}: {adversity:?}: {report:?} {:?}", config.name, begun.elapsed()),
                Err(violation) => {
                    println!("{adversity:?} {}", violation.path);
                    break;
                }
            }
            if begun.elapsed().as_secs() > limit {
                break;
            }
        }
    }
}
