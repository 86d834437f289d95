//! What must always hold. The checker compares the actual state of the world with what each
//! controller has observed, and shares no code with the planner.
//!
//! It checks actions, not states: ship is not responsible for what a fault takes away. A stop that
//! leaves too few serving instances is allowed if the controller could not know better when it
//! decided on the action.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ship::core::fleet::health::Verdict;
use ship::core::fleet::{Instance, Listener, Observation, Occupant};
use ship::core::ids::{ActionId, Epoch, HostId, InstanceId, ReleaseId, Revision};
use ship::core::journal::status::{InstanceStatus, Status};
use ship::core::release::Readiness;
use ship::core::rollout::action::{Action, StopReason};
use ship::core::rollout::event::{Entry, Event, FailureResponse, RevisionRef, RolloutStart};
use ship::core::rollout::failure::{FailureKind, Outcome};
use ship::core::rollout::verb::Verb;
use ship::core::spec::budget::Budget;
use ship::core::time::Time;
use ship::engine::ActionOrder;
use tokio::sync::Notify;

use super::machine::Machine;
use super::scenario::Scenario;

/// How long a host may have an unexplained difference: longer than the time between two plans.
const UNEXPLAINED_MAX: Duration = Duration::from_millis(1500);

/// How long an observation of a host is valid.
const OBSERVATION_MAX_AGE: Duration = Duration::from_secs(30);

/// The longest time from a decision to its effect: the decision is saved first. What a controller
/// learns in the meantime comes too late for it.
const DECISION_MAX_AGE: Duration = Duration::from_millis(500);

/// The longest time between the plan of an action and its sending.
const ACTION_MAX_AGE: Duration = Duration::from_secs(10);

/// Why a held rollout starts no actions.
const HELD_REASON: &str = "the rollout is held";

/// How long a lease is valid after its last renewal.
const LEASE_DURATION: Duration = Duration::from_secs(30);

/// Checks the invariants during one run.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    instances: BTreeMap<InstanceId, ActualState>,
    controllers: BTreeMap<u32, ControllerView>,
    decisions: BTreeMap<(Epoch, ActionId), Decision>,
    journals: BTreeMap<i64, Journal>,
    /// The newest epoch in which an instance was started or stopped.
    acting_epoch: Epoch,
    /// The number of slots on each host.
    slots: usize,
    hosts: usize,
    /// Whether two instances must never run at once.
    is_singleton: bool,
    /// The zone of each host; empty without zones.
    zones: BTreeMap<HostId, usize>,
    /// The newest action that each host has accepted.
    newest_actions: BTreeMap<HostId, (Epoch, ActionId)>,
    /// When each action was planned.
    planned: BTreeMap<(Epoch, ActionId), Time>,
    /// The controllers that hold the lease or believe that they do, and when each last renewed it.
    leases: BTreeMap<u32, Time>,
    /// The epochs in which a user broke the lease.
    unlock_epochs: BTreeSet<Epoch>,
    /// The first violation.
    violation: Option<String>,
    notify: Arc<Notify>,
}

/// The actual state of an instance.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct ActualState {
    host: HostId,
    release: ReleaseId,
    revision: Revision,
    /// The epoch in which it was started; `None` if it ran before the first call.
    epoch: Option<Epoch>,
    runs: bool,
    /// Whether it was asked to stop and finishes its work.
    lingers: bool,
    serves: bool,
    first_served: Option<Time>,
    /// When a fault last made it unavailable.
    failed_at: Option<Time>,
    /// When its host last restarted it.
    restarted_at: Option<Time>,
    /// Whether an action has stopped it.
    is_stopped: bool,
    /// Whether it served until that action.
    served_until_stopped: bool,
}

/// What one controller has observed, and its limits.
#[derive(Debug)]
struct ControllerView {
    budget: Budget,
    min_ready: Duration,
    readiness: Readiness,
    /// The epoch of its rollout, once it has begun.
    epoch: Option<Epoch>,
    probes: BTreeMap<InstanceId, ProbeHistory>,
    hosts: BTreeMap<HostId, HostSnapshot>,
    lost: BTreeSet<HostId>,
    /// Hosts with a difference that the controller does not explain, and since when.
    unexplained_since: BTreeMap<HostId, Time>,
}

