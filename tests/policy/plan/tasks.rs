//! Tasks: their order, their hosts, and that nothing else changes while one runs.

use std::time::Duration;

use super::scenario::{Scenario, fleet_of};
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

/// A deploy with one replica of 0.8 and a spare host.
fn deploy(tasks: &[Task]) -> Scenario {
    let mut setup = fleet_of(2).budget(1, 1, 0).running("0.8", &["h1:8081"]);
    setup.spec.tasks = tasks.to_vec();
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario
}

/// Asserts that this task is due, and starts it.
#[track_caller]
fn start_task(scenario: &mut Scenario, name: &str, host: Option<&str>) -> Option<&'static str> {
    let plan = scenario.plan();
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
    assert_eq!(
        plan.actions,
        [],
        "nothing else must change while a task runs"
    );
    let (id, host) = (scenario.rollout.next_action_id(), on);
    scenario.record(Event::TaskStarted {
        id,
        task,
        host,
        migration: None,
    });
    outcome
}

#[track_caller]
fn end_task(scenario: &mut Scenario, name: &str, end: TaskOutcome) {
    assert_eq!(scenario.plan().next, Next::AwaitInFlight);
    scenario.expect_no_actions();
    let took = Duration::from_secs(1);
    scenario.record(Event::TaskEnded {
        task: name.to_owned(),
        end,
        migration: None,
        took,
        output: Vec::new(),
    });
}

#[track_caller]
fn run_task(scenario: &mut Scenario, name: &str, host: Option<&str>) -> Option<&'static str> {
    let outcome = start_task(scenario, name, host);
    end_task(scenario, name, TaskOutcome::Done);
    outcome
}

/// Replaces the only instance.
fn replace_instance(scenario: &mut Scenario) {
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.record_progress();
}

fn failed(error: &str) -> TaskOutcome {
    TaskOutcome::Failed {
        error: error.to_owned(),
    }
}

#[test]
fn each_task_runs_at_its_point_of_the_rollout() {
    use HookSite::{Control, Host};
    let mut scenario = deploy(&[
        task("before_all", Due::Before, Control),
        task("expand a", Due::Before, Host),
        task("after_all", Due::After, Control),
        task("on_success", Due::OnSuccess, Control),
        task("on_failure", Due::OnFailure, Control),
    ]);
    assert_eq!(run_task(&mut scenario, "before_all", None), None);
    run_task(&mut scenario, "expand a", Some("h1"));
    replace_instance(&mut scenario);
    run_task(&mut scenario, "after_all", None);
    assert_eq!(
        run_task(&mut scenario, "on_success", None),
        Some("succeeded")
    );
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn failed_task_before_the_rollout_rolls_back_without_changes() {
    let mut scenario = deploy(&[
        task("expand a", Due::Before, HookSite::Host),
        task("on_failure", Due::OnFailure, HookSite::Control),
    ]);
    start_task(&mut scenario, "expand a", Some("h1"));
    end_task(&mut scenario, "expand a", failed("no such table"));
    let (why, then) = scenario.expect_failure();
    assert_eq!(
        (why.as_str(), then),
        (
            "h1: migration expand a: no such table",
            FailureResponse::RollBack
        )
    );
    assert_eq!(
        run_task(&mut scenario, "on_failure", None),
        Some("rolled-back")
    );
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn failed_task_fails_the_rollout_and_not_the_host() {
    let mut setup = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .max_failed_hosts(2);
    setup.spec.tasks = vec![task("expand a", Due::Before, HookSite::Host)];
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    start_task(&mut scenario, "expand a", Some("h1"));
    end_task(&mut scenario, "expand a", failed("no such table"));
    scenario.expect_failure();
}

#[test]
fn task_with_unknown_outcome_is_retried_on_the_same_host_a_limited_number_of_times() {
    let mut scenario = deploy(&[task("expand a", Due::Before, HookSite::Host)]);
    start_task(&mut scenario, "expand a", Some("h1"));
    scenario.lose_host("h1");
    end_task(
        &mut scenario,
        "expand a",
        TaskOutcome::Unknown {
            why: "the connection was lost".into(),
        },
    );
    // Only h1 has recorded whether the migration has run.
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "{:?}",
        scenario.plan()
    );
    scenario.expect_no_actions();
    scenario.recover_host("h1", Epoch(7));
    for _ in 0..2 {
        start_task(&mut scenario, "expand a", Some("h1"));
        end_task(
            &mut scenario,
            "expand a",
            TaskOutcome::Unknown {
                why: "the connection was lost".into(),
            },
        );
    }
    assert_eq!(
        scenario.expect_failure().0,
        "h1: migration expand a: the connection was lost"
    );
}

#[test]
fn running_task_does_not_count_against_the_progress_deadline() {
    let mut setup = fleet_of(2).budget(1, 1, 0).running("0.8", &["h1:8081"]);
    let hour = Duration::from_hours(1);
    setup.spec.tasks = vec![Task {
        timeout: hour,
        ..task("expand a", Due::Before, HookSite::Host)
    }];
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    start_task(&mut scenario, "expand a", Some("h1"));
    scenario.advance(3500);
    end_task(&mut scenario, "expand a", TaskOutcome::Done);
    replace_instance(&mut scenario);
}

#[test]
fn contract_runs_after_the_soak_and_prevents_a_rollback() {
    let soaked = Due::Soaked(Duration::from_hours(2));
    let mut scenario = deploy(&[task("contract b", soaked, HookSite::Host)]);
    replace_instance(&mut scenario);
    scenario.advance(7199);
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "{:?}",
        scenario.plan()
    );
    scenario.advance(1);
    start_task(&mut scenario, "contract b", Some("h1"));
    end_task(&mut scenario, "contract b", failed("the table is locked"));
    let (why, then) = scenario.expect_failure();
    assert_eq!(why, "h1: migration contract b: the table is locked");
    let FailureResponse::Hold { why } = then else {
        panic!("the rollout rolls back")
    };
    assert_eq!(
        why,
        "a contract migration was started and may have removed what older versions need"
    );
}

