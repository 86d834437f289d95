use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::core::fleet::Occupant;
use crate::core::policy::admission::refusal::ServerClash;
use crate::core::policy::testing::{
    AMOUNTS, HistoryBuilder, NOW, definition, failure, fleet, spec,
};
use crate::core::policy::unattended::RunMode;
use crate::core::rollout::Direction;
use crate::core::rollout::failure::FailureKind;
use crate::core::rollout::task::TaskOutcome;
use crate::core::spec::step::Step;
use crate::core::spec::windows::DeployWindows;

const ATTENDED: RunMode = RunMode {
    unattended: false,
    force: false,
};
const UNATTENDED: RunMode = RunMode {
    unattended: true,
    force: false,
};
const FORCED: RunMode = RunMode {
    unattended: true,
    force: true,
};

/// A request, the history and the fleet.
struct Case {
    history: ServiceHistory,
    fleet: Fleet,
    verb: Verb,
    release: &'static str,
    contracts: &'static [&'static str],
    continuation: Option<Continuation>,
    mode: RunMode,
    freeze: Option<&'static str>,
    are_replicas_set: bool,
    unusable: &'static [&'static str],
    change: fn(&mut AdmissionInput<'_>),
}

impl Case {
    /// A request for `verb` and `release` on a fleet with one host for each release in `running`.
    fn new(history: HistoryBuilder, running: &[&str], verb: Verb, release: &'static str) -> Self {
        Self {
            history: history.build(),
            fleet: fleet(running, 0),
            verb,
            release,
            contracts: &[],
            continuation: None,
            mode: ATTENDED,
            freeze: None,
            are_replicas_set: true,
            unusable: &[],
            change: |_| {},
        }
    }

    /// A rollout that continues a stopped one.
    fn continued(history: HistoryBuilder, running: &[&str], continuation: Continuation) -> Self {
        let case = Self::new(history, running, Verb::Deploy, "b");
        let verb = case.history.newest.as_ref().expect("a rollout").verb;
        Self {
            verb,
            continuation: Some(continuation),
            ..case
        }
    }

    fn decide(
        &self,
        how: fn(&AdmissionRequest<'_>, &AdmissionInput<'_>) -> Result<Admission, AdmissionRefusal>,
    ) -> Result<Admission, AdmissionRefusal> {
        let (release, definition) = (
            self.release.into(),
            definition(self.release, self.contracts),
        );
        let request = AdmissionRequest {
            contracts: crate::core::rollout::task::ContractPolicy::InRollout,
            verb: self.verb,
            release: &release,
            definition: &definition,
            continuation: self.continuation.clone(),
            mode: self.mode,
            set: &["rollout.max_surge=0".to_owned()],
            hosts_from: Some(&"hosts".into()),
        };
        let unusable = self.unusable.iter().copied();
        let mut input = AdmissionInput {
            service: "page",
            fleet_name: "local",
            history: &self.history,
            spec: spec(&self.fleet),
            amounts: AMOUNTS,
            are_replicas_set: self.are_replicas_set,
            fleet: &self.fleet,
            unusable_hosts: unusable
                .map(|host| (host.into(), format!("{host}: no route")))
                .collect(),
            unusable_balancers: BTreeMap::new(),
            server_clash: None,
            freeze: self.freeze.map(str::to_owned),
            now: NOW,
        };
        (self.change)(&mut input);
        how(&request, &input)
    }

    #[track_caller]
    fn admitted(&self) -> Admission {
        self.decide(admit).expect("nothing is in the way")
    }

    #[track_caller]
    fn refusal(&self) -> String {
        self.decide(admit).expect_err("it is refused").to_string()
    }
}

/// A history in which `a` was deployed and proven.
fn on_a() -> HistoryBuilder {
    HistoryBuilder::default().deploy("a", Some(Outcome::Succeeded))
}

/// Adds a deploy of `b` with this outcome; `None` if the deploy was interrupted.
fn then_b(outcome: Option<Outcome>) -> HistoryBuilder {
    on_a().deploy("b", outcome)
}

fn paused() -> Outcome {
    Outcome::Paused {
        by: "anna@laptop".into(),
        since: NOW,
    }
}

fn start(events: &[Event]) -> &RolloutStart {
    match &events[0] {
        Event::RolloutStarted(start) => start,
        event => panic!("not a start: {event:?}"),
    }
}

