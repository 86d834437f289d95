//! The rules of the policy, one by one.

use std::collections::BTreeSet;

use crate::core::stack::{
    ContractState, Member, OnStackFailure, ServiceEnd, ServicePhase, StackDirection, StackNext,
    StackOutcome, StackRun, StackStep,
};

/// A deployment of services, each with the services that roll out before it.
fn stack(services: &[(&str, &[&str])]) -> StackRun {
    let members = services.iter().map(|(name, after)| {
        let after: BTreeSet<String> = after.iter().map(|before| (*before).to_owned()).collect();
        let member = Member {
            after,
            can_undo: true,
            phase: ServicePhase::Waiting,
            contract: ContractState::None,
        };
        ((*name).to_owned(), member)
    });
    StackRun {
        members: members.collect(),
        on_failure: OnStackFailure::RollBack,
        direction: StackDirection::Forward,
    }
}

/// `db`, then `api` and `worker`, then `web` after both.
fn diamond() -> StackRun {
    stack(&[
        ("db", &[]),
        ("api", &["db"]),
        ("worker", &["db"]),
        ("web", &["api", "worker"]),
    ])
}

fn holding(mut run: StackRun) -> StackRun {
    run.on_failure = OnStackFailure::Hold;
    run
}

fn with_contract(mut run: StackRun, services: &[&str]) -> StackRun {
    for service in services {
        member(&mut run, service).contract = ContractState::Due;
    }
    run
}

fn without_earlier_revision(mut run: StackRun, service: &str) -> StackRun {
    member(&mut run, service).can_undo = false;
    run
}

fn member<'a>(run: &'a mut StackRun, service: &str) -> &'a mut Member {
    run.members.get_mut(service).expect("a known service")
}

fn roll_out(service: &str) -> StackStep {
    StackStep::RollOut(service.into())
}

fn resume(service: &str) -> StackStep {
    StackStep::Resume(service.into())
}

fn abort(service: &str) -> StackStep {
    StackStep::Abort(service.into())
}

fn undo(service: &str) -> StackStep {
    StackStep::Undo(service.into())
}

fn contract(service: &str) -> StackStep {
    StackStep::Contract(service.into())
}

/// Begins the next steps, which must be these.
#[track_caller]
fn start(run: &mut StackRun, expected: &[StackStep]) {
    assert_eq!(run.next(), StackNext::Steps(expected.to_vec()));
    for step in expected {
        run.started(step);
    }
}

#[track_caller]
fn expect_wait(run: &StackRun) {
    assert_eq!(run.next(), StackNext::Steps(Vec::new()));
}

#[track_caller]
fn expect_end(run: &StackRun, outcome: StackOutcome) {
    assert_eq!(run.next(), StackNext::End(outcome));
}

/// Begins the rollout of a service and lets it reach its goal.
#[track_caller]
fn deploy(run: &mut StackRun, service: &str) {
    start(run, &[roll_out(service)]);
    run.ended(service, ServiceEnd::Reached);
}

/// The deployment as another process reads it after a crash.
fn restored(run: StackRun, phases: &[(&str, ServicePhase)]) -> StackRun {
    let mut run = run;
    for (service, phase) in phases {
        member(&mut run, service).phase = *phase;
    }
    StackRun::restored(run.members, run.on_failure, run.direction)
}

// ── the order ────────────────────────────────────────────────────────────────────────────────────

#[test]
fn service_rolls_out_after_the_services_before_it() {
    let mut run = stack(&[("api", &["db"]), ("db", &[])]);
    start(&mut run, &[roll_out("db")]);
    expect_wait(&run);
    run.ended("db", ServiceEnd::Reached);
    deploy(&mut run, "api");
    expect_end(&run, StackOutcome::Deployed);
}

#[test]
fn independent_services_roll_out_at_the_same_time() {
    let mut run = diamond();
    deploy(&mut run, "db");
    start(&mut run, &[roll_out("api"), roll_out("worker")]);
    run.ended("worker", ServiceEnd::Reached);
    expect_wait(&run);
    run.ended("api", ServiceEnd::Reached);
    deploy(&mut run, "web");
    expect_end(&run, StackOutcome::Deployed);
}

#[test]
fn service_outside_the_deployment_is_not_waited_for() {
    let mut run = stack(&[("api", &["db"]), ("web", &["api"])]);
    deploy(&mut run, "api");
    deploy(&mut run, "web");
    expect_end(&run, StackOutcome::Deployed);
}

#[test]
fn deployment_without_services_is_deployed() {
    expect_end(&stack(&[]), StackOutcome::Deployed);
}