#[test]
fn task_fails_when_its_host_stays_unreachable() {
    let mut setup = fleet_of(2).budget(1, 0, 1).running("0.9", &["h2:8081"]);
    setup.spec.tasks = vec![task("after_all", Due::After, HookSite::Host)];
    setup
        .fleet
        .hosts
        .get_mut(&"h1".into())
        .expect("known")
        .releases
        .insert("0.9".into());
    let mut scenario = setup.deploy_without_rollback_target("0.9");
    start_task(&mut scenario, "after_all", Some("h1"));
    end_task(
        &mut scenario,
        "after_all",
        TaskOutcome::Unknown {
            why: "the connection was lost".into(),
        },
    );
    scenario.advance(3600);
    scenario.lose_host("h1");
    let Next::Wake(at) = scenario.plan().next else {
        panic!("{:?}", scenario.plan().next)
    };
    assert!(
        at > scenario.now && at <= scenario.now + scenario.spec.progress_deadline,
        "{at:?}"
    );
    scenario.advance(600);
    assert!(
        scenario
            .expect_failure()
            .0
            .starts_with("h1: unreachable for 10m")
    );
}

#[test]
fn host_lost_during_a_soak_has_the_full_deadline_to_recover() {
    let mut scenario = deploy(&[task(
        "contract b",
        Due::Soaked(Duration::from_hours(2)),
        HookSite::Host,
    )]);
    replace_instance(&mut scenario);
    scenario.record_progress();
    scenario.advance(3600);
    scenario.lose_host("h2");
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "{:?}",
        scenario.plan()
    );
    scenario.record_progress();
    scenario.advance(599);
    assert!(
        matches!(scenario.plan().next, Next::Wake(_)),
        "{:?}",
        scenario.plan()
    );
    scenario.advance(1);
    assert!(
        scenario
            .expect_failure()
            .0
            .starts_with("h2: unreachable for 10m")
    );
}

#[test]
fn failure_during_the_soak_prevents_the_contract() {
    let soaked = Due::Soaked(Duration::from_hours(2));
    let mut scenario = deploy(&[task("contract b", soaked, HookSite::Host)]);
    replace_instance(&mut scenario);
    scenario.exit_instance("h2:8081", "exit status 1");
    scenario.advance(10);
    let (_, then) = scenario.expect_failure();
    assert_eq!(then, FailureResponse::RollBack);
}

#[test]
fn scaling_runs_no_tasks() {
    let mut setup = fleet_of(2).budget(2, 1, 0).running("0.8", &["h1:8081"]);
    setup.spec.tasks = vec![task("before_all", Due::Before, HookSite::Control)];
    let mut scenario = setup.start_rollout("0.8", None, |start| start.verb = Verb::Scale);
    scenario.run_actions(&["claim h1", "stage 0.8 on h2"]);
    scenario.run_actions(&["start 0.8 at h2:8081"]);
}

#[test]
fn interrupt_waits_for_the_running_task() {
    let mut scenario = deploy(&[task("before_all", Due::Before, HookSite::Control)]);
    start_task(&mut scenario, "before_all", None);
    scenario.record(Event::Interrupted {
        by: "SIGINT".into(),
    });
    end_task(&mut scenario, "before_all", TaskOutcome::Done);
    assert_eq!(scenario.outcome(), Outcome::Interrupted);
}

#[test]
fn deploy_without_instances_runs_expand_but_not_contract() {
    let mut setup = fleet_of(2).budget(0, 1, 0);
    setup.spec.tasks = vec![
        task("expand a", Due::Before, HookSite::Host),
        task(
            "contract b",
            Due::Soaked(Duration::from_mins(1)),
            HookSite::Host,
        ),
    ];
    let mut scenario = setup.deploy_without_rollback_target("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "claim h2"]);
    run_task(&mut scenario, "expand a", Some("h1"));
    scenario.advance(60);
    // No instance has shown that the contract migration is safe.
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}
