//! The section of a service: its lanes, its capacity and its events, of one or several rollouts on
//! one time axis.

use serde::Serialize;

use super::analyses::{self, AnalysisChart};
use super::capacity;
use super::chart::{self, Chart};
use super::incident::{Incident, labelled};
use super::lane_chart::Timeline;
use super::page_input::{Changes, RolloutInput, ServiceInput};
use super::rollout_marks::{bands, instance_failures, marks};
use super::time_axis::Span;
use super::timeline::{TimelineBuilder, VersionClasses};
use crate::core::ids::ReleaseId;
use crate::core::journal::capacity_timeline::CapacityTimeline;
use crate::core::journal::instance_timeline::InstanceTimeline;
use crate::core::journal::rollout_summary::{Drained, RolloutSummary};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::rollout::event::Entry;
use crate::core::rollout::failure::Failure;
use crate::core::rollout::verb::Verb;
use crate::core::time::Human;
use crate::report::availability;
use crate::report::clock::LocalClock;
use crate::report::message::{RolloutMessage, Severity};
use crate::report::phrases;
use crate::report::replay::ReplayedMessages;
use crate::report::reporter::ReporterSetup;

/// A part of the page with drawings on the time axis.
#[derive(Debug, Default, Serialize)]
pub(super) struct Section {
    /// Empty for a section that is always open.
    pub(super) title: String,
    pub(super) sign: &'static str,
    pub(super) tone: &'static str,
    /// The versions and the outcome.
    pub(super) subtitle: String,
    pub(super) is_folded: bool,
    /// The rollouts of a service in a deployment.
    pub(super) rollouts: Vec<[String; 2]>,
    pub(super) changes_since: String,
    pub(super) changes: Vec<[String; 3]>,
    pub(super) playbook: Vec<String>,
    pub(super) began: String,
    pub(super) timeline: Option<Timeline>,
    pub(super) chart: Option<Chart>,
    pub(super) analyses: Vec<AnalysisChart>,
    pub(super) monitor: Vec<[String; 2]>,
    pub(super) drains: Vec<[String; 5]>,
    pub(super) drains_summary: String,
    pub(super) steps: Vec<[String; 2]>,
    pub(super) events: Vec<EventLine>,
    pub(super) events_left_out: usize,
}

/// An event in the table of a section.
#[derive(Debug, Serialize)]
pub(super) struct EventLine {
    at: String,
    subject: String,
    label: &'static str,
    text: String,
    details: Vec<String>,
    class: &'static str,
}

/// A rollout, replayed from its journal.
pub(super) struct ReplayedRollout {
    pub(super) summary: RolloutSummary,
    pub(super) view: RolloutView,
    pub(super) messages: Vec<RolloutMessage>,
}

/// A service on the page: its section, and what the head of the page needs.
pub(super) struct ServiceStory {
    pub(super) section: Section,
    pub(super) incidents: Vec<Incident>,
    pub(super) failed_hosts: Vec<[String; 2]>,
    pub(super) rollouts: Vec<ReplayedRollout>,
}

impl ServiceStory {
    /// The story; `None` if a journal does not begin with the start of a rollout. More than
    /// `events_max` events would make the page too large.
    pub(super) fn of(input: &ServiceInput<'_>, span: Span, events_max: usize) -> Option<Self> {
        let setup = &input.setup;
        let replays = input.rollouts.iter();
        let replays = replays.map(|rollout| replayed(rollout, setup));
        let rollouts: Vec<ReplayedRollout> = replays.collect::<Option<_>>()?;
        let clock = &setup.clock;
        let messages = || rollouts.iter().flat_map(|it| &it.messages);
        let summaries = || rollouts.iter().map(|it| &it.summary);
        Some(Self {
            section: Section {
                events: messages()
                    .take(events_max)
                    .map(|message| event_line(message, clock))
                    .collect(),
                events_left_out: messages().count().saturating_sub(events_max),
                monitor: summaries()
                    .filter_map(|summary| summary.monitor.as_ref())
                    .flat_map(|report| availability::lines(report, clock))
                    .map(|line| labelled(&line))
                    .collect(),
                drains: summaries()
                    .flat_map(|summary| &summary.drains)
                    .map(drain)
                    .collect(),
                drains_summary: summaries()
                    .filter_map(RolloutSummary::drains_line)
                    .collect::<Vec<_>>()
                    .join(", then "),
                ..drawn(input, &rollouts, span)
            },
            incidents: messages()
                .filter_map(|message| Incident::of(message, clock))
                .collect(),
            failed_hosts: summaries()
                .flat_map(|summary| &summary.failed_hosts)
                .map(failed_host)
                .collect(),
            rollouts,
        })
    }
}

fn replayed(rollout: &RolloutInput<'_>, setup: &ReporterSetup) -> Option<ReplayedRollout> {
    let (journal, before) = (rollout.journal, rollout.before);
    let replayed = ReplayedMessages::of(journal, before, setup, rollout.budget)?;
    Some(ReplayedRollout {
        summary: RolloutSummary::of(journal)?,
        view: replayed.rollout,
        messages: replayed.messages,
    })
}

/// The parts that are read from the journals of all rollouts together.
fn drawn(input: &ServiceInput<'_>, rollouts: &[ReplayedRollout], span: Span) -> Section {
    let journals = input.rollouts.iter().map(|rollout| rollout.journal);
    let journal = journals.collect::<Vec<_>>().concat();
    let mut setup = input.setup.clone();
    for rollout in rollouts {
        setup.add_versions(&rollout.view.start);
    }
    let clock = &setup.clock;
    let (first, last) = (rollouts.first(), rollouts.last());
    let version = |release: &ReleaseId| setup.versions.of(release).to_owned();
    let kinds = VersionClasses {
        goal: first.map(|first| &first.view.start.target.release),
        is_restart: first.is_some_and(|first| first.view.start.verb == Verb::Restart),
        version: &version,
    };
    let builder = TimelineBuilder {
        span,
        kinds: &kinds,
        failures: &instance_failures(&journal),
        clock,
    };
    let times = (span.begin, span.end);
    let lanes = InstanceTimeline::of(&journal, input.before, times).by_host(&setup.hosts);
    let steps_of_capacity = capacity::visible(CapacityTimeline::of(&journal).steps, span);
    let desired = last.map_or(0, |last| last.summary.replicas);
    let budget = input.rollouts.first().and_then(|first| first.budget);
    let changes = input.rollouts.first().map(|first| first.changes.clone());
    let Changes {
        since,
        parts,
        playbook,
    } = changes.unwrap_or_default();
    Section {
        began: clock.day_and_time(span.begin),
        timeline: Some(builder.build(&lanes, marks(&journal, span), bands(&journal, span))),
        chart: chart::chart(&steps_of_capacity, span, desired, budget),
        analyses: analyses::analyses(&journal, span),
        steps: steps(&journal, clock),
        changes_since: since,
        changes: parts,
        playbook,
        ..Section::default()
    }
}

fn failed_host(failure: &Failure) -> [String; 2] {
    let host = failure.host.as_ref().map(ToString::to_string);
    [host.unwrap_or_default(), failure.to_string()]
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
    let step = |entry: &Entry| Some([clock.time_of_day(entry.at), phrases::step(&entry.event)?]);
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
