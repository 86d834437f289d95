//! Rebuilds the messages of a past rollout from its journal.

use super::event_log::EventText;
use super::message::{RolloutMessage, Severity};
use super::narrator::Narrator;
use crate::core::ids::{InstanceId, Revision};
use crate::core::journal::placements::{Placement, Placements};
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::state::State;
use crate::core::journal::status::{HostWait, InstanceStatus, Replicas, Status, StatusRow};
use crate::core::policy::service_state::ServiceState;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event, Progress};
use crate::core::rollout::failure::Failure;
use crate::core::spec::budget::Budget;
use crate::report::reporter::ReporterSetup;

/// The messages of a rollout, as they were printed during it.
pub(super) struct ReplayedMessages {
    /// In order.
    pub(super) messages: Vec<RolloutMessage>,
    /// The rollout at its end.
    pub(super) rollout: RolloutView,
}

impl ReplayedMessages {
    /// Replays a journal. `before` has the instances that existed when the rollout began. Returns
    /// `None` if the journal does not begin with the start of a rollout.
    pub(super) fn of(
        journal: &[Entry],
        before: &Placements,
        setup: &ReporterSetup,
        budget: Option<Budget>,
    ) -> Option<Self> {
        let mut messages = Vec::new();
        let narrator = replay(journal, before, setup, budget, |narrator, entry, status| {
            messages.extend(narrator.narrate(entry, status));
        })?;
        let rollout = narrator.rollout()?.clone();
        Some(Self { messages, rollout })
    }
}

/// Replays a journal: calls `each` with the narrator, an entry, and the status after it.
fn replay(
    journal: &[Entry],
    before: &Placements,
    setup: &ReporterSetup,
    budget: Option<Budget>,
    mut each: impl FnMut(&mut Narrator, &Entry, &Status),
) -> Option<Narrator> {
    let mut status = first_status(journal, budget)?;
    status.failed_hosts = RolloutSummary::of(journal)?
        .failed_hosts
        .iter()
        .filter_map(failed_host)
        .collect();
    let (mut placements, mut setup) = (before.clone(), setup.clone());
    if let Some(Entry {
        event: Event::RolloutStarted(start),
        ..
    }) = journal.first()
    {
        setup.add_versions(start);
    }
    let mut narrator = Narrator::new(setup.clone());
    // The first counts come with the first plan. Until then, the counts are those of the start.
    let mut progress = first_progress(journal).unwrap_or_default();
    for entry in journal {
        if let Event::Progress(counts) = &entry.event {
            progress = *counts;
        }
        placements.apply(entry);
        set_counts(&mut status, progress);
        status.instances = rows(&entry.event, &placements, &setup);
        each(&mut narrator, entry, &status);
    }
    Some(narrator)
}

/// The events of a past rollout as they were written to its log. `before` has the instances that
/// existed when the rollout began.
pub fn event_texts(
    journal: &[Entry],
    before: &Placements,
    setup: &ReporterSetup,
    budget: Option<Budget>,
) -> Vec<EventText> {
    let mut texts = Vec::new();
    replay(journal, before, setup, budget, |narrator, entry, status| {
        texts.extend(EventText::of(narrator, entry, status));
    });
    texts
}

/// How a rollout ended, in one line, and the lines with the details; `None` before its end.
pub fn summary_lines(
    journal: &[Entry],
    before: &Placements,
    setup: &ReporterSetup,
    budget: Option<Budget>,
) -> Option<(String, Vec<String>)> {
    let last = ReplayedMessages::of(journal, before, setup, budget)?
        .messages
        .pop()?;
    (last.severity == Severity::Summary).then_some((last.text, last.details))
}

fn first_progress(journal: &[Entry]) -> Option<Progress> {
    journal.iter().find_map(|entry| match &entry.event {
        Event::Progress(progress) => Some(*progress),
        _ => None,
    })
}

fn first_status(journal: &[Entry], budget: Option<Budget>) -> Option<Status> {
    let Event::RolloutStarted(start) = &journal.first()?.event else {
        return None;
    };
    let bounds = budget.map(|budget| (budget.min_available(), budget.max_running()));
    let (min_available, max_running) = bounds.unwrap_or((0, start.replicas));
    Some(Status {
        service: start.service.clone(),
        fleet: start.fleet.clone(),
        state: State::Running,
        service_state: ServiceState::Running,
        revision: Some(start.target.revision),
        version: Some(start.target.version.clone()),
        replicas: Replicas {
            desired: start.replicas,
            min_available,
            max_running,
            ..Replicas::default()
        },
        instances: Vec::new(),
        holds: Vec::new(),
        failed_hosts: Vec::new(),
    })
}

fn failed_host(failure: &Failure) -> Option<HostWait> {
    Some(HostWait {
        host: failure.host.clone()?,
        why: failure.to_string(),
    })
}

fn set_counts(status: &mut Status, progress: Progress) {
    status.replicas = Replicas {
        desired: progress.desired,
        updated: progress.updated,
        updated_ready: progress.updated_ready,
        updated_available: progress.updated_available,
        available: progress.available,
        total: progress.total,
        ..status.replicas
    };
}

/// The rows of the instances that the message about an event needs. Building all rows for every
/// event would be too slow in a large fleet.
fn rows(event: &Event, placements: &Placements, setup: &ReporterSetup) -> Vec<StatusRow> {
    let row = |(name, placement): (&InstanceId, &Placement)| StatusRow {
        name: name.clone(),
        host: placement.slot.host.clone(),
        address: String::new(),
        port: None,
        slot: placement.slot.number,
        version: setup.versions.of(&placement.release).to_owned(),
        revision: Revision::default(),
        ready: true,
        status: InstanceStatus::Running,
        restarts: 0,
        age_s: 0,
        lingering: None,
    };
    match event {
        Event::RolloutStarted(_) | Event::RolloutFinished { .. } => {
            placements.present().iter().map(row).collect()
        }
        Event::ActionStarted {
            action:
                Action::Admit { instance, .. }
                | Action::Drain { instance, .. }
                | Action::Stop { instance, .. },
            ..
        } => placements
            .present()
            .get_key_value(instance)
            .map(row)
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}
