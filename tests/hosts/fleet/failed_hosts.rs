//! Hosts that are left behind (`max_failed_hosts`), listed as debt, and put right when they are back.

use serde_json::Value;

use super::{four_hosts, places};
use ship_testing::namespace;
use ship_testing::probe_client::{Monitor, running};
use ship_testing::project::PAGE;

/// The hosts that the status names as debt.
fn failed_hosts(status: &Value) -> Vec<String> {
    let held = status["failed_hosts"].as_array().expect("an array");
    held.iter()
        .map(|held| held["host"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn a_host_lost_before_the_rollout_is_left_behind_and_put_right_by_the_next_deploy() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project
            .with("[rollout]\n", "[rollout]\nmax_failed_hosts = 1\n")
            .with("replicas = 3", "replicas = 4");
        project.deploy("1").exits(0);
        let lost = &fleet.hosts[3];
        lost.cut();
        let asker = Monitor::start(
            places(&fleet)
                .into_iter()
                .filter(|place| !place.starts_with(&lost.address)),
        );
        asker.await_answers(20);
        project
            .deploy("2")
            .exits(0)
            .says(&["failed host", &lost.name]);
        let answers = asker.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} answered for a while",
            answers.fewest(3)
        );
        let status = project.status();
        assert_eq!(failed_hosts(&status), [lost.name.as_str()]);
        assert_eq!(
            status["replicas"]["available"], 4,
            "the others carry its part"
        );

        // It comes back with the old version.
        lost.mend();
        assert_eq!(running(PAGE), 5);
        project.deploy("2").exits(0);
        assert_eq!(failed_hosts(&project.status()), Vec::<String>::new());
        project.assert_settled("2", 4);
        let status = project.status();
        let hosts = status["instances"]
            .as_array()
            .expect("an array")
            .iter()
            .map(|row| row["host"].clone());
        assert_eq!(
            hosts.collect::<Vec<_>>(),
            ["h1", "h2", "h3", "h4"],
            "evenly spread again"
        );
        project.deploy("2").exits(0).says(&["nothing to do"]);
    });
}

#[test]
fn a_host_that_cannot_take_the_release_is_left_behind_and_the_rest_goes_on() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("[rollout]\n", "[rollout]\nmax_failed_hosts = 1\n");
        let full = &fleet.hosts[1];
        full.small_disk("/var/lib/ship", "2m");
        project.deploy("1").exits(0);
        full.fill_disk("/var/lib/ship");
        let asker = super::ask_all(&fleet);
        project
            .deploy("2")
            .exits(0)
            .says(&["failed host", &full.name, "space"]);
        let answers = asker.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} answered for a while",
            answers.fewest(3)
        );
        assert_eq!(failed_hosts(&project.status()), [full.name.as_str()]);
        full.free_disk("/var/lib/ship");
        project.deploy("2").exits(0);
        assert_eq!(failed_hosts(&project.status()), Vec::<String>::new());
        project.assert_settled("2", 3);
    });
}

#[test]
fn more_lost_hosts_than_may_be_left_behind_are_told_and_nothing_is_touched() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("[rollout]\n", "[rollout]\nmax_failed_hosts = 1\n");
        project.deploy("1").exits(0);
        fleet.hosts[2].cut();
        fleet.hosts[3].cut();
        project.deploy("2").exits(7).says(&[
            &fleet.hosts[2].name,
            &fleet.hosts[3].name,
            "nothing was touched",
        ]);
    });
}
