//! The observed state of the fleet. Every observation updates it, and its changes become events.

use std::collections::BTreeMap;
use std::time::Duration;

use super::messages::{ProbeAnswer, ProbeSample};
use super::poller::{DuePolls, Poller};
use super::recorder::Recorder;
use crate::core::fleet::health::{Change, Verdict};
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::{BalancerState, Traffic};
use crate::core::fleet::{Fleet, Instance, Judgement, Observation};
use crate::core::ids::{HostId, InstanceId, ReleaseId, Slot};
use crate::core::release::Definition;
use crate::core::rollout::Rollout;
use crate::core::rollout::event::Event;
use crate::core::time::Time;
use crate::remote::HostUnavailable;

/// The fleet as last observed, and what to observe next.
pub(super) struct FleetObserver {
    fleet: Fleet,
    /// Every release that may run on a host.
    definitions: BTreeMap<ReleaseId, Definition>,
    poller: Poller,
    /// Everything that began before this time is stale.
    fresh_from: Time,
    /// Observations of a host that began before this time are stale.
    hosts_fresh_from: BTreeMap<HostId, Time>,
    /// Probes of an instance that began before this time are stale.
    instances_fresh_from: BTreeMap<InstanceId, Time>,
}

/// The result of a probe.
#[derive(Default)]
pub(super) struct ProbeOutcome {
    /// The first line of the response, if the probe passed.
    pub(super) shown: Option<String>,
    /// The sample for the analyses, if they count the response.
    pub(super) sample: Option<ProbeSample>,
    /// The event, if the probe changed the instance's state.
    pub(super) event: Option<Event>,
}

impl FleetObserver {
    /// Starts with the fleet of the preflight, whose observations need not be repeated at once.
    pub(super) fn new(fleet: Fleet, definitions: BTreeMap<ReleaseId, Definition>) -> Self {
        let mut poller = Poller::default();
        for (_, _, instance) in fleet.instances() {
            if let Some((at, _)) = &instance.health.last {
                poller.record_earlier_probe(&instance.name, *at);
            }
        }
        Self {
            fleet,
            definitions,
            poller,
            fresh_from: Time::default(),
            hosts_fresh_from: BTreeMap::new(),
            instances_fresh_from: BTreeMap::new(),
        }
    }

    pub(super) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub(super) fn definition(&self, release: &ReleaseId) -> Option<&Definition> {
        self.definitions.get(release)
    }

    // ── schedule ─────────────────────────────────────────────────────────────────────────────────

    /// Takes the observations and probes that are due. A host with an action in flight is not
    /// observed, because the action reports its state.
    pub(super) fn take_due(
        &mut self,
        traffic: Option<&Traffic>,
        rollout: &Rollout,
        now: Time,
    ) -> DuePolls {
        let in_flight = rollout.orders.in_flight.values();
        let busy = in_flight
            .map(|in_flight| in_flight.action.host().clone())
            .collect();
        self.poller
            .take_due(&self.fleet, &self.definitions, traffic, &busy, now)
    }

    /// Makes the observation of a host due at once.
    pub(super) fn observe_host_now(&mut self, host: &HostId) {
        self.poller.observe_host_now(host);
    }

    // ── stale observations ───────────────────────────────────────────────────────────────────────

    /// Whether an observation of a host or balancer that began at `begun` is stale.
    pub(super) fn is_stale(&self, host: &HostId, begun: Time) -> bool {
        let host_from = self.hosts_fresh_from.get(host);
        begun < self.fresh_from || host_from.is_some_and(|from| begun < *from)
    }

    /// Whether a probe that began at `begun` is stale.
    pub(super) fn is_stale_probe(&self, answer: &ProbeAnswer, begun: Time) -> bool {
        let instance_from = self.instances_fresh_from.get(&answer.instance);
        begun < self.fresh_from || instance_from.is_some_and(|from| begun < *from)
    }

    /// Discards an outdated observation of a host; `repeat` makes the next one due at once.
    pub(super) fn dismiss_host(&mut self, host: &HostId, repeat: bool) {
        self.poller.dismiss_host(host);
        if repeat {
            self.poller.observe_host_now(host);
        }
    }

    /// Discards an outdated observation of a balancer.
    pub(super) fn dismiss_balancer(&mut self, balancer: &HostId) {
        self.poller.observe_balancer_now(balancer);
    }