/// The probe results of an instance that a controller has received.
#[derive(Debug, Default)]
struct ProbeHistory {
    is_ready: bool,
    passes: u32,
    failures: u32,
    /// When the newest probe was sent, and whether it passed.
    last: Option<(Time, bool)>,
    /// When a probe last ended its readiness.
    unready_at: Option<Time>,
}

/// What a controller has observed on a host.
#[derive(Debug)]
struct HostSnapshot {
    at: Time,
    instances: BTreeMap<InstanceId, InstanceSnapshot>,
}

#[derive(Debug)]
struct InstanceSnapshot {
    runs: bool,
    restarts: u32,
    listener: Listener,
}

/// What a controller could not know when it decided on an action.
#[derive(Debug)]
struct Decision {
    at: Time,
    budget: Budget,
    min_ready: Duration,
    /// Instances that no longer serve, and that the controller must assume to serve.
    assumed_serving: BTreeSet<InstanceId>,
    /// Instances that run, and that the controller must assume to be stopped.
    assumed_stopped: BTreeSet<InstanceId>,
    /// Hosts on which the rollout has given up.
    failed_hosts: BTreeSet<HostId>,
    /// Whether the controller knows that the instance to be stopped does not serve.
    is_known_unhealthy: bool,
}

/// The durable part of a rollout's journal.
#[derive(Debug, Default)]
struct Journal {
    epoch: Epoch,
    start: Option<RolloutStart>,
    failed_hosts: BTreeMap<HostId, FailureKind>,
    started: BTreeMap<ActionId, (Action, Option<InstanceId>)>,
    in_flight: BTreeMap<ActionId, HostId>,
    was_suspended: bool,
    /// The hosts that can be reached again, and were not lost since.
    recovered: BTreeSet<HostId>,
    /// Why no new action may start.
    stopped_because: Option<&'static str>,
    is_finished: bool,
}

/// What an action has changed on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Claimed,
    Staged,
    Launched,
    Reloaded,
    Terminated,
    Disarmed,
    Pruned,
}

/// Why the state of a host has changed.
#[derive(Clone, Debug)]
pub(crate) enum Cause {
    World,
    Launch(Epoch),
    Stop(InstanceId),
}

