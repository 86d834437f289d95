//! The context of the page template.

use serde::Serialize;

use super::analyses::{self, AnalysisChart};
use super::capacity;
use super::chart::{self, Chart};
use super::next_steps::{NextStep, next_steps};
use super::page_input::PageInput;
use super::time_axis::{Band, Span, Tick};
use super::timeline::{InstanceFailure, Timeline, TimelineBuilder, VersionClasses};
use crate::core::ids::ReleaseId;
use crate::core::journal::capacity_timeline::CapacityTimeline;
use crate::core::journal::instance_timeline::InstanceTimeline;
use crate::core::journal::rollout_summary::{Drained, RolloutSummary};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::rollout::event::{Entry, Event, RevisionRef, RolloutStart};
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::verb::Verb;
use crate::core::time::{Human, Time};
use crate::report::availability;
use crate::report::clock::LocalClock;
use crate::report::message::{RolloutMessage, Severity};
use crate::report::phrases;
use crate::report::replay::ReplayedMessages;

/// More events would make the page too large. The journal has all of them.
const EVENTS_MAX: usize = 3000;

/// Everything that the template fills in.
#[derive(Debug, Serialize)]
pub(super) struct PageContext {
    #[serde(flatten)]
    heading: Heading,
    basics: Vec<[String; 2]>,
    incidents: Vec<Incident>,
    next: Vec<NextStep>,
    #[serde(flatten)]
    changes: ChangeList,
    #[serde(flatten)]
    charts: Charts,
    monitor: Vec<[String; 2]>,
    drains: Vec<[String; 5]>,
    drains_summary: String,
    steps: Vec<[String; 2]>,
    failed_hosts: Vec<[String; 2]>,
    events: Vec<EventLine>,
    events_left_out: usize,
    foot: String,
}

/// The head of the page.
#[derive(Debug, Serialize)]
struct Heading {
    title: String,
    /// `good`, `bad` or `wait`.
    tone: &'static str,
    sign: &'static str,
    headline: &'static str,
    /// The first failure; empty if there was none.
    reason: String,
    summary: String,
    service: String,
    fleet: String,
    from: String,
    to: String,
}

/// The differences from the previous release.
#[derive(Debug, Serialize)]
struct ChangeList {
    changes_since: String,
    changes: Vec<[String; 3]>,
    playbook: Vec<String>,
}

/// The drawings on the common time axis.
#[derive(Debug, Serialize)]
struct Charts {
    began: String,
    timeline: Timeline,
    chart: Option<Chart>,
    analyses: Vec<AnalysisChart>,
}

#[derive(Debug, Serialize)]
struct Incident {
    at: String,
    subject: String,
    what: String,
    facts: Vec<[String; 2]>,
    log: Vec<String>,
}

impl Incident {
    fn headline(&self) -> String {
        match self.subject.as_str() {
            "" => self.what.clone(),
            subject => format!("{subject}: {}", self.what),
        }
    }
}

#[derive(Debug, Serialize)]
struct EventLine {
    at: String,
    subject: String,
    label: &'static str,
    text: String,
    details: Vec<String>,
    class: &'static str,
}

/// The context; `None` if the journal does not begin with the start of a rollout.
pub(super) fn page_context(input: &PageInput<'_>) -> Option<PageContext> {
    let PageInput {
        journal,
        before,
        setup,
        budget,
        ..
    } = input;
    let ReplayedMessages { messages, rollout } =
        ReplayedMessages::of(journal, before, setup, *budget)?;
    let summary = RolloutSummary::of(journal)?;
    let (clock, start) = (&setup.clock, &rollout.start);
    let span = span(input, &summary);
    let availability = summary.monitor.iter();
    let availability = availability.flat_map(|report| availability::lines(report, clock));
    let incidents: Vec<_> = messages
        .iter()
        .filter_map(|message| incident(message, clock))
        .collect();
    Some(PageContext {
        heading: heading(input, &summary, &rollout, &messages, incidents.first()),
        basics: basics(input, &summary, &rollout, span.end),
        incidents,
        next: next_steps(input, &summary, start),
        changes: ChangeList {
            changes_since: input.changes.since.clone(),
            changes: input.changes.parts.clone(),
            playbook: input.changes.playbook.clone(),
        },
        charts: charts(input, &summary, start, span),
        monitor: availability.map(|line| labelled(&line)).collect(),
        drains: summary.drains.iter().map(drain).collect(),
        drains_summary: summary.drains_line().unwrap_or_default(),
        steps: steps(journal, clock),
        failed_hosts: summary.failed_hosts.iter().map(failed_host).collect(),
        events: messages
            .iter()
            .take(EVENTS_MAX)
            .map(|message| event_line(message, clock))
            .collect(),
        events_left_out: messages.len().saturating_sub(EVENTS_MAX),
        foot: format!(
            "rollout {} · ship {}",
            input.rollout,
            env!("CARGO_PKG_VERSION")
        ),
    })
}

