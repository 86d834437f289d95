//! What a rollout was begun by.

use serde::{Deserialize, Serialize};

/// What a rollout was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Deploy,
    Rollback,
    /// `ship restart`: the same release, in new instances.
    Restart,
    /// `ship scale`: more or fewer instances of what runs.
    Scale,
    /// No command: a history took over what it found on the hosts.
    Adopt,
    /// `ship contract`: what only older versions needed is taken away.
    Contract,
}

impl Verb {
    /// For messages: `deploy`.
    pub fn noun(self) -> &'static str {
        match self {
            Verb::Deploy => "deploy",
            Verb::Rollback => "rollback",
            Verb::Restart => "restart",
            Verb::Scale => "scale",
            Verb::Adopt => "adoption",
            Verb::Contract => "contract",
        }
    }
}