impl Checker {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let hosts = scenario.hosts.iter().enumerate();
        let zones = hosts.map(|(number, host)| (host.clone(), Scenario::zone_of(number)));
        Self {
            slots: scenario.slots.len(),
            hosts: scenario.hosts.len(),
            is_singleton: scenario.is_singleton,
            zones: zones.filter(|_| scenario.has_zones).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// Records a violation. Only the first one counts.
    pub(crate) fn add_violation(&mut self, what: String) {
        self.violation.get_or_insert(what);
        self.notify.notify_one();
    }

    /// Notified at the first violation.
    pub(crate) fn violation_notify(&self) -> Arc<Notify> {
        Arc::clone(&self.notify)
    }

    // ── actual state ─────────────────────────────────────────────────────────────────────────────

    /// Records the present state of a host.
    pub(crate) fn on_host_changed(
        &mut self,
        now: Time,
        host: &HostId,
        machine: &Machine,
        cause: &Cause,
    ) {
        for record in machine.slots.values() {
            let (runs, serves) = (machine.is_on && record.is_running(), machine.serves(record));
            let epoch = match cause {
                Cause::Launch(epoch) => Some(*epoch),
                _ => None,
            };
            let actual = self
                .instances
                .entry(record.name.clone())
                .or_insert_with(|| ActualState {
                    host: host.clone(),
                    release: record.release.clone(),
                    revision: record.revision,
                    epoch,
                    runs: false,
                    lingers: false,
                    serves: false,
                    first_served: None,
                    failed_at: None,
                    restarted_at: None,
                    is_stopped: false,
                    served_until_stopped: false,
                });
            if matches!(cause, Cause::Stop(name) if *name == record.name) && !actual.is_stopped {
                (actual.is_stopped, actual.served_until_stopped) = (true, actual.serves);
            }
            actual.lingers = record.lingering.is_some();
            actual.change(now, runs, serves, cause);
        }
        let names: BTreeSet<_> = machine.slots.values().map(|record| &record.name).collect();
        let gone = self
            .instances
            .iter_mut()
            .filter(|(name, actual)| actual.host == *host && !names.contains(name));
        gone.for_each(|(_, actual)| actual.change(now, false, false, cause));
        let alive: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, actual)| actual.runs)
            .map(|(name, _)| name.to_string())
            .collect();
        if self.is_singleton && alive.len() > 1 {
            self.add_violation(format!(
                "two instances of a singleton run: {}",
                alive.join(", ")
            ));
        }
    }

    /// The running instances, their releases, and whether they serve.
    pub(crate) fn running_instances(
        &self,
    ) -> impl Iterator<Item = (&InstanceId, &ReleaseId, bool)> {
        self.instances
            .iter()
            .filter(|(_, actual)| actual.runs && !actual.lingers)
            .map(|(name, actual)| (name, &actual.release, actual.serves))
    }

    // ── what a controller knows ──────────────────────────────────────────────────────────────────

    /// Records the start of a controller.
    pub(crate) fn on_controller_started(
        &mut self,
        controller: u32,
        min_ready: Duration,
        readiness: Readiness,
    ) {
        let view = ControllerView {
            budget: Budget {
                replicas: 0,
                surge: 0,
                unavailable: 0,
            },
            min_ready,
            readiness,
            epoch: None,
            probes: BTreeMap::new(),
            hosts: BTreeMap::new(),
            lost: BTreeSet::new(),
            unexplained_since: BTreeMap::new(),
        };
        self.controllers.insert(controller, view);
    }

    /// Sets the capacity limits of a controller's rollout.
    pub(crate) fn set_budget(&mut self, controller: u32, budget: Budget) {
        if let Some(view) = self.controllers.get_mut(&controller) {
            view.budget = budget;
        }
    }

    /// Records the start of a controller's rollout.
    pub(crate) fn on_rollout_begun(&mut self, controller: u32, epoch: Epoch) {
        if let Some(view) = self.controllers.get_mut(&controller) {
            view.epoch = Some(epoch);
        }
    }

    /// A controller has acquired the lease. No other live controller may have renewed it lately.
    pub(crate) fn on_lease_acquired(&mut self, controller: u32, now: Time) {
        let rival = self.leases.iter().find(|(other, renewed_at)| {
            **other != controller && now.since(**renewed_at) <= LEASE_DURATION
        });
        if let Some((rival, _)) = rival {
            self.add_violation(format!(
                "ship{controller} acquires the lease while ship{rival} holds it"
            ));
        }
        self.leases.insert(controller, now);
    }

    /// A controller has renewed the lease.
    pub(crate) fn on_lease_renewed(&mut self, controller: u32, now: Time) {
        self.leases.insert(controller, now);
    }

    /// A user has broken the lease, and fences off its holder with a new epoch.
    pub(crate) fn on_lease_broken(&mut self, epoch: Epoch) {
        self.leases.clear();
        self.unlock_epochs.insert(epoch);
    }

    /// The process of a controller has exited.
    pub(crate) fn on_controller_exited(&mut self, controller: u32) {
        self.leases.remove(&controller);
    }

    /// A controller has received the result of a probe that it sent at `sent_at`.
    pub(crate) fn on_probe_completed(
        &mut self,
        controller: u32,
        host: &HostId,
        instance: &Instance,
        (sent_at, now): (Time, Time),
        verdict: &Verdict,
    ) {
        let Some(view) = self.controllers.get_mut(&controller) else {
            return;
        };
        let listener = view
            .hosts
            .get(host)
            .and_then(|host| host.instances.get(&instance.name));
        let is_pass = match (verdict, listener.map(|snapshot| &snapshot.listener)) {
            (Verdict::Error(_), _) | (Verdict::Pass(_), Some(Listener::Closed) | None) => return,
            (Verdict::Pass(_), Some(Listener::Own { .. } | Listener::Server { .. })) => true,
            (Verdict::Pass(_), Some(Listener::Other { .. } | Listener::Stray { .. }))
            | (Verdict::Fail(_), _) => false,
        };
        let stale_after = view.stale_after();
        let history = view.probes.entry(instance.name.clone()).or_default();
        if is_pass {
            (history.passes, history.failures) = (history.passes + 1, 0);
            // Before the rollout begins, a single pass is enough.
            history.is_ready |=
                view.epoch.is_none() || history.passes >= view.readiness.success_threshold;
        } else {
            (history.passes, history.failures) = (0, history.failures + 1);
            let is_fresh = history
                .last
                .is_some_and(|(before, _)| sent_at.since(before) <= stale_after);
            let was_ready = history.is_ready;
            history.is_ready &= history.failures < view.readiness.failure_threshold && is_fresh;
            if was_ready && !history.is_ready {
                history.unready_at = Some(now);
            }
        }
        history.last = Some((sent_at, is_pass));
    }

    /// A controller has observed a host as it was at a moment.
    pub(crate) fn on_host_observed(
        &mut self,
        controller: u32,
        host: &HostId,
        at: Time,
        observation: &Observation,
    ) {
        let Some(view) = self.controllers.get_mut(&controller) else {
            return;
        };
        view.lost.remove(host);
        let mut instances = BTreeMap::new();
        for (number, occupant) in &observation.slots {
            let Occupant::Instance(instance) = occupant else {
                continue;
            };
            let (runs, restarts) = (instance.is_running(), instance.restarts);
            instances.insert(
                instance.name.clone(),
                InstanceSnapshot {
                    runs,
                    restarts,
                    listener: instance.listener(*number).clone(),
                },
            );
        }
        let before = view
            .hosts
            .insert(host.clone(), HostSnapshot { at, instances });
        let now = &view.hosts[host].instances;
        for (name, snapshot) in before.into_iter().flat_map(|host| host.instances) {
            if !now
                .get(&name)
                .is_some_and(|present| present.runs && present.restarts == snapshot.restarts)
            {
                view.probes.remove(&name);
            }
        }
    }

    /// A controller cannot reach a host.
    pub(crate) fn on_host_unreachable(&mut self, controller: u32, host: &HostId) {
        if let Some(view) = self.controllers.get_mut(&controller) {
            view.lost.insert(host.clone());
        }
    }

    // ── actions ──────────────────────────────────────────────────────────────────────────────────

    /// An action must not be sent long after it was planned, because the fleet may have changed.
    pub(crate) fn check_age(&mut self, order: &ActionOrder, now: Time) {
        let planned = self.planned.get(&(order.epoch, order.id));
        let age = planned.map_or(Duration::ZERO, |planned| now.since(*planned));
        if age >= ACTION_MAX_AGE {
            self.add_violation(format!(
                "{} is sent {age:?} after it was planned",
                order.action
            ));
        }
    }

    /// A controller sends an action.
    pub(crate) fn on_action_sent(&mut self, order: &ActionOrder) {
        let journal = self
            .journals
            .values()
            .find(|journal| journal.epoch == order.epoch);
        let intended = journal.and_then(|journal| journal.started.get(&order.id));
        let name = order.instance.as_ref().map(|(_, name)| name.clone());
        let is_claim = matches!(order.action, Action::Claim { .. });
        if is_claim && self.unlock_epochs.contains(&order.epoch) {
            return;
        }
        // A deployment of a stack stages the releases before its rollouts begin.
        let is_staging = order.id == ActionId(0) && matches!(order.action, Action::Stage { .. });
        if is_staging && journal.is_none() {
            return;
        }
        if intended != Some(&(order.action.clone(), name)) {
            self.add_violation(format!(
                "{} is sent without a durable intent in the journal",
                order.action
            ));
        }
        if let Action::Start { .. } | Action::Stop { .. } = order.action {
            self.acting_epoch = self.acting_epoch.max(order.epoch);
        }
    }

    /// A controller has decided on an action; records what it could not know at that moment.
    fn on_action_decided(
        &mut self,
        controller: u32,
        rollout: i64,
        id: ActionId,
        action: &Action,
        now: Time,
    ) {
        let (Some(view), Some(journal)) = (
            self.controllers.get(&controller),
            self.journals.get(&rollout),
        ) else {
            return self.add_violation(format!("{action} belongs to no known controller"));
        };
        let names = |wanted: &dyn Fn(&InstanceId, &ActualState) -> bool| {
            let found = self
                .instances
                .iter()
                .filter(|(name, actual)| wanted(name, actual));
            found.map(|(name, _)| name.clone()).collect()
        };
        let decision = Decision {
            at: now,
            failed_hosts: journal.failed_hosts.keys().cloned().collect(),
            budget: view.budget,
            min_ready: view.min_ready,
            assumed_serving: names(&|name, actual| view.must_assume_serving(name, actual, now)),
            assumed_stopped: names(&|name, actual| view.cannot_know_running(name, actual, now)),
            is_known_unhealthy: matches!(action, Action::Stop { instance, .. } if view.knows_unhealthy(instance, now)),
        };
        let disturbed = self.disturbed_elsewhere(journal, action).cloned();
        let disturbed = disturbed.filter(|_| !decision.is_known_unhealthy);
        self.decisions.insert((journal.epoch, id), decision);
        if let Some(other) = disturbed {
            self.add_violation(format!(
                "{action} replaces an instance while {other} is in flight in another zone"
            ));
        }
    }

    /// An action in flight that changes an instance in another zone, if this one replaces an instance
    /// that serves. Hosts that have failed do not count.
    fn disturbed_elsewhere<'a>(&self, journal: &'a Journal, action: &Action) -> Option<&'a Action> {
        let replaces = action.is_reload()
            || matches!(
                action,
                Action::Stop {
                    why: StopReason::Replaced | StopReason::Surplus,
                    ..
                }
            );
        let zone = |host| self.zones.get(host);
        let served = |id: &&ActionId| {
            let decision = self.decisions.get(&(journal.epoch, **id));
            decision.is_none_or(|decision| !decision.is_known_unhealthy)
        };
        let in_flight = journal.in_flight.keys().filter(served);
        let mut in_flight = in_flight.map(|id| &journal.started[id].0);
        in_flight.find(|other| {
            let changes = match other {
                Action::Start { .. } => true,
                Action::Stop { why, .. } => !matches!(why, StopReason::Dead | StopReason::Lingered),
                _ => false,
            };
            let host = other.host();
            replaces
                && changes
                && zone(host) != zone(action.host())
                && !journal.failed_hosts.contains_key(host)
        })
    }

    /// An action takes effect on a host; `machine` is its state before.
    pub(crate) fn on_effect(
        &mut self,
        now: Time,
        host: &HostId,
        machine: &Machine,
        order: &ActionOrder,
        effect: Effect,
    ) {
        let what = &order.action;
        let acting = self
            .journals
            .values()
            .find(|journal| journal.epoch == self.acting_epoch);
        let failed_hosts = acting.is_some_and(|acting| acting.failed_hosts.contains_key(host));
        if order.epoch < self.acting_epoch && !failed_hosts {
            let newer = self.acting_epoch;
            self.add_violation(format!(
                "{what} of epoch {} takes effect although epoch {newer} has started or stopped \
                 instances",
                order.epoch
            ));
        }
        let newest = self.newest_actions.entry(host.clone()).or_default();
        if (order.epoch, order.id) < *newest {
            let (epoch, id) = *newest;
            self.add_violation(format!(
                "{what}, action {} of epoch {}, takes effect on {host} after action {} of epoch \
                 {epoch}",
                order.id.0, order.epoch, id.0
            ));
        } else {
            *newest = (order.epoch, order.id);
        }
        match (effect, &order.action) {
            (Effect::Launched, Action::Start { release, .. }) => {
                if !machine.releases.contains(release) {
                    self.add_violation(format!("{what}: the release is not on the host"));
                }
                self.check_start(order);
            }
            (
                Effect::Reloaded,
                Action::Start {
                    reloads: Some(instance),
                    ..
                },
            )
            | (Effect::Terminated, Action::Stop { instance, .. }) => {
                self.check_stop(order, instance, now);
            }
            (Effect::Pruned, Action::Prune { releases, .. }) => {
                let runs = machine
                    .slots
                    .values()
                    .any(|record| releases.contains(&record.release));
                if runs {
                    self.add_violation(format!("{what}: a release is in use by a slot"));
                }
            }
            _ => {}
        }
    }

    /// More instances than the maximum may run only if a host has restarted one without the
    /// controller's knowledge.
    fn check_start(&mut self, order: &ActionOrder) {
        let Some(decision) = self.decisions.get(&(order.epoch, order.id)) else {
            return;
        };
        let came = |actual: &ActualState| {
            actual
                .restarted_at
                .is_some_and(|restarted_at| restarted_at > decision.at)
        };
        let known = self.instances.iter().filter(|(name, actual)| {
            actual.runs
                && !actual.lingers
                && !decision.assumed_stopped.contains(name)
                && !came(actual)
                && !decision.failed_hosts.contains(&actual.host)
        });
        let running = known.count() + 1;
        let max_running = decision.budget.replicas + decision.budget.surge;
        if running > max_running as usize {
            self.add_violation(format!(
                "{}: {running} instances run, expected at most {max_running}",
                order.action
            ));
        }
    }

    /// Fewer instances than the minimum may serve only if a fault has taken one away without the
    /// controller's knowledge.
    fn check_stop(&mut self, order: &ActionOrder, stopped: &InstanceId, now: Time) {
        let Some(decision) = self.decisions.get(&(order.epoch, order.id)) else {
            return;
        };
        if decision.is_known_unhealthy
            || !self
                .instances
                .get(stopped)
                .is_some_and(|actual| actual.serves)
        {
            return;
        }
        let counts = |(name, actual): &(&InstanceId, &ActualState)| {
            // Later decisions may rely on instances whose soak time had not ended at this one.
            let is_assumed_serving = decision.assumed_serving.contains(*name);
            let until = match actual.failed_at.filter(|_| !actual.serves) {
                None => now,
                Some(_) if is_assumed_serving => decision.at,
                Some(failed_at) => failed_at,
            };
            let old_enough = actual.epoch != Some(order.epoch)
                || actual
                    .first_served
                    .is_some_and(|since| since + decision.min_ready <= until);
            // A fault has taken it away, even if its host has restarted it for a moment since.
            let has_failed_since = actual
                .failed_at
                .is_some_and(|failed_at| failed_at > decision.at);
            let counts_now = !actual.served_until_stopped && (actual.serves || is_assumed_serving);
            *name != stopped && old_enough && (counts_now || has_failed_since)
        };
        let left = self.instances.iter().filter(counts).count();
        let min_serving = decision.budget.replicas - decision.budget.unavailable;
        if left < min_serving as usize {
            self.add_violation(format!(
                "{} leaves {left} serving instances, expected at least {min_serving}",
                order.action
            ));
        }
    }

    // ── the journal ──────────────────────────────────────────────────────────────────────────────

    /// Events have become durable.
    pub(crate) fn on_events_recorded(
        &mut self,
        controller: u32,
        rollout: i64,
        entries: &[Entry],
        now: Time,
    ) {
        for entry in entries {
            let mut violations = Vec::new();
            self.journals
                .entry(rollout)
                .or_default()
                .apply(&entry.event, &mut violations);
            for violation in violations {
                self.add_violation(violation);
            }
            if let Event::ActionStarted { id, action, .. } = &entry.event {
                let epoch = self.journals[&rollout].epoch;
                self.planned.insert((epoch, *id), entry.at);
                self.on_action_decided(controller, rollout, *id, action, now);
            }
        }
    }

    /// The end of a rollout has become durable.
    pub(crate) fn on_rollout_ended(
        &mut self,
        controller: u32,
        rollout: i64,
        outcome: &Outcome,
        now: Time,
    ) {
        let Some(journal) = self.journals.get(&rollout) else {
            return self.add_violation("a rollout ended that never began".into());
        };
        let Some(view) = self.controllers.get(&controller) else {
            return;
        };
        if view.epoch != Some(journal.epoch) {
            // The record that the rollout's own controller could not make any more.
            if !journal.is_finished {
                self.add_violation("another controller ends an unfinished rollout".into());
            }
            return;
        }
        let Some(start) = &journal.start else { return };
        let wanted = match outcome {
            Outcome::Succeeded => Some(&start.target),
            Outcome::RolledBack => start.rollback_target.as_ref(),
            _ => return,
        };
        let Some(RevisionRef {
            release, revision, ..
        }) = wanted
        else {
            return self.add_violation(format!(
                "a rollout ended as {} without a revision for that",
                outcome.word()
            ));
        };
        let is_fresh =
            |actual: &ActualState| start.verb != Verb::Restart || actual.revision == *revision;
        let serving = self.instances.iter().filter(|(name, actual)| {
            let old_enough = actual.epoch != Some(journal.epoch)
                || actual
                    .first_served
                    .is_some_and(|since| since + view.min_ready <= now);
            actual.release == *release
                && is_fresh(actual)
                && old_enough
                && !actual.is_stopped
                && (actual.serves || view.must_assume_serving(name, actual, now))
        });
        let serving = serving.count();
        let left = &journal.failed_hosts;
        let known: Vec<_> = self
            .instances
            .iter()
            .filter(|(name, actual)| {
                actual.runs
                    && !actual.lingers
                    && !view.cannot_know_running(name, actual, now)
                    && !left.contains_key(&actual.host)
            })
            .collect();
        let replicas = view.budget.replicas as usize;
        let least = if left.is_empty() {
            replicas
        } else {
            replicas.min((self.hosts - left.len()) * self.slots)
        };
        let other = known
            .iter()
            .find(|(_, actual)| actual.release != *release || !is_fresh(actual));
        let violation = if serving < least {
            format!(
                "{}: {serving} instances serve, expected {least}",
                outcome.word()
            )
        } else if let Some((name, _)) = other {
            format!("{}: but {name} still runs", outcome.word())
        } else if known.len() > replicas {
            format!(
                "{}: {} instances run, expected {replicas}",
                outcome.word(),
                known.len()
            )
        } else {
            return;
        };
        self.add_violation(violation);
    }

    /// Whether the newest rollout has ended and none of its actions is in flight.
    pub(crate) fn newest_is_finished(&self) -> bool {
        self.journals
            .last_key_value()
            .is_none_or(|(_, journal)| journal.is_finished && journal.in_flight.is_empty())
    }

    /// The number of actions so far.
    pub(crate) fn action_count(&self) -> usize {
        self.decisions.len()
    }

    /// The status is shown to a user. It must explain every difference on a host without an action
    /// in flight.
    pub(crate) fn on_status_shown(
        &mut self,
        controller: u32,
        rollout: i64,
        status: &Status,
        now: Time,
    ) {
        let Some(journal) = self.journals.get(&rollout) else {
            return;
        };
        let Some(view) = self.controllers.get_mut(&controller) else {
            return;
        };
        // Scaling without a new version may leave instances as they are.
        let stands = journal.stopped_because.is_some()
            || journal
                .start
                .as_ref()
                .is_some_and(|start| start.scaling.is_some());
        let busy: BTreeSet<_> = journal.in_flight.values().collect();
        // A lingering instance ends on its own.
        let odd = status.instances.iter().filter(|row| {
            !row.status.is_retired()
                && (row.status != InstanceStatus::Running
                    || Some(&row.version) != status.version.as_ref())
        });
        let unexplained: BTreeMap<HostId, String> = odd
            .filter(|row| {
                !busy.contains(&row.host) && !status.holds.iter().any(|held| held.host == row.host)
            })
            .map(|row| (row.host.clone(), format!("{} is {}", row.name, row.status)))
            .collect();
        let mut unexplained_since = None;
        view.unexplained_since
            .retain(|host, _| unexplained.contains_key(host) && !stands);
        for (host, what) in unexplained.into_iter().filter(|_| !stands) {
            let since = *view.unexplained_since.entry(host.clone()).or_insert(now);
            if now.since(since) > UNEXPLAINED_MAX {
                unexplained_since.get_or_insert(format!(
                    "{host} has neither an action nor a wait reason: {what}"
                ));
            }
        }
        if let Some(unexplained_since) = unexplained_since {
            self.add_violation(unexplained_since);
        }
    }
}