#[test]
fn first_deploy_records_revision_without_rollback_target() {
    let case = Case::new(HistoryBuilder::default(), &["", "", ""], Verb::Deploy, "a");
    let admission = case.admitted();
    assert_eq!((admission.reuse, &admission.rollback_target), (None, &None));
    assert!(!admission.is_settled);
    assert!(!admission.plan.actions.is_empty());
    let events = admission.first_events(Revision(1), Epoch(5));
    let start = start(&events);
    assert_eq!(
        (start.target.revision, start.epoch),
        (Revision(1), Epoch(5))
    );
    assert_eq!((start.target.version.as_str(), start.replicas), ("A", 3));
    assert!(!start.is_proven);
    assert_eq!(start.set, ["rollout.max_surge=0"]);
    assert_eq!(start.hosts_from, Some("hosts".into()));
    assert_eq!(events.len(), 1);
}

#[test]
fn deploy_of_new_release_rolls_back_to_proven_release() {
    let case = Case::new(on_a(), &["a", "a", "a"], Verb::Deploy, "b");
    let admission = case.admitted();
    let target = admission.rollback_target.expect("a is proven");
    assert_eq!(
        (target.revision, target.version.as_str()),
        (Revision(1), "A")
    );
    assert_eq!(admission.reuse, None);
    assert_eq!(
        admission.spec.rollback_budget.map(|back| back.replicas),
        Some(3)
    );
}

#[test]
fn deploy_of_current_release_is_settled_unless_instances_are_missing() {
    let settled =
        |running: &[&str], verb| Case::new(on_a(), running, verb, "a").admitted().is_settled;
    assert!(settled(&["a", "a", "a"], Verb::Deploy));
    assert!(settled(&["a", "a", "a"], Verb::Scale));
    assert!(!settled(&["a", "a", ""], Verb::Deploy));
    assert!(!settled(&["a", "a", "b"], Verb::Deploy));
    assert!(
        !settled(&["a", "a", "a"], Verb::Restart),
        "a restart wants new instances"
    );
    let interrupted = then_b(None);
    let unrecorded = Case::new(interrupted, &["b", "b", "b"], Verb::Deploy, "b");
    assert!(
        !unrecorded.admitted().is_settled,
        "the history does not record a successful deploy"
    );
}

#[test]
fn steps_and_tasks_are_no_reason_for_a_rollout() {
    let mut case = Case::new(
        then_b(Some(Outcome::Succeeded)),
        &["b"; 3],
        Verb::Deploy,
        "b",
    );
    case.contracts = &["drop-email"];
    case.change = |input| {
        input.spec.steps = vec![Step {
            instances: "1".parse().unwrap(),
            soak: Duration::from_mins(5),
            pause: true,
            weight_percent: None,
        }];
    };
    let admission = case.admitted();
    assert!(admission.is_settled);
    assert_eq!(admission.spec.tasks.len(), 1, "a rollout would do it");
}

#[test]
fn deploy_is_not_settled_with_failed_hosts() {
    let mut lost = failure(FailureKind::HostLost);
    lost.host = Some("h3".into());
    let history = on_a().then(Event::HostFailed {
        failure: lost,
        log: Vec::new(),
    });
    let case = Case::new(history, &["a", "a", "a"], Verb::Deploy, "a");
    assert!(!case.admitted().is_settled);
}

#[test]
fn deploy_of_unfinished_release_reuses_revision_and_completed_tasks() {
    let ended = |task: &str, end| Event::TaskEnded {
        task: task.into(),
        end,
        migration: None,
        took: Duration::ZERO,
        output: Vec::new(),
    };
    let history = then_b(None)
        .then(ended("before_all", TaskOutcome::Done))
        .then(ended(
            "expand x",
            TaskOutcome::Failed { error: "no".into() },
        ));
    let admission = Case::new(history, &["a", "a", "b"], Verb::Deploy, "b").admitted();
    assert_eq!(admission.reuse, Some(Revision(2)));
    let events = admission.first_events(Revision(2), Epoch(9));
    assert_eq!(events[1..], [ended("before_all", TaskOutcome::DoneBefore)]);
    let held = then_b(Some(Outcome::Held { why: "held".into() }));
    let held = held.then(ended("before_all", TaskOutcome::Done));
    let admission = Case::new(held, &["a", "a", "b"], Verb::Deploy, "b").admitted();
    assert_eq!(admission.reuse, Some(Revision(2)));
    assert_eq!(
        admission.first_events(Revision(2), Epoch(9)).len(),
        1,
        "ship runs a failed task again"
    );
}

