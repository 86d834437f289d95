//! Successful rollouts, in which clients notice only the version.

use std::time::Duration;

use super::{four_hosts, monitor_all};
use ship_testing::fleet::Fleet;
use ship_testing::loopback::Loopback;
use ship_testing::namespace;
use ship_testing::probe_client::{Counter, Monitor, get, running};
use ship_testing::project::{PAGE, Project};

#[test]
fn first_deploy_brings_three_replicas_up() {
    namespace::with_hosts(|| {
        let (_fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        project.assert_settled("1", 3);
        assert_eq!(running(PAGE), 3);
        for instance in project.status()["instances"].as_array().expect("an array") {
            let (address, port) = (
                instance["address"].as_str().expect("text"),
                &instance["port"],
            );
            let page = get(format!("{address}:{port}").parse().expect("an address"));
            assert_eq!(page, Ok(format!("I am: {address}, the version is: 1")));
        }
    });
}

#[test]
fn upgrade_keeps_capacity_without_lost_answers() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let (monitor, counter) = (monitor_all(&fleet), Counter::start(PAGE));
        project.deploy("2").exits(0);
        let (answers, most) = (monitor.stop(), counter.most());
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        assert!(most <= 4, "{most} processes ran at one time");
        project.assert_settled("2", 3);
        assert_eq!(running(PAGE), 3);
    });
}

#[test]
fn surge_of_two_runs_at_most_five_instances() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("max_surge = 1", "max_surge = 2");
        project.deploy("1").exits(0);
        let (monitor, counter) = (monitor_all(&fleet), Counter::start(PAGE));
        project.deploy("2").exits(0);
        let (answers, most) = (monitor.stop(), counter.most());
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        assert_eq!(most, 5, "three replicas and a surge of two");
    });
}

#[test]
fn repeated_deploy_has_nothing_to_do() {
    namespace::with_hosts(|| {
        let (_fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let (history, instances) = (project.history(), names(&project));
        project.deploy("1").exits(0).prints(&["nothing to do"]);
        assert_eq!(project.history(), history, "no new revision");
        assert_eq!(names(&project), instances, "no instance was replaced");
    });
}

#[test]
fn rollback_returns_to_the_newest_proven_revision() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        project.deploy("2").exits(0);
        let monitor = monitor_all(&fleet);
        project.ship("rollback", &[]).exits(0);
        let answers = monitor.stop();
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        project.assert_settled("1", 3);
        let history = project.history();
        assert_eq!(history[0]["version"], "1");
        assert_eq!(
            history[0]["digest"],
            history.last().expect("the first")["digest"],
            "the same release as before"
        );
    });
}

#[test]
fn service_with_fixed_port_is_replaced_in_place() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project
            .with("ports = [8081, 8082]", "ports = [8081]")
            .with("replicas = 3", "replicas = 4")
            .with("max_surge = 1", "max_surge = 0")
            .with("max_unavailable = 0", "max_unavailable = 1");
        project.deploy("1").exits(0);
        let (monitor, counter) = (monitor_all(&fleet), Counter::start(PAGE));
        project.deploy("2").exits(0);
        let (answers, most) = (monitor.stop(), counter.most());
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(4) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(4)
        );
        assert!(most <= 4, "{most} processes ran at one time");
        project.assert_settled("2", 4);
    });
}

#[test]
fn process_driver_works_on_hosts_with_systemd() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("driver = \"systemd\"", "driver = \"process\"");
        project.deploy("1").exits(0);
        let (monitor, counter) = (monitor_all(&fleet), Counter::start(PAGE));
        project.deploy("2").exits(0);
        let (answers, most) = (monitor.stop(), counter.most());
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        assert!(most <= 4, "{most} processes ran at one time");
        project.assert_settled("2", 3);
    });
}

#[test]
fn process_driver_needs_neither_root_nor_sudo() {
    namespace::with_sshd(|| {
        let fleet = Loopback::boot(4);
        let project = Project::new(|playbook| fleet.inventory(playbook));
        let project = project.with("driver = \"systemd\"", "driver = \"process\"");
        project.deploy("1").exits(0);
        let endpoints = fleet
            .hosts
            .iter()
            .flat_map(|host| [8081, 8082].map(|port| format!("{}:{port}", host.address)));
        let (monitor, counter) = (Monitor::start(endpoints), Counter::start(PAGE));
        monitor.await_answers(20);
        project.deploy("2").exits(0);
        let (answers, most) = (monitor.stop(), counter.most());
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        assert!(most <= 4, "{most} processes ran at one time");
        project.ship("rollback", &[]).exits(0);
        project.assert_settled("1", 3);
    });
}

#[test]
fn twenty_hosts_are_updated_five_at_a_time() {
    namespace::with_sshd(|| {
        let fleet = Loopback::boot(20);
        let project = Project::new(|playbook| fleet.inventory(playbook))
            .with("driver = \"systemd\"", "driver = \"process\"")
            .with("replicas = 3", "replicas = 20")
            .with("max_surge = 1", "max_surge = \"25%\"");
        project.deploy("1").exits(0);
        let counter = Counter::start(PAGE);
        project.deploy("2").exits(0);
        let most = counter.most();
        assert!(most <= 25, "{most} processes ran at one time");
        project.assert_settled("2", 20);
    });
}

#[test]
fn dry_run_and_plan_make_no_changes() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let (history, before) = (project.history(), on_disk(&fleet));
        project
            .ship("deploy", &["--version", "2", "--dry-run"])
            .exits(0);
        project.ship("plan", &["--version", "2"]).exits(0);
        project.ship("check", &[]).exits(0);
        assert_eq!(on_disk(&fleet), before);
        assert_eq!(project.history(), history);
        project.assert_settled("1", 3);
    });
}

#[test]
fn deploy_continues_after_controller_was_killed() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("min_ready = \"0s\"", "min_ready = \"1s\"");
        project.deploy("1").exits(0);
        let (monitor, counter) = (monitor_all(&fleet), Counter::start(PAGE));
        let deploy = project.start_deploy("2");
        namespace::until("a fourth instance runs", Duration::from_secs(30), || {
            (running(PAGE) == 4).then_some(())
        });
        deploy.signal("KILL");
        drop(deploy);
        project.deploy("2").exits(0);
        let (answers, most) = (monitor.stop(), counter.most());
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} endpoints answered at one time",
            answers.fewest(3)
        );
        assert!(most <= 4, "{most} processes ran at one time");
        project.assert_settled("2", 3);
    });
}

fn names(project: &Project) -> Vec<String> {
    let status = project.status();
    let instances = status["instances"].as_array().expect("an array");
    instances
        .iter()
        .map(|instance| instance["name"].as_str().expect("text").to_owned())
        .collect()
}

/// The files of ship on the hosts, except for locks, which reading commands may touch.
pub(crate) fn on_disk(fleet: &Fleet) -> Vec<String> {
    let list = "find /var/lib/ship -not -name '*lock*' 2>/dev/null | sort";
    fleet
        .hosts
        .iter()
        .map(|host| host.exec(list).stdout)
        .collect()
}
