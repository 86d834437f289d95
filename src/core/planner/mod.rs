//! The whole policy of a rollout: from what is wanted and what is seen to what is done next.
//!
//! It follows Kubernetes' Deployment controller (`pkg/controller/deployment/rolling.go`), with two
//! differences. What is not known counts against the rollout, because here the controller may die
//! and its last order land late. And a failure has a consequence: the rollout turns back, or stands
//! still for a person.

pub mod census;
mod completion;
mod evidence;
mod failure;
pub mod preview;
mod steps;
mod task;
mod traffic;
mod wait;
pub mod wait_reason;
mod windows;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::completion::Scope;
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::Stream;
use crate::core::fleet::{Fleet, Process};
use crate::core::ids::{HostId, ReleaseId, Slot};
use crate::core::planner::census::{Census, Counted, HostCount, SIGHTING_LASTS};
use crate::core::planner::wait_reason::Hold;
use crate::core::rollout::action::{Action, StopReason};
use crate::core::rollout::event::{Progress, Then};
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::task::Errand;
use crate::core::rollout::{Direction, Rollout};
use crate::core::spec::Spec;
use crate::core::spec::budget::Budget;
use crate::core::spec::step::Step;
use crate::core::time::Time;

/// How much longer than the progress deadline a host waits before it brings an old instance back by
/// itself: what ship decides at the deadline comes first.
const RESTORE_MARGIN: Duration = Duration::from_secs(10);

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Orders to give, at most one a host.
    pub actions: Vec<Action>,
    /// Hosts to be looked at at once: the next decision needs to know that the processes there
    /// still run.
    pub looks: BTreeSet<HostId>,
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
    /// A host is to be left behind: the others go on.
    Quarantine(Failure),
    /// The present step, of so many instances, has all that it is to have.
    StepReached(Step, u32),
    /// The present step is passed.
    StepPassed,
    /// The rollout has failed: turn it.
    Fail(Failure, Then),
    /// Something that is done once is to be done.
    Run(Errand),
    /// The rollout has ended.
    Finish(Outcome),
}

/// Decides what to do now.
pub fn plan(spec: &Spec, rollout: &Rollout, fleet: &Fleet, now: Time) -> Plan {
    let census = Census::take(spec, rollout, fleet, now);
    let budget = spec.budget_for(rollout);
    let spare = census.available.saturating_sub(budget.min_available());
    let actions = BTreeMap::new();
    let (looks, confirmed) = (BTreeSet::new(), census.confirmed);
    let mut draft = Draft {
        spec,
        budget,
        rollout,
        fleet,
        census: &census,
        now,
        actions,
        spare,
        confirmed,
        looks,
        closing: None,
    };
    draft.closing = draft.closing();
    let next = draft.decide();
    draft.look_after_soak();
    let actions = census
        .hosts
        .iter()
        .filter_map(|host| draft.actions.get(host.id))
        .cloned()
        .collect();
    let holds = census
        .hosts
        .iter()
        .filter(|host| !draft.actions.contains_key(host.id))
        .map(|host| (host.id.clone(), draft.hold(host, &next)))
        .collect();
    Plan {
        actions,
        looks: draft.looks,
        holds,
        progress: census.progress(spec, rollout),
        next,
    }
}

struct Draft<'a> {
    spec: &'a Spec,
    /// What may be spent in the present direction.
    budget: Budget,
    rollout: &'a Rollout,
    fleet: &'a Fleet,
    census: &'a Census<'a>,
    now: Time,
    /// The orders so far, by host.
    actions: BTreeMap<HostId, Action>,
    /// How many available instances may still be stopped. Whatever stops one takes from here.
    spare: u32,
    /// How many available instances are confirmed and not ordered to stop.
    confirmed: u32,
    /// The hosts to be looked at.
    looks: BTreeSet<HostId>,
    /// Why nothing new is begun now, if so.
    closing: Option<String>,
}

