//! Steps: so many new instances first, a look at how they do, then more.

use std::time::Duration;

use super::scenario::{Story, fleet_of};
use ship::core::planner::Next;
use ship::core::rollout::event::Event;
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::verb::Verb;
use ship::core::spec::step::{OnGate, Step};

fn step(instances: &str, soak_s: u64, pause: bool) -> Step {
    let instances = instances.parse().expect("an amount");
    Step {
        instances,
        soak: Duration::from_secs(soak_s),
        pause,
        weight_percent: None,
    }
}

/// Three replicas and a spare host, up to the moment at which the first new instance serves beside
/// two old ones.
fn with_the_first(steps: &[Step], on_gate: OnGate) -> Story {
    let mut setup = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    (setup.spec.steps, setup.spec.on_gate) = (steps.to_vec(), on_gate);
    let mut it = setup.deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.does(&["start 0.9 at h4:8081"]);
    it.answers("h4:8081");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does_nothing();
    it
}

fn reaches(it: &mut Story) {
    let Next::StepReached(Step { soak, pause, .. }, instances) = it.plan().next else {
        panic!("no step is reached: {:?}", it.plan())
    };
    let (step, of) = (it.rollout.step.passed + 1, 3);
    it.record(Event::StepReached {
        step,
        of,
        instances,
        soak,
        pause,
    });
}

fn passes(it: &mut Story) {
    assert_eq!(it.plan().next, Next::StepPassed, "{:?}", it.plan().holds);
    let step = it.rollout.step.passed + 1;
    it.record(Event::StepPassed { step, of: 3 });
}

#[test]
fn a_step_stops_at_its_instances_and_goes_on_after_its_soak() {
    let mut it = with_the_first(
        &[step("1", 300, false), step("100%", 0, false)],
        OnGate::Wait,
    );
    reaches(&mut it);
    it.does_nothing();
    assert_eq!(it.hold("h2"), "waiting: step 1 of 2 soaks");
    it.later(299);
    it.does_nothing();
    it.later(1);
    passes(&mut it);
    it.does(&["start 0.9 at h1:8081"]);
    it.answers("h1:8081");
    it.does(&["stop h2-0.8 at h2:8081 (replaced)"]);
    it.does(&["start 0.9 at h2:8081"]);
    it.answers("h2:8081");
    it.does(&["stop h3-0.8 at h3:8081 (replaced)"]);
    reaches(&mut it);
    passes(&mut it);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn at_a_gate_a_person_is_waited_for_however_long_it_takes() {
    let mut it = with_the_first(&[step("1", 0, true)], OnGate::Wait);
    reaches(&mut it);
    it.later(100_000);
    it.does_nothing();
    assert!(
        matches!(it.plan().next, Next::Wake(at) if at > it.now),
        "{:?}",
        it.plan().next
    );
    assert_eq!(
        it.hold("h2"),
        "waiting at step 1 of 1: `ship promote` continues, `ship abort` rolls back"
    );
    it.record(Event::Promoted {
        by: "anna".into(),
        full: false,
    });
    passes(&mut it);
    it.does(&["start 0.9 at h1:8081"]);
}

#[test]
fn promote_skips_what_is_left_of_the_soak_too() {
    let mut it = with_the_first(&[step("1", 300, true)], OnGate::Wait);
    reaches(&mut it);
    it.record(Event::Promoted {
        by: "anna".into(),
        full: false,
    });
    passes(&mut it);
}

#[test]
fn promote_full_goes_through_all_steps() {
    let mut it = with_the_first(&[step("1", 300, true), step("2", 300, true)], OnGate::Wait);
    reaches(&mut it);
    it.record(Event::Promoted {
        by: "anna".into(),
        full: true,
    });
    it.does(&["start 0.9 at h1:8081"]);
    it.answers("h1:8081");
    it.does(&["stop h2-0.8 at h2:8081 (replaced)"]);
    it.does(&["start 0.9 at h2:8081"]);
}

#[test]
fn where_nobody_is_there_a_gate_ends_it_or_is_passed() {
    let mut it = with_the_first(&[step("1", 0, true)], OnGate::Exit);
    reaches(&mut it);
    let Outcome::Paused { by, .. } = it.ending() else {
        panic!("{:?}", it.ending())
    };
    assert_eq!(
        by,
        "the gate of step 1 of 1, which waits for `ship promote`"
    );

    let mut it = with_the_first(&[step("1", 0, true)], OnGate::Promote);
    reaches(&mut it);
    passes(&mut it);
}

#[test]
fn what_fails_while_it_soaks_turns_it_back_and_the_way_back_knows_no_steps() {
    let mut it = with_the_first(&[step("1", 300, true)], OnGate::Wait);
    reaches(&mut it);
    it.exits("h4:8081", "exit status 1");
    it.turns();
    it.does(&["start 0.8 at h1:8081", "stop h4-0.9 at h4:8081 (dead)"]);
    it.answers("h1:8081");
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn in_place_a_step_stops_no_more_than_it_replaces() {
    let mut setup = fleet_of(3)
        .budget(3, 0, 2)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"]);
    setup.spec.steps = vec![step("1", 60, false)];
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.does_nothing();
}

#[test]
fn a_rollback_and_a_first_deploy_go_by_no_steps() {
    let mut setup = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081", "h3:8081"]);
    setup.spec.steps = vec![step("1", 300, true)];
    let mut it = setup.begin("0.8", Some("0.9"), |start| start.verb = Verb::Rollback);
    it.does(&[
        "stage 0.8 on h1",
        "stage 0.8 on h2",
        "stage 0.8 on h3",
        "stage 0.8 on h4",
    ]);
    it.does(&["start 0.8 at h4:8081"]);
    it.answers("h4:8081");
    it.does(&["stop h1-0.9 at h1:8081 (replaced)"]);
    it.does(&["start 0.8 at h1:8081"]);

    let mut setup = fleet_of(3).budget(2, 1, 0);
    setup.spec.steps = vec![step("1", 300, true)];
    let mut it = setup.deploy_without_fallback("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h1:8081", "start 0.9 at h2:8081"]);
}
