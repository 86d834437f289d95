//! A controller that is suspended during a deploy and resumes later.

use std::thread;
use std::time::{Duration, Instant};

use super::{REPLICAS, endpoints, instances, leftovers, three_versions};
use crate::reliability::ReportRow;
use ship_testing::command::Running;
use ship_testing::fleet::{Fleet, signal};
use ship_testing::namespace;
use ship_testing::project::Project;
use ship_testing::traffic::{Served, Traffic};

/// The holder of a lease counts as dead after half a minute without a heartbeat.
const AFTER_LEASE_EXPIRY: Duration = Duration::from_secs(31);

#[test]
fn suspended_controller_stops_after_lease_expired() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let began = Instant::now();
        let traffic = Traffic::begin(endpoints(&fleet));
        let suspended = suspended_deploy(&project);
        thread::sleep(AFTER_LEASE_EXPIRY);
        project.deploy("3").exits(0);
        let (served, output) = assert_obsolete(&fleet, &project, suspended, traffic);
        let row = ReportRow::new(output);
        let row = row.served(&served, REPLICAS, REPLICAS + 1).exits(&[0, 6]);
        row.took(began.elapsed()).save("stopped-and-taken-over");
    });
}

#[test]
fn hosts_reject_suspended_controller_after_deploy_from_another_history() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let (began, other) = (Instant::now(), project.copy());
        let traffic = Traffic::begin(endpoints(&fleet));
        let suspended = suspended_deploy(&project);
        other.deploy("3").exits(0);
        let (served, output) = assert_obsolete(&fleet, &other, suspended, traffic);
        let row = ReportRow::new(output);
        let row = row.served(&served, REPLICAS, REPLICAS + 1).exits(&[0, 6]);
        row.took(began.elapsed()).save("stopped-and-overtaken");
    });
}

#[test]
fn suspended_controller_stops_after_unlock() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let began = Instant::now();
        let traffic = Traffic::begin(endpoints(&fleet));
        let suspended = suspended_deploy(&project);
        project.deploy("3").exits(6).prints(&["locked by"]);
        project.ship("unlock", &["--yes"]).exits(0);
        project.deploy("3").exits(0);
        let (served, output) = assert_obsolete(&fleet, &project, suspended, traffic);
        let row = ReportRow::new(output)
            .served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[6, 0, 0, 6]);
        row.took(began.elapsed()).save("stopped-and-unlocked");
    });
}

#[test]
fn running_controller_stops_after_unlock() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let project = project.with("min_ready = \"0s\"", "min_ready = \"2s\"");
        let began = Instant::now();
        let traffic = Traffic::begin(endpoints(&fleet));
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        project.ship("unlock", &["--yes"]).exits(0);
        let done = deploy.wait().exits(6);
        project.ship("resume", &["--progress", "plain"]).exits(0);
        let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let row = ReportRow::new(format!("It printed: {}", reason(&done.stderr)));
        let row = row
            .served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[0, 6, 0]);
        row.took(began.elapsed()).save("unlocked-at-work");
    });
}

#[test]
fn suspended_controller_continues_without_rival() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let began = Instant::now();
        let traffic = Traffic::begin(endpoints(&fleet));
        let suspended = suspended_deploy(&project);
        let connections = leftovers::connections();
        signal("STOP", &connections);
        thread::sleep(Duration::from_secs(40));
        signal("CONT", &connections);
        suspended.signal("CONT");
        let done = suspended.wait().exits(0);
        let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let row = ReportRow::new("It continued and succeeded");
        let row = row
            .served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[done.code.expect("an exit code")]);
        row.took(began.elapsed()).save("controller-sleeps");
    });
}

/// Starts a deploy of version 2 and suspends it when the first of three new instances is ready.
fn suspended_deploy(project: &Project) -> Running {
    let mut deploy = project.start_deploy("2");
    deploy.await_words(" ready ");
    deploy.signal("STOP");
    assert!(!deploy.has_ended());
    deploy
}

/// Resumes the first controller after another one has brought the fleet to version 3. Asserts that
/// it changes nothing; returns its reason, too.
fn assert_obsolete(
    fleet: &Fleet,
    project: &Project,
    suspended: Running,
    traffic: Traffic,
) -> (Served, String) {
    project.assert_settled("3", REPLICAS);
    let before = instances(project);
    suspended.signal("CONT");
    let done = suspended.wait().exits(6);
    let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
    project.assert_settled("3", REPLICAS);
    assert_eq!(
        instances(project),
        before,
        "the fleet stays as the second controller left it"
    );
    leftovers::assert_none(fleet);
    (
        served,
        format!("It resumed and printed: {}", reason(&done.stderr)),
    )
}

/// The reason that a controller printed for stopping.
fn reason(output: &str) -> &str {
    fn why(line: &str) -> Option<&str> {
        let labels = ["error: ", "fenced ", "reason: "];
        labels
            .iter()
            .find_map(|label| Some(line.split_once(label)?.1.trim()))
    }
    output
        .lines()
        .find_map(why)
        .unwrap_or_else(|| panic!("no reason in\n{output}"))
}