/// From the first event to the end of the rollout, or to the present while it runs.
fn span(input: &PageInput<'_>, summary: &RolloutSummary) -> Span {
    let last = input.journal.last().map_or(summary.began, |entry| entry.at);
    let end = summary.ended.unwrap_or(input.now.max(last));
    Span {
        begin: summary.began,
        end,
    }
}

fn heading(
    input: &PageInput<'_>,
    summary: &RolloutSummary,
    rollout: &RolloutView,
    messages: &[RolloutMessage],
    first_incident: Option<&Incident>,
) -> Heading {
    let RolloutStart {
        service,
        fleet,
        target,
        ..
    } = &rollout.start;
    let PageVerdict {
        sign,
        headline,
        tone,
    } = verdict(summary);
    let mut messages = messages.iter();
    let last = messages.rfind(|message| message.severity == Severity::Summary);
    let text = last.map_or_else(
        || summary.lines(None, input.now).join(" "),
        |message| message.text.clone(),
    );
    let (to, word) = (target.version.clone(), outcome_word(summary));
    let cause = rollout.cause.as_ref().map(ToString::to_string);
    let incident = first_incident.map(Incident::headline);
    Heading {
        title: format!("{sign} {service} {to} on {fleet}: {word}"),
        tone,
        sign,
        headline,
        reason: incident.or(cause).unwrap_or_default(),
        summary: text,
        service: service.clone(),
        fleet: fleet.clone(),
        from: phrases::versions_before(rollout),
        to,
    }
}

fn charts(
    input: &PageInput<'_>,
    summary: &RolloutSummary,
    start: &RolloutStart,
    span: Span,
) -> Charts {
    let PageInput {
        journal,
        before,
        setup,
        budget,
        ..
    } = input;
    let mut setup = setup.clone();
    setup.add_versions(start);
    let version = |release: &ReleaseId| setup.versions.of(release).to_owned();
    let kinds = VersionClasses {
        goal: &start.target.release,
        is_restart: start.verb == Verb::Restart,
        version: &version,
    };
    let clock = &setup.clock;
    let builder = TimelineBuilder {
        span,
        kinds: &kinds,
        failures: &instance_failures(journal),
        clock,
    };
    let lanes = InstanceTimeline::of(journal, before, span.end).by_host(&setup.hosts);
    let steps = capacity::visible(CapacityTimeline::of(journal).steps, span);
    Charts {
        began: clock.day_and_time(summary.began),
        timeline: builder.build(&lanes, marks(journal, span), bands(journal, span)),
        chart: chart::chart(&steps, span, summary.replicas, *budget),
        analyses: analyses::analyses(journal, span),
    }
}

fn failed_host(failure: &Failure) -> [String; 2] {
    let host = failure.host.as_ref().map(ToString::to_string);
    [host.unwrap_or_default(), failure.to_string()]
}

fn outcome_word(summary: &RolloutSummary) -> &'static str {
    summary.outcome.as_ref().map_or("running", Outcome::word)
}

fn was_aborted(summary: &RolloutSummary) -> bool {
    summary
        .failure
        .as_ref()
        .is_some_and(|failure| failure.kind == FailureKind::Aborted)
}

