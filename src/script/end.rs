//! How a script ended.

use crate::core::ids::{ActionId, Epoch};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptEnd {
    /// The action is complete, by this script or an earlier one.
    Done,
    /// The action failed, for this reason.
    Failed(String),
    /// The host has seen a newer epoch: another rollout has taken over. Nothing was done.
    Fenced {
        /// The newer epoch.
        seen: Epoch,
    },
    /// The host has accepted a later action of the same epoch. Nothing was done.
    Late {
        /// The later action.
        taken: ActionId,
    },
    /// Another script of the service held the lock for too long. Nothing was done.
    LockBusy {
        /// What is known about that script: `stop, epoch 7, action 3, pid 4711, for 12 s`.
        holder: String,
    },
}
