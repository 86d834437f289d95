//! What a page says, before it is written: everything that the template fills in.

use serde::Serialize;

use super::draw::{self, Chart, Kinds, Span, Tick, Timeline};
use super::page_input::PageInput;
use super::{capacity, lanes};
use crate::core::analysis::measurement::Finding;
use crate::core::ids::ReleaseId;
use crate::core::journal::rollout_summary::{Account, Drained};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::rollout::event::{Entry, Event, RolloutStart};
use crate::core::rollout::failure::{FailureKind, Outcome};
use crate::core::rollout::verb::Verb;
use crate::core::time::{Human, Time};
use crate::report::clock::LocalClock;
use crate::report::loss;
use crate::report::message::{RolloutMessage, Severity};
use crate::report::phrases;
use crate::report::retold::Retold;

/// A page of more events is read by nobody; the journal has them all.
const EVENTS_MAX: usize = 3000;

/// Everything that a page says.
#[derive(Debug, Serialize)]
pub(super) struct PageContext {
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
    basics: Vec<[String; 2]>,
    troubles: Vec<Incident>,
    next: Vec<NextStep>,
    changes_since: String,
    changes: Vec<[String; 3]>,
    playbook: Vec<String>,
    began: String,
    timeline: Timeline,
    chart: Option<Chart>,
    probe: Vec<[String; 2]>,
    drains: Vec<[String; 5]>,
    drains_summary: String,
    analyses: Vec<AnalysisChart>,
    steps: Vec<[String; 2]>,
    left_behind: Vec<[String; 2]>,
    events: Vec<EventLine>,
    events_left_out: usize,
    foot: String,
}

/// Something that went wrong.
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

