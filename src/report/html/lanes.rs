//! One lane a host: which instance was there from when to when, and in what state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::core::ids::{ActionId, HostId, InstanceId, Port, ReleaseId, Slot};
use crate::core::journal::placements::Roster;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// What happened on a host, in the order of its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) host: HostId,
    pub(super) rows: BTreeMap<Port, Vec<Bar>>,
    /// Moments at which something went wrong here, and what.
    pub(super) marks: Vec<Mark>,
    /// From when to when it was out of reach.
    pub(super) lost: Vec<(Time, Time)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) instance: InstanceId,
    pub(super) release: ReleaseId,
    /// Whether it was started in this rollout.
    pub(super) is_new: bool,
    /// Its states, each from its moment to the next one's.
    pub(super) phases: Vec<(Time, Phase)>,
    /// When it was gone; the end of the timeline where it was not.
    pub(super) until: Time,
    pub(super) is_gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Ready,
    NotReady,
    /// It gets no new requests any more.
    Drained,
    Stopping,
}

/// Something that went wrong at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: Time,
    pub(super) what: String,
}

/// The lanes of these hosts, and of others that the journal names; `end` is where the timeline
/// ends.
pub(super) fn lanes(journal: &[Entry], before: &Roster, hosts: &[HostId], end: Time) -> Vec<Lane> {
    let begin = journal.first().map_or(end, |entry| entry.at);
    let mut drawing = Drawing {
        end,
        ..Drawing::default()
    };
    for (instance, post) in before.present() {
        drawing.begin(
            instance,
            &post.slot,
            &post.release,
            begin,
            Phase::Ready,
            false,
        );
    }
    for entry in journal {
        drawing.apply(entry, begin);
    }
    drawing.finish(hosts)
}

#[derive(Default)]
struct Drawing {
    bars: BTreeMap<InstanceId, (Slot, Bar)>,
    orders: BTreeMap<ActionId, (bool, InstanceId)>,
    marks: BTreeMap<HostId, Vec<Mark>>,
    out_of_reach: BTreeMap<HostId, Time>,
    lost: BTreeMap<HostId, Vec<(Time, Time)>>,
    end: Time,
}

impl Drawing {
    fn apply(&mut self, entry: &Entry, begin: Time) {
        let at = entry.at;
        match &entry.event {
            Event::ActionStarted {
                id,
                action: Action::Start { slot, release },
                instance: Some(instance),
            } => {
                self.orders.insert(*id, (true, instance.clone()));
                self.begin(instance, slot, release, at, Phase::Starting, true);
            }
            Event::ActionStarted {
                id,
                action: Action::Stop { slot, instance, .. },
                ..
            } => {
                self.orders.insert(*id, (false, instance.clone()));
                self.met(instance, slot, begin);
                self.turn(instance, at, Phase::Stopping);
            }
            Event::ActionStarted {
                action: Action::Drain { slot, instance, .. },
                ..
            } => {
                self.met(instance, slot, begin);
                self.turn(instance, at, Phase::Drained);
            }
            Event::ActionDone { id } => {
                if let Some((false, instance)) = self.orders.remove(id) {
                    self.gone(&instance, at);
                }
            }
            Event::ActionFailed { id, error } => match self.orders.remove(id) {
                Some((true, instance)) => {
                    let slot = self.bars.get(&instance).map(|(slot, _)| slot.clone());
                    self.gone(&instance, at);
                    if let Some(slot) = slot {
                        self.mark(&slot.host, at, error);
                    }
                }
                // It stands as it did.
                Some((false, instance)) => self.turn_back(&instance, at),
                None => {}
            },
            Event::InstanceReady {
                slot,
                instance,
                release,
                ..
            } => {
                self.begin(instance, slot, release, begin, Phase::Ready, false);
                self.turn(instance, at, Phase::Ready);
            }
            Event::InstanceNotReady {
                slot,
                instance,
                release,
                ..
            } => {
                self.begin(instance, slot, release, begin, Phase::Ready, false);
                self.turn(instance, at, Phase::NotReady);
            }
            Event::HostLost { host, .. } => {
                self.out_of_reach.entry(host.clone()).or_insert(at);
            }
            Event::HostFound { host } => {
                if let Some(since) = self.out_of_reach.remove(host) {
                    self.lost.entry(host.clone()).or_default().push((since, at));
                }
            }
            Event::RolloutFailed { failure, .. } | Event::HostQuarantined { failure, .. } => {
                if let Some(host) = &failure.host {
                    self.mark(host, at, &failure.to_string());
                }
            }
            _ => {}
        }
    }

