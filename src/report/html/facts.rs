//! What a page says, before it is written: everything that the template fills in.

use serde::Serialize;

use super::analyses::{self, AnalysisChart};
use super::capacity;
use super::chart::{self, Chart};
use super::draw::{self, Timeline, VersionClasses};
use super::page_input::PageInput;
use super::time_axis::{Span, Tick};
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
use crate::report::retold::ReplayedMessages;

/// A page of more events is read by nobody; the journal has them all.
const EVENTS_MAX: usize = 3000;

/// Everything that a page says. The template sees the fields of its parts as its own.
#[derive(Debug, Serialize)]
pub(super) struct PageContext {
    #[serde(flatten)]
    heading: Heading,
    basics: Vec<[String; 2]>,
    troubles: Vec<Incident>,
    next: Vec<NextStep>,
    #[serde(flatten)]
    changes: ChangeList,
    #[serde(flatten)]
    charts: Charts,
    probe: Vec<[String; 2]>,
    drains: Vec<[String; 5]>,
    drains_summary: String,
    steps: Vec<[String; 2]>,
    failed_hosts: Vec<[String; 2]>,
    events: Vec<EventLine>,
    events_left_out: usize,
    foot: String,
}

/// What a reader sees first.
#[derive(Debug, Serialize)]
struct Heading {
    title: String,
    /// `good`, `bad` or `wait`.
    tone: &'static str,
    sign: &'static str,
    headline: &'static str,
    summary: String,
    service: String,
    fleet: String,
    from: String,
    to: String,
}

/// What the release differs in from the one before.
#[derive(Debug, Serialize)]
struct ChangeList {
    changes_since: String,
    changes: Vec<[String; 3]>,
    playbook: Vec<String>,
}

/// What is drawn on one time axis.
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
    whom: String,
    what: String,
    facts: Vec<[String; 2]>,
    log: Vec<String>,
}

/// What a person can do now.
#[derive(Debug, Serialize)]
struct NextStep {
    why: String,
    command: String,
}

#[derive(Debug, Serialize)]
struct EventLine {
    at: String,
    whom: String,
    what: &'static str,
    text: String,
    more: Vec<String>,
    class: &'static str,
}

/// All that there is to say; `None` where the journal does not begin with a rollout's start.
pub(super) fn facts(dossier: &PageInput<'_>) -> Option<PageContext> {
    let PageInput {
        journal,
        before,
        setup,
        budget,
        ..
    } = dossier;
    let ReplayedMessages { messages, rollout } =
        ReplayedMessages::of(journal, before, setup, *budget)?;
    let account = RolloutSummary::of(journal)?;
    let (clock, start) = (&setup.clock, &rollout.start);
    let span = span(dossier, &account);
    let availability = account.monitor.iter();
    let availability = availability.flat_map(|report| availability::lines(report, clock));
    Some(PageContext {
        heading: heading(dossier, &account, &rollout, &messages),
        basics: basics(dossier, &account, &rollout, span.end),
        troubles: messages
            .iter()
            .filter_map(|message| trouble(message, clock))
            .collect(),
        next: next(dossier, &account, start),
        changes: ChangeList {
            changes_since: dossier.changes.since.clone(),
            changes: dossier.changes.parts.clone(),
            playbook: dossier.changes.playbook.clone(),
        },
        charts: charts(dossier, &account, start, span),
        probe: availability.map(|line| labelled(&line)).collect(),
        drains: account.drains.iter().map(drain).collect(),
        drains_summary: account.drains_line().unwrap_or_default(),
        steps: steps(journal, clock),
        failed_hosts: account.failed_hosts.iter().map(failed_host).collect(),
        events: messages
            .iter()
            .take(EVENTS_MAX)
            .map(|message| line(message, clock))
            .collect(),
        events_left_out: messages.len().saturating_sub(EVENTS_MAX),
        foot: format!(
            "rollout {}, fencing number {}; written by ship {}",
            dossier.rollout,
            start.epoch,
            env!("CARGO_PKG_VERSION")
        ),
    })
}

/// From the first event to the end; to the present moment while the rollout is under way.
fn span(dossier: &PageInput<'_>, account: &RolloutSummary) -> Span {
    let last = dossier
        .journal
        .last()
        .map_or(account.began, |entry| entry.at);
    let end = account.ended.unwrap_or(dossier.now.max(last));
    Span {
        begin: account.began,
        end,
    }
}

