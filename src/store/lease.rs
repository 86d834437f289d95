//! The lease: one controller for a fleet and service at a time.

use std::fmt;
use std::time::Duration;

use crate::core::time::{Human, Time};
use crate::system::random;

/// A heartbeat older than this means that its owner sleeps or is gone. Its late orders are refused
/// by the hosts, which see the newer epoch, so taking over from a sleeper does no harm.
pub(super) const EXPIRES_AFTER: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The user: `anna`.
    pub owner: String,
    /// The control machine.
    pub host: String,
    pub pid: u32,
    /// The clock tick at which that process started, to tell it from a later one of the same
    /// number.
    pub pid_started: u64,
    /// The command: `deploy 0.9`.
    pub run: String,
    pub since: Time,
    /// When it last renewed the lease.
    pub heartbeat: Time,
    /// The present moment, for the age in messages.
    pub now: Time,
    /// Lets a process that the holder calls continue under its lease. Empty, it admits none.
    pub token: String,
}

impl Holder {
    pub fn this_process(owner: &str, host: &str, run: &str, now: Time) -> Self {
        let pid = std::process::id();
        let (owner, host, run) = (owner.to_owned(), host.to_owned(), run.to_owned());
        let pid_started = started_ticks(pid).unwrap_or(0);
        Self {
            owner,
            host,
            pid,
            pid_started,
            run,
            since: now,
            heartbeat: now,
            now,
            token: random::id(),
        }
    }

    /// Whether its process is known to be gone, or has not renewed the lease for too long.
    pub(super) fn is_dead(&self, here: &str, now: Time) -> bool {
        let gone = self.host == here && started_ticks(self.pid) != Some(self.pid_started);
        gone || now.since(self.heartbeat) > EXPIRES_AFTER
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "locked by {}@{} (pid {}, {}) since {}, {} ago; last heard of {} ago; wait for it to \
             end, `ship pause` or \
             `ship abort` it, or take the lock away with `ship unlock`",
            self.owner,
            self.host,
            self.pid,
            self.run,
            local(self.since),
            Human(self.now.since(self.since)),
            Human(self.now.since(self.heartbeat))
        )
    }
}

/// Formats a moment in local time.
pub(super) fn local(time: Time) -> String {
    let timestamp =
        jiff::Timestamp::from_millisecond(i64::try_from(time.0).unwrap_or(0)).unwrap_or_default();
    timestamp
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// The start time of a process in clock ticks (field 22 of `/proc/PID/stat`); `None` if there is no
/// such process.
fn started_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may hold spaces and brackets: count from behind the last one.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_alive_as_long_as_its_very_process_is() {
        let holder = Holder::this_process("anna", "here", "deploy", Time(1000));
        assert!(!holder.is_dead("here", Time(2000)));
        assert!(
            Holder {
                pid_started: holder.pid_started + 1,
                ..holder.clone()
            }
            .is_dead("here", Time(2000))
        );
        assert!(
            !Holder {
                pid_started: 0,
                ..holder.clone()
            }
            .is_dead("elsewhere", Time(2000)),
            "not ours to see"
        );
        assert!(
            holder.is_dead("elsewhere", Time(31_001)),
            "half a minute without a heartbeat"
        );
    }
}
