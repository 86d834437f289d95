//! The timeline of instances: their slots, times and states.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::{HostId, InstanceId, ReleaseId, Slot, SlotNumber};
use crate::core::journal::outages::Outages;
use crate::core::journal::pending_orders::{PendingOrder, PendingOrders};
use crate::core::journal::placements::Placements;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The timeline of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTimeline {
    pub host: HostId,
    /// The instances of each slot, in order.
    pub instances: BTreeMap<SlotNumber, Vec<InstanceSpan>>,
    /// The failures on the host.
    pub incidents: Vec<HostIncident>,
    /// The times during which the host was unreachable.
    pub outages: Vec<(Time, Time)>,
}

/// An instance over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpan {
    pub instance: InstanceId,
    pub release: ReleaseId,
    /// Whether it was started in this rollout.
    pub is_new: bool,
    /// The states and their starts; each lasts until the next.
    pub phases: Vec<(Time, InstancePhase)>,
    /// The end of the instance; the end of the timeline if the instance still existed.
    pub until: Time,
    /// Whether the instance ended before the end of the timeline.
    pub is_gone: bool,
}

/// The state of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstancePhase {
    /// The instance was started and has not been ready.
    Starting,
    /// The instance is ready.
    Ready,
    /// The instance was ready and no longer is.
    NotReady,
    /// The instance gets no new requests.
    Drained,
    /// A stop is in flight.
    Stopping,
}

/// A failure on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIncident {
    pub at: Time,
    pub error: String,
}

/// The instances of a service and what happened on their hosts, from `begin` to `end`.
#[derive(Clone, Debug)]
pub struct InstanceTimeline {
    begin: Time,
    end: Time,
    spans: BTreeMap<InstanceId, (Slot, InstanceSpan)>,
    orders: PendingOrders,
    lost: Outages,
    outages: BTreeMap<HostId, Vec<(Time, Time)>>,
    incidents: BTreeMap<HostId, Vec<HostIncident>>,
}

impl InstanceTimeline {
    /// Reads a journal, or those of consecutive rollouts. `before` has the instances that existed
    /// at `begin`.
    pub fn of(journal: &[Entry], before: &Placements, (begin, end): (Time, Time)) -> Self {
        let mut timeline = Self {
            begin,
            end,
            spans: BTreeMap::new(),
            orders: PendingOrders::default(),
            lost: Outages::default(),
            outages: BTreeMap::new(),
            incidents: BTreeMap::new(),
        };
        for (instance, placement) in before.present() {
            timeline.add_existing(instance, &placement.slot, &placement.release);
        }
        for entry in journal {
            timeline.apply(entry);
        }
        timeline
    }

    fn apply(&mut self, entry: &Entry) {
        let at = entry.at;
        let ended = self.orders.apply(entry);
        match &entry.event {
            Event::ActionStarted {
                action, instance, ..
            } => self.order(action, instance.as_ref(), at),
            Event::ActionDone { .. } => {
                if let Some(stopped) = ended.as_ref().and_then(PendingOrder::stops) {
                    self.end_span(stopped, at);
                }
            }
            Event::ActionFailed { error, .. } => {
                if let Some(order) = &ended {
                    self.fail(order, error, at);
                }
            }
            Event::InstanceReady {
                slot,
                instance,
                release,
                ..
            } => {
                self.add_existing(instance, slot, release);
                self.enter(instance, InstancePhase::Ready, at);
            }
            Event::InstanceNotReady {
                slot,
                instance,
                release,
                ..
            } => {
                self.add_existing(instance, slot, release);
                self.enter(instance, InstancePhase::NotReady, at);
            }
            Event::HostLost { host, .. } | Event::HostRecovered { host } => {
                if let Some(since) = self.lost.apply(entry) {
                    let outages = self.outages.entry(host.clone()).or_default();
                    outages.push((since, at));
                }
            }
            Event::RolloutFailed { failure, .. } | Event::HostFailed { failure, .. } => {
                if let Some(host) = &failure.host {
                    self.record_incident(host, failure.to_string(), at);
                }
            }
            _ => {}
        }
    }

    fn order(&mut self, action: &Action, instance: Option<&InstanceId>, at: Time) {
        match (action, instance) {
            (
                Action::Start {
                    slot,
                    release,
                    reloads,
                },
                Some(instance),
            ) => {
                if let Some(reloaded) = reloads {
                    self.add_unknown(reloaded, slot);
                }
                let phase = (at, InstancePhase::Starting);
                self.begin_span(instance, slot, release, phase, true);
            }
            (Action::Stop { slot, instance, .. }, _) => {
                self.add_unknown(instance, slot);
                self.enter(instance, InstancePhase::Stopping, at);
            }
            (Action::Drain { slot, instance, .. }, _) => {
                self.add_unknown(instance, slot);
                self.enter(instance, InstancePhase::Drained, at);
            }
            _ => {}
        }
    }