    /// An instance is there from `at`, unless it is known already.
    fn begin(
        &mut self,
        name: &InstanceId,
        slot: &Slot,
        release: &ReleaseId,
        at: Time,
        phase: Phase,
        is_new: bool,
    ) {
        if self.bars.contains_key(name) {
            return;
        }
        // What was in the slot is gone by now, whoever has stopped it.
        let others: Vec<_> = self
            .bars
            .iter()
            .filter(|(_, (other, bar))| other == slot && !bar.is_gone)
            .collect();
        let others: Vec<_> = others.into_iter().map(|(name, _)| name.clone()).collect();
        for other in others {
            self.gone(&other, at);
        }
        let (instance, release) = (name.clone(), release.clone());
        let bar = Bar {
            instance,
            release,
            is_new,
            phases: vec![(at, phase)],
            until: self.end,
            is_gone: false,
        };
        self.bars.insert(name.clone(), (slot.clone(), bar));
    }

    /// One that no journal has told of was there all the while; its name begins with the service's
    /// and its release's.
    fn met(&mut self, instance: &InstanceId, slot: &Slot, begin: Time) {
        let release = instance.as_str().rsplit('-').nth(1).unwrap_or_default();
        self.begin(
            instance,
            slot,
            &ReleaseId::from(release),
            begin,
            Phase::Ready,
            false,
        );
    }

    fn turn(&mut self, instance: &InstanceId, at: Time, phase: Phase) {
        if let Some((_, bar)) = self.bars.get_mut(instance)
            && bar.phases.last().is_none_or(|(_, last)| *last != phase)
        {
            bar.phases.push((at, phase));
        }
    }

    fn turn_back(&mut self, instance: &InstanceId, at: Time) {
        let phases = self
            .bars
            .get(instance)
            .map(|(_, bar)| bar.phases.as_slice());
        if let Some([.., (_, before), (_, Phase::Stopping)]) = phases {
            let before = *before;
            self.turn(instance, at, before);
        }
    }

    fn gone(&mut self, instance: &InstanceId, at: Time) {
        if let Some((_, bar)) = self.bars.get_mut(instance) {
            (bar.until, bar.is_gone) = (at, true);
        }
    }

    fn mark(&mut self, host: &HostId, at: Time, what: &str) {
        self.marks.entry(host.clone()).or_default().push(Mark {
            at,
            what: what.to_owned(),
        });
    }

    fn finish(mut self, hosts: &[HostId]) -> Vec<Lane> {
        for (host, since) in std::mem::take(&mut self.out_of_reach) {
            self.lost.entry(host).or_default().push((since, self.end));
        }
        let mut rows: BTreeMap<HostId, BTreeMap<Port, Vec<Bar>>> = BTreeMap::new();
        for (_, (slot, bar)) in self.bars {
            rows.entry(slot.host)
                .or_default()
                .entry(slot.port)
                .or_default()
                .push(bar);
        }
        for bars in rows.values_mut().flat_map(BTreeMap::values_mut) {
            bars.sort_by_key(|bar| bar.phases.first().map(|(at, _)| *at));
        }
        let known: BTreeSet<_> = hosts.iter().cloned().collect();
        let told_of = rows.keys().chain(self.marks.keys()).chain(self.lost.keys());
        let others: BTreeSet<_> = told_of
            .filter(|host| !known.contains(host))
            .cloned()
            .collect();
        hosts
            .iter()
            .cloned()
            .chain(others)
            .map(|host| Lane {
                rows: rows.remove(&host).unwrap_or_default(),
                marks: self.marks.remove(&host).unwrap_or_default(),
                lost: self.lost.remove(&host).unwrap_or_default(),
                host,
            })
            .collect()
    }
}

