//! Migrations: changes to what all instances share, such as a database. Each has two halves, so
//! that old and new instances can run at the same time.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A change that runs once, on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The id under which a host records that the migration has run.
    pub id: String,
    pub kind: MigrationKind,
    /// The program and its arguments, run in the release's directory.
    pub command: Vec<String>,
    pub timeout: Duration,
    /// For a contract migration: how long all instances must have been in place before it runs.
    /// `None` for an expand migration, and for one that only `ship migrate` runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Duration>,
    /// For a contract migration: whether only `ship migrate` runs it.
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
    /// Adds what the new version needs, before its first instance starts. The old version must keep
    /// working with the change.
    Expand,
    /// Removes what only older versions need, after the rollout. Rollbacks to these are then
    /// impossible.
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