    /// Records a failed action: the instance to start is gone, and the one to stop has its previous
    /// state.
    fn fail(&mut self, order: &PendingOrder, error: &str, at: Time) {
        if let Some((started, slot, _)) = order.start() {
            if let Some(kept) = order.action.ends() {
                self.spans.remove(started);
                self.continue_span(kept);
            } else {
                self.end_span(started, at);
            }
            self.record_incident(&slot.host, error.to_owned(), at);
        } else if let Some(kept) = order.stops() {
            let span = self.spans.get(kept);
            let phases = span.map(|(_, span)| span.phases.as_slice());
            if let Some([.., (_, before), (_, InstancePhase::Stopping)]) = phases {
                let before = *before;
                self.enter(kept, before, at);
            }
        }
    }

    /// Records an instance that existed from the start, unless it is known already.
    fn add_existing(&mut self, instance: &InstanceId, slot: &Slot, release: &ReleaseId) {
        let phase = (self.begin, InstancePhase::Ready);
        self.begin_span(instance, slot, release, phase, false);
    }

    /// Records an instance that no earlier event has named. Its name contains the digits of its
    /// release.
    fn add_unknown(&mut self, instance: &InstanceId, slot: &Slot) {
        let release = instance.as_str().rsplit('-').nth(1).unwrap_or_default();
        self.add_existing(instance, slot, &ReleaseId::from(release));
    }

    fn begin_span(
        &mut self,
        instance: &InstanceId,
        slot: &Slot,
        release: &ReleaseId,
        phase: (Time, InstancePhase),
        is_new: bool,
    ) {
        if self.spans.contains_key(instance) {
            return;
        }
        // A slot has one instance: if there is a new one, the previous one is gone.
        for (other, span) in self.spans.values_mut() {
            if other == slot && !span.is_gone {
                (span.until, span.is_gone) = (phase.0, true);
            }
        }
        let span = InstanceSpan {
            instance: instance.clone(),
            release: release.clone(),
            is_new,
            phases: vec![phase],
            until: self.end,
            is_gone: false,
        };
        self.spans.insert(instance.clone(), (slot.clone(), span));
    }

    /// Records that an instance continues, because its reload has failed.
    fn continue_span(&mut self, instance: &InstanceId) {
        if let Some((_, span)) = self.spans.get_mut(instance) {
            (span.until, span.is_gone) = (self.end, false);
        }
    }

    fn end_span(&mut self, instance: &InstanceId, at: Time) {
        if let Some((_, span)) = self.spans.get_mut(instance) {
            (span.until, span.is_gone) = (at, true);
        }
    }

    fn enter(&mut self, instance: &InstanceId, phase: InstancePhase, at: Time) {
        if let Some((_, span)) = self.spans.get_mut(instance)
            && span.phases.last().is_none_or(|(_, last)| *last != phase)
        {
            span.phases.push((at, phase));
        }
    }

    fn record_incident(&mut self, host: &HostId, error: String, at: Time) {
        let incidents = self.incidents.entry(host.clone()).or_default();
        incidents.push(HostIncident { at, error });
    }

