//! What is done once: in its place, on a host that can, and never while anything else changes.

use std::time::Duration;

use super::scenario::{Story, fleet_of};
use ship::core::ids::Epoch;
use ship::core::planner::Next;
use ship::core::release::hook::HookSite;
use ship::core::release::migration::MigrationKind;
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::task::{Due, Task, TaskOutcome, TaskRun};
use ship::core::rollout::verb::Verb;

fn task(name: &str, due: Due, site: HookSite) -> Task {
    let migration = match name.split_once(' ') {
        Some(("expand", id)) => Some((MigrationKind::Expand, id.to_owned())),
        Some(("contract", id)) => Some((MigrationKind::Contract, id.to_owned())),
        _ => None,
    };
    let command = vec![format!("./{name}")];
    Task {
        name: name.to_owned(),
        due,
        site,
        command,
        timeout: Duration::from_mins(1),
        migration,
    }
}

/// One replica of 0.8 and a spare host.
fn deploy(tasks: &[Task]) -> Story {
    let mut setup = fleet_of(2).budget(1, 1, 0).running("0.8", &["h1:8081"]);
    setup.spec.tasks = tasks.to_vec();
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it
}

/// Asserts that this is what is to be done now, and begins it.
#[track_caller]
fn begins(it: &mut Story, name: &str, host: Option<&str>) -> Option<&'static str> {
    let plan = it.plan();
    let Next::Run(TaskRun {
        task,
        host: on,
        outcome,
    }) = plan.next
    else {
        panic!("{plan:?}")
    };
    assert_eq!(
        (
            task.as_str(),
            on.as_ref().map(ship::core::ids::HostId::as_str)
        ),
        (name, host)
    );
    assert_eq!(plan.actions, [], "nothing else changes meanwhile");
    let (id, host) = (it.rollout.next_action_id(), on);
    it.record(Event::TaskStarted {
        id,
        task,
        host,
        migration: None,
    });
    outcome
}

#[track_caller]
fn ends(it: &mut Story, name: &str, end: TaskOutcome) {
    assert_eq!(it.plan().next, Next::AwaitInFlight);
    it.does_nothing();
    let took = Duration::from_secs(1);
    it.record(Event::TaskEnded {
        task: name.to_owned(),
        end,
        migration: None,
        took,
        output: Vec::new(),
    });
}

#[track_caller]
fn does(it: &mut Story, name: &str, host: Option<&str>) -> Option<&'static str> {
    let outcome = begins(it, name, host);
    ends(it, name, TaskOutcome::Done);
    outcome
}

/// The one instance is replaced.
fn replaces(it: &mut Story) {
    it.does(&["start 0.9 at h2:8081"]);
    it.answers("h2:8081");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.notes_progress();
}

fn failed(error: &str) -> TaskOutcome {
    TaskOutcome::Failed {
        error: error.to_owned(),
    }
}

