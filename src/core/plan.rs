//! The whole policy of a rollout: from what is wanted and what is seen to what is done next.
//!
//! It follows Kubernetes' Deployment controller (`pkg/controller/deployment/rolling.go`), with two differences.
//! What is not known counts against the rollout, because here the controller may die and its last order land late.
//! And a failure has a consequence: the rollout turns back, or stands still for a person.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, StopReason};
use super::census::{Census, Counted, HostCount};
use super::event::{Progress, Then, Verb};
use super::failure::{Failure, FailureKind, Outcome};
use super::fleet::{Fleet, Process, Reach};
use super::hold::Hold;
use super::names::{HostId, ReleaseId, Slot};
use super::rollout::{Direction, Rollout};
use super::spec::{OnFailure, Spec};
use super::time::Time;

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Orders to give, at most one a host.
    pub actions: Vec<Action>,
    /// For every host without an order, why not.
    pub holds: BTreeMap<HostId, Hold>,
    /// How far it has got.
    pub progress: Progress,
    /// What comes after the orders.
    pub next: Next,
}

/// What comes after the orders of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Plan again at this moment, or when anything happens.
    Wake(Time),
    /// Plan again when an order in flight has ended.
    AwaitInFlight,
    /// The rollout has failed: turn it.
    Fail(Failure, Then),
    /// The rollout has ended.
    Finish(Outcome),
}

/// Decides what to do now.
pub fn plan(spec: &Spec, rollout: &Rollout, fleet: &Fleet, now: Time) -> Plan {
    let census = Census::take(spec, rollout, fleet, now);
    let spare = census.available.saturating_sub(spec.budget.min_available());
    let mut draft = Draft { spec, rollout, census: &census, now, actions: BTreeMap::new(), spare };
    let next = draft.decide();
    let actions = census.hosts.iter().filter_map(|host| draft.actions.get(host.id)).cloned().collect();
    let holds = census
        .hosts
        .iter()
        .filter(|host| !draft.actions.contains_key(host.id))
        .map(|host| (host.id.clone(), draft.hold(host, &next)))
        .collect();
    Plan { actions, holds, progress: census.progress(spec), next }
}

struct Draft<'a> {
    spec: &'a Spec,
    rollout: &'a Rollout,
    census: &'a Census<'a>,
    now: Time,
    /// The orders so far, by host.
    actions: BTreeMap<HostId, Action>,
    /// How many available instances may still be stopped. Whatever stops one takes from here.
    spare: u32,
}

