//! What a journal says of its rollout in a few words: where it was going, and how it ended.

use std::time::Duration;

use serde::Serialize;

use crate::core::analysis::measurement::{Finding, Record};
use crate::core::availability::AvailabilityReport;
use crate::core::fleet::traffic::DrainResult;
use crate::core::ids::{InstanceId, Slot};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::rollout::Rollout;
use crate::core::rollout::event::{Entry, Event, Progress, RevisionRef};
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::rollout::verb::Verb;
use crate::core::time::{Human, Time};

/// What can be done about a rollout that stands still.
const GO_ON: &str = "`ship resume` goes on, `ship abort` goes back";

/// A rollout in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RolloutSummary {
    /// What it was asked to do.
    pub verb: Verb,
    pub goal: RevisionRef,
    /// Where it was going last: the goal, or back.
    pub target: RevisionRef,
    /// Instances that the service was to have where it was going last.
    pub replicas: u32,
    pub began: Time,
    /// When it ended; `None` while it runs, or if its controller died.
    pub ended: Option<Time>,
    pub outcome: Option<Outcome>,
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
    pub progress: Option<Progress>,
    /// What became of the requests that were made all the while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<AvailabilityReport>,
    /// Hosts that it left behind, and why.
    pub failed_hosts: Vec<Failure>,
    /// The step at which it waits, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepGate>,
    /// What became of the requests of what was taken out of traffic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drains: Vec<Drained>,
}

/// A step at which a rollout waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepGate {
    /// Which, from 1.
    pub step: u32,
    /// Of so many.
    pub of: u32,
    pub since: Time,
    /// How long its instances are watched.
    pub soak: Duration,
    /// Whether a person must then say that it may go on.
    pub pause: bool,
    /// The analysis that says nothing yet, and what it says, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<String>,
}

/// An instance that was taken out of traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drained {
    pub slot: Slot,
    pub instance: InstanceId,
    #[serde(flatten)]
    pub receipt: DrainResult,
}

impl RolloutSummary {
    /// Reads a journal from its first entry; `None` if that is not the start of a rollout.
    pub fn of(journal: &[Entry]) -> Option<Self> {
        let view = RolloutView::of(journal)?;
        let replicas = view.replicas();
        let RolloutView {
            start,
            began,
            ended,
            progress,
            rollout,
            ..
        } = view;
        Some(Self {
            verb: start.verb,
            goal: start.target,
            target: rollout.target().clone(),
            replicas,
            began,
            ended,
            outcome: rollout.outcome.clone(),
            failure: rollout.failure().cloned(),
            progress,
            step: gate(journal, &rollout),
            drains: drains(journal),
            monitor: rollout.evidence.availability,
            failed_hosts: rollout.attempt.failed_hosts.into_values().collect(),
        })
    }

    /// The lines for a person, at `now`; none where all went well. `by` is who is at it, if anybody
    /// is.
    pub fn lines(&self, by: Option<&str>, now: Time) -> Vec<String> {
        let RevisionRef {
            version, revision, ..
        } = &self.goal;
        let what = format!("{} of {version} (revision {revision})", self.verb.noun());
        let mut lines: Vec<_> = self.headline(&what, by, now).into_iter().collect();
        if let Some(Outcome::Held { why }) = &self.outcome {
            lines.push(format!("  held: {why}"));
        }
        lines.extend(self.gate_line(now));
        match self.drains_line() {
            Some(drains) if lines.is_empty() => lines.push(format!("{what} {drains}")),
            drains => lines.extend(drains.map(|drains| format!("  {drains}"))),
        }
        lines.extend(
            self.failure
                .iter()
                .map(|failure| format!("  why: {failure}")),
        );
        let whose = if lines.is_empty() {
            format!("{what}: ")
        } else {
            "  ".to_owned()
        };
        lines.extend(self.monitor.iter().map(|report| format!("{whose}{report}")));
        lines
    }

    /// How it stands, or how it ended; nothing where it succeeded.
    fn headline(&self, what: &str, by: Option<&str>, now: Time) -> Option<String> {
        let ago = |at: Time| Human(now.since(at));
        let far = self.how_far();
        let (began, ended) = (ago(self.began), ago(self.ended.unwrap_or(self.began)));
        Some(match (&self.outcome, by) {
            (None, Some(by)) => format!("{what} is under way for {began} by {by}{far}"),
            (None, None) => format!("{what} began {began} ago and was cut off{far}; {GO_ON}"),
            (Some(Outcome::Succeeded), _) => return None,
            (Some(Outcome::Paused { by, since }), _) => {
                format!(
                    "{what} is paused for {}, by {by}{far}; {GO_ON}",
                    ago(*since)
                )
            }
            (Some(Outcome::Interrupted), _) => {
                format!("{what} was interrupted {ended} ago{far}; {GO_ON}")
            }
            (Some(Outcome::Closed { why }), _) => {
                format!("{what} stopped {ended} ago{far}: {why}; {GO_ON}")
            }
            (Some(outcome), _) => format!("{what} ended {ended} ago: {}", outcome.word()),
        })
    }