    /// Discards an outdated response to a probe and probes the instance again.
    pub(super) fn dismiss_probe(&mut self, answer: &ProbeAnswer, begun: Time) {
        if let Some(instance) = self
            .fleet
            .instance_mut(&answer.slot)
            .filter(|instance| instance.name == answer.instance)
        {
            instance.health.reset_counts();
        }
        self.poller.probed(&answer.instance, begun);
        self.poller.probe_now(&answer.instance);
    }

    /// Discards everything that was observed before `now`, and replies to what was sent before: this
    /// process was suspended, and does not know when they arrived.
    pub(super) fn invalidate_all(&mut self, now: Time) {
        self.fresh_from = now;
        self.expire_all();
    }

    /// Marks every host and balancer as not observed, so that nothing is decided about it before
    /// its next observation.
    pub(super) fn expire_all(&mut self) {
        for (id, host) in &mut self.fleet.hosts {
            if host.is_reachable() {
                host.reach = Reach::NotSeen;
                self.poller.observe_host_now(id);
            }
        }
        for (id, balancer) in &mut self.fleet.balancers {
            if balancer.is_reachable() {
                balancer.reach = Reach::NotSeen;
                self.poller.observe_balancer_now(id);
            }
        }
    }

    /// Discards the last probe of instances whose stop did not succeed. They may have received a
    /// signal, so that an earlier response no longer proves that they are ready.
    pub(super) fn mark_uncertain(&mut self, stops: Vec<(Slot, InstanceId)>, now: Time) {
        for (slot, name) in stops {
            let Some(instance) = self
                .fleet
                .instance_mut(&slot)
                .filter(|instance| instance.name == name)
            else {
                continue;
            };
            instance.health.last = None;
            self.poller.probe_now(&name);
            self.hosts_fresh_from.insert(slot.host, now);
            self.instances_fresh_from.insert(name, now);
        }
    }

    // ── observations ─────────────────────────────────────────────────────────────────────────────

    /// Records the state of a host, whose observation began at `begun`.
    pub(super) fn host_observed(
        &mut self,
        host: &HostId,
        observation: Observation,
        begun: Time,
        recorder: &mut Recorder,
    ) {
        let was_lost = self.is_lost(host);
        let not_ready = self.fleet.observe(host, observation, begun);
        self.poller
            .host_observed(host, self.fleet.hosts.get(host), recorder.now());
        if was_lost {
            recorder.record(Event::HostRecovered { host: host.clone() });
        }
        for (slot, instance) in not_ready {
            if is_being_ended(recorder.rollout(), &instance.name) {
                continue;
            }
            let answer = self.why_not_ready(&slot, &instance);
            recorder.record(Event::InstanceNotReady {
                slot,
                instance: instance.name,
                release: instance.release,
                answer,
            });
        }
    }

    /// Returns why an instance that was ready is no longer ready.
    fn why_not_ready(&self, slot: &Slot, was: &Instance) -> String {
        let present = self.fleet.instance(slot);
        match present.filter(|present| present.name == was.name) {
            Some(present) if present.is_running() => "the process was restarted".to_owned(),
            Some(present) => present.process.to_string(),
            None => "the instance no longer exists".to_owned(),
        }
    }

    /// Records that a host cannot be reached or that its state is not known.
    pub(super) fn host_lost(&mut self, host: &HostId, why: String, recorder: &mut Recorder) {
        let now = recorder.now();
        let was_lost = self.is_lost(host);
        self.fleet.mark_unreachable(host, now, &why);
        self.poller.host_observed(host, None, now);
        if !was_lost {
            recorder.record(Event::HostLost {
                host: host.clone(),
                why,
            });
        }
    }

    /// Records that the result of an action on a host is not known.
    pub(super) fn action_unknown(&mut self, host: &HostId, why: String, recorder: &mut Recorder) {
        self.host_lost(host, why, recorder);
        self.poller.action_unknown(host);
    }

    /// Records the state of a host at the end of an action that began at `begun`.
    pub(super) fn action_answered(
        &mut self,
        host: &HostId,
        observation: Observation,
        begun: Time,
        recorder: &mut Recorder,
    ) {
        self.host_observed(host, observation, begun, recorder);
        self.poller.action_answered(host);
    }