/// The headline and its tone.
struct PageVerdict {
    sign: &'static str,
    headline: &'static str,
    tone: &'static str,
}

fn verdict(summary: &RolloutSummary) -> PageVerdict {
    let (sign, headline, tone) = match &summary.outcome {
        Some(Outcome::Succeeded) => ("✓", "Succeeded", "good"),
        Some(Outcome::RolledBack) if was_aborted(summary) => {
            ("✗", "Aborted and rolled back", "bad")
        }
        Some(Outcome::RolledBack) => ("✗", "Failed and rolled back", "bad"),
        Some(Outcome::Held { .. }) => ("✗", "Failed and held: a person is needed", "bad"),
        Some(Outcome::RollbackFailed { .. }) => ("✗", "Rollback failed: a person is needed", "bad"),
        Some(Outcome::Fenced { .. }) => ("✗", "Taken over by another ship process", "bad"),
        Some(Outcome::Interrupted) => ("‖", "Interrupted", "wait"),
        Some(Outcome::WindowClosed { .. }) => ("‖", "Stopped before it was complete", "wait"),
        Some(Outcome::Paused { .. }) => ("‖", "Paused: waiting for a person", "wait"),
        None => ("…", "Running, or interrupted", "wait"),
    };
    PageVerdict {
        sign,
        headline,
        tone,
    }
}

fn basics(
    input: &PageInput<'_>,
    summary: &RolloutSummary,
    rollout: &RolloutView,
    end: Time,
) -> Vec<[String; 2]> {
    let start = &rollout.start;
    let clock = &input.setup.clock;
    let revision = |revision: &RevisionRef| {
        format!(
            "{}, release {}",
            revision.revision,
            revision.release.short()
        )
    };
    let command = format!("{} by {}", start.verb.noun(), input.who);
    let duration = match summary.ended {
        Some(_) => Human(end.since(summary.began)).to_string(),
        None => format!("{} so far", Human(end.since(summary.began))),
    };
    let hosts = input.setup.hosts.len();
    let facts = [
        ("command", Some(command)),
        (
            "reason",
            Some(input.reason.to_owned()).filter(|reason| !reason.is_empty()),
        ),
        ("revision", Some(revision(&start.target))),
        (
            "previous",
            start
                .rollback_target
                .as_ref()
                .filter(|_| !rollout.versions_before.is_empty())
                .map(revision),
        ),
        ("started", Some(clock.day_and_time(summary.began))),
        (
            "ended",
            summary.ended.map(|ended| clock.day_and_time(ended)),
        ),
        ("duration", Some(duration)),
        (
            "instances",
            Some(format!("{} on {hosts} hosts", summary.replicas)),
        ),
        (
            "set",
            Some(start.set.join(", ")).filter(|set| !set.is_empty()),
        ),
        (
            "systemd",
            Some(input.directives.replace('\n', ", ")).filter(|lines| !lines.is_empty()),
        ),
        ("exit code", input.exit_code.map(|code| code.to_string())),
    ];
    facts
        .into_iter()
        .filter_map(|(name, fact)| Some([name.to_owned(), fact?]))
        .collect()
}

fn incident(message: &RolloutMessage, clock: &LocalClock) -> Option<Incident> {
    if message.label != "FAILED" {
        return None;
    }
    let is_log = |line: &&String| line.starts_with("  |");
    let log = message
        .details
        .iter()
        .filter(is_log)
        .map(|line| line.trim_start_matches("  |").replacen(' ', "", 1))
        .collect();
    Some(Incident {
        at: clock.time_of_day(message.at),
        subject: message.subject.clone(),
        what: message.text.clone(),
        facts: message
            .details
            .iter()
            .filter(|line| !is_log(line))
            .map(|line| labelled(line))
            // The log itself is shown below.
            .filter(|[label, _]| label != "log")
            .collect(),
        log,
    })
}

/// The label and the text of a line.
fn labelled(line: &str) -> [String; 2] {
    let (label, text) = line.trim_start().split_once(": ").unwrap_or((line, ""));
    [label.to_owned(), text.trim_start().to_owned()]
}