    /// The step at which it waits, for a person.
    fn gate_line(&self, now: Time) -> Option<String> {
        let StepGate {
            step,
            of,
            since,
            soak,
            pause,
            analysis,
        } = self.step.as_ref().filter(|_| self.ended.is_none())?;
        let left = (*since + *soak).since(now);
        Some(match (left.is_zero(), analysis, pause) {
            (false, ..) => format!(
                "  step {step} of {of} is reached and soaks for {} more",
                Human(left)
            ),
            (true, Some(analysis), _) => {
                format!("  step {step} of {of} waits for analysis {analysis}")
            }
            (true, None, true) => {
                format!(
                    "  step {step} of {of} waits: `ship promote` goes on, `ship abort` goes back"
                )
            }
            (true, None, false) => return None,
        })
    }

    /// What became of the requests, for a person.
    pub fn drains_line(&self) -> Option<String> {
        let sum = |of: fn(&DrainResult) -> u32| {
            self.drains
                .iter()
                .map(|drained| of(&drained.receipt))
                .sum::<u32>()
        };
        let (ended, cut) = (sum(|receipt| receipt.ended), sum(|receipt| receipt.cut));
        let longest = self
            .drains
            .iter()
            .map(|drained| drained.receipt.waited)
            .max()?;
        let cut = if cut == 0 {
            "none cut".to_owned()
        } else {
            format!("{cut} cut at the deadline")
        };
        let drained = self.drains.len();
        Some(format!(
            "drained {drained} instance{}, in {} at most: {ended} requests under way ended by \
             themselves, {cut}",
            if drained == 1 { "" } else { "s" },
            Human(longest)
        ))
    }

    fn how_far(&self) -> String {
        self.progress.map_or_else(String::new, |progress| {
            format!(
                ", with {} of {} updated and {} available",
                progress.updated, progress.desired, progress.available
            )
        })
    }
}

fn gate(journal: &[Entry], rollout: &Rollout) -> Option<StepGate> {
    let since = rollout.step.reached?;
    let tells_nothing =
        |record: &Record| matches!(record.finding, Finding::Inconclusive | Finding::Error);
    let mut silent = rollout
        .evidence
        .analyses
        .iter()
        .filter(|(_, record)| record.last >= since && tells_nothing(record));
    let analysis = silent
        .next()
        .map(|(name, record)| format!("{name}: {}", record.detail));
    journal.iter().rev().find_map(|entry| match entry.event {
        Event::StepReached {
            step,
            of,
            soak,
            pause,
            ..
        } => Some(StepGate {
            step,
            of,
            since,
            soak,
            pause,
            analysis: analysis.clone(),
        }),
        _ => None,
    })
}

fn drains(journal: &[Entry]) -> Vec<Drained> {
    let drained = journal.iter().filter_map(|entry| match &entry.event {
        Event::Drained {
            slot,
            instance,
            receipt,
        } => Some(Drained {
            slot: slot.clone(),
            instance: instance.clone(),
            receipt: *receipt,
        }),
        _ => None,
    });
    drained.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{Epoch, Revision};
    use crate::core::rollout::event::RolloutStart;

    fn journal(last: Option<Outcome>) -> Vec<Entry> {
        let target = RevisionRef {
            revision: Revision(4),
            release: "r".into(),
            version: "1.1".into(),
        };
        let started = Event::RolloutStarted(RolloutStart {
            verb: Verb::Deploy,
            service: "page".into(),
            fleet: "local".into(),
            target,
            fallback: None,
            fallback_replicas: None,
            replicas: 3,
            epoch: Epoch(1),
            is_proven: false,
            scaling: None,
            set: Vec::new(),
        });
        let finished = last.map(|outcome| Entry {
            at: Time(5000),
            event: Event::RolloutFinished { outcome },
        });
        [Entry {
            at: Time(1000),
            event: started,
        }]
        .into_iter()
        .chain(finished)
        .collect()
    }

    #[test]
    fn a_rollout_is_told_by_its_end_and_silence_means_that_all_is_well() {
        let lines = |outcome, by| {
            RolloutSummary::of(&journal(outcome))
                .unwrap()
                .lines(by, Time(65_000))
                .join("\n")
        };
        assert_eq!(
            lines(None, Some("anna@laptop")),
            "deploy of 1.1 (revision 4) is under way for 1m4s by anna@laptop"
        );
        assert_eq!(
            lines(None, None),
            "deploy of 1.1 (revision 4) began 1m4s ago and was cut off; `ship resume` goes on, \
             `ship abort` goes back"
        );
        assert_eq!(
            lines(Some(Outcome::RolledBack), None),
            "deploy of 1.1 (revision 4) ended 1m ago: rolled-back"
        );
        assert_eq!(lines(Some(Outcome::Succeeded), None), "");
    }

    #[test]
    fn a_journal_without_a_beginning_tells_nothing() {
        assert_eq!(RolloutSummary::of(&[]), None);
        assert_eq!(
            RolloutSummary::of(&journal(Some(Outcome::RolledBack))[1..]),
            None
        );
    }
}