    /// The timelines of these hosts, in this order, then of other hosts in the journal.
    pub fn by_host(self, hosts: &[HostId]) -> Vec<HostTimeline> {
        let (mut outages, mut incidents) = (self.outages, self.incidents);
        for (host, since) in self.lost.iter() {
            let outages = outages.entry(host.clone()).or_default();
            outages.push((since, self.end));
        }
        let mut instances: BTreeMap<HostId, BTreeMap<SlotNumber, Vec<InstanceSpan>>> =
            BTreeMap::new();
        for (slot, span) in self.spans.into_values() {
            let slots = instances.entry(slot.host).or_default();
            slots.entry(slot.number).or_default().push(span);
        }
        for spans in instances.values_mut().flat_map(BTreeMap::values_mut) {
            spans.sort_by_key(|span| span.phases.first().map(|(at, _)| *at));
        }
        let known: BTreeSet<_> = hosts.iter().collect();
        let named = instances
            .keys()
            .chain(incidents.keys())
            .chain(outages.keys());
        let others: BTreeSet<_> = named
            .filter(|host| !known.contains(host))
            .cloned()
            .collect();
        let all = hosts.iter().cloned().chain(others);
        all.map(|host| HostTimeline {
            instances: instances.remove(&host).unwrap_or_default(),
            incidents: incidents.remove(&host).unwrap_or_default(),
            outages: outages.remove(&host).unwrap_or_default(),
            host,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::ids::ActionId;
    use crate::core::journal::testing::{self, Play, START};
    use crate::core::rollout::failure::{Failure, FailureKind};

    fn entries(play: &Play) -> Vec<Entry> {
        play.entries
            .iter()
            .map(|(entry, _)| entry.clone())
            .collect()
    }

    /// The timelines in words: `node4 8081: 0.9 Starting@0.8 Ready@2 …`.
    fn shown(play: &Play, hosts: &[&str]) -> String {
        let journal = entries(play);
        let end = journal.last().unwrap().at;
        let hosts: Vec<_> = hosts.iter().map(|host| HostId::from(*host)).collect();
        let seconds = |at: Time| at.since(START).as_secs_f64();
        let mut lines = Vec::new();
        let timeline = InstanceTimeline::of(&journal, &Placements::default(), (journal[0].at, end));
        for host in timeline.by_host(&hosts) {
            for (number, bars) in &host.instances {
                let bars = bars.iter().map(|bar| {
                    let phases = bar
                        .phases
                        .iter()
                        .map(|(at, phase)| format!("{phase:?}@{} ", seconds(*at)));
                    let end = if bar.is_gone { "gone" } else { "there" };
                    format!(
                        " {} {}{end}@{}",
                        bar.release.short(),
                        phases.collect::<String>(),
                        seconds(bar.until)
                    )
                });
                lines.push(format!(
                    "{} {number}:{}",
                    host.host,
                    bars.collect::<Vec<_>>().join(";")
                ));
            }
            lines.extend(
                host.incidents
                    .iter()
                    .map(|incident| format!("{} ✗@{}", host.host, seconds(incident.at))),
            );
            lines.extend(host.outages.iter().map(|(from, to)| {
                format!("{} lost {}-{}", host.host, seconds(*from), seconds(*to))
            }));
        }
        lines.join("\n")
    }

    #[test]
    fn timeline_lists_the_instances_of_each_host_in_order() {
        let play = Play::example();
        insta::assert_snapshot!(shown(&play, &["node1", "node2", "node3", "node4"]), @r"
        node1 8081: 230767614a Ready@0 Stopping@2 gone@2.1; 515849216a Starting@2.1 Ready@3.3 there@4.7
        node2 8081: 230767614a Ready@0 Stopping@3.3 gone@3.4; 515849216a Starting@3.4 Ready@4.6 there@4.7
        node3 8081: 230767614a Ready@0 Stopping@4.6 gone@4.7
        node4 8081: 515849216a Starting@0.8 Ready@2 there@4.7
        ");
    }

    #[test]
    fn timeline_marks_failures_on_their_hosts() {
        let mut play = Play::begin(4);
        let start = Action::Start {
            slot: Slot::new("node4", 8081),
            release: testing::release("0.9"),
            reloads: None,
        };
        let id = play.order(start, Some("testpage-515849216a-059b0"));
        play.then(
            1500,
            Event::ActionFailed {
                id,
                error: "sudo: a password is required".into(),
            },
        );
        play.then(
            0,
            Event::HostLost {
                host: "node2".into(),
                why: "gone".into(),
            },
        );
        play.then(
            1000,
            Event::HostRecovered {
                host: "node2".into(),
            },
        );
        play.then(
            1000,
            Event::HostLost {
                host: "node2".into(),
                why: "gone".into(),
            },
        );
        let host = Some("node2".into());
        let (slot, detail, waited) = (None, "gone".into(), Duration::ZERO);
        let failure = Failure {
            kind: FailureKind::HostLost,
            host,
            slot,
            detail,
            waited,
        };
        play.then(
            1000,
            Event::HostFailed {
                failure,
                log: Vec::new(),
            },
        );
        insta::assert_snapshot!(shown(&play, &["node1"]), @r"
        node2 ✗@4.5
        node2 lost 1.5-2.5
        node2 lost 3.5-4.5
        node4 8081: 515849216a Starting@0 gone@1.5
        node4 ✗@1.5
        ");
    }

    #[test]
    fn instance_continues_after_a_failed_reload_and_ends_with_a_successful_one() {
        let mut play = Play::begin(1);
        let mut reload = |name: &str, end: fn(ActionId) -> Event| {
            let action = Action::Start {
                slot: Slot::new("node1", 8081),
                release: testing::release("0.9"),
                reloads: Some("testpage-230767614a-000n1".into()),
            };
            let id = play.order(action, Some(name));
            play.then(500, end(id));
        };
        reload("testpage-515849216a-059b0", |id| Event::ActionFailed {
            id,
            error: "exit status 3".into(),
        });
        reload("testpage-515849216a-059b1", |id| Event::ActionDone { id });
        insta::assert_snapshot!(shown(&play, &["node1"]), @r"
        node1 8081: 230767614a Ready@0 gone@0.5; 515849216a Starting@0.5 there@1
        node1 ✗@0.5
        ");
    }
}
