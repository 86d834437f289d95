//! Hooks: commands of the user that run at certain points of a rollout.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::whole_seconds;

/// The time after its timeout in which a command and the processes that it started are killed.
pub const KILL_TIME: Duration = Duration::from_secs(6);

/// A hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub on: HookPoint,
    pub at: HookSite,
    /// The program and its arguments. In a hook of an instance, each word is a template with the
    /// values of its slot, as in the service's own command. In other hooks, the words are used as
    /// they are.
    pub command: Vec<String>,
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPoint {
    /// Once per rollout, before any instance is started or stopped.
    BeforeAll,
    /// Once per rollout, when all instances are in place.
    AfterAll,
    /// Before the process of an instance is started. A failure fails the start, and the process is
    /// not started.
    BeforeStart,
    /// After the process has started. A failure fails the start, and the instance is stopped again.
    AfterStart,
    /// Before the process is stopped. A failure is reported, and the stop continues.
    BeforeStop,
    /// After the process has ended. A failure is reported.
    AfterStop,
    /// Once per rollout, when it has succeeded.
    OnSuccess,
    /// Once per rollout, when it has failed.
    OnFailure,
}

/// The longest time that the hooks of these points take on a host. Hosts count in whole seconds.
pub fn hook_time<'a>(hooks: impl IntoIterator<Item = &'a Hook>, points: &[HookPoint]) -> Duration {
    hooks
        .into_iter()
        .filter(|hook| points.contains(&hook.on))
        .map(|hook| Duration::from_secs(whole_seconds(hook.timeout)) + KILL_TIME)
        .sum()
}

/// The prefix of the last output line of a command whose child processes still run.
pub const STILL_RUNNING: &str = "still running after the command: ";

/// The processes that still run after a command, according to its output.
pub fn still_running(output: &[String]) -> Option<&str> {
    output
        .last()
        .map(String::as_str)
        .filter(|line| line.starts_with(STILL_RUNNING))
}

/// How a hook or another command of the user ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRun {
    pub end: CommandEnd,
    pub took: Duration,
    /// The last lines that the command printed to stdout or stderr.
    pub output: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// The command exited with this status.
    Exit(i32),
    /// A signal ended the command.
    Signal(i32),
    /// The command exceeded its timeout and was killed.
    TimedOut,
    /// The command did not run, because no time was left.
    NotRun,
}

/// A hook of an instance that ran with an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRun {
    pub on: HookPoint,
    pub run: CommandRun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookSite {
    /// On the control machine.
    Control,
    /// On a host, in the release's directory.
    Host,
}

impl HookPoint {
    /// Every point, in the order of a rollout.
    pub const ALL: [Self; 8] = [
        Self::BeforeAll,
        Self::AfterAll,
        Self::BeforeStart,
        Self::AfterStart,
        Self::BeforeStop,
        Self::AfterStop,
        Self::OnSuccess,
        Self::OnFailure,
    ];

    /// The name in a playbook: `before_all`.
    pub fn word(self) -> &'static str {
        match self {
            Self::BeforeAll => "before_all",
            Self::AfterAll => "after_all",
            Self::BeforeStart => "before_start",
            Self::AfterStart => "after_start",
            Self::BeforeStop => "before_stop",
            Self::AfterStop => "after_stop",
            Self::OnSuccess => "on_success",
            Self::OnFailure => "on_failure",
        }
    }

    /// The point with this name; the inverse of [`word`](Self::word).
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.word() == word)
    }

    /// The only possible site; `None` if the playbook may choose.
    pub fn only_site(self) -> Option<HookSite> {
        match self {
            Self::BeforeAll | Self::AfterAll => None,
            Self::BeforeStart | Self::AfterStart | Self::BeforeStop | Self::AfterStop => {
                Some(HookSite::Host)
            }
            Self::OnSuccess | Self::OnFailure => Some(HookSite::Control),
        }
    }

    /// Whether hooks of this point belong to an instance, rather than to the rollout.
    pub fn is_per_instance(self) -> bool {
        self.only_site() == Some(HookSite::Host)
    }
}

impl CommandEnd {
    pub fn is_ok(self) -> bool {
        self == Self::Exit(0)
    }
}

impl fmt::Display for CommandEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(0) => f.write_str("done"),
            Self::Exit(status) => write!(f, "it ended with exit status {status}"),
            Self::Signal(signal) => write!(f, "it was ended by signal {signal}"),
            Self::TimedOut => f.write_str("it did not end in time, and was ended"),
            Self::NotRun => f.write_str("it was not run: no time was left for it"),
        }
    }
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hook_point_has_the_same_name_in_playbooks_journals_and_scripts() {
        for point in HookPoint::ALL {
            assert_eq!(
                serde_json::to_string(&point).expect("JSON"),
                format!("\"{point}\"")
            );
            assert_eq!(HookPoint::from_word(point.word()), Some(point));
        }
        assert_eq!(HookPoint::from_word("before"), None);
    }
}