impl ActualState {
    fn change(&mut self, now: Time, runs: bool, serves: bool, cause: &Cause) {
        if self.serves && !serves && !self.is_stopped {
            self.failed_at = Some(now);
        }
        if !self.runs && runs && matches!(cause, Cause::World) {
            (
                self.restarted_at,
                self.is_stopped,
                self.served_until_stopped,
            ) = (Some(now), false, false);
        }
        if serves {
            self.first_served.get_or_insert(now);
        }
        (self.runs, self.serves) = (runs, serves);
    }
}

impl ControllerView {
    /// The age from which a probe result is ignored, counted from when the probe was sent.
    fn stale_after(&self) -> Duration {
        const SLACK: Duration = Duration::from_secs(5);
        self.readiness.interval + self.readiness.timeout * 2 + SLACK
    }

    /// Whether the controller must assume that an instance serves which no longer does: its probes
    /// passed, and no later observation of its host contradicts them.
    fn must_assume_serving(&self, name: &InstanceId, actual: &ActualState, now: Time) -> bool {
        let seems_ready = self.probes.get(name).is_some_and(|history| {
            let is_news = history
                .unready_at
                .is_some_and(|at| now.since(at) <= DECISION_MAX_AGE);
            (history.is_ready || is_news)
                && history
                    .last
                    .is_some_and(|(sent_at, _)| now.since(sent_at) <= self.stale_after())
        });
        !actual.serves && !actual.is_stopped && seems_ready && !self.lost.contains(&actual.host)
    }