/// Moments that divide a time into a few parts, as people do.
pub(super) fn ticks(whole: Duration) -> Vec<Duration> {
    const PARTS_MAX: u128 = 5;
    const STEPS_MS: [u64; 22] = [
        100,
        200,
        500,
        1000,
        2000,
        5000,
        10_000,
        15_000,
        30_000,
        60_000,
        120_000,
        300_000,
        600_000,
        900_000,
        1_800_000,
        3_600_000,
        7_200_000,
        21_600_000,
        43_200_000,
        86_400_000,
        172_800_000,
        604_800_000,
    ];
    let fits = |step: &&u64| whole.as_millis() / u128::from(**step) <= PARTS_MAX;
    let Some(step) = STEPS_MS.iter().find(fits) else {
        return Vec::new();
    };
    let step = Duration::from_millis(*step);
    std::iter::successors(Some(step), |tick| Some(*tick + step))
        .take_while(|tick| *tick < whole)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rollout::failure::{Failure, FailureKind};
    use crate::report::testing::{Play, START};

    fn entries(play: &Play) -> Vec<Entry> {
        play.entries
            .iter()
            .map(|(entry, _)| entry.clone())
            .collect()
    }

    /// The lanes in words: `node4 8081: 0.9 Starting@0.8 Ready@2 …`.
    fn told(play: &Play, hosts: &[&str]) -> String {
        let journal = entries(play);
        let end = journal.last().unwrap().at;
        let hosts: Vec<_> = hosts.iter().map(|host| HostId::from(*host)).collect();
        let seconds = |at: Time| at.since(START).as_secs_f64();
        let mut lines = Vec::new();
        for lane in lanes(&journal, &Roster::default(), &hosts, end) {
            for (port, bars) in &lane.rows {
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
                    "{} {port}:{}",
                    lane.host,
                    bars.collect::<Vec<_>>().join(";")
                ));
            }
            lines.extend(
                lane.marks
                    .iter()
                    .map(|mark| format!("{} ✗@{}", lane.host, seconds(mark.at))),
            );
            lines.extend(lane.lost.iter().map(|(from, to)| {
                format!("{} lost {}-{}", lane.host, seconds(*from), seconds(*to))
            }));
        }
        lines.join("\n")
    }

    #[test]
    fn each_host_has_its_instances_one_after_the_other() {
        let play = Play::article();
        insta::assert_snapshot!(told(&play, &["node1", "node2", "node3", "node4"]), @r"
        node1 8081: 230767614a Ready@0 Stopping@2 gone@2.1; 515849216a Starting@2.1 Ready@3.3 there@4.7
        node2 8081: 230767614a Ready@0 Stopping@3.3 gone@3.4; 515849216a Starting@3.4 Ready@4.6 there@4.7
        node3 8081: 230767614a Ready@0 Stopping@4.6 gone@4.7
        node4 8081: 515849216a Starting@0.8 Ready@2 there@4.7
        ");
    }

    #[test]
    fn what_went_wrong_is_marked_where_it_did() {
        let mut play = Play::begin(4);
        let start = Action::Start {
            slot: Slot::new("node4", 8081),
            release: crate::report::testing::release("0.9"),
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
            Event::HostFound {
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
            Event::HostQuarantined {
                failure,
                log: Vec::new(),
            },
        );
        insta::assert_snapshot!(told(&play, &["node1"]), @r"
        node2 ✗@4.5
        node2 lost 1.5-2.5
        node2 lost 3.5-4.5
        node4 8081: 515849216a Starting@0 gone@1.5
        node4 ✗@1.5
        ");
    }

    #[test]
    fn a_time_is_divided_as_people_do() {
        let of = |s: u64| {
            ticks(Duration::from_secs(s))
                .iter()
                .map(Duration::as_secs)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(5), [1, 2, 3, 4]);
        assert_eq!(of(31), [10, 20, 30]);
        assert_eq!(of(750), [300, 600]);
        assert_eq!(ticks(Duration::ZERO), Vec::<Duration>::new());
    }
}
