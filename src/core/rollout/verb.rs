//! The command that started a rollout.

use serde::{Deserialize, Serialize};

/// The command that started a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Deploy,
    Rollback,
    /// `ship restart`: replaces every instance by a new one of the same release.
    Restart,
    /// `ship scale`: changes the number of instances of the current release.
    Scale,
    /// Not a command: the history has adopted a release that runs on the hosts.
    Adopt,
    /// `ship migrate`: runs the contract migrations that are due.
    #[serde(alias = "contract")]
    Migrate,
}

impl Verb {
    /// The noun for messages: `deploy`.
    pub fn noun(self) -> &'static str {
        match self {
            Verb::Deploy => "deploy",
            Verb::Rollback => "rollback",
            Verb::Restart => "restart",
            Verb::Scale => "scale",
            Verb::Adopt => "adoption",
            Verb::Migrate => "migrate",
        }
    }
}
