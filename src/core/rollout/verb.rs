//! The command that began a rollout.

use serde::{Deserialize, Serialize};

/// What a rollout was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Deploy,
    Rollback,
    /// `ship restart`: the same release, in new instances.
    Restart,
    /// `ship scale`: more or fewer instances of the present release.
    Scale,
    /// No command: the history adopted what it found on the hosts.
    Adopt,
    /// `ship migrate`: the contract migrations that are due.
    #[serde(alias = "contract")]
    Migrate,
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
            Verb::Migrate => "migrate",
        }
    }
}
