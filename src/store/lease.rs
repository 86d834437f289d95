//! The lease: one controller for a fleet and service at a time.

use std::fmt;
use std::time::Duration;

use crate::core::time::{Human, Time};
use crate::system::random;

/// If the latest heartbeat is older than this, the holder of a lease is suspended or gone. Hosts
/// reject its late commands because they have seen a newer epoch, so taking over from a suspended
/// holder is safe.
pub const LEASE_EXPIRES_AFTER: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The user: `anna`.
    pub owner: String,
    /// The control machine.
    pub host: String,
    /// The machine and the namespace in which `pid` is a process. Containers may have the same
    /// host name, and each counts its processes on its own.
    pub machine: String,
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
    /// This process as a holder. The store sets the times when the lease is acquired.
    pub fn this_process(owner: &str, host: &str, run: &str) -> Self {
        let (pid, now) = (std::process::id(), Time::default());
        let (owner, host, run) = (owner.to_owned(), host.to_owned(), run.to_owned());
        let pid_started = started_ticks(pid).unwrap_or(0);
        Self {
            owner,
            host,
            machine: this_machine(),
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
    /// long. `machine` is the machine of this process.
    pub fn is_dead(&self, machine: &str) -> bool {
        let has_exited =
            self.machine == machine && started_ticks(self.pid) != Some(self.pid_started);
        has_exited || self.now.since(self.heartbeat) > LEASE_EXPIRES_AFTER
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "locked by {}@{} (pid {}, {}) since {}, {} ago; last heartbeat {} ago",
            self.owner,
            self.host,
            self.pid,
            self.run,
            local(self.since),
            Human(self.now.since(self.since)),
            Human(self.now.since(self.heartbeat.max(self.since)))
        )
    }
}

/// The machine and the namespace of its processes. Both the id of the boot and the number of the
/// namespace are needed: containers share the former.
pub fn this_machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim_end(), namespace.display())
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
pub(super) fn started_ticks(pid: u32) -> Option<u64> {
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
        let holder = Holder::this_process("anna", "here", "deploy");
        let machine = this_machine();
        assert!(!holder.is_dead(&machine));
        let restarted = Holder {
            pid_started: holder.pid_started + 1,
            ..holder.clone()
        };
        assert!(restarted.is_dead(&machine));
        assert!(
            !restarted.is_dead("another machine"),
            "processes of another machine are unknown"
        );
        let silent = Holder {
            now: Time(30_001),
            ..holder
        };
        assert!(
            silent.is_dead("another machine"),
            "no heartbeat for more than 30 seconds"
        );
    }
}
