//! Rollouts that fail: the old version keeps serving, and the message contains what a user needs.

use std::time::Duration;

use super::{endpoints, four_hosts, monitor_all};
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Done;
use ship_testing::namespace;
use ship_testing::probe_client::{Counter, Monitor, running};
use ship_testing::project::PAGE;

/// Deploys a version that cannot serve over version 1, and asserts that clients do not notice it.
fn deploy_broken(behaviour: Behaviour) -> Done {
    let (fleet, project) = four_hosts();
    let project = project.with("progress_deadline = \"1m\"", "progress_deadline = \"8s\"");
    project.release("2", behaviour);
    project.deploy("1").exits(0);
    let (monitor, counter) = (monitor_all(&fleet), Counter::start(PAGE));
    let done = project.deploy("2").exits(3);
    let (answers, most) = (monitor.stop(), counter.most());
    assert_eq!(answers.failures(), Vec::<String>::new());
    assert!(
        answers.fewest(3) >= 3,
        "only {} endpoints answered at one time",
        answers.fewest(3)
    );
    assert!(
        answers.pages().iter().all(|page| page.ends_with("is: 1")),
        "{:?}",
        answers.pages()
    );
    assert!(most <= 4, "{most} processes ran at one time");
    project.assert_settled("1", 3);
    assert_eq!(running(PAGE), 3);
    let newest = &project.history()[0];
    assert_ne!(
        newest["outcome"],
        project.history().last().expect("the first")["outcome"],
        "{newest:#}"
    );
    // Three hosts are in use, so the fourth gets the first new instance.
    done.prints(&["h4"])
}

#[test]
fn version_that_exits_is_rolled_back() {
    namespace::with_hosts(|| {
        deploy_broken(Behaviour::Exits).prints(&["fatal: the frobnicator is missing"]);
    });
}

#[test]
fn version_that_never_listens_is_rolled_back() {
    namespace::with_hosts(|| {
        deploy_broken(Behaviour::Deaf).prints(&["waiting for a database that never comes"]);
    });
}

#[test]
fn version_that_returns_errors_is_rolled_back() {
    namespace::with_hosts(|| {
        deploy_broken(Behaviour::Wrong).prints(&["500", "its behaviour is wrong"]);
    });
}

#[test]
fn hold_leaves_mixed_versions_after_failure() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("[rollout]\n", "[rollout]\non_failure = \"hold\"\n");
        project.release("2", Behaviour::Exits);
        project.deploy("1").exits(0);
        let monitor = monitor_all(&fleet);
        project.deploy("2").exits(4);
        let answers = monitor.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        assert_eq!(project.status()["state"], "held");
    });
}

#[test]
fn rollout_is_held_if_host_is_lost() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project
            .with("replicas = 3", "replicas = 4")
            .with("min_ready = \"0s\"", "min_ready = \"1s\"")
            .with("progress_deadline = \"1m\"", "progress_deadline = \"10s\"");
        project.deploy("1").exits(0);
        let lost = &fleet.hosts[3];
        let others = endpoints(&fleet)
            .into_iter()
            .filter(|endpoint| !endpoint.starts_with(&lost.address));
        let monitor = Monitor::start(others);
        monitor.await_answers(20);
        let deploy = project.start_deploy("2");
        namespace::until("a fifth instance runs", Duration::from_secs(30), || {
            (running(PAGE) == 5).then_some(())
        });
        lost.disconnect();
        deploy.wait().exits(4).prints(&[&lost.name]);
        let answers = monitor.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        let held = project.status();
        assert!(held["holds"].to_string().contains(&lost.name), "{held:#}");

        lost.reconnect();
        project.deploy("2").exits(0);
        project.assert_settled("2", 4);
    });
}

#[test]
fn deploy_rolls_back_if_disks_are_full() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let disk = "/var/lib/ship";
        for host in &fleet.hosts {
            host.small_disk(disk, "2m");
        }
        project.deploy("1").exits(0);
        for host in &fleet.hosts {
            host.fill_disk(disk);
        }
        let monitor = monitor_all(&fleet);
        project.deploy("2").exits(3).prints(&["space"]);
        let answers = monitor.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        assert_eq!(running(PAGE), 3);
        for host in &fleet.hosts {
            host.free_disk(disk);
        }
        project.deploy("2").exits(0);
        project.assert_settled("2", 3);
    });
}
