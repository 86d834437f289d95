//! The summary of a rollout, computed from its journal.

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

/// What a user can do about a stopped rollout.
const NEXT: &str = "`ship resume` continues, `ship abort` rolls back";

/// The summary of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RolloutSummary {
    /// The command that started the rollout.
    pub verb: Verb,
    pub goal: RevisionRef,
    /// The last target: the goal, or the rollback target.
    pub target: RevisionRef,
    /// The wanted number of instances at the target.
    pub replicas: u32,
    pub began: Time,
    /// When the rollout ended; `None` while it runs, or if its controller died.
    pub ended: Option<Time>,
    pub outcome: Option<Outcome>,
    /// The failure, if there was one.
    pub failure: Option<Failure>,
    pub progress: Option<Progress>,
    /// The report of the availability monitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<AvailabilityReport>,
    /// The failures of the failed hosts.
    pub failed_hosts: Vec<Failure>,
    /// The step at which the rollout waits, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepGate>,
    /// The drained instances and their requests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drains: Vec<Drained>,
}

/// A step at which a rollout waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepGate {
    /// Counted from 1.
    pub step: u32,
    /// The number of steps.
    pub of: u32,
    pub since: Time,
    /// The soak time of the step.
    pub soak: Duration,
    /// Whether a user must then promote the rollout.
    pub pause: bool,
    /// The analysis for which the step waits, and its last measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<String>,
}

/// A drained instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drained {
    pub slot: Slot,
    pub instance: InstanceId,
    #[serde(flatten)]
    pub result: DrainResult,
}

impl RolloutSummary {
    /// Summarizes a journal; `None` if its first entry is not the start of a rollout.
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

    /// Whether the rollout has shown that its release becomes available.
    pub fn proves_release(&self) -> bool {
        self.outcome == Some(Outcome::Succeeded) && self.replicas > 0
    }

    /// The lines for a user; none for a rollout that succeeded. `by` is the user whose controller
    /// carries out the rollout, if it has a controller.
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
                .map(|failure| format!("  reason: {failure}")),
        );
        let prefix = if lines.is_empty() {
            format!("{what}: ")
        } else {
            "  ".to_owned()
        };
        lines.extend(
            self.monitor
                .iter()
                .map(|report| format!("{prefix}{report}")),
        );
        lines
    }

    /// The state or the outcome of the rollout; `None` if it succeeded.
    fn headline(&self, what: &str, by: Option<&str>, now: Time) -> Option<String> {
        let ago = |at: Time| Human(now.since(at));
        let counts = self.counts();
        let with = |word: &str| counts.as_ref().map(|counts| format!("{word} {counts}"));
        let progress = with(", with").unwrap_or_default();
        let (began, ended) = (ago(self.began), ago(self.ended.unwrap_or(self.began)));
        Some(match (&self.outcome, by) {
            (None, Some(by)) => format!("{what} by {by} has been running for {began}{progress}"),
            // The hosts have completed what was in flight, so that they may show other counts.
            (None, None) => {
                let progress = with(" at").unwrap_or_default();
                format!("{what} started {began} ago and was interrupted{progress}; {NEXT}")
            }
            (Some(Outcome::Succeeded), _) => return None,
            (Some(Outcome::Paused { by, since }), _) => {
                format!(
                    "{what} was paused {} ago by {by}{progress}; {NEXT}",
                    ago(*since)
                )
            }
            (Some(Outcome::Interrupted), _) => {
                format!("{what} was interrupted {ended} ago{progress}; {NEXT}")
            }
            (Some(Outcome::WindowClosed { why }), _) => {
                format!("{what} stopped {ended} ago{progress}: {why}; {NEXT}")
            }
            (Some(outcome), _) => format!("{what} ended {ended} ago: {}", outcome.word()),
        })
    }

    /// The line about the step at which the rollout waits.
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
            (false, ..) => format!("  step {step} of {of} soaks for {} more", Human(left)),
            (true, Some(analysis), _) => {
                format!("  step {step} of {of} waits for analysis {analysis}")
            }
            (true, None, true) => {
                format!(
                    "  step {step} of {of} waits: `ship promote` continues, `ship abort` rolls back"
                )
            }
            (true, None, false) => return None,
        })
    }

    /// The line about the drained instances and their requests.
    pub fn drains_line(&self) -> Option<String> {
        let sum = |of: fn(&DrainResult) -> u32| {
            self.drains
                .iter()
                .map(|drained| of(&drained.result))
                .sum::<u32>()
        };
        let (ended, cut) = (sum(|result| result.ended), sum(|result| result.cut));
        let longest = self
            .drains
            .iter()
            .map(|drained| drained.result.waited)
            .max()?;
        let cut = if cut == 0 {
            "none cut".to_owned()
        } else {
            format!("{cut} cut at the deadline")
        };
        let drained = self.drains.len();
        Some(format!(
            "drained {drained} instance{} in at most {}: {ended} open requests finished, {cut}",
            if drained == 1 { "" } else { "s" },
            Human(longest)
        ))
    }

    /// The counts of instances that the controller has recorded last.
    fn counts(&self) -> Option<String> {
        let progress = self.progress?;
        Some(format!(
            "{} of {} updated and {} available",
            progress.updated, progress.desired, progress.available
        ))
    }
}

fn gate(journal: &[Entry], rollout: &Rollout) -> Option<StepGate> {
    let since = rollout.step.reached?;
    let is_inconclusive =
        |record: &Record| matches!(record.finding, Finding::Inconclusive | Finding::Error);
    let mut waited_for = rollout
        .evidence
        .analyses
        .iter()
        .filter(|(_, record)| record.last >= since && is_inconclusive(record));
    let analysis = waited_for
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
            result,
        } => Some(Drained {
            slot: slot.clone(),
            instance: instance.clone(),
            result: *result,
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
            rollback_target: None,
            rollback_replicas: None,
            replicas: 3,
            epoch: Epoch(1),
            is_proven: false,
            scaling: None,
            set: Vec::new(),
            hosts_from: None,
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
    fn summary_has_lines_unless_the_rollout_succeeded() {
        let lines = |outcome, by| {
            RolloutSummary::of(&journal(outcome))
                .unwrap()
                .lines(by, Time(65_000))
                .join("\n")
        };
        assert_eq!(
            lines(None, Some("anna@laptop")),
            "deploy of 1.1 (revision 4) by anna@laptop has been running for 1m4s"
        );
        assert_eq!(
            lines(None, None),
            "deploy of 1.1 (revision 4) started 1m4s ago and was interrupted; `ship resume` \
             continues, `ship abort` rolls back"
        );
        assert_eq!(
            lines(Some(Outcome::RolledBack), None),
            "deploy of 1.1 (revision 4) ended 1m ago: rolled-back"
        );
        assert_eq!(lines(Some(Outcome::Succeeded), None), "");
    }

    #[test]
    fn journal_without_a_start_has_no_summary() {
        assert_eq!(RolloutSummary::of(&[]), None);
        assert_eq!(
            RolloutSummary::of(&journal(Some(Outcome::RolledBack))[1..]),
            None
        );
    }
}