    /// Whether the controller cannot know that an instance runs: its host has restarted it since
    /// the last observation.
    fn cannot_know_running(&self, name: &InstanceId, actual: &ActualState, now: Time) -> bool {
        let is_good = |host: &&HostSnapshot| {
            now.since(host.at) <= OBSERVATION_MAX_AGE || self.lost.contains(&actual.host)
        };
        let Some(host) = self.hosts.get(&actual.host).filter(is_good) else {
            return false;
        };
        let was_running = host
            .instances
            .get(name)
            .is_some_and(|snapshot| snapshot.runs);
        actual.runs
            && !was_running
            && actual
                .restarted_at
                .is_some_and(|restarted_at| restarted_at > host.at)
    }

    /// Whether the controller knows that an instance does not serve: its probes fail, or it has
    /// exited.
    fn knows_unhealthy(&self, name: &InstanceId, now: Time) -> bool {
        let mut fresh = self
            .hosts
            .values()
            .filter(|host| now.since(host.at) <= OBSERVATION_MAX_AGE);
        let ended = fresh.any(|host| {
            host.instances
                .get(name)
                .is_some_and(|snapshot| !snapshot.runs)
        });
        let fails = self.probes.get(name).is_some_and(|history| {
            !history.is_ready
                && history.failures >= self.readiness.failure_threshold
                && history.last.is_some_and(|(sent_at, is_pass)| {
                    !is_pass && now.since(sent_at) <= self.stale_after()
                })
        });
        ended || fails
    }
}

