//! Hosts on which a rollout gives up (`max_failed_hosts`), and that the next deploy updates.

use serde_json::Value;

use super::{endpoints, four_hosts};
use ship_testing::namespace;
use ship_testing::probe_client::{Monitor, running};
use ship_testing::project::PAGE;

/// The failed hosts in the status.
fn failed_hosts(status: &Value) -> Vec<String> {
    let failed = status["failed_hosts"].as_array().expect("an array");
    failed
        .iter()
        .map(|failed| failed["host"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn unreachable_host_fails_and_next_deploy_updates_it() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project
            .with("[rollout]\n", "[rollout]\nmax_failed_hosts = 1\n")
            .with("replicas = 3", "replicas = 4");
        project.deploy("1").exits(0);
        let lost = &fleet.hosts[3];
        lost.disconnect();
        let monitor = Monitor::start(
            endpoints(&fleet)
                .into_iter()
                .filter(|endpoint| !endpoint.starts_with(&lost.address)),
        );
        monitor.await_answers(20);
        project
            .deploy("2")
            .exits(0)
            .prints(&["failed host", &lost.name]);
        let answers = monitor.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        let status = project.status();
        assert_eq!(failed_hosts(&status), [lost.name.as_str()]);
        assert_eq!(
            status["replicas"]["available"], 4,
            "the other hosts run its instances"
        );

        // The host returns with the old version.
        lost.reconnect();
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
            "evenly distributed again"
        );
        project.deploy("2").exits(0).prints(&["nothing to do"]);
    });
}

#[test]
fn host_with_full_disk_fails_and_others_are_updated() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("[rollout]\n", "[rollout]\nmax_failed_hosts = 1\n");
        let full = &fleet.hosts[1];
        full.small_disk("/var/lib/ship", "2m");
        project.deploy("1").exits(0);
        full.fill_disk("/var/lib/ship");
        let monitor = super::monitor_all(&fleet);
        project
            .deploy("2")
            .exits(0)
            .prints(&["failed host", &full.name, "space"]);
        let answers = monitor.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
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
fn deploy_makes_no_changes_if_too_many_hosts_are_unreachable() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("[rollout]\n", "[rollout]\nmax_failed_hosts = 1\n");
        project.deploy("1").exits(0);
        fleet.hosts[2].disconnect();
        fleet.hosts[3].disconnect();
        project.deploy("2").exits(7).prints(&[
            &fleet.hosts[2].name,
            &fleet.hosts[3].name,
            "no changes were made",
        ]);
    });
}