fn heading(
    dossier: &PageInput<'_>,
    account: &RolloutSummary,
    rollout: &RolloutView,
    messages: &[RolloutMessage],
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
    } = verdict(account);
    let mut messages = messages.iter();
    let summary = messages.rfind(|message| message.severity == Severity::Summary);
    let summary = summary.map_or_else(
        || account.lines(None, dossier.now).join(" "),
        |message| message.text.clone(),
    );
    let (to, word) = (target.version.clone(), word(account));
    Heading {
        title: format!("{sign} {service} {to} on {fleet}: {word}"),
        tone,
        sign,
        headline,
        summary,
        service: service.clone(),
        fleet: fleet.clone(),
        from: phrases::versions_before(rollout),
        to,
    }
}

fn charts(
    dossier: &PageInput<'_>,
    account: &RolloutSummary,
    start: &RolloutStart,
    span: Span,
) -> Charts {
    let PageInput {
        journal,
        before,
        setup,
        budget,
        ..
    } = dossier;
    let mut setup = setup.clone();
    setup.add_versions(start);
    let version = |release: &ReleaseId| setup.versions.of(release).to_owned();
    let kinds = VersionClasses {
        goal: &start.target.release,
        renews: start.verb == Verb::Restart,
        version: &version,
    };
    let clock = &setup.clock;
    let lanes = InstanceTimeline::of(journal, before, span.end).by_host(&setup.hosts);
    let steps = capacity::visible(CapacityTimeline::of(journal).steps, span);
    Charts {
        began: clock.day_and_time(account.began),
        timeline: draw::timeline(&lanes, span, &kinds, turns(journal, span), clock),
        chart: chart::chart(&steps, span, account.replicas, *budget),
        analyses: analyses::analyses(journal, span),
    }
}

fn failed_host(failure: &Failure) -> [String; 2] {
    let host = failure.host.as_ref().map(ToString::to_string);
    [host.unwrap_or_default(), failure.to_string()]
}

fn word(account: &RolloutSummary) -> &'static str {
    account.outcome.as_ref().map_or("under way", Outcome::word)
}

fn was_aborted(account: &RolloutSummary) -> bool {
    account
        .failure
        .as_ref()
        .is_some_and(|failure| failure.kind == FailureKind::Aborted)
}

/// The first line of the page.
struct PageVerdict {
    sign: &'static str,
    headline: &'static str,
    tone: &'static str,
}

fn verdict(account: &RolloutSummary) -> PageVerdict {
    let (sign, headline, tone) = match &account.outcome {
        Some(Outcome::Succeeded) => ("✓", "Succeeded", "good"),
        Some(Outcome::RolledBack) if was_aborted(account) => {
            ("✗", "Aborted and rolled back", "bad")
        }
        Some(Outcome::RolledBack) => ("✗", "Failed and rolled back", "bad"),
        Some(Outcome::Held { .. }) => ("✗", "Failed and held: a person is needed", "bad"),
        Some(Outcome::RollbackFailed { .. }) => {
            ("✗", "The way back failed: a person is needed", "bad")
        }
        Some(Outcome::Fenced { .. }) => ("✗", "Taken over by another ship", "bad"),
        Some(Outcome::Interrupted) => ("‖", "Interrupted", "wait"),
        Some(Outcome::WindowClosed { .. }) => {
            ("‖", "Stopped in the middle: its time is over", "wait")
        }
        Some(Outcome::Paused { .. }) => ("‖", "Paused: a person is asked", "wait"),
        None => ("…", "Not ended: under way, or cut off", "wait"),
    };
    PageVerdict {
        sign,
        headline,
        tone,
    }
}

fn basics(
    dossier: &PageInput<'_>,
    account: &RolloutSummary,
    rollout: &RolloutView,
    end: Time,
) -> Vec<[String; 2]> {
    let start = &rollout.start;
    let clock = &dossier.setup.clock;
    let revision = |generation: &RevisionRef| {
        format!(
            "{}, release {}",
            generation.revision,
            generation.release.short()
        )
    };
    let asked = format!("{} by {}", start.verb.noun(), dossier.who);
    let duration = match account.ended {
        Some(_) => Human(end.since(account.began)).to_string(),
        None => format!("{} so far", Human(end.since(account.began))),
    };
    let hosts = dossier.setup.hosts.len();
    let facts = [
        ("asked", Some(asked)),
        (
            "reason",
            Some(dossier.reason.to_owned()).filter(|reason| !reason.is_empty()),
        ),
        ("revision", Some(revision(&start.target))),
        (
            "before",
            start
                .fallback
                .as_ref()
                .filter(|_| !rollout.versions_before.is_empty())
                .map(revision),
        ),
        ("began", Some(clock.day_and_time(account.began))),
        (
            "ended",
            account.ended.map(|ended| clock.day_and_time(ended)),
        ),
        ("took", Some(duration)),
        (
            "instances",
            Some(format!("{} on {hosts} hosts", account.replicas)),
        ),
        (
            "set",
            Some(start.set.join(", ")).filter(|set| !set.is_empty()),
        ),
        ("exit code", dossier.exit_code.map(|code| code.to_string())),
    ];
    facts
        .into_iter()
        .filter_map(|(name, fact)| Some([name.to_owned(), fact?]))
        .collect()
}