impl Draft<'_> {
    fn decide(&mut self) -> Next {
        if let Some(outcome) = self.standstill() {
            return if self.rollout.in_flight.is_empty() { Next::Finish(outcome) } else { Next::AwaitInFlight };
        }
        if self.is_complete() {
            self.prune();
            return if !self.actions.is_empty() || !self.rollout.in_flight.is_empty() {
                Next::AwaitInFlight
            } else if self.is_backwards() {
                Next::Finish(Outcome::RolledBack)
            } else {
                Next::Finish(Outcome::Succeeded)
            };
        }
        if let Some(failure) = self.failure() {
            return self.consequence(failure);
        }
        if self.prepare() {
            self.clear_dead();
            self.start_new();
            self.stop_old();
            self.stop_surplus();
            if let Some(failure) = self.dead_end() {
                return self.consequence(failure);
            }
        }
        Next::Wake(self.wake_at())
    }

    /// Why nothing new is begun at all.
    fn standstill(&self) -> Option<Outcome> {
        let refused = self.rollout.fenced.clone();
        let newer = || self.census.hosts.iter().find(|host| host.epoch() > self.rollout.epoch);
        if let Some((host, seen)) = refused.or_else(|| newer().map(|host| (host.id.clone(), host.epoch()))) {
            return Some(Outcome::Fenced { host, seen });
        }
        if self.rollout.interrupted {
            return Some(Outcome::Interrupted);
        }
        match &self.rollout.direction {
            Direction::Held { why, .. } => Some(Outcome::Held { why: why.clone() }),
            _ => self.rollout.outcome.clone(),
        }
    }

    fn is_backwards(&self) -> bool {
        matches!(self.rollout.direction, Direction::Back(_))
    }

    // ── failure and what follows it ────────────────────────────────────────────────────────────────────────────────

    fn failure(&self) -> Option<Failure> {
        if self.is_backwards() {
            // On the way back another place may do; only an instance that cannot be stopped has no other.
            return self.failed_order(|kind| kind == FailureKind::Stop).or_else(|| self.overdue());
        }
        self.failed_order(|_| true).or_else(|| self.exited_instance()).or_else(|| self.overdue())
    }

    /// On the way back: orders have failed, and there is nothing else to try and nothing to wait for.
    fn dead_end(&self) -> Option<Failure> {
        let census = self.census;
        let waits = census.new > census.new_available || !self.rollout.in_flight.is_empty() || !self.actions.is_empty();
        if !self.is_backwards() || waits || census.new >= self.spec.budget.replicas {
            return None;
        }
        self.failed_order(|_| true)
    }

    fn failed_order(&self, matters: fn(FailureKind) -> bool) -> Option<Failure> {
        self.rollout.failed.iter().find_map(|failed| {
            let kind = match &failed.action {
                Action::Claim { .. } | Action::Stage { .. } => FailureKind::Stage,
                Action::Start { .. } => FailureKind::Start,
                Action::Stop { .. } => FailureKind::Stop,
                // Old releases left lying do no harm; what is still armed is tried again.
                Action::Prune { .. } | Action::Disarm { .. } => return None,
            };
            matters(kind).then(|| Failure {
                kind,
                host: failed.action.host().clone(),
                slot: failed.action.slot().cloned(),
                detail: failed.error.clone(),
                waited: failed.after,
            })
        })
    }

    /// An instance that this rollout started and that did not stay up.
    fn exited_instance(&self) -> Option<Failure> {
        self.census.instances().find_map(|(host, counted)| {
            let instance = counted.instance;
            let ours = counted.is_new && self.rollout.started.contains(&instance.name) && !counted.is_stopping;
            let gave_up =
                !instance.is_running() || (instance.restarts > self.spec.max_restarts && !counted.is_available);
            (ours && host.is_reachable() && gave_up).then(|| {
                let detail = match &instance.process {
                    Process::Ended { how } => how.clone(),
                    Process::Running => format!("it was restarted {} times", instance.restarts),
                };
                self.failure_at(FailureKind::Exited, host, counted, detail, instance.started)
            })
        })
    }

    /// The progress deadline has passed: who stands in the way?
    fn overdue(&self) -> Option<Failure> {
        if self.now < self.deadline() {
            return None;
        }
        let waiting = self.census.instances().find(|(_, counted)| counted.is_new && !counted.is_available);
        if let Some((host, counted)) = waiting.filter(|(host, _)| host.is_reachable()) {
            let answer = counted.instance.health.last_answer().unwrap_or("none, it was never asked").to_owned();
            let since = counted.instance.started.max(self.rollout.last_progress);
            return Some(self.failure_at(FailureKind::NotReady, host, counted, answer, since));
        }
        if let Some(in_flight) = self.rollout.in_flight.values().min_by_key(|in_flight| in_flight.since) {
            return Some(Failure {
                kind: match in_flight.action {
                    Action::Start { .. } => FailureKind::Start,
                    Action::Stop { .. } => FailureKind::Stop,
                    Action::Claim { .. } | Action::Stage { .. } | Action::Prune { .. } | Action::Disarm { .. } => {
                        FailureKind::Stage
                    }
                },
                host: in_flight.action.host().clone(),
                slot: in_flight.action.slot().cloned(),
                detail: "the host has not answered yet".to_owned(),
                waited: self.now.since(in_flight.since),
            });
        }
        let lost = self.census.hosts.iter().find_map(|host| match &host.host?.reach {
            Reach::Lost { since, why } => Some((host, *since, why.clone())),
            _ => None,
        });
        let (host, kind, since, detail) = if let Some((host, since, why)) = lost {
            (host.id.clone(), FailureKind::HostLost, since, why)
        } else {
            let host = self.spec.hosts.first().cloned().unwrap_or_else(|| HostId::from("?"));
            (host, FailureKind::Stuck, self.rollout.last_progress, self.arithmetic())
        };
        Some(Failure { kind, host, slot: None, detail, waited: self.now.since(since) })
    }

    fn failure_at(
        &self,
        kind: FailureKind,
        host: &HostCount<'_>,
        counted: &Counted<'_>,
        detail: String,
        since: Time,
    ) -> Failure {
        let slot = Some(Slot { host: host.id.clone(), port: counted.port });
        Failure { kind, host: host.id.clone(), slot, detail, waited: self.now.since(since) }
    }

    fn consequence(&self, failure: Failure) -> Next {
        if self.is_backwards() {
            // What is in flight ends first: nobody may be left to hear of it afterwards.
            let awaited = !self.rollout.in_flight.is_empty();
            return if awaited { Next::AwaitInFlight } else { Next::Finish(Outcome::RollbackFailed { failure }) };
        }
        let then = match self.why_not_back() {
            Some(why) => Then::Hold { why },
            None => Then::RollBack,
        };
        Next::Fail(failure, then)
    }

    /// Why a failed rollout stays as it is instead of going back.
    fn why_not_back(&self) -> Option<String> {
        if self.spec.on_failure == OnFailure::Hold {
            return Some("on_failure is \"hold\"".into());
        }
        let Some(fallback) = &self.rollout.fallback else {
            return Some(match self.rollout.verb {
                Verb::Deploy => "there is no other revision proven healthy to go back to".into(),
                Verb::Rollback => "a rollback that fails is not itself rolled back".into(),
            });
        };
        // Blame first: if the old release fails too, going back to it would only move the trouble.
        // What was sick before it was stopped stays evidence after.
        let lost = |(host, counted): &(&HostCount<'_>, &Counted<'_>)| {
            !host.is_reachable() && counted.instance.release == fallback.release
        };
        let found = self.census.instances().find(lost).or_else(|| {
            self.census.instances().find(|(_, counted)| self.rollout.sickened.contains(&counted.instance.name))
        });
        let sick = match found {
            Some((host, counted)) => Slot { host: host.id.clone(), port: counted.port }.to_string(),
            None => self.rollout.sickened.first()?.to_string(),
        };
        Some(format!(
            "instances of the old version {} fail too ({sick}), so the new one may not be to blame",
            fallback.version
        ))
    }

    // ── the way there ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Orders what must be there before anything is started or stopped; says whether it is.
    ///
    /// Every host must refuse late orders of an earlier controller, and before the first start the release must lie
    /// everywhere: what can fail without touching the service fails first. On a host that was lost before it refused
    /// such orders, one of them may start or stop something at any time, and no count could be trusted.
    fn prepare(&mut self) -> bool {
        let target = self.rollout.target_release();
        let unclaimed = |host: &HostCount<'_>| !host.is_reachable() && host.epoch() < self.rollout.epoch;
        let mut ready = !self.census.hosts.iter().any(unclaimed);
        for host in self.census.hosts.iter().filter(|host| host.is_reachable()) {
            let Some(seen) = host.host else { continue };
            let lacks_release = host.listed && !self.is_backwards() && !seen.releases.contains(target);
            let lacks_claim = seen.epoch < self.rollout.epoch;
            let may_take_one = host.busy.is_none() && !self.has_failed(host.id);
            let is_ready = !lacks_claim && (!lacks_release || !self.rollout.started.is_empty());
            ready &= is_ready;
            if lacks_release && may_take_one {
                self.order(Action::Stage { host: host.id.clone(), release: target.clone() });
            } else if (lacks_claim || host.is_unsettled) && may_take_one {
                // It waits for what is still at work there, and tells what has come of it.
                self.order(Action::Claim { host: host.id.clone() });
            }
        }
        ready
    }

    fn has_failed(&self, host: &HostId) -> bool {
        self.rollout.failed.iter().any(|failed| failed.action.host() == host && failed.action.slot().is_none())
    }

    /// An instance whose process has ended serves nobody: its slot is wanted.
    fn clear_dead(&mut self) {
        let dead = self.census.instances().filter(|(_, counted)| !counted.is_running && !counted.is_stopping);
        for (host, counted) in dead {
            self.stop(host, counted, StopReason::Dead);
        }
    }

    /// Kubernetes' scaling up: `min(replicas + surge − running, replicas − new)`, spread over the hosts.
    fn start_new(&mut self) {
        let room = self.spec.budget.max_running().saturating_sub(self.census.running);
        let wanted = self.spec.budget.replicas.saturating_sub(self.census.new);
        let count = (room.min(wanted) as usize).saturating_sub(self.staging_for_a_start());
        if count == 0 {
            return;
        }
        let target = self.rollout.target_release();
        let mut places: Vec<_> = self
            .census
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| host.is_idle() && !self.actions.contains_key(host.id) && !self.has_failed(host.id))
            .filter_map(|(order, host)| Some((host.new, host.running, order, host.free_slot(self.spec, self.rollout)?)))
            .collect();
        // A host that is busy for a moment must not push its share onto another.
        let fair = self.fair_share();
        if !self.rollout.in_flight.is_empty() || places.iter().any(|place| place.0 < fair) {
            places.retain(|place| place.0 < fair);
        }
        places.sort_unstable();
        for (_, _, order, slot) in places.into_iter().take(count) {
            let release = target.clone();
            // On the way back a host may never have had the release.
            let is_there = self.census.hosts[order].host.is_some_and(|host| host.releases.contains(target));
            self.order(if is_there {
                Action::Start { slot, release }
            } else {
                Action::Stage { host: slot.host, release }
            });
        }
    }

    /// On the way back, hosts that are getting the release because a start is to follow.
    fn staging_for_a_start(&self) -> usize {
        let stages = |host: &&HostCount<'_>| self.is_backwards() && matches!(host.busy, Some(Action::Stage { .. }));
        self.census.hosts.iter().filter(stages).count()
    }

    /// Instances of the target that each host carries when they are spread evenly.
    fn fair_share(&self) -> u32 {
        let hosts = self.census.hosts.iter().filter(|host| host.listed && host.is_reachable()).count();
        self.spec.budget.replicas.div_ceil(u32::try_from(hosts).unwrap_or(u32::MAX).max(1))
    }

    /// Kubernetes' scaling down: unhealthy old instances first, then healthy ones while enough are available.
    fn stop_old(&mut self) {
        let mut allowance = self.max_down();
        let (sick, healthy): (Vec<_>, Vec<_>) = self
            .census
            .instances()
            .filter(|(_, counted)| !counted.is_new && counted.is_running && !counted.is_stopping)
            .partition(|(_, counted)| !counted.is_available && !counted.is_in_doubt);
        for (host, counted) in sick {
            if allowance == 0 {
                return;
            }
            allowance -= u32::from(self.stop(host, counted, StopReason::OldAndUnhealthy));
        }
        // First where the new one already stands beside the old: that frees a double load, and keeps the spread.
        let (doubled, single): (Vec<_>, Vec<_>) = healthy.into_iter().partition(|(host, _)| host.new > 0);
        for (host, counted) in doubled.into_iter().chain(single) {
            if allowance == 0 {
                return;
            }
            allowance -= u32::from(self.stop(host, counted, StopReason::Replaced));
        }
    }

    /// `total − min_available − unavailable new`: new instances that do not serve yet keep old ones in place.
    fn max_down(&self) -> u32 {
        let total = self.census.running.saturating_sub(self.census.stopping);
        let new_unavailable = self.census.new.saturating_sub(self.census.new_available);
        total.saturating_sub(self.spec.budget.min_available()).saturating_sub(new_unavailable)
    }

    /// More instances of the target than replicas (after scaling down, or on the way back): the idle ones first.
    fn stop_surplus(&mut self) {
        let mut surplus = self.census.new.saturating_sub(self.spec.budget.replicas);
        let mut candidates: Vec<_> = self
            .census
            .instances()
            .filter(|(_, counted)| counted.is_new && counted.is_running)
            .enumerate()
            .map(|(order, (host, counted))| {
                (counted.is_available, std::cmp::Reverse(host.new), std::cmp::Reverse(order), host, counted)
            })
            .collect();
        candidates.sort_by_key(|candidate| (candidate.0, candidate.1, candidate.2));
        for (.., host, counted) in candidates {
            if counted.is_stopping {
                surplus = surplus.saturating_sub(1);
            } else if surplus > 0 {
                surplus -= u32::from(self.stop(host, counted, StopReason::Surplus));
            }
        }
    }

    /// Orders a stop if the host can take one and, where the instance serves, enough others do; says whether.
    fn stop(&mut self, host: &HostCount<'_>, counted: &Counted<'_>, why: StopReason) -> bool {
        let slot = Slot { host: host.id.clone(), port: counted.port };
        let cost = u32::from(counted.is_available);
        // What nobody has asked yet may be the one that serves: then those known to serve must suffice.
        let covered = !counted.is_in_doubt || self.census.available >= self.spec.budget.min_available();
        let ordered = host.is_idle()
            && covered
            && cost <= self.spare
            && self.order(Action::Stop { slot, instance: counted.instance.name.clone(), why, restore_after: None });
        if ordered {
            self.spare -= cost;
        }
        ordered
    }

    /// Gives an order unless the host has one already; says whether it was given.
    fn order(&mut self, action: Action) -> bool {
        match self.actions.entry(action.host().clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(action);
                true
            }
        }
    }

    // ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn is_complete(&self) -> bool {
        let desired = self.spec.budget.replicas;
        let census = self.census;
        census.new == desired
            && census.new_available == desired
            && census.running == desired
            && census.instances().all(|(_, counted)| counted.is_running)
            && self.rollout.in_flight.values().all(|in_flight| in_flight.action.slot().is_none())
    }

    /// Removes from the hosts what the history no longer keeps. Not on the way back: first let a person look.
    fn prune(&mut self) {
        if self.is_backwards() {
            return;
        }
        for host in &self.census.hosts {
            let Some(seen) = host.host.filter(|_| host.is_idle() && !self.rollout.pruned.contains(host.id)) else {
                continue;
            };
            let runs = |release: &ReleaseId| host.instances.iter().any(|counted| counted.instance.release == *release);
            let stays = |release: &ReleaseId| {
                self.spec.keep.contains(release) || release == self.rollout.target_release() || runs(release)
            };
            let releases: BTreeSet<_> = seen.releases.iter().filter(|release| !stays(release)).cloned().collect();
            if !releases.is_empty() {
                self.order(Action::Prune { host: host.id.clone(), releases });
            }
        }
    }

    fn deadline(&self) -> Time {
        self.rollout.last_progress + self.spec.progress_deadline
    }

    /// The next moment at which the plan may change though nothing happens.
    fn wake_at(&self) -> Time {
        let soaked = self.census.instances().filter_map(|(_, counted)| {
            let soaking = counted.is_ready && !counted.is_available && !counted.is_stopping;
            counted.instance.health.ready_since.filter(|_| soaking).map(|since| since + self.spec.min_ready)
        });
        soaked.chain([self.deadline()]).min().unwrap_or(self.now)
    }

    // ── why not ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn hold(&self, host: &HostCount<'_>, next: &Next) -> Hold {
        match &host.host.map(|seen| &seen.reach) {
            Some(Reach::Lost { since, why }) => return Hold::Unreachable { since: *since, why: why.clone() },
            Some(Reach::NotSeen) | None => return Hold::NotSeen,
            Some(Reach::Reachable) => {}
        }
        if let Some(action) = host.busy {
            return Hold::Busy { action: action.clone() };
        }
        if let Next::Finish(_) | Next::AwaitInFlight | Next::Fail(..) = next {
            return match self.standstill() {
                Some(outcome) => Hold::Standstill { outcome: outcome.word() },
                None => Hold::UpToDate,
            };
        }
        let mine = |wanted: fn(&Counted<'_>) -> bool| host.instances.iter().find(|counted| wanted(counted));
        if let Some(counted) = mine(|counted| counted.is_new && !counted.is_ready) {
            let answer = counted.instance.health.last_answer().map(str::to_owned);
            return Hold::WaitsForReady { port: counted.port, answer };
        }
        if let Some(counted) = mine(|counted| counted.is_new && !counted.is_available) {
            let until = counted.instance.health.ready_since.unwrap_or(self.now) + self.spec.min_ready;
            return Hold::Soaks { port: counted.port, until };
        }
        if mine(|counted| !counted.is_new).is_some() {
            return Hold::WaitsForCapacity {
                available: self.census.available,
                min_available: self.spec.budget.min_available(),
                running: self.census.running,
                max_running: self.spec.budget.max_running(),
            };
        }
        Hold::UpToDate
    }

    fn arithmetic(&self) -> String {
        let budget = &self.spec.budget;
        format!(
            "{} of {} replicas updated, {} available (at least {} must stay), {} running (at most {} may)",
            self.census.new,
            budget.replicas,
            self.census.available,
            budget.min_available(),
            self.census.running,
            budget.max_running()
        )
    }
}