// ── a failure ────────────────────────────────────────────────────────────────────────────────────

#[test]
fn failure_rolls_back_in_the_reverse_order() {
    let mut run = diamond();
    deploy(&mut run, "db");
    start(&mut run, &[roll_out("api"), roll_out("worker")]);
    run.ended("api", ServiceEnd::Reached);
    run.ended("worker", ServiceEnd::Reached);
    start(&mut run, &[roll_out("web")]);
    assert!(run.ended("web", ServiceEnd::RolledBack));
    assert_eq!(run.direction, StackDirection::Back);
    start(&mut run, &[undo("api"), undo("worker")]);
    run.ended("api", ServiceEnd::Reached);
    expect_wait(&run);
    run.ended("worker", ServiceEnd::Reached);
    start(&mut run, &[undo("db")]);
    run.ended("db", ServiceEnd::Reached);
    expect_end(&run, StackOutcome::RolledBack);
}

#[test]
fn failure_aborts_an_independent_service_that_rolls_out() {
    let mut run = stack(&[("api", &[]), ("worker", &[])]);
    start(&mut run, &[roll_out("api"), roll_out("worker")]);
    assert!(run.ended("api", ServiceEnd::RolledBack));
    start(&mut run, &[abort("worker")]);
    assert!(!run.ended("worker", ServiceEnd::RolledBack));
    expect_end(&run, StackOutcome::RolledBack);
}

#[test]
fn service_that_reaches_its_goal_during_the_abort_is_undone() {
    let mut run = stack(&[("api", &[]), ("worker", &[])]);
    start(&mut run, &[roll_out("api"), roll_out("worker")]);
    run.ended("api", ServiceEnd::RolledBack);
    start(&mut run, &[abort("worker")]);
    run.ended("worker", ServiceEnd::Reached);
    start(&mut run, &[undo("worker")]);
    run.ended("worker", ServiceEnd::Reached);
    expect_end(&run, StackOutcome::RolledBack);
}

#[test]
fn failure_with_hold_leaves_all_services() {
    let mut run = holding(stack(&[("db", &[]), ("api", &["db"]), ("web", &["api"])]));
    deploy(&mut run, "db");
    start(&mut run, &[roll_out("api")]);
    assert!(!run.ended("api", ServiceEnd::RolledBack));
    assert_eq!(run.direction, StackDirection::Forward);
    expect_end(&run, StackOutcome::Held);
}

#[test]
fn failure_with_hold_lets_others_end() {
    let mut run = holding(stack(&[
        ("api", &[]),
        ("worker", &[]),
        ("web", &["worker"]),
    ]));
    start(&mut run, &[roll_out("api"), roll_out("worker")]);
    run.ended("api", ServiceEnd::RolledBack);
    expect_wait(&run);
    run.ended("worker", ServiceEnd::Reached);
    expect_end(&run, StackOutcome::Held);
}

#[test]
fn held_service_stops_the_deployment() {
    let mut run = stack(&[("db", &[]), ("api", &["db"]), ("web", &["api"])]);
    deploy(&mut run, "db");
    start(&mut run, &[roll_out("api")]);
    assert!(!run.ended("api", ServiceEnd::Held));
    expect_end(&run, StackOutcome::Held);
}

#[test]
fn held_service_hides_that_another_one_was_stopped() {
    let mut run = stack(&[("api", &[]), ("worker", &[])]);
    start(&mut run, &[roll_out("api"), roll_out("worker")]);
    run.ended("api", ServiceEnd::Held);
    run.ended("worker", ServiceEnd::Stopped);
    expect_end(&run, StackOutcome::Held);
}

// ── a stop ───────────────────────────────────────────────────────────────────────────────────────

#[test]
fn stopped_service_starts_nothing_new_and_lets_others_end() {
    let mut run = stack(&[("api", &[]), ("worker", &[]), ("web", &["worker"])]);
    start(&mut run, &[roll_out("api"), roll_out("worker")]);
    run.ended("api", ServiceEnd::Stopped);
    expect_wait(&run);
    run.ended("worker", ServiceEnd::Reached);
    expect_end(&run, StackOutcome::Stopped);
}

#[test]
fn failure_after_a_stop_reverses_the_direction_and_starts_nothing() {
    let mut run = stack(&[("api", &[]), ("worker", &[])]);
    start(&mut run, &[roll_out("api"), roll_out("worker")]);
    run.ended("api", ServiceEnd::Stopped);
    assert!(run.ended("worker", ServiceEnd::RolledBack));
    expect_end(&run, StackOutcome::Stopped);
}

