//! Records events. All state changes of a rollout go through [`Recorder::record`].

use std::sync::Arc;

use super::clock::Clock;
use crate::core::journal::pending_actions::PendingActions;
use crate::core::redact::Redactor;
use crate::core::rollout::Rollout;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;
use crate::store::RolloutId;

/// The state of the rollout, derived from its events, and the events that are not saved yet.
pub(super) struct Recorder {
    id: RolloutId,
    rollout: Rollout,
    pending_actions: PendingActions,
    unsaved: Vec<Entry>,
    /// The number of the first unsaved event, counted from 1.
    next_number: u64,
    /// Removes secrets from events, because hooks and services may print them.
    redactor: Redactor,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    /// Begins a rollout with its first events; `None` if the first is not `RolloutStarted`.
    pub(super) fn begin(
        id: RolloutId,
        initial_events: Vec<Event>,
        redactor: Redactor,
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        let now = clock.now();
        let redacted = |mut event: Event| {
            event.redact(&redactor);
            Entry { at: now, event }
        };
        let unsaved: Vec<_> = initial_events.into_iter().map(redacted).collect();
        let rollout = Rollout::of(&unsaved)?;
        Some(Self {
            id,
            rollout,
            pending_actions: PendingActions::default(),
            unsaved,
            next_number: 1,
            redactor,
            clock,
        })
    }

    /// Records an event and applies it to the state. The event is shown and has effects on hosts
    /// only after it was saved.
    pub(super) fn record(&mut self, mut event: Event) {
        event.redact(&self.redactor);
        let entry = Entry {
            at: self.clock.now(),
            event,
        };
        self.rollout.apply(&entry);
        self.pending_actions.apply(&entry);
        self.unsaved.push(entry);
    }

    /// Takes the recorded events to save them in one commit, and the number of the first.
    pub(super) fn take_unsaved(&mut self) -> Option<(u64, Vec<Entry>)> {
        if self.unsaved.is_empty() {
            return None;
        }
        let entries = std::mem::take(&mut self.unsaved);
        let first = self.next_number;
        self.next_number += entries.len() as u64;
        Some((first, entries))
    }

    pub(super) fn id(&self) -> RolloutId {
        self.id
    }

    pub(super) fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    pub(super) fn pending_actions(&self) -> &PendingActions {
        &self.pending_actions
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }
}
