//! A controller that is stopped in the middle, and goes on later.

use std::thread;
use std::time::{Duration, Instant};

use super::{REPLICAS, endpoints, instances, leftovers, three_versions};
use crate::reliability::Seen;
use ship_testing::command::Running;
use ship_testing::fleet::{Fleet, signal};
use ship_testing::namespace;
use ship_testing::project::Project;
use ship_testing::traffic::{Served, Traffic};

/// A heartbeat that is older than half a minute is a dead one's.
const PAST_THE_LEASE: Duration = Duration::from_secs(31);

#[test]
fn a_controller_that_slept_past_its_lease_does_nothing_more() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let began = Instant::now();
        let traffic = Traffic::begin(endpoints(&fleet));
        let sleeper = stopped_in_the_middle(&project);
        thread::sleep(PAST_THE_LEASE);
        project.deploy("3").exits(0);
        let (served, said) = assert_obsolete(&fleet, &project, sleeper, traffic);
        let seen = Seen::new(said);
        let seen = seen.served(&served, REPLICAS, REPLICAS + 1).exits(&[0, 6]);
        seen.took(began.elapsed()).leave("stopped-and-taken-over");
    });
}

#[test]
fn a_controller_that_slept_is_refused_by_the_hosts_that_obey_another_history() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let (began, other) = (Instant::now(), project.copy());
        let traffic = Traffic::begin(endpoints(&fleet));
        let sleeper = stopped_in_the_middle(&project);
        other.deploy("3").exits(0);
        let (served, said) = assert_obsolete(&fleet, &other, sleeper, traffic);
        let seen = Seen::new(said);
        let seen = seen.served(&served, REPLICAS, REPLICAS + 1).exits(&[0, 6]);
        seen.took(began.elapsed()).leave("stopped-and-overtaken");
    });
}

#[test]
fn a_controller_that_slept_while_its_lock_was_taken_away_does_nothing_more() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let began = Instant::now();
        let traffic = Traffic::begin(endpoints(&fleet));
        let sleeper = stopped_in_the_middle(&project);
        project.deploy("3").exits(6).prints(&["locked by"]);
        project.ship("unlock", &["--yes"]).exits(0);
        project.deploy("3").exits(0);
        let (served, said) = assert_obsolete(&fleet, &project, sleeper, traffic);
        let seen = Seen::new(said)
            .served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[6, 0, 0, 6]);
        seen.took(began.elapsed()).leave("stopped-and-unlocked");
    });
}

#[test]
fn a_controller_whose_lock_is_taken_away_at_work_stops_where_it_is() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let project = project.with("min_ready = \"0s\"", "min_ready = \"2s\"");
        let began = Instant::now();
        let traffic = Traffic::begin(endpoints(&fleet));
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        project.ship("unlock", &["--yes"]).exits(0);
        let told = deploy.wait().exits(6);
        project.ship("resume", &["--progress", "plain"]).exits(0);
        let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let seen = Seen::new(format!("It said: {}", reason(&told.stderr)));
        let seen = seen
            .served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[0, 6, 0]);
        seen.took(began.elapsed()).leave("unlocked-at-work");
    });
}

#[test]
fn a_controller_that_slept_without_a_rival_goes_on() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_versions();
        let began = Instant::now();
        let traffic = Traffic::begin(endpoints(&fleet));
        let sleeper = stopped_in_the_middle(&project);
        let connections = leftovers::connections();
        signal("STOP", &connections);
        thread::sleep(Duration::from_secs(40));
        signal("CONT", &connections);
        sleeper.signal("CONT");
        let done = sleeper.wait().exits(0);
        let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let seen = Seen::new("It continued and succeeded");
        let seen = seen
            .served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[done.code.expect("it ended")]);
        seen.took(began.elapsed()).leave("controller-sleeps");
    });
}

/// A deploy of version 2 that is stopped when its first new instance serves and the rest is to
/// come.
fn stopped_in_the_middle(project: &Project) -> Running {
    let mut deploy = project.start_deploy("2");
    deploy.await_words(" ready ");
    deploy.signal("STOP");
    assert!(!deploy.has_ended());
    deploy
}

/// Wakes the first controller, after another has brought the fleet to version 3: nothing may change
/// any more. Gives what it said, too.
fn assert_obsolete(
    fleet: &Fleet,
    by: &Project,
    sleeper: Running,
    traffic: Traffic,
) -> (Served, String) {
    by.assert_settled("3", REPLICAS);
    let before = instances(by);
    sleeper.signal("CONT");
    let told = sleeper.wait().exits(6);
    let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
    by.assert_settled("3", REPLICAS);
    assert_eq!(
        instances(by),
        before,
        "the fleet stays as the second left it"
    );
    leftovers::assert_none(fleet);
    (
        served,
        format!("It resumed and said: {}", reason(&told.stderr)),
    )
}

/// Why a controller did nothing more, in its own words.
fn reason(said: &str) -> &str {
    fn why(line: &str) -> Option<&str> {
        let labels = ["error: ", "fenced ", " why "];
        labels
            .iter()
            .find_map(|label| Some(line.split_once(label)?.1.trim()))
    }
    said.lines()
        .find_map(why)
        .unwrap_or_else(|| panic!("no reason in\n{said}"))
}
