//! The requests of users to a running rollout.

use crate::core::rollout::event::{Entry, Event};
use crate::core::time::Time;

/// The requests of users, except for the promotion of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UserRequests {
    /// Whether a user interrupted the rollout.
    pub interrupted: bool,
    /// Who paused the rollout, and when.
    pub paused: Option<(String, Time)>,
    /// Who froze the fleet during the rollout, until when and why.
    pub frozen: Option<String>,
    /// Who requested the rollback.
    pub aborted: Option<String>,
}

impl UserRequests {
    pub(super) fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Interrupted { .. } => self.interrupted = true,
            Event::Frozen { freeze } => self.frozen = Some(freeze.clone()),
            // Only the first request counts, so that its time is kept.
            Event::Paused { by } => {
                self.paused.get_or_insert_with(|| (by.clone(), entry.at));
            }
            Event::Aborted { by } => {
                self.aborted.get_or_insert_with(|| by.clone());
            }
            _ => {}
        }
    }
}
