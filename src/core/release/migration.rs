//! Changes to what all instances share, a database say, in the two halves that let old and new run
//! side by side.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A change that is made once, on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The id by which a host knows that it was made.
    pub id: String,
    pub kind: MigrationKind,
    /// The program and its arguments, run in the release's directory.
    pub command: Vec<String>,
    pub timeout: Duration,
    /// For a contract: how long the rollout must have succeeded before it is made. `None` for an
    /// expand, and for what waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Duration>,
    /// For a contract: only `ship migrate` makes it.
    // The digest of a release depends on this name.
    #[serde(
        rename = "by_hand",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub manual: bool,
}

/// Which half of a change a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationKind {
    /// Adds what the new version needs, before its first instance. The running version must bear
    /// it.
    Expand,
    /// Removes what only older versions need, after the rollout. It prevents a rollback.
    Contract,
}

impl fmt::Display for MigrationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expand => "expand",
            Self::Contract => "contract",
        })
    }
}
