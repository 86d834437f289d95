//! The lease: one controller for a fleet and service at a time.

use std::fmt;
use std::time::Duration;

use crate::core::time::{Human, Time};
use crate::system::random;

/// If the latest heartbeat is older than this, the holder is suspended or gone. Hosts reject its
/// late commands because they have seen a newer epoch, so taking over from a suspended holder is
/// safe.
pub(super) const EXPIRES_AFTER: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The user: `anna`.
    pub owner: String,
    /// The control machine.
    pub host: String,
    pub pid: u32,
    /// The clock tick at which that process started, which distinguishes it from a later process
    /// with the same id.
    pub pid_started: u64,
    /// The command: `deploy 0.9`.
    pub run: String,
    pub since: Time,
    /// When the holder last renewed the lease.
    pub heartbeat: Time,
    /// The current time, for the ages in messages.
    pub now: Time,
    /// Lets the processes that the holder starts run under its lease. An empty token lets none.
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

    /// Whether the holder's process is known to have ended, or has not renewed the lease for too
    /// long.
    pub(super) fn is_dead(&self, here: &str, now: Time) -> bool {
        let has_exited = self.host == here && started_ticks(self.pid) != Some(self.pid_started);
        has_exited || now.since(self.heartbeat) > EXPIRES_AFTER
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "locked by {}@{} (pid {}, {}) since {}, {} ago; last heartbeat {} ago\nhint: wait with \
             `--lock-timeout 10m`, stop it with `ship pause` or `ship abort`, or break the lock with \
             `ship unlock`",
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

/// Formats a time in local time.
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
    // The command's name may contain spaces and parentheses, so the fields are counted after the
    // last parenthesis.
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
    fn lease_holder_is_alive_while_its_process_runs_and_renews() {
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
            "processes of another machine are unknown"
        );
        assert!(
            holder.is_dead("elsewhere", Time(31_001)),
            "no heartbeat for more than 30 seconds"
        );
    }
}
