//! Numbers and times as `SQLite` stores them.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::core::time::Time;

pub(super) fn wall() -> Time {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// `SQLite` has only signed integers. Milliseconds and revisions are far below the limit.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
