//! Why a database of an earlier version cannot be updated.

/// Why a database cannot be updated.
pub(super) enum MigrationError {
    Database(rusqlite::Error),
    /// A stored value cannot be decoded.
    Unreadable(String),
    /// A process of an older version of ship, which knows only the old tables, carries out a
    /// rollout.
    InUse(String),
}

impl From<rusqlite::Error> for MigrationError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}