#[test]
fn stopped_return_starts_nothing_new() {
    let mut run = stack(&[("db", &[]), ("api", &["db"])]);
    deploy(&mut run, "db");
    deploy(&mut run, "api");
    assert!(run.roll_back());
    start(&mut run, &[undo("api")]);
    run.ended("api", ServiceEnd::Stopped);
    expect_end(&run, StackOutcome::Stopped);
}

#[test]
fn end_of_a_service_that_is_not_in_flight_changes_nothing() {
    let mut run = stack(&[("db", &[]), ("api", &["db"])]);
    assert!(!run.ended("api", ServiceEnd::RolledBack));
    assert!(!run.ended("unknown", ServiceEnd::RolledBack));
    start(&mut run, &[roll_out("db")]);
}

// ── an abort ─────────────────────────────────────────────────────────────────────────────────────

#[test]
fn abort_rolls_back_what_runs_and_what_has_rolled_out() {
    let mut run = stack(&[("db", &[]), ("api", &["db"]), ("web", &["api"])]);
    deploy(&mut run, "db");
    start(&mut run, &[roll_out("api")]);
    assert!(run.roll_back());
    start(&mut run, &[abort("api")]);
    run.ended("api", ServiceEnd::RolledBack);
    start(&mut run, &[undo("db")]);
    run.ended("db", ServiceEnd::Reached);
    expect_end(&run, StackOutcome::RolledBack);
}

#[test]
fn abort_reverses_the_direction_once() {
    let mut run = stack(&[("api", &[])]);
    assert!(run.can_roll_back());
    assert!(run.roll_back());
    assert!(!run.can_roll_back());
    assert!(!run.roll_back());
    assert_eq!(run.direction, StackDirection::Back);
}

#[test]
fn failed_undo_ends_the_deployment() {
    for end in [ServiceEnd::RolledBack, ServiceEnd::Held] {
        let mut run = stack(&[("db", &[]), ("api", &["db"])]);
        deploy(&mut run, "db");
        deploy(&mut run, "api");
        run.roll_back();
        start(&mut run, &[undo("api")]);
        assert!(!run.ended("api", end));
        expect_end(&run, StackOutcome::RollbackFailed);
    }
}

#[test]
fn failed_abort_ends_the_deployment() {
    let mut run = stack(&[("db", &[]), ("api", &["db"])]);
    deploy(&mut run, "db");
    start(&mut run, &[roll_out("api")]);
    run.roll_back();
    start(&mut run, &[abort("api")]);
    run.ended("api", ServiceEnd::Held);
    expect_end(&run, StackOutcome::RollbackFailed);
}

#[test]
fn deployed_service_without_an_earlier_revision_stays_with_those_before_it() {
    let run = stack(&[("db", &[]), ("api", &["db"]), ("worker", &["api"])]);
    let mut run = without_earlier_revision(run, "api");
    deploy(&mut run, "db");
    deploy(&mut run, "api");
    start(&mut run, &[roll_out("worker")]);
    run.ended("worker", ServiceEnd::RolledBack);
    expect_end(&run, StackOutcome::Held);
}

#[test]
fn running_service_without_an_earlier_revision_is_held_by_the_abort() {
    let run = stack(&[("api", &[]), ("web", &[])]);
    let mut run = without_earlier_revision(run, "web");
    start(&mut run, &[roll_out("api"), roll_out("web")]);
    run.ended("api", ServiceEnd::Reached);
    run.roll_back();
    start(&mut run, &[undo("api"), abort("web")]);
    run.ended("web", ServiceEnd::Held);
    run.ended("api", ServiceEnd::Reached);
    expect_end(&run, StackOutcome::Held);
}

// ── contract migrations ──────────────────────────────────────────────────────────────────────────

#[test]
fn contracts_run_after_every_service_one_after_another() {
    let run = stack(&[("db", &[]), ("api", &["db"]), ("web", &["api"])]);
    let mut run = with_contract(run, &["db", "web"]);
    for service in ["db", "api", "web"] {
        deploy(&mut run, service);
    }
    start(&mut run, &[contract("db")]);
    expect_wait(&run);
    assert!(!run.ended("db", ServiceEnd::Reached));
    start(&mut run, &[contract("web")]);
    run.ended("web", ServiceEnd::Reached);
    expect_end(&run, StackOutcome::Deployed);
}

