//! The page of one rollout.

use super::incident::Incident;
use super::next_steps::next_steps;
use super::page_context::{Heading, PageContext};
use super::page_input::{PageInput, RolloutInput, ServiceInput};
use super::section::{ReplayedRollout, ServiceStory};
use super::time_axis::Span;
use super::verdict::PageVerdict;
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::rollout::event::{RevisionRef, RolloutStart};
use crate::core::rollout::failure::Outcome;
use crate::core::time::{Human, Time};
use crate::report::message::Severity;
use crate::report::phrases;

/// More events would make the page too large. The journal has all of them.
const EVENTS_MAX: usize = 3000;

/// The context; `None` if the journal does not begin with the start of a rollout.
pub(super) fn page_context(input: PageInput<'_>) -> Option<PageContext> {
    let summary = RolloutSummary::of(input.rollout.journal)?;
    let span = span(&input, &summary);
    let PageInput {
        rollout,
        setup,
        arguments,
        now,
    } = input;
    let service = ServiceInput {
        service: "",
        setup,
        before: rollout.before,
        version_before: None,
        rollouts: vec![rollout],
    };
    let story = ServiceStory::of(&service, span, EVENTS_MAX)?;
    let (rollout, replayed) = (service.rollouts.first()?, story.rollouts.first()?);
    let start = &replayed.view.start;
    Some(PageContext {
        heading: heading(replayed, story.incidents.first(), now),
        services: Vec::new(),
        basics: basics(&service, rollout, replayed, span.end),
        next: next_steps(&arguments, rollout.reason, &summary, start),
        incidents: story.incidents,
        failed_hosts: story.failed_hosts,
        sections: vec![story.section],
        foot: format!(
            "rollout {} · ship {}",
            rollout.rollout,
            env!("CARGO_PKG_VERSION")
        ),
    })
}

/// From the first event to the end of the rollout, or to the present while it runs.
fn span(input: &PageInput<'_>, summary: &RolloutSummary) -> Span {
    let last = input.rollout.journal.last();
    let last = last.map_or(summary.began, |entry| entry.at);
    let end = summary.ended.unwrap_or(input.now.max(last));
    Span {
        begin: summary.began,
        end,
    }
}

fn heading(rollout: &ReplayedRollout, first_incident: Option<&Incident>, now: Time) -> Heading {
    let ReplayedRollout {
        summary,
        view,
        messages,
    } = rollout;
    let RolloutStart {
        service,
        fleet,
        target,
        ..
    } = &view.start;
    let verdict = PageVerdict::of_rollout(summary);
    let mut messages = messages.iter();
    let last = messages.rfind(|message| message.severity == Severity::Summary);
    let text = last.map_or_else(
        || summary.lines(None, now).join(" "),
        |message| message.text.clone(),
    );
    let (to, word) = (target.version.clone(), outcome_word(summary));
    let cause = view.cause.as_ref().map(ToString::to_string);
    let incident = first_incident.map(Incident::headline);
    Heading {
        title: format!("{} {service} {to} on {fleet}: {word}", verdict.sign),
        verdict,
        reason: incident.or(cause).unwrap_or_default(),
        summary: text,
        kind: "rollout",
        subject: service.clone(),
        fleet: fleet.clone(),
        from: phrases::versions_before(view),
        to,
    }
}

fn outcome_word(summary: &RolloutSummary) -> &'static str {
    summary.outcome.as_ref().map_or("running", Outcome::word)
}

fn basics(
    service: &ServiceInput<'_>,
    rollout: &RolloutInput<'_>,
    replayed: &ReplayedRollout,
    end: Time,
) -> Vec<[String; 2]> {
    let ReplayedRollout { summary, view, .. } = replayed;
    let start = &view.start;
    let clock = &service.setup.clock;
    let revision = |revision: &RevisionRef| {
        format!(
            "{}, release {}",
            revision.revision,
            revision.release.short()
        )
    };
    let command = format!("{} by {}", start.verb.noun(), rollout.who);
    let duration = match summary.ended {
        Some(_) => Human(end.since(summary.began)).to_string(),
        None => format!("{} so far", Human(end.since(summary.began))),
    };
    let hosts = service.setup.hosts.len();
    let facts = [
        ("command", Some(command)),
        (
            "reason",
            Some(rollout.reason.to_owned()).filter(|reason| !reason.is_empty()),
        ),
        ("revision", Some(revision(&start.target))),
        (
            "previous",
            start
                .rollback_target
                .as_ref()
                .filter(|_| !view.versions_before.is_empty())
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
            Some(rollout.directives.replace('\n', ", ")).filter(|lines| !lines.is_empty()),
        ),
        ("exit code", rollout.exit_code.map(|code| code.to_string())),
    ];
    facts
        .into_iter()
        .filter_map(|(name, fact)| Some([name.to_owned(), fact?]))
        .collect()
}