#[test]
fn rollback_rolls_back_to_replaced_revision_if_proven() {
    let proven = Case::new(
        then_b(Some(Outcome::Succeeded)),
        &["b", "b", "b"],
        Verb::Rollback,
        "a",
    );
    let target = proven.admitted().rollback_target.expect("b was proven");
    assert_eq!(target.revision, Revision(2));
    let failed = then_b(Some(Outcome::Held { why: "held".into() }));
    let unproven = Case::new(failed, &["b", "b", "b"], Verb::Rollback, "a").admitted();
    assert_eq!(unproven.rollback_target, None);
    assert!(start(&unproven.first_events(Revision(3), Epoch(1))).is_proven);
}

#[test]
fn rollout_never_rolls_back_past_contract_migration() {
    let history = then_b(Some(Outcome::Succeeded)).contracted("drop-email");
    let rollback = Case::new(history, &["b", "b", "b"], Verb::Deploy, "c").admitted();
    assert_eq!(
        rollback.rollback_target.map(|to| to.revision),
        Some(Revision(2))
    );
    let history = then_b(Some(Outcome::Succeeded))
        .contracted("drop-email")
        .rollout(Verb::Deploy, "c", 3, None);
    let mut case = Case::continued(history, &["b", "b", "c"], Continuation::Resume);
    case.release = "c";
    let newest = case.history.newest.as_mut().expect("a rollout");
    newest.rollback_target = case
        .history
        .revisions
        .first()
        .map(RevisionRecord::revision_ref);
    assert_eq!(case.admitted().rollback_target, None);
}

#[test]
fn restart_scale_and_migrate_have_no_rollback_target() {
    for verb in [Verb::Restart, Verb::Scale, Verb::Migrate] {
        let case = Case::new(then_b(Some(Outcome::Succeeded)), &["b", "b", ""], verb, "b");
        let admission = case.admitted();
        assert_eq!(admission.rollback_target, None, "{verb:?}");
        assert_eq!(admission.reuse, None, "{verb:?}");
        assert!(start(&admission.first_events(Revision(3), Epoch(1))).is_proven);
    }
}

#[test]
fn migrate_runs_only_due_contract_migrations() {
    let case = |made: &[&str]| {
        let mut case = Case::new(
            then_b(Some(Outcome::Succeeded)),
            &["b", "b", "b"],
            Verb::Migrate,
            "b",
        );
        case.contracts = &["drop-email", "drop-name"];
        case.history.applied_migrations = made.iter().map(|id| (*id).to_owned()).collect();
        case
    };
    let names = |case: Case| -> Vec<_> {
        let tasks = case.admitted().spec.tasks;
        tasks.into_iter().map(|task| task.name).collect()
    };
    assert_eq!(
        names(case(&[])),
        ["contract drop-email", "contract drop-name"]
    );
    assert_eq!(names(case(&["drop-email"])), ["contract drop-name"]);
    let due = case(&["drop-email", "drop-name"]);
    let b = definition("b", &["drop-email", "drop-name"]);
    assert_eq!(due.history.contracts_due(&b), []);
}

#[test]
fn resumed_rollout_keeps_its_direction() {
    let case = Case::continued(
        then_b(Some(paused())),
        &["a", "b", "b"],
        Continuation::Resume,
    );
    let admission = case.admitted();
    assert_eq!(admission.reuse, Some(Revision(2)));
    assert_eq!(
        admission.rollback_target.map(|to| to.revision),
        Some(Revision(1))
    );
    assert_eq!(admission.rollout.direction, Direction::Forward);
    let case = Case::continued(
        then_b(None).failed(),
        &["a", "b", "b"],
        Continuation::Resume,
    );
    let admission = case.admitted();
    assert!(matches!(
        admission.rollout.direction,
        Direction::RollingBack(_)
    ));
    assert!(matches!(
        admission.first_events(Revision(2), Epoch(1))[1..],
        [Event::RolloutFailed { .. }]
    ));
}

