//! A rollout told anew from its journal, when its fleet cannot be looked at any more.

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

/// All that was worth telling, as it was told then.
pub(super) struct ReplayedMessages {
    /// In order.
    pub(super) messages: Vec<RolloutMessage>,
    /// Where it went and how it ended.
    pub(super) rollout: RolloutView,
}

impl ReplayedMessages {
    /// Tells a journal; `before` is who ran when it began. `None` where it does not begin with a
    /// rollout's start.
    pub(super) fn of(
        journal: &[Entry],
        before: &Placements,
        setup: &ReporterSetup,
        budget: Option<Budget>,
    ) -> Option<Self> {
        let mut status = first_status(journal, budget)?;
        status.failed_hosts = RolloutSummary::of(journal)?
            .failed_hosts
            .iter()
            .filter_map(failed_hosts)
            .collect();
        let (mut roster, mut setup) = (before.clone(), setup.clone());
        if let Some(Entry {
            event: Event::RolloutStarted(start),
            ..
        }) = journal.first()
        {
            setup.add_versions(start);
        }
        let mut narrator = Narrator::new(setup.clone());
        // The first counts come with the first plan: until then as many serve as are there.
        let mut progress = first_progress(journal).unwrap_or_default();
        let mut messages = Vec::new();
        for entry in journal {
            if let Event::Progress(news) = &entry.event {
                progress = *news;
            }
            roster.apply(entry);
            count(&mut status, progress);
            status.instances = rows(&entry.event, &roster, &setup);
            messages.extend(narrator.tell(entry, &status));
        }
        let rollout = narrator.rollout()?.clone();
        Some(Self { messages, rollout })
    }
}

/// How a rollout ended, in one line, and the lines below it; `None` while it has not.
pub fn last_word(
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
        standing: ServiceState::Running,
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

fn failed_hosts(failure: &Failure) -> Option<HostWait> {
    Some(HostWait {
        host: failure.host.clone()?,
        why: failure.to_string(),
    })
}

fn count(status: &mut Status, progress: Progress) {
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

/// The instances that matter to what is told of an event: of a large fleet all of them each time
/// would be too many.
fn rows(event: &Event, roster: &Placements, setup: &ReporterSetup) -> Vec<StatusRow> {
    let row = |(name, post): (&InstanceId, &Placement)| StatusRow {
        name: name.clone(),
        host: post.slot.host.clone(),
        address: String::new(),
        port: post.slot.port,
        version: setup.versions.of(&post.release).to_owned(),
        revision: Revision::default(),
        ready: true,
        status: InstanceStatus::Running,
        restarts: 0,
        age_s: 0,
    };
    match event {
        Event::RolloutStarted(_) | Event::RolloutFinished { .. } => {
            roster.present().iter().map(row).collect()
        }
        Event::ActionStarted {
            action:
                Action::Admit { instance, .. }
                | Action::Drain { instance, .. }
                | Action::Stop { instance, .. },
            ..
        } => roster
            .present()
            .get_key_value(instance)
            .map(row)
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}