#[test]
fn each_has_its_place_in_the_rollout() {
    use HookSite::{Control, Host};
    let mut it = deploy(&[
        task("before_all", Due::Before, Control),
        task("expand a", Due::Before, Host),
        task("after_all", Due::After, Control),
        task("on_success", Due::OnSuccess, Control),
        task("on_failure", Due::OnFailure, Control),
    ]);
    assert_eq!(does(&mut it, "before_all", None), None);
    does(&mut it, "expand a", Some("h1"));
    replaces(&mut it);
    does(&mut it, "after_all", None);
    assert_eq!(does(&mut it, "on_success", None), Some("succeeded"));
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn what_fails_before_turns_it_back_before_anything_was_touched() {
    let mut it = deploy(&[
        task("expand a", Due::Before, HookSite::Host),
        task("on_failure", Due::OnFailure, HookSite::Control),
    ]);
    begins(&mut it, "expand a", Some("h1"));
    ends(&mut it, "expand a", failed("no such table"));
    let (why, then) = it.turns();
    assert_eq!(
        (why.as_str(), then),
        (
            "h1: migration expand a: no such table",
            FailureResponse::RollBack
        )
    );
    assert_eq!(does(&mut it, "on_failure", None), Some("rolled-back"));
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn it_is_never_a_single_hosts_failure() {
    let mut setup = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .max_failed_hosts(2);
    setup.spec.tasks = vec![task("expand a", Due::Before, HookSite::Host)];
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    begins(&mut it, "expand a", Some("h1"));
    ends(&mut it, "expand a", failed("no such table"));
    it.turns();
}

#[test]
fn where_nobody_knows_it_is_tried_again_on_the_same_host_and_not_without_end() {
    let mut it = deploy(&[task("expand a", Due::Before, HookSite::Host)]);
    begins(&mut it, "expand a", Some("h1"));
    it.loses("h1");
    ends(
        &mut it,
        "expand a",
        TaskOutcome::Unknown {
            why: "the connection was lost".into(),
        },
    );
    // Another host does not know whether it was made.
    assert!(matches!(it.plan().next, Next::Wake(_)), "{:?}", it.plan());
    it.does_nothing();
    it.finds("h1", Epoch(7));
    for _ in 0..2 {
        begins(&mut it, "expand a", Some("h1"));
        ends(
            &mut it,
            "expand a",
            TaskOutcome::Unknown {
                why: "the connection was lost".into(),
            },
        );
    }
    assert_eq!(
        it.turns().0,
        "h1: migration expand a: the connection was lost"
    );
}

#[test]
fn one_that_takes_its_time_is_not_held_against_the_deadline() {
    let mut setup = fleet_of(2).budget(1, 1, 0).running("0.8", &["h1:8081"]);
    let hour = Duration::from_hours(1);
    setup.spec.tasks = vec![Task {
        timeout: hour,
        ..task("expand a", Due::Before, HookSite::Host)
    }];
    let mut it = setup.deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    begins(&mut it, "expand a", Some("h1"));
    it.later(3500);
    ends(&mut it, "expand a", TaskOutcome::Done);
    replaces(&mut it);
}

#[test]
fn a_contract_waits_until_all_has_soaked_and_there_is_no_way_back_past_it() {
    let soaked = Due::Soaked(Duration::from_hours(2));
    let mut it = deploy(&[task("contract b", soaked, HookSite::Host)]);
    replaces(&mut it);
    it.later(7199);
    assert!(matches!(it.plan().next, Next::Wake(_)), "{:?}", it.plan());
    it.later(1);
    begins(&mut it, "contract b", Some("h1"));
    ends(&mut it, "contract b", failed("the table is locked"));
    let (why, then) = it.turns();
    assert_eq!(why, "h1: migration contract b: the table is locked");
    let FailureResponse::Hold { why } = then else {
        panic!("it goes back")
    };
    assert_eq!(
        why,
        "a contract migration was started and may have removed what older versions need"
    );
}

#[test]
fn task_fails_when_the_host_that_began_it_stays_out_of_reach() {
    let mut setup = fleet_of(2).budget(1, 0, 1).running("0.9", &["h2:8081"]);
    setup.spec.tasks = vec![task("after_all", Due::After, HookSite::Host)];
    setup
        .fleet
        .hosts
        .get_mut(&"h1".into())
        .expect("known")
        .releases
        .insert("0.9".into());
    let mut it = setup.deploy_without_fallback("0.9");
    begins(&mut it, "after_all", Some("h1"));
    ends(
        &mut it,
        "after_all",
        TaskOutcome::Unknown {
            why: "the connection was lost".into(),
        },
    );
    it.later(3600);
    it.loses("h1");
    let Next::Wake(at) = it.plan().next else {
        panic!("{:?}", it.plan().next)
    };
    assert!(
        at > it.now && at <= it.now + it.spec.progress_deadline,
        "{at:?}"
    );
    it.later(600);
    assert!(it.turns().0.starts_with("h1: unreachable for 10m"));
}

#[test]
fn host_lost_during_a_long_soak_has_the_whole_deadline_to_come_back() {
    let mut it = deploy(&[task(
        "contract b",
        Due::Soaked(Duration::from_hours(2)),
        HookSite::Host,
    )]);
    replaces(&mut it);
    it.notes_progress();
    it.later(3600);
    it.loses("h2");
    assert!(matches!(it.plan().next, Next::Wake(_)), "{:?}", it.plan());
    it.notes_progress();
    it.later(599);
    assert!(matches!(it.plan().next, Next::Wake(_)), "{:?}", it.plan());
    it.later(1);
    assert!(it.turns().0.starts_with("h2: unreachable for 10m"));
}

#[test]
fn what_is_found_out_while_it_soaks_keeps_a_contract_from_being_made() {
    let soaked = Due::Soaked(Duration::from_hours(2));
    let mut it = deploy(&[task("contract b", soaked, HookSite::Host)]);
    replaces(&mut it);
    it.exits("h2:8081", "exit status 1");
    it.later(10);
    let (_, then) = it.turns();
    assert_eq!(then, FailureResponse::RollBack);
}

#[test]
fn a_change_of_numbers_has_none() {
    let mut setup = fleet_of(2).budget(2, 1, 0).running("0.8", &["h1:8081"]);
    setup.spec.tasks = vec![task("before_all", Due::Before, HookSite::Control)];
    let mut it = setup.begin("0.8", None, |start| start.verb = Verb::Scale);
    it.does(&["claim h1", "stage 0.8 on h2"]);
    it.does(&["start 0.8 at h2:8081"]);
}

#[test]
fn who_interrupts_waits_for_its_end() {
    let mut it = deploy(&[task("before_all", Due::Before, HookSite::Control)]);
    begins(&mut it, "before_all", None);
    it.record(Event::Interrupted {
        by: "SIGINT".into(),
    });
    ends(&mut it, "before_all", TaskOutcome::Done);
    assert_eq!(it.ending(), Outcome::Interrupted);
}

#[test]
fn deploy_without_instances_makes_what_it_needs_and_no_contract() {
    let mut setup = fleet_of(2).budget(0, 1, 0);
    setup.spec.tasks = vec![
        task("expand a", Due::Before, HookSite::Host),
        task(
            "contract b",
            Due::Soaked(Duration::from_mins(1)),
            HookSite::Host,
        ),
    ];
    let mut it = setup.deploy_without_fallback("0.9");
    it.does(&["stage 0.9 on h1", "claim h2"]);
    does(&mut it, "expand a", Some("h1"));
    it.later(60);
    // No instance has shown that nothing needs any more what a contract takes away.
    assert_eq!(it.ending(), Outcome::Succeeded);
}