#[test]
fn aborted_rollout_rolls_back_even_if_controller_died_before_rollback() {
    let by = || "anna@laptop".to_owned();
    let aborted = [Event::Aborted { by: by() }];
    let now = Case::continued(
        then_b(Some(paused())),
        &["a", "b", "b"],
        Continuation::RollBack { by: by() },
    );
    assert_eq!(
        now.admitted().first_events(Revision(2), Epoch(1))[1..],
        aborted
    );
    let before = then_b(None).then(Event::Aborted { by: by() });
    let before = Case::continued(before, &["a", "b", "b"], Continuation::Resume);
    assert_eq!(
        before.admitted().first_events(Revision(2), Epoch(1))[1..],
        aborted
    );
}

#[test]
fn passed_steps_are_kept_and_a_promotion_is_recorded() {
    let passed = |step| Event::StepPassed { step, of: 0 };
    let at_step = || then_b(Some(paused())).then(passed(1));
    let events = |continuation| {
        let case = Case::continued(at_step(), &["a", "b", "b"], continuation);
        case.admitted().first_events(Revision(2), Epoch(1))[1..].to_vec()
    };
    assert_eq!(events(Continuation::Resume), [passed(1)]);
    let (by, full) = ("anna@laptop".to_owned(), false);
    let promoted = Event::Promoted {
        by: by.clone(),
        full,
    };
    assert_eq!(
        events(Continuation::Promote { by, full }),
        [passed(1), promoted]
    );
}

#[test]
fn scaling_between_two_revisions_keeps_their_shares() {
    let history = then_b(Some(paused()));
    let stopped = history.build();
    let continuation = Continuation::scale(stopped.newest.as_ref().expect("a rollout"));
    let mut case = Case::continued(then_b(Some(paused())), &["a", "a", "b"], continuation);
    case.change = |input| {
        input.amounts.replicas = 6;
        input.spec.budget.replicas = 6;
    };
    let events = case.admitted().first_events(Revision(2), Epoch(1));
    let start = start(&events);
    let scaling = start.scaling.as_ref().expect("only the number changes");
    assert_eq!(scaling.shares, [("a".into(), 4), ("b".into(), 2)].into());
    assert_eq!(*scaling.then, paused());
    assert_eq!(
        start.rollback_replicas,
        Some(3),
        "three hosts have no room for six"
    );
}

#[test]
fn unusable_hosts_count_as_failed_up_to_max_failed_hosts() {
    let mut case = Case::new(on_a(), &["a", "a", "a"], Verb::Deploy, "b");
    case.unusable = &["h2"];
    assert_eq!(
        case.refusal(),
        "1 of 3 hosts is unusable; no changes were made\n  h2: no route"
    );
    case.change = |input| input.spec.max_failed_hosts = 1;
    let events = case.admitted().first_events(Revision(2), Epoch(1));
    assert!(matches!(
        &events[1..],
        [Event::HostFailed { failure, .. }] if failure.host == Some("h2".into())
    ));
    case.unusable = &["h1", "h2", "h3"];
    case.change = |input| input.spec.max_failed_hosts = 9;
    assert!(case.refusal().starts_with("3 of 3 hosts are unusable"));
}

#[test]
fn rollout_is_refused_for_unusable_balancers_duplicate_servers_and_taken_ports() {
    let mut case = Case::new(on_a(), &["a", "a", "a"], Verb::Deploy, "b");
    case.change = |input| {
        input.unusable_balancers = [("lb1".into(), "timed out".into())].into();
    };
    assert!(
        case.refusal()
            .contains("balancers is unusable; no changes were made\n  lb1: timed out")
    );
    case.change = |input| {
        input.server_clash = Some(ServerClash {
            present: crate::core::ids::Slot::new("h1", 8081),
            next: crate::core::ids::Slot::new("h1", 8082),
            name: "page".into(),
        });
    };
    assert!(case.refusal().starts_with(
        "h1:8081, where an instance runs, and h1:8082 have the same server name, `page`"
    ));
    case.change = |_| {};
    let host = case.fleet.hosts.get_mut(&"h2".into()).expect("a host");
    host.slots
        .insert(8081, Occupant::OtherProcess("nginx".into()));
    assert!(
        case.refusal()
            .starts_with("this rollout cannot work; no changes were made\n  h2: slot")
    );
}

