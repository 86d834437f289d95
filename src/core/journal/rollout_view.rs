//! A rollout from the point of view of a reader: its start, its target and its current state.

use std::collections::BTreeSet;

use crate::core::analysis::measurement::Finding;
use crate::core::availability::AvailabilityReport;
use crate::core::rollout::event::{Entry, Event, Progress, RevisionRef, RolloutStart};
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::rollout::{Direction, Rollout};
use crate::core::time::Time;

/// A rollout, its start and its progress.
#[derive(Clone, Debug)]
pub struct RolloutView {
    /// The first event.
    pub start: RolloutStart,
    pub began: Time,
    /// When the rollout ended; `None` while it runs.
    pub ended: Option<Time>,
    /// The versions of the instances at the start, except for the goal's version. If no instance is
    /// known, the version of the rollback target.
    pub versions_before: BTreeSet<String>,
    /// The first failure. Later failures are consequences; `rollout` has the last one.
    pub cause: Option<Failure>,
    /// The last counts.
    pub progress: Option<Progress>,
    /// The state of the rollout.
    pub rollout: Rollout,
}

impl RolloutView {
    /// The view after the first event; `None` if that event is not `RolloutStarted`. `versions` are
    /// the versions of the instances at that time.
    pub fn begin(entry: &Entry, mut versions: BTreeSet<String>) -> Option<Self> {
        let Event::RolloutStarted(start) = &entry.event else {
            return None;
        };
        if versions.is_empty() {
            let rollback_target = start.rollback_target.iter();
            versions.extend(rollback_target.map(|rollback_target| rollback_target.version.clone()));
        }
        versions.remove(&start.target.version);
        Some(Self {
            start: start.clone(),
            began: entry.at,
            ended: None,
            versions_before: versions,
            cause: None,
            progress: None,
            rollout: Rollout::started(start, entry.at),
        })
    }

    /// Reads a whole journal without knowledge of the fleet; `None` if the journal does not begin
    /// with `RolloutStarted`.
    pub fn of(journal: &[Entry]) -> Option<Self> {
        let mut view = Self::begin(journal.first()?, BTreeSet::new())?;
        journal[1..].iter().for_each(|entry| view.apply(entry));
        Some(view)
    }

    /// Applies the next event.
    pub fn apply(&mut self, entry: &Entry) {
        self.rollout.apply(entry);
        match &entry.event {
            Event::Progress(progress) => self.progress = Some(*progress),
            Event::RolloutFailed { failure, .. } => {
                self.cause.get_or_insert_with(|| failure.clone());
            }
            Event::RolloutFinished { .. } => self.ended = Some(entry.at),
            _ => {}
        }
    }

    /// The goal, also while the rollout rolls back.
    pub fn goal(&self) -> &RevisionRef {
        &self.start.target
    }

    /// The revision that a failed rollout rolls back to.
    pub fn rollback_target(&self) -> Option<&RevisionRef> {
        self.start.rollback_target.as_ref()
    }

    /// The version of the current target: the goal, or the rollback target while rolling back.
    pub fn version(&self) -> &str {
        &self.rollout.target().version
    }

    /// The wanted number of instances at the current target.
    pub fn replicas(&self) -> u32 {
        self.start
            .rollback_replicas
            .filter(|_| self.rollout.is_rolling_back())
            .unwrap_or(self.start.replicas)
    }

    pub fn direction(&self) -> &Direction {
        &self.rollout.direction
    }

    pub fn outcome(&self) -> Option<&Outcome> {
        self.rollout.outcome.as_ref()
    }

    /// The outcome of the rollout that this one continues, if this one only scales the service.
    pub fn outcome_before_scaling(&self) -> Option<&Outcome> {
        self.start.scaling.as_ref().map(|scaling| &*scaling.then)
    }

    /// The last finding of an analysis; `None` before its first measurement.
    pub fn finding(&self, analysis: &str) -> Option<Finding> {
        let record = self.rollout.evidence.analyses.get(analysis);
        record.map(|record| record.finding)
    }

    /// The last report of the availability monitor.
    pub fn availability(&self) -> Option<&AvailabilityReport> {
        self.rollout.evidence.availability.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::journal::testing::Play;
    use crate::core::rollout::event::FailureResponse;
    use crate::core::rollout::failure::FailureKind;

    fn failed(detail: &str, then: FailureResponse) -> Event {
        let failure = Failure {
            kind: FailureKind::Exited,
            host: Some("node4".into()),
            slot: None,
            detail: detail.to_owned(),
            waited: Duration::ZERO,
        };
        let log = Vec::new();
        Event::RolloutFailed { failure, log, then }
    }

    #[test]
    fn view_keeps_the_first_failure_and_follows_the_last_direction() {
        let mut play = Play::begin(4);
        let why = String::new();
        play.then(10, failed("first", FailureResponse::Hold { why }));
        play.then(10, failed("second", FailureResponse::RollBack));
        let mut journal: Vec<_> = play.entries.into_iter().map(|(entry, _)| entry).collect();
        if let Event::RolloutStarted(start) = &mut journal[0].event {
            start.rollback_replicas = Some(5);
        }
        let forward = RolloutView::of(&journal[..2]).unwrap();
        assert_eq!((forward.version(), forward.replicas()), ("0.9", 3));
        let back = RolloutView::of(&journal).unwrap();
        assert_eq!((back.version(), back.replicas()), ("0.8", 5));
        let cause = back.cause.as_ref().map(|failure| failure.detail.as_str());
        assert_eq!(cause, Some("first"));
        let last = back
            .rollout
            .failure()
            .map(|failure| failure.detail.as_str());
        assert_eq!(last, Some("second"));
    }

    #[test]
    fn versions_before_leave_out_the_goal_and_default_to_the_rollback_target() {
        let entry = Play::begin(4).entries.remove(0).0;
        let before = |versions: &[&str]| {
            let versions = versions.iter().map(|version| (*version).to_owned());
            let view = RolloutView::begin(&entry, versions.collect()).unwrap();
            view.versions_before.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(before(&["0.7", "0.9"]), ["0.7"]);
        assert_eq!(before(&["0.9"]), Vec::<String>::new());
        assert_eq!(before(&[]), ["0.8"]);
    }
}