fn trouble(message: &RolloutMessage, clock: &LocalClock) -> Option<Incident> {
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
        whom: message.subject.clone(),
        what: message.text.clone(),
        facts: message
            .details
            .iter()
            .filter(|line| !is_log(line))
            .map(|line| labelled(line))
            // It is shown as it is.
            .filter(|[label, _]| label != "log")
            .collect(),
        log,
    })
}

/// A label and the rest of its line.
fn labelled(line: &str) -> [String; 2] {
    let (label, text) = line.trim_start().split_once(' ').unwrap_or((line, ""));
    [label.to_owned(), text.trim_start().to_owned()]
}

/// The commands that make sense now, word for word.
fn next(dossier: &PageInput<'_>, account: &RolloutSummary, start: &RolloutStart) -> Vec<NextStep> {
    let inventory =
        shlex::try_quote(dossier.inventory).unwrap_or_else(|_| dossier.inventory.into());
    let command = |why: &str, verb: &str, rest: &str| NextStep {
        why: why.to_owned(),
        command: format!("ship {verb} {inventory}{rest}"),
    };
    let back = start.fallback.as_ref();
    let resume = command("Go on from where it stands", "resume", "");
    let status = command("See where it stands", "status", "");
    let abort = back.map(|back| command(&format!("Go back to {}", back.version), "abort", ""));
    match &account.outcome {
        Some(Outcome::Succeeded) if start.verb == Verb::Scale => Vec::new(),
        Some(Outcome::Succeeded) => back
            .filter(|back| back.release != start.target.release)
            .map(|back| {
                let revision = format!(" --to-revision {}", back.revision);
                command(
                    &format!("Go back to {}, the revision before", back.version),
                    "rollback",
                    &revision,
                )
            })
            .into_iter()
            .collect(),
        Some(Outcome::RolledBack) => {
            let set = format!(" --version {}", start.target.version);
            let is_deploy = start.verb == Verb::Deploy;
            let again = command(
                "Nothing is left to undo. Once it is mended, try again",
                "deploy",
                &set,
            );
            is_deploy.then_some(again).into_iter().collect()
        }
        Some(Outcome::Held { .. }) => [Some(status), Some(resume), abort]
            .into_iter()
            .flatten()
            .collect(),
        Some(Outcome::RollbackFailed { .. }) => vec![status, resume],
        Some(Outcome::Fenced { .. }) => vec![
            status,
            command("See what the other one does", "history", ""),
        ],
        Some(Outcome::Paused { .. }) if account.step.is_some() => {
            let promote = command("Let it go on from this step", "promote", "");
            [Some(promote), abort].into_iter().flatten().collect()
        }
        Some(Outcome::Interrupted | Outcome::WindowClosed { .. } | Outcome::Paused { .. })
        | None => [Some(resume), abort].into_iter().flatten().collect(),
    }
}

/// Moments that matter to all hosts: steps, and where it turned.
fn turns(journal: &[Entry], span: Span) -> Vec<Tick> {
    let turn = |entry: &Entry| {
        let (label, class) = match &entry.event {
            Event::RolloutFailed { .. } => ("✗".to_owned(), "turn"),
            Event::Aborted { .. } => ("↩".to_owned(), "turn"),
            Event::StepReached { step, .. } => (format!("step {step}"), "step"),
            _ => return None,
        };
        Some(Tick::at(entry.at, span, label, class))
    };
    journal.iter().filter_map(turn).collect()
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
            } => {
                let wait = if *pause {
                    "; then a person is asked"
                } else {
                    ""
                };
                phrases::step_reached((*step, *of), *instances, *soak, wait)
            }
            Event::StepPassed { step, of } => format!("step {step} of {of} is passed"),
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

fn line(message: &RolloutMessage, clock: &LocalClock) -> EventLine {
    let class = match message.severity {
        Severity::Routine => "routine",
        Severity::Sentence => "sentence",
        Severity::Notable => "notable",
        Severity::Failure => "failure",
        Severity::Summary => "summary",
    };
    EventLine {
        at: clock.time_of_day(message.at),
        whom: message.subject.clone(),
        what: message.label,
        text: message.text.clone(),
        more: message.details.clone(),
        class,
    }
}