impl Journal {
    fn apply(&mut self, event: &Event, violations: &mut Vec<String>) {
        if self.is_finished {
            violations.push(format!("the journal continues after its end: {event:?}"));
        }
        match event {
            Event::RolloutStarted(start) => {
                (self.epoch, self.start) = (start.epoch, Some(start.clone()));
            }
            Event::ActionStarted {
                id,
                action,
                instance,
            } => {
                let is_tidying = matches!(action, Action::Disarm { .. })
                    && self.stopped_because == Some(HELD_REASON);
                if let Some(why) = self.stopped_because.filter(|_| !is_tidying) {
                    violations.push(format!("{action} starts although {why}"));
                }
                if self.in_flight.values().any(|host| host == action.host()) {
                    violations.push(format!(
                        "{action} starts while another action is in flight on its host"
                    ));
                }
                if self
                    .started
                    .last_key_value()
                    .is_some_and(|(last, _)| last >= id)
                {
                    violations.push(format!("{action} reuses the action number {}", id.0));
                }
                self.started.insert(*id, (action.clone(), instance.clone()));
                self.in_flight.insert(*id, action.host().clone());
            }
            Event::ActionDone { id }
            | Event::ActionFailed { id, .. }
            | Event::ActionUnknown { id, .. } => {
                let known = self.in_flight.remove(id);
                violations.extend(
                    known
                        .is_none()
                        .then(|| format!("action {} ended but was not in flight", id.0)),
                );
            }
            Event::RolloutFailed {
                then: FailureResponse::Hold { .. },
                ..
            } => self.stopped_because = Some(HELD_REASON),
            Event::RolloutFailed {
                then: FailureResponse::RollBack,
                ..
            } => {
                self.failed_hosts
                    .retain(|_, kind| *kind == FailureKind::HostLost);
            }
            Event::HostFailed { failure, .. } => {
                self.failed_hosts
                    .extend(failure.host.clone().map(|host| (host, failure.kind)));
            }
            Event::ControllerResumed { .. } => self.was_suspended = true,
            Event::HostLost { host, why } => {
                self.recovered.remove(host);
                if why.contains("ship was suspended") && !self.was_suspended {
                    violations.push(format!("{why}, according to the journal"));
                }
            }
            Event::HostRecovered { host } => {
                let is_new = self.recovered.insert(host.clone());
                let violation = || format!("{host} recovers although it was not lost");
                violations.extend((!is_new).then(violation));
            }
            Event::Paused { .. } => self.stopped_because = Some("the rollout is paused"),
            Event::Fenced { .. } => self.stopped_because = Some("a host has rejected this epoch"),
            Event::Interrupted { .. } => self.stopped_because = Some("the rollout is interrupted"),
            Event::RolloutFinished { .. } => {
                self.is_finished = true;
                self.stopped_because = Some("the rollout has ended");
            }
            _ => {}
        }
    }
}
