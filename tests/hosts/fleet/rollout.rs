//! A rollout that goes well: nobody who asks can tell, but for the version.

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
fn an_upgrade_loses_no_answer_and_keeps_to_its_bounds() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let (monitor, counter) = (monitor_all(&fleet), Counter::start(PAGE));
        project.deploy("2").exits(0);
        let (answers, most) = (monitor.stop(), counter.most());
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert!(
            answers.fewest(3) >= 3,
            "only {} answered for a while",
            answers.fewest(3)
        );
        assert!(most <= 4, "{most} ran at one time");
        project.assert_settled("2", 3);
        assert_eq!(running(PAGE), 3);
    });
}

#[test]
fn a_surge_of_two_runs_five_and_no_more() {
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
            "only {} answered for a while",
            answers.fewest(3)
        );
        assert_eq!(most, 5, "two more than the three");
    });
}

#[test]
fn the_same_deploy_again_has_nothing_to_do() {
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
            "only {} answered for a while",
            answers.fewest(3)
        );
        project.assert_settled("1", 3);
        let history = project.history();
        assert_eq!(history[0]["version"], "1");
        assert_eq!(
            history[0]["digest"],
            history.last().expect("the first")["digest"],
            "the very release of before"
        );
    });
}

#[test]
fn a_service_with_a_fixed_port_is_replaced_in_place() {
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
            "only {} answered for a while",
            answers.fewest(4)
        );
        assert!(most <= 4, "{most} ran at one time");
        project.assert_settled("2", 4);
    });
}

#[test]
fn the_process_driver_serves_on_hosts_with_systemd_too() {
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
            "only {} answered for a while",
            answers.fewest(3)
        );
        assert!(most <= 4, "{most} ran at one time");
        project.assert_settled("2", 3);
    });
}

#[test]
fn the_process_driver_needs_neither_root_nor_sudo() {
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
            "only {} answered for a while",
            answers.fewest(3)
        );
        assert!(most <= 4, "{most} ran at one time");
        project.ship("rollback", &[]).exits(0);
        project.assert_settled("1", 3);
    });
}

#[test]
fn twenty_light_hosts_roll_five_at_a_time() {
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
        assert!(most <= 25, "{most} ran at one time");
        project.assert_settled("2", 20);
    });
}

#[test]
fn a_dry_run_and_a_plan_touch_nothing() {
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
fn a_deploy_after_the_controller_was_killed_finishes_the_work() {
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
            "only {} answered for a while",
            answers.fewest(3)
        );
        assert!(most <= 4, "{most} ran at one time");
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

/// What ship keeps on the hosts, but for the locks that even a look may touch.
pub(crate) fn on_disk(fleet: &Fleet) -> Vec<String> {
    let list = "find /var/lib/ship -not -name '*lock*' 2>/dev/null | sort";
    fleet
        .hosts
        .iter()
        .map(|host| host.exec(list).stdout)
        .collect()
}
