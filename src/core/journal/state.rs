//! The state of a service, in one word.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The last rollout has succeeded, or there was none.
    Idle,
    /// A rollout runs.
    Running,
    /// A rollout is paused or interrupted.
    Paused,
    /// The last rollout failed, and was rolled back or could not be rolled back.
    Failed,
    /// The last rollout failed, and the fleet was left as it was.
    Held,
}