    /// Records the state of a balancer, as observed on its own or at the end of an action.
    pub(super) fn balancer_observed(
        &mut self,
        balancer: &HostId,
        observed: Result<BalancerState, HostUnavailable>,
        recorder: &mut Recorder,
    ) {
        let now = recorder.now();
        let was_lost = self
            .fleet
            .balancers
            .get(balancer)
            .is_some_and(|seen| matches!(seen.reach, Reach::Lost { .. }));
        self.poller.balancer_observed(balancer, now);
        let balancer_id = balancer.clone();
        match observed {
            Ok(view) => {
                self.fleet.observe_balancer(balancer, view);
                if was_lost {
                    recorder.record(Event::BalancerRecovered {
                        balancer: balancer_id,
                    });
                }
            }
            Err(HostUnavailable { why }) => {
                self.fleet.mark_balancer_unreachable(balancer, now, &why);
                if !was_lost {
                    recorder.record(Event::BalancerLost {
                        balancer: balancer_id,
                        why,
                    });
                }
            }
        }
    }

    /// Records the state of one slot at a balancer, at the end of an action on that slot. Newer
    /// actions may have changed the other slots in the meantime, so those are not updated.
    pub(super) fn balancer_observed_in(
        &mut self,
        balancer: &HostId,
        slot: &Slot,
        view: &BalancerState,
        recorder: &mut Recorder,
    ) {
        let view = self.fleet.view_with_slot(balancer, slot, view);
        self.balancer_observed(balancer, Ok(view), recorder);
    }

    /// Whether the last command to a host was not answered. A host whose state was discarded, and
    /// which has not been observed again, is not lost.
    fn is_lost(&self, host: &HostId) -> bool {
        let known = self.fleet.hosts.get(host);
        known.is_some_and(|known| matches!(known.reach, Reach::Lost { .. }))
    }

    // ── probes ───────────────────────────────────────────────────────────────────────────────────

    /// Records the response to a probe that was sent at `begun`.
    pub(super) fn probed(
        &mut self,
        answer: ProbeAnswer,
        begun: Time,
        rollout: &Rollout,
        now: Time,
    ) -> ProbeOutcome {
        let ProbeAnswer {
            slot,
            instance: name,
            restarts,
            verdict,
        } = answer;
        self.poller.probed(&name, now);
        let Some(instance) = self.fleet.instance_mut(&slot).filter(|instance| {
            instance.name == name
                && instance.restarts == restarts
                && !is_being_ended(rollout, &name)
                && instance.is_running()
        }) else {
            return ProbeOutcome::default();
        };
        let Some(definition) = self.definitions.get(&instance.release) else {
            return ProbeOutcome::default();
        };
        let verdict = match instance.judge(verdict, definition, slot.number) {
            Judgement::Counts(verdict) => verdict,
            Judgement::ObserveAgain => {
                self.poller.observe_before_probing(&slot.host, &name);
                return ProbeOutcome::default();
            }
        };
        if let Verdict::Fail(answer) | Verdict::Error(answer) = &verdict {
            tracing::debug!(%slot, instance = %name, answer, "readiness probe did not pass");
        }
        let passed = matches!(verdict, Verdict::Pass(_));
        let counts = instance.health.ready_since.is_some() && !matches!(verdict, Verdict::Error(_));
        let sample = counts.then(|| probe_sample(instance, !passed, now.since(begun)));
        let thresholds = definition.readiness.thresholds();
        let change = instance.health.record(verdict, now, now, &thresholds);
        if !passed && instance.health.ready_since.is_some() {
            // The process may have exited, which an observation of the host shows.
            self.poller.observe_host_now(&slot.host);
        }
        let answer = instance.health.last_answer().unwrap_or_default().to_owned();
        ProbeOutcome {
            shown: passed.then(|| answer.clone()),
            sample,
            event: change.map(|change| health_event(change, slot, instance, answer)),
        }
    }
}

fn probe_sample(instance: &Instance, is_error: bool, took: Duration) -> ProbeSample {
    ProbeSample {
        release: instance.release.clone(),
        is_error,
        took,
    }
}

fn health_event(change: Change, slot: Slot, instance: &Instance, answer: String) -> Event {
    let (instance, release) = (instance.name.clone(), instance.release.clone());
    match change {
        Change::Ready => Event::InstanceReady {
            slot,
            instance,
            release,
            answer,
        },
        Change::NotReady => Event::InstanceNotReady {
            slot,
            instance,
            release,
            answer,
        },
    }
}

fn is_being_ended(rollout: &Rollout, name: &InstanceId) -> bool {
    let mut in_flight = rollout.orders.in_flight.values();
    in_flight.any(|in_flight| in_flight.action.ends() == Some(name))
}