impl Draft<'_> {
    fn decide(&mut self) -> Next {
        if self.rollout.tasks.is_any_under_way() {
            // It holds the lock of its host, or counts on all staying as it is.
            return Next::AwaitInFlight;
        }
        if let Some(outcome) = self.standstill() {
            if let Outcome::Held { .. } = outcome {
                // It was decided to leave the fleet as it is: no host changes anything by itself.
                self.disarm(Scope::Everywhere);
            }
            return self.once_all_has_ended(outcome);
        }
        // Who asked to go back before it ended means it, also where all is in place by now.
        if let Some(by) = self
            .rollout
            .requests
            .aborted
            .as_ref()
            .filter(|_| !self.is_backwards())
        {
            let waited = Duration::ZERO;
            let failure = Failure {
                kind: FailureKind::Aborted,
                host: None,
                slot: None,
                detail: by.clone(),
                waited,
            };
            return self.consequence(failure);
        }
        // The last request may fail when all is in place already.
        let has_failed = self.lost_requests().is_some()
            || !self.is_backwards() && self.exited_instance().is_some();
        if self.is_complete() && self.step().is_none() && !has_failed {
            if !self.saw_all_started() {
                return Next::Wake(self.now + SIGHTING_LASTS);
            }
            self.disarm(Scope::Everywhere);
            self.stage_for_chore();
            if self.actions.is_empty()
                && let Some(next) = self.chore_before().or_else(|| self.chore_after())
            {
                return next;
            }
            self.prune();
            // An order of an earlier controller may still be on its way, though all is in place
            // now.
            self.claim();
            return self.once_all_has_ended(match &self.rollout.scaling {
                Some(scaling) => (*scaling.then).clone(),
                None if self.is_backwards() => Outcome::RolledBack,
                None => Outcome::Succeeded,
            });
        }
        if let Some(failure) = self.failure() {
            return self.consequence(failure);
        }
        if let Some(why) = self.closing.clone().filter(|_| self.is_between_batches()) {
            self.disarm(Scope::Everywhere);
            return self.once_all_has_ended(Outcome::Closed { why });
        }
        if self.prepare() {
            if let Some(next) = self.chore_before() {
                return next;
            }
            self.disarm(Scope::WhereInTheWay);
            self.clear_dead();
            self.admit();
            self.close_early();
            self.close_left_behind();
            self.start_new();
            self.even_out();
            self.stop_old();
            self.stop_surplus();
            self.disarm(Scope::WhereServed);
            if let Some(failure) = self.dead_end() {
                return self.consequence(failure);
            }
            if let Some(next) = self.gate() {
                return next;
            }
        }
        Next::Wake(self.wake_at())
    }

    fn once_all_has_ended(&self, outcome: Outcome) -> Next {
        let has_ended = self.actions.is_empty() && self.rollout.orders.in_flight.is_empty();
        if !has_ended {
            return Next::AwaitInFlight;
        }
        self.chore_at_the_end(&outcome)
            .unwrap_or(Next::Finish(outcome))
    }

    /// Why nothing new is begun at all.
    fn standstill(&self) -> Option<Outcome> {
        let refused = self.rollout.orders.fenced.clone();
        let newer = || {
            self.census
                .hosts
                .iter()
                .find(|host| host.epoch() > self.rollout.epoch)
        };
        if let Some((host, seen)) =
            refused.or_else(|| newer().map(|host| (host.id.clone(), host.epoch())))
        {
            return Some(Outcome::Fenced { host, seen });
        }
        if self.rollout.requests.interrupted {
            return Some(Outcome::Interrupted);
        }
        if let Some((by, since)) = &self.rollout.requests.paused {
            return Some(Outcome::Paused {
                by: by.clone(),
                since: *since,
            });
        }
        match &self.rollout.direction {
            Direction::Held { why, .. } => Some(Outcome::Held { why: why.clone() }),
            _ => self.rollout.outcome.clone(),
        }
    }

    fn is_backwards(&self) -> bool {
        matches!(self.rollout.direction, Direction::Back(_))
    }

    // ── the way there ────────────────────────────────────────────────────────────────────────────

    /// Orders what must be there before anything is started or stopped; says whether it is.
    ///
    /// Every host must refuse late orders of an earlier controller, and before the first start the
    /// release must lie everywhere: what can fail without touching the service fails first. On a
    /// host that was lost before it refused such orders, one of them may start or stop something at
    /// any time, and no count could be trusted.
    fn prepare(&mut self) -> bool {
        let target = self.rollout.target_release();
        let unclaimed = |host: &HostCount<'_>| {
            host.takes_part() && !host.is_reachable() && host.epoch() < self.rollout.epoch
        };
        let mut ready = !self.census.hosts.iter().any(unclaimed) && self.lost_balancer().is_none();
        for host in self.census.hosts.iter().filter(|host| host.is_reachable()) {
            let Some(seen) = host.host else { continue };
            let lacks_release =
                host.may_carry() && !self.stages_on_demand() && !seen.releases.contains(target);
            let lacks_claim = seen.epoch < self.rollout.epoch;
            let may_take_one = host.busy.is_none() && !self.has_failed(host.id);
            let is_ready =
                !lacks_claim && (!lacks_release || !self.rollout.attempt.started.is_empty());
            ready &= is_ready || !host.takes_part();
            if lacks_release && may_take_one {
                self.order(Action::Stage {
                    host: host.id.clone(),
                    release: target.clone(),
                });
            } else if (lacks_claim || host.is_unsettled) && may_take_one {
                // It waits for what is still at work there, and tells what has come of it.
                self.order(Action::Claim {
                    host: host.id.clone(),
                });
            }
        }
        ready
    }

    fn has_failed(&self, host: &HostId) -> bool {
        self.rollout
            .attempt
            .failed
            .iter()
            .any(|failed| failed.action.host() == host && failed.action.slot().is_none())
    }

    /// An instance whose process has ended serves nobody: its slot is wanted.
    fn clear_dead(&mut self) {
        let dead = self
            .census
            .instances()
            .filter(|(_, counted)| !counted.is_running && !counted.is_stopping);
        for (host, counted) in dead {
            self.stop(host, counted, StopReason::Dead);
        }
    }

    /// Kubernetes' scaling up: `min(replicas + surge − running, replicas − new)`, spread over the
    /// hosts.
    fn start_new(&mut self) {
        let room = self
            .budget
            .max_running()
            .saturating_sub(self.census.running);
        let room = room.min(self.new_limit().saturating_sub(self.census.new));
        let room = if self.closing.is_some() {
            room.min(self.room_to_close())
        } else {
            room
        };
        let missing = self.census.missing();
        let releases = missing
            .iter()
            .flat_map(|(release, count)| std::iter::repeat_n(*release, *count as usize));
        let staging = self.staging_for_a_start();
        let releases: Vec<_> = releases.take(room as usize).skip(staging).collect();
        if releases.is_empty() {
            return;
        }
        let offers = |host: &HostCount<'_>| {
            missing
                .keys()
                .any(|release| self.free_slot(host, release).is_some())
        };
        let mut places: Vec<_> = self
            .census
            .hosts
            .iter()
            .enumerate()
            .filter(|(_, host)| {
                host.is_idle() && !self.actions.contains_key(host.id) && !self.has_failed(host.id)
            })
            .filter(|(_, host)| offers(host))
            .map(|(order, host)| (host.new, host.running, order))
            .collect();
        // A host that is busy for a moment must not push its share onto another.
        let fair = self.fair_share();
        if !self.rollout.orders.in_flight.is_empty() || places.iter().any(|place| place.0 < fair) {
            places.retain(|place| place.0 < fair);
        }
        places.sort_unstable();
        let mut places = VecDeque::from(places);
        for release in releases {
            // Each release has its own ports: the first host that has one of them free.
            let census = self.census;
            let found = places.iter().enumerate().find_map(|(at, (.., order))| {
                Some((at, *order, self.free_slot(&census.hosts[*order], release)?))
            });
            let Some((at, order, slot)) = found else {
                continue;
            };
            places.remove(at);
            // On the way back a host may never have had the release.
            let is_there = census.hosts[order]
                .host
                .is_some_and(|host| host.releases.contains(release));
            let release = release.clone();
            self.order(if is_there {
                Action::Start { slot, release }
            } else {
                Action::Stage {
                    host: slot.host,
                    release,
                }
            });
        }
    }

    /// One more where there are fewer, so that a host that was lost and is back carries its part
    /// again: the surplus then goes from where there are most.
    fn even_out(&mut self) {
        let census = self.census;
        // Only where all serve: one that is still to become ready would be the first surplus to go.
        let is_settled = census.new == census.desired
            && census.new_available == census.new
            && self.actions.is_empty()
            && self.rollout.orders.in_flight.is_empty();
        if !is_settled || self.closing.is_some() || census.running >= self.budget.max_running() {
            return;
        }
        if let Some(slot) = self.lightest() {
            self.order(Action::Start {
                slot,
                release: self.rollout.target_release().clone(),
            });
        }
    }

    /// The slot where one more instance would even out the spread over the hosts, if it is uneven.
    fn lightest(&self) -> Option<Slot> {
        if self.budget.surge == 0 || self.stages_on_demand() {
            return None;
        }
        let carriers = || {
            self.census
                .hosts
                .iter()
                .filter(|host| host.may_carry() && host.is_idle())
        };
        let most = carriers().map(|host| host.new).max()?;
        // None differs from another by more than one.
        let may_carry =
            |host: &&HostCount<'_>| host.running == host.new && !self.has_failed(host.id);
        let light = carriers()
            .filter(|host| host.new + 1 < most)
            .filter(may_carry);
        let target = self.rollout.target_release();
        let places = light.filter_map(|host| Some((host.new, self.free_slot(host, target)?)));
        places.min_by_key(|(new, _)| *new).map(|(_, slot)| slot)
    }

    /// Whether a host gets a release only when an instance is to be started there.
    fn stages_on_demand(&self) -> bool {
        self.is_backwards() || self.rollout.scaling.is_some()
    }

    /// Hosts that are getting a release because a start is to follow.
    fn staging_for_a_start(&self) -> usize {
        let stages = |host: &&HostCount<'_>| {
            self.stages_on_demand() && matches!(host.busy, Some(Action::Stage { .. }))
        };
        self.census.hosts.iter().filter(stages).count()
    }

    /// Instances of the target that each host carries when they are spread evenly.
    fn fair_share(&self) -> u32 {
        let hosts = self
            .census
            .hosts
            .iter()
            .filter(|host| host.may_carry() && host.is_reachable())
            .count();
        self.census
            .desired
            .div_ceil(u32::try_from(hosts).unwrap_or(u32::MAX).max(1))
    }

    /// Kubernetes' scaling down: unhealthy old instances first, then healthy ones while enough are
    /// available.
    fn stop_old(&mut self) {
        let mut allowance = self.max_down().min(self.old_to_spare());
        if self.closing.is_some() {
            allowance = allowance.min(self.surplus_to_close());
        }
        let (sick, healthy): (Vec<_>, Vec<_>) = self
            .census
            .instances()
            .filter(|(_, counted)| !counted.is_new && counted.is_running && !counted.is_stopping)
            .partition(|(_, counted)| !counted.is_available && !counted.is_in_doubt);
        for (host, counted) in sick {
            if allowance == 0 {
                return;
            }
            // What was drained is well, and only has nothing to do any more.
            let why = if counted.stream == Stream::Closed && counted.is_ready {
                StopReason::Replaced
            } else {
                StopReason::OldAndUnhealthy
            };
            allowance -= u32::from(self.stop(host, counted, why));
        }
        // First where the new one already stands beside the old: that frees a double load, and
        // keeps the spread.
        let (doubled, single): (Vec<_>, Vec<_>) =
            healthy.into_iter().partition(|(host, _)| host.new > 0);
        for (host, counted) in doubled.into_iter().chain(single) {
            if allowance == 0 {
                return;
            }
            allowance -= u32::from(self.stop(host, counted, StopReason::Replaced));
        }
    }

    /// `total − min_available − unavailable new`: new instances that do not serve yet keep old ones
    /// in place.
    fn max_down(&self) -> u32 {
        let total = self.census.running.saturating_sub(self.census.stopping);
        let new_unavailable = self.census.new.saturating_sub(self.census.new_available);
        total
            .saturating_sub(self.budget.min_available())
            .saturating_sub(new_unavailable)
    }

    /// More instances of a release than are wanted (after scaling down, or on the way back): the
    /// idle ones first.
    fn stop_surplus(&mut self) {
        for (release, surplus) in self.census.surplus() {
            self.stop_surplus_of(release, surplus);
        }
    }

    fn stop_surplus_of(&mut self, release: &ReleaseId, mut surplus: u32) {
        // What was started just now is there for a reason, and goes only if there are not enough
        // others.
        let is_young = |counted: &Counted<'_>| {
            !counted.is_available
                && !counted.is_stopping
                && !self.is_put_aside(counted)
                && self
                    .rollout
                    .attempt
                    .started
                    .contains_key(&counted.instance.name)
        };
        let mut candidates: Vec<_> = self
            .census
            .instances()
            .filter(|(_, counted)| {
                counted.is_new && counted.is_running && counted.instance.release == *release
            })
            .enumerate()
            .map(|(order, (host, counted))| {
                (
                    counted.is_available,
                    std::cmp::Reverse(host.new),
                    std::cmp::Reverse(order),
                    host,
                    counted,
                )
            })
            .collect();
        if candidates
            .iter()
            .filter(|candidate| !is_young(candidate.4))
            .count()
            >= surplus as usize
        {
            candidates.retain(|candidate| !is_young(candidate.4));
        }
        candidates.sort_by_key(|candidate| (candidate.0, candidate.1, candidate.2));
        for (.., host, counted) in candidates {
            if counted.is_stopping {
                surplus = surplus.saturating_sub(1);
            } else if surplus > 0 {
                surplus -= u32::from(self.stop(host, counted, StopReason::Surplus));
            }
        }
    }

    /// Orders a stop if the host can take one and, where the instance serves, enough others do;
    /// says whether. What may get requests is drained first.
    fn stop(&mut self, host: &HostCount<'_>, counted: &Counted<'_>, why: StopReason) -> bool {
        let slot = Slot {
            host: host.id.clone(),
            port: counted.port,
        };
        let cost = u32::from(counted.is_available);
        // What nobody has asked yet may be the one that serves: then those known to serve must
        // suffice.
        let covered = !counted.is_in_doubt || self.census.available >= self.budget.min_available();
        let may_stop =
            host.is_idle() && covered && cost <= self.spare && !self.has_failed_to_stop(counted);
        if !may_stop {
            return false;
        }
        let confirmed_cost = u32::from(self.census.is_confirmed(counted));
        let relies_on_others = counted.is_available || counted.is_in_doubt;
        if relies_on_others
            && self.confirmed.saturating_sub(confirmed_cost) < self.budget.min_available()
        {
            self.look_at_unconfirmed();
            return false;
        }
        let instance = counted.instance.name.clone();
        let ordered = if counted.stream == Stream::Direct || counted.is_drained {
            let restore_after = self.restore_after(counted, why);
            let ended = match &counted.instance.process {
                Process::Ended { how } => Some(how.clone()),
                Process::Running => None,
            };
            self.order(Action::Stop {
                slot,
                instance,
                why,
                restore_after,
                ended,
            })
        } else {
            let keep = if cost > 0 {
                self.budget.min_available()
            } else {
                0
            };
            self.order(Action::Drain {
                slot,
                instance,
                keep,
            })
        };
        if ordered {
            self.spare -= cost;
            self.confirmed = self.confirmed.saturating_sub(confirmed_cost);
        }
        ordered
    }

    /// An instance that cannot be stopped: tried once, on a host that is left behind for it.
    fn has_failed_to_stop(&self, counted: &Counted<'_>) -> bool {
        let is_its_stop = |action: &Action| matches!(action, Action::Drain { instance, .. } | Action::Stop { instance, .. } if *instance == counted.instance.name);
        self.rollout
            .attempt
            .failed
            .iter()
            .any(|failed| is_its_stop(&failed.action))
    }

    /// Where an instance must go before another serves in its place, its host brings it back by
    /// itself if nobody says in time that all is well: the controller may be gone by then.
    fn restore_after(&self, counted: &Counted<'_>, why: StopReason) -> Option<Duration> {
        let others = self.spare.saturating_sub(u32::from(counted.is_available));
        let left = self.budget.min_available() + others;
        let serves = counted.is_available || counted.is_drained && counted.is_ready;
        let in_place = why == StopReason::Replaced && serves && left < self.budget.replicas;
        let target = self.spec.waits_of(self.rollout.target_release());
        let takes = self.spec.waits_of(&counted.instance.release).stop + target.start;
        in_place.then(|| takes + self.patience() + RESTORE_MARGIN)
    }

    /// By when ship itself has decided about a slot whose host would bring the old instance back at
    /// that time.
    fn must_decide_by(fires: Time) -> Time {
        fires - RESTORE_MARGIN
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

    // ── why not ──────────────────────────────────────────────────────────────────────────────────

    fn hold(&self, host: &HostCount<'_>, next: &Next) -> Hold {
        if let Some(failure) = self
            .rollout
            .attempt
            .failed_hosts
            .get(host.id)
            .filter(|_| !host.takes_part())
        {
            return Hold::LeftBehind {
                why: failure.to_string(),
            };
        }
        match &host.host.map(|seen| &seen.reach) {
            Some(Reach::Lost { since, why }) => {
                return Hold::Unreachable {
                    since: *since,
                    why: why.clone(),
                };
            }
            Some(Reach::NotSeen) | None => return Hold::NotSeen,
            Some(Reach::Reachable) => {}
        }
        if let Some(action) = host.busy {
            return Hold::Busy {
                action: action.clone(),
            };
        }
        if let Next::Finish(_) | Next::AwaitInFlight | Next::Fail(..) | Next::Quarantine(_) = next {
            match self.standstill() {
                Some(outcome) => {
                    return Hold::Standstill {
                        outcome: outcome.word(),
                    };
                }
                None if self.is_complete() && self.rollout.scaling.is_none() => {
                    return at_rest(host);
                }
                // It fails, and waits for what is in flight elsewhere: this host still lacks what
                // it lacks.
                None => {}
            }
        }
        if let Some((_, hold)) = self.lost_balancer() {
            return hold;
        }
        if let Some(hold) = self.gate_hold() {
            return hold;
        }
        let mine = |wanted: fn(&Counted<'_>) -> bool| {
            host.instances.iter().find(|counted| wanted(counted))
        };
        if let Some(counted) = mine(|counted| counted.is_new && !counted.is_ready) {
            let answer = counted.instance.health.last_answer().map(str::to_owned);
            return Hold::WaitsForReady {
                port: counted.port,
                answer,
            };
        }
        if let Some(counted) = mine(|counted| counted.is_new && counted.stream == Stream::Objected)
        {
            return Hold::WaitsForBalancer { port: counted.port };
        }
        if let Some(counted) = mine(|counted| counted.is_new && !counted.is_available) {
            let until =
                counted.instance.health.ready_since.unwrap_or(self.now) + self.spec.min_ready;
            return Hold::Soaks {
                port: counted.port,
                until,
            };
        }
        if let Some(hold) = self.waits_to_retry(host) {
            return hold;
        }
        if let Some(why) = self.closing.clone() {
            return Hold::Closing { why };
        }
        if mine(|counted| !counted.is_new).is_some() {
            return Hold::WaitsForCapacity {
                available: self.census.available,
                min_available: self.budget.min_available(),
                running: self.census.running,
                max_running: self.budget.max_running(),
            };
        }
        at_rest(host)
    }

    fn arithmetic(&self) -> String {
        let budget = &self.budget;
        format!(
            "{} of {} replicas updated, {} available (at least {} must stay), {} running (at most \
             {} may)",
            self.census.new,
            budget.replicas,
            self.census.available,
            budget.min_available(),
            self.census.running,
            budget.max_running()
        )
    }
}

/// What is said of a host that needs nothing.
fn at_rest(host: &HostCount<'_>) -> Hold {
    if host.offers_slots {
        Hold::UpToDate
    } else {
        Hold::Drained
    }
}
