//! The one place through which a rollout's state changes.

use std::sync::Arc;

use super::clock::Clock;
use crate::core::journal::pending_actions::PendingActions;
use crate::core::redact::Redactor;
use crate::core::rollout::Rollout;
use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;
use crate::store::{RolloutId, Store, StoreError};

/// The rollout by its events, and the events that are not durable yet.
pub(super) struct Recorder {
    id: RolloutId,
    rollout: Rollout,
    marks: PendingActions,
    unsaved: Vec<Entry>,
    /// The secrets that events must not contain, although hooks and services may print them.
    veil: Redactor,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    /// Begins a rollout with its first events; `None` if the first is not that of a rollout's
    /// start.
    pub(super) fn begin(
        id: RolloutId,
        opening: Vec<Event>,
        veil: Redactor,
        clock: Arc<dyn Clock>,
    ) -> Option<Self> {
        let now = clock.now();
        let hidden = |mut event: Event| {
            event.redact(&veil);
            Entry { at: now, event }
        };
        let unsaved: Vec<_> = opening.into_iter().map(hidden).collect();
        let rollout = Rollout::of(&unsaved)?;
        Some(Self {
            id,
            rollout,
            marks: PendingActions::default(),
            unsaved,
            veil,
            clock,
        })
    }

    /// Takes in an event. It has no effect outside, and nobody is shown it, before
    /// [`Recorder::save`] has made it durable.
    pub(super) fn record(&mut self, mut event: Event) {
        event.redact(&self.veil);
        let entry = Entry {
            at: self.clock.now(),
            event,
        };
        self.rollout.apply(&entry);
        self.marks.apply(&entry);
        self.unsaved.push(entry);
    }

    /// Makes recorded events durable in one commit; returns them to be shown.
    pub(super) fn save(&mut self, store: &mut dyn Store) -> Result<Vec<Entry>, StoreError> {
        if !self.unsaved.is_empty() {
            store.append(self.id, &self.unsaved)?;
        }
        Ok(std::mem::take(&mut self.unsaved))
    }

    pub(super) fn id(&self) -> RolloutId {
        self.id
    }

    pub(super) fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    pub(super) fn marks(&self) -> &PendingActions {
        &self.marks
    }

    pub(super) fn veil(&self) -> &Redactor {
        &self.veil
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }
}