#[derive(Debug, Default, Serialize)]
struct AnalysisChart {
    name: String,
    is_dry_run: bool,
    points: Vec<Tick>,
    summary: String,
    last: String,
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

/// All that there is to say; `None` where the journal is none.
pub(super) fn facts(dossier: &PageInput<'_>) -> Option<PageContext> {
    let PageInput {
        journal,
        before,
        setup,
        budget,
        ..
    } = dossier;
    let account = Account::of(journal)?;
    let Event::RolloutStarted(start) = &journal.first()?.event else {
        return None;
    };
    let Retold { messages, rollout } = Retold::of(journal, before, setup, *budget)?;
    let clock = &setup.clock;
    let last = journal.last().map_or(account.began, |entry| entry.at);
    let end = account.ended.unwrap_or(if account.outcome.is_some() {
        last
    } else {
        dossier.now.max(last)
    });
    let span = Span {
        begin: account.began,
        end,
    };
    let mut versions = setup.versions.clone();
    for generation in std::iter::once(&start.target).chain(&start.fallback) {
        versions.insert(generation.release.clone(), generation.version.clone());
    }
    let version = |release: &ReleaseId| versions.of(release).to_owned();
    let kinds = Kinds {
        goal: &start.target.release,
        renews: start.verb == Verb::Restart,
        version: &version,
    };
    let lanes = lanes::lanes(journal, before, &setup.hosts, end);
    let steps = capacity::steps(journal, end);
    let (sign, headline, tone) = heading(&account);
    let summary = messages
        .iter()
        .rfind(|message| message.severity == Severity::Summary);
    let summary = summary.map_or_else(
        || account.lines(None, dossier.now).join(" "),
        |message| message.text.clone(),
    );
    let to = start.target.version.clone();
    Some(PageContext {
        title: format!(
            "{sign} {} {to} on {}: {}",
            start.service,
            start.fleet,
            word(&account)
        ),
        tone,
        sign,
        headline,
        summary,
        service: start.service.clone(),
        fleet: start.fleet.clone(),
        from: phrases::versions_before(&rollout),
        to,
        basics: basics(dossier, &account, start, &rollout, end),
        troubles: messages
            .iter()
            .filter_map(|message| trouble(message, clock))
            .collect(),
        next: next(dossier, &account, start),
        changes_since: dossier.changes.since.clone(),
        changes: dossier.changes.parts.clone(),
        playbook: dossier.changes.playbook.clone(),
        began: clock.day_and_time(account.began),
        timeline: draw::timeline(&lanes, span, &kinds, turns(journal, span), clock),
        chart: draw::chart(&steps, span, account.replicas, *budget),
        probe: account
            .loss
            .iter()
            .flat_map(|report| loss::lines(report, clock))
            .map(|line| labelled(&line))
            .collect(),
        drains: account.drains.iter().map(drain).collect(),
        drains_summary: account.drains_line().unwrap_or_default(),
        analyses: analyses(journal, span),
        steps: told_steps(journal, clock),
        left_behind: account
            .left_behind
            .iter()
            .map(|failure| {
                let host = failure
                    .host
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                [host, failure.to_string()]
            })
            .collect(),
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

fn word(account: &Account) -> &'static str {
    account.outcome.as_ref().map_or("under way", Outcome::word)
}

fn was_aborted(account: &Account) -> bool {
    account
        .failure
        .as_ref()
        .is_some_and(|failure| failure.kind == FailureKind::Aborted)
}

/// The sign, the word and the tone of the first line.
fn heading(account: &Account) -> (&'static str, &'static str, &'static str) {
    match &account.outcome {
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
        Some(Outcome::Closed { .. }) => ("‖", "Stopped in the middle: its time is over", "wait"),
        Some(Outcome::Paused { .. }) => ("‖", "Paused: a person is asked", "wait"),
        None => ("…", "Not ended: under way, or cut off", "wait"),
    }
}

fn basics(
    dossier: &PageInput<'_>,
    account: &Account,
    start: &RolloutStart,
    rollout: &RolloutView,
    end: Time,
) -> Vec<[String; 2]> {
    let clock = &dossier.setup.clock;
    let revision = |generation: &crate::core::rollout::event::Generation| {
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
            "cause",
            Some(dossier.cause.to_owned()).filter(|cause| !cause.is_empty()),
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
fn next(dossier: &PageInput<'_>, account: &Account, start: &RolloutStart) -> Vec<NextStep> {
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
        Some(Outcome::Interrupted | Outcome::Closed { .. } | Outcome::Paused { .. }) | None => {
            [Some(resume), abort].into_iter().flatten().collect()
        }
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
        receipt,
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

fn analyses(journal: &[Entry], span: Span) -> Vec<AnalysisChart> {
    let mut analyses: Vec<(AnalysisChart, [usize; 4])> = Vec::new();
    for entry in journal {
        let Event::Measured {
            analysis,
            outcome,
            detail,
            dry_run,
            ..
        } = &entry.event
        else {
            continue;
        };
        let at = analyses
            .iter()
            .position(|(known, _)| known.name == *analysis)
            .unwrap_or_else(|| {
                let new = AnalysisChart {
                    name: analysis.clone(),
                    is_dry_run: *dry_run,
                    ..AnalysisChart::default()
                };
                analyses.push((new, [0; 4]));
                analyses.len() - 1
            });
        let Some((known, counts)) = analyses.get_mut(at) else {
            continue;
        };
        let (nth, label, class) = match outcome {
            Finding::Success => (0, "●", "pass"),
            Finding::Failure => (1, "✗", "fail"),
            Finding::Inconclusive => (2, "–", "none"),
            Finding::Error => (3, "!", "error"),
        };
        counts[nth] += 1;
        known
            .points
            .push(Tick::at(entry.at, span, label.to_owned(), class));
        known.last = format!("{outcome}: {detail}");
    }
    let words = ["passed", "failed", "told nothing", "went wrong"];
    let summed = |(mut analysis, counts): (AnalysisChart, [usize; 4])| {
        let parts = counts.iter().zip(words).filter(|(count, _)| **count > 0);
        analysis.summary = parts
            .map(|(count, word)| format!("{count} {word}"))
            .collect::<Vec<_>>()
            .join(", ");
        analysis
    };
    analyses.into_iter().map(summed).collect()
}

fn told_steps(journal: &[Entry], clock: &LocalClock) -> Vec<[String; 2]> {
    let told = |entry: &Entry| {
        let text = match &entry.event {
            Event::StepReached {
                step,
                of,
                instances,
                soak,
                pause,
            } => {
                let soak = if soak.is_zero() {
                    String::new()
                } else {
                    format!("; it soaks for {}", Human(*soak))
                };
                let pause = if *pause {
                    "; then a person is asked"
                } else {
                    ""
                };
                let instances = crate::report::text::count(*instances as usize, "new instance");
                format!("step {step} of {of} is reached, with {instances}{soak}{pause}")
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
    journal.iter().filter_map(told).collect()
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
