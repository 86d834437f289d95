//! The state of a service, in one word.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing: the last rollout is over, or there was none.
    Idle,
    /// A rollout is on its way.
    Running,
    /// A rollout waits for a person.
    Paused,
    /// The last rollout failed and was rolled back, or could not be.
    Failed,
    /// The last rollout failed, and the fleet was left as it was.
    Held,
}