/// The failures of single instances, which the timeline labels.
fn instance_failures(journal: &[Entry]) -> Vec<InstanceFailure> {
    let failure = |entry: &Entry| match &entry.event {
        Event::RolloutFailed { failure, .. } | Event::HostFailed { failure, .. } => {
            Some(InstanceFailure {
                slot: failure.slot.clone()?,
                at: entry.at,
                what: match failure.kind {
                    FailureKind::Exited => "exited",
                    FailureKind::NotReady => "not ready",
                    FailureKind::Liveness => "not alive",
                    FailureKind::Start => "not started",
                    FailureKind::Reload => "not reloaded",
                    _ => "failed",
                },
            })
        }
        _ => None,
    };
    journal.iter().filter_map(failure).collect()
}

/// The times at which the rollout soaked or waited for a person.
fn bands(journal: &[Entry], span: Span) -> Vec<Band> {
    let mut bands = Vec::new();
    for (nth, entry) in journal.iter().enumerate() {
        let Event::StepReached { soak, pause, .. } = entry.event else {
            continue;
        };
        let ends_gate = |entry: &&Entry| {
            matches!(
                entry.event,
                Event::StepPassed { .. }
                    | Event::Promoted { .. }
                    | Event::Aborted { .. }
                    | Event::RolloutFailed { .. }
                    | Event::RolloutFinished { .. }
            )
        };
        let end = journal[nth + 1..].iter().find(ends_gate);
        let end = end.map_or(span.end, |entry| entry.at);
        let soaked = (entry.at + soak).min(end);
        if soaked > entry.at {
            bands.push(Band::between(entry.at, soaked, span, "soak", "soaking"));
        }
        if pause && end > soaked {
            bands.push(Band::between(
                soaked,
                end,
                span,
                "wait",
                "waiting for promote",
            ));
        }
    }
    bands
}

/// The times that matter to all hosts: steps, failures and aborts.
fn marks(journal: &[Entry], span: Span) -> Vec<Tick> {
    let mark = |entry: &Entry| {
        let (label, class) = match &entry.event {
            Event::RolloutFailed { .. } => ("✗".to_owned(), "failure"),
            Event::Aborted { .. } => ("↩".to_owned(), "failure"),
            Event::StepReached { step, .. } => (format!("step {step}"), "step"),
            _ => return None,
        };
        Some(Tick::at(entry.at, span, label, class))
    };
    journal.iter().filter_map(mark).collect()
}

fn drain(drained: &Drained) -> [String; 5] {
    let Drained {
        slot,
        instance,
        result: receipt,
    } = drained;
    let cut = if receipt.cut == 0 {
        "none".to_owned()
    } else {
        format!("✗ {}", receipt.cut)
    };
    [
        slot.to_string(),
        instance.to_string(),
        Human(receipt.waited).to_string(),
        receipt.ended.to_string(),
        cut,
    ]
}

fn steps(journal: &[Entry], clock: &LocalClock) -> Vec<[String; 2]> {
    let step = |entry: &Entry| {
        let text = match &entry.event {
            Event::StepReached {
                step,
                of,
                instances,
                soak,
                pause,
            } => phrases::step_reached((*step, *of), *instances, *soak, *pause),
            Event::StepPassed { step, of } => phrases::step_passed((*step, *of)),
            Event::Promoted { by, full } => {
                format!(
                    "promoted{} by {by}",
                    if *full { " through all steps" } else { "" }
                )
            }
            _ => return None,
        };
        Some([clock.time_of_day(entry.at), text])
    };
    journal.iter().filter_map(step).collect()
}

fn event_line(message: &RolloutMessage, clock: &LocalClock) -> EventLine {
    let class = match message.severity {
        Severity::Routine => "routine",
        Severity::Sentence => "sentence",
        Severity::Notable => "notable",
        Severity::Failure => "failure",
        Severity::Summary => "summary",
    };
    EventLine {
        at: clock.time_of_day(message.at),
        subject: message.subject.clone(),
        label: message.label,
        text: message.text.clone(),
        details: message.details.clone(),
        class,
    }
}
