//! How a script ended.

use crate::core::ids::{ActionId, Epoch};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The order is carried out, now or before.
    Done,
    /// It is not carried out, for this reason.
    Failed(String),
    /// The host has seen a newer epoch: another rollout has taken over. Nothing was done.
    Fenced {
        /// The newer epoch.
        seen: Epoch,
    },
    /// The host has taken a later order of the same epoch: this one was late. Nothing was done.
    Late {
        /// The later order.
        taken: ActionId,
    },
    /// Another script of the service did not end in time. Nothing was done.
    LockBusy {
        /// What is known of it: `stop, epoch 7, order 3, pid 4711, for 12 s`.
        holder: String,
    },
}