#[test]
fn contract_that_has_begun_prevents_an_abort() {
    for end in [
        None,
        Some(ServiceEnd::Reached),
        Some(ServiceEnd::Held),
        Some(ServiceEnd::Stopped),
    ] {
        let mut run = with_contract(stack(&[("db", &[])]), &["db"]);
        deploy(&mut run, "db");
        assert!(run.can_roll_back());
        start(&mut run, &[contract("db")]);
        if let Some(end) = end {
            run.ended("db", end);
        }
        assert!(!run.can_roll_back(), "{end:?}");
        assert!(!run.roll_back(), "{end:?}");
        assert_eq!(run.direction, StackDirection::Forward, "{end:?}");
    }
}

#[test]
fn failed_contract_prevents_the_others() {
    let mut run = with_contract(stack(&[("api", &[]), ("web", &["api"])]), &["api", "web"]);
    deploy(&mut run, "api");
    deploy(&mut run, "web");
    start(&mut run, &[contract("api")]);
    assert!(!run.ended("api", ServiceEnd::Held));
    expect_end(&run, StackOutcome::Held);
}

#[test]
fn stopped_contract_prevents_the_others() {
    let mut run = with_contract(stack(&[("api", &[]), ("web", &["api"])]), &["api", "web"]);
    deploy(&mut run, "api");
    deploy(&mut run, "web");
    start(&mut run, &[contract("api")]);
    run.ended("api", ServiceEnd::Stopped);
    expect_end(&run, StackOutcome::Stopped);
}

// ── another process ──────────────────────────────────────────────────────────────────────────────

#[test]
fn resume_continues_an_unfinished_rollout() {
    let phases = [
        ("db", ServicePhase::Deployed),
        ("api", ServicePhase::Unfinished),
    ];
    let mut run = restored(stack(&[("db", &[]), ("api", &["db"])]), &phases);
    start(&mut run, &[resume("api")]);
    run.ended("api", ServiceEnd::Reached);
    expect_end(&run, StackOutcome::Deployed);
}

#[test]
fn abort_rolls_back_an_unfinished_rollout() {
    let phases = [
        ("db", ServicePhase::Deployed),
        ("api", ServicePhase::Unfinished),
    ];
    let mut run = restored(stack(&[("db", &[]), ("api", &["db"])]), &phases);
    assert!(run.roll_back());
    start(&mut run, &[abort("api")]);
    run.ended("api", ServiceEnd::RolledBack);
    start(&mut run, &[undo("db")]);
}

#[test]
fn abort_leaves_an_unfinished_rollout_without_an_earlier_revision() {
    let run = without_earlier_revision(stack(&[("api", &[])]), "api");
    let mut run = restored(run, &[("api", ServicePhase::Unfinished)]);
    assert!(run.roll_back());
    expect_end(&run, StackOutcome::Held);
}

#[test]
fn resume_continues_an_unfinished_undo() {
    let mut run = stack(&[("db", &[]), ("api", &["db"])]);
    run.direction = StackDirection::Back;
    let phases = [
        ("db", ServicePhase::Deployed),
        ("api", ServicePhase::UndoUnfinished),
    ];
    let mut run = restored(run, &phases);
    start(&mut run, &[resume("api")]);
    run.ended("api", ServiceEnd::Reached);
    start(&mut run, &[undo("db")]);
    run.ended("db", ServiceEnd::Reached);
    expect_end(&run, StackOutcome::RolledBack);
}

#[test]
fn resume_continues_an_unfinished_contract() {
    let mut run = with_contract(stack(&[("db", &[]), ("web", &[])]), &["db", "web"]);
    member(&mut run, "db").contract = ContractState::Unfinished;
    let phases = [
        ("db", ServicePhase::Deployed),
        ("web", ServicePhase::Deployed),
    ];
    let mut run = restored(run, &phases);
    start(&mut run, &[resume("db")]);
    run.ended("db", ServiceEnd::Reached);
    start(&mut run, &[contract("web")]);
}

#[test]
fn failure_before_the_crash_turns_the_resumed_deployment_back() {
    let phases = [
        ("db", ServicePhase::Deployed),
        ("api", ServicePhase::RolledBack),
    ];
    let mut run = restored(stack(&[("db", &[]), ("api", &["db"])]), &phases);
    assert_eq!(run.direction, StackDirection::Back);
    start(&mut run, &[undo("db")]);
}

#[test]
fn resume_with_hold_rolls_a_failed_service_out_again() {
    let phases = [
        ("db", ServicePhase::Deployed),
        ("api", ServicePhase::RolledBack),
    ];
    let run = holding(stack(&[("db", &[]), ("api", &["db"])]));
    let mut run = restored(run, &phases);
    assert_eq!(run.direction, StackDirection::Forward);
    deploy(&mut run, "api");
    expect_end(&run, StackOutcome::Deployed);
}
