//! Floor 2: revisions, journal and lease, in SQLite.