#[test]
fn admission_empties_fleet_only_if_replicas_are_set() {
    let mut case = Case::new(on_a(), &["a", "a", "a"], Verb::Deploy, "a");
    case.change = |input| {
        input.spec.hosts.clear();
        input.spec.budget.replicas = 0;
        input.spec.budget.unavailable = 0;
    };
    assert!(case.decide(admit).is_ok(), "the number was given");
    case.are_replicas_set = false;
    assert!(
        case.refusal()
            .starts_with("every host of the inventory is drained")
    );
}

#[test]
fn freeze_refuses_only_new_deploys() {
    let frozen = |verb, release| {
        let mut case = Case::new(on_a(), &["a", "a", "a"], verb, release);
        case.freeze = Some("ben@laptop until `ship thaw`");
        case
    };
    let deploy = frozen(Verb::Deploy, "b");
    assert_eq!(
        deploy.refusal(),
        "service `page` is frozen by ben@laptop until `ship thaw`; no changes were made\nhint: to \
         deploy anyway, use --force"
    );
    assert!(deploy.decide(assess).is_ok(), "a plan is shown");
    assert!(frozen(Verb::Restart, "a").decide(admit).is_ok());
    assert!(
        frozen(Verb::Deploy, "a").admitted().is_settled,
        "nothing is to be done"
    );
    let forced = Case {
        mode: FORCED,
        ..frozen(Verb::Deploy, "b")
    };
    assert!(forced.decide(admit).is_ok());
    let mut resumed = Case::continued(then_b(None), &["a", "a", "b"], Continuation::Resume);
    resumed.freeze = Some("ben@laptop");
    assert!(resumed.decide(admit).is_ok());
}

#[test]
fn deploy_outside_windows_is_refused_before_and_after_observation() {
    let closed = DeployWindows {
        is_limited: true,
        ..DeployWindows::default()
    };
    let early = check::check_open("page", UNATTENDED, None, &closed, NOW);
    assert!(matches!(early, Err(AdmissionRefusal::Closed { .. })));
    assert_eq!(
        check::check_open("page", FORCED, None, &closed, NOW),
        Ok(())
    );
    let mut case = Case::new(on_a(), &["a", "a", "a"], Verb::Deploy, "b");
    case.mode = UNATTENDED;
    case.change = |input| input.spec.deploy_windows.is_limited = true;
    assert!(case.refusal().starts_with("no deploy window is open"));
    // One instance could be replaced in time, but not all.
    case.change = |input| {
        input.spec.deploy_windows = DeployWindows {
            upcoming: vec![crate::core::spec::windows::OpenWindow {
                from: NOW,
                until: NOW + Duration::from_mins(5),
                window: "02:00-03:00".into(),
            }],
            is_limited: true,
            replacement_time_min: Duration::from_mins(2),
            fastest_deploy: Duration::ZERO,
        };
    };
    assert!(
        case.refusal()
            .starts_with("window 02:00-03:00 closes in 5m")
    );
}

#[test]
fn unattended_deploy_is_refused_on_unhealthy_fleet() {
    let on_a_with_two = |mode, release| {
        let mut case = Case::new(on_a(), &["a", "a", ""], Verb::Deploy, release);
        case.mode = mode;
        case
    };
    let refusal = on_a_with_two(UNATTENDED, "b").refusal();
    assert!(
        refusal.contains("2 of 3 replicas are available"),
        "{refusal}"
    );
    assert!(on_a_with_two(ATTENDED, "b").decide(admit).is_ok());
    assert!(on_a_with_two(FORCED, "b").decide(admit).is_ok());
    assert!(
        on_a_with_two(UNATTENDED, "a").decide(admit).is_ok(),
        "it repairs what runs"
    );
    let mut first = Case::new(HistoryBuilder::default(), &[""; 3], Verb::Deploy, "a");
    first.mode = UNATTENDED;
    assert!(
        first.decide(admit).is_ok(),
        "nothing was there to be healthy"
    );
    let mut unfinished = Case::new(then_b(None), &["a", "", ""], Verb::Deploy, "b");
    unfinished.mode = UNATTENDED;
    assert!(unfinished.decide(admit).is_ok());
}

#[test]
fn admitted_rollout_has_newer_epoch_than_every_host() {
    let mut case = Case::new(on_a(), &["a", "a", "a"], Verb::Deploy, "b");
    case.fleet = fleet(&["a", "a", "a"], 41);
    assert_eq!(case.admitted().rollout.epoch, Epoch(42));
}
