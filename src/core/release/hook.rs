//! Commands of the user that run at certain points of a rollout.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::whole_seconds;

/// The time to end a command after its timeout, with the processes that it started.
pub const END: Duration = Duration::from_secs(6);

/// A command and when it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub on: HookPoint,
    pub at: HookSite,
    /// The program and its arguments. At the four points of a slot each word is a template over it,
    /// as the service's own command; at the others the words are as they are to be run.
    pub command: Vec<String>,
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPoint {
    /// Once a rollout, before anything is started or stopped.
    BeforeAll,
    /// Once a rollout, when all is in place.
    AfterAll,
    /// Before an instance's process is started. What fails here fails the start, and nothing was
    /// started.
    BeforeStart,
    /// After the process started. A failure fails the start, and the instance is stopped again.
    AfterStart,
    /// Before the process is stopped. A failure is reported, and the stop continues.
    BeforeStop,
    /// After the process has ended. A failure is reported.
    AfterStop,
    /// Once a rollout, when it has succeeded.
    OnSuccess,
    /// Once a rollout, when it has failed.
    OnFailure,
}

/// The longest time that the hooks of these points take on a host, which counts in whole seconds.
pub fn hook_time<'a>(hooks: impl IntoIterator<Item = &'a Hook>, points: &[HookPoint]) -> Duration {
    hooks
        .into_iter()
        .filter(|hook| points.contains(&hook.on))
        .map(|hook| Duration::from_secs(whole_seconds(hook.timeout)) + END)
        .sum()
}

/// The prefix of the last output line of a command that has left processes running.
pub const STILL_RUNNING: &str = "still running after the command: ";

/// The processes that a command has left running, by its output.
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
    /// The last lines that it printed, on either stream.
    pub output: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// With this exit status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It exceeded its timeout and was ended.
    TimedOut,
    /// It did not run, because no time was left.
    NotRun,
}

/// A hook of a slot that ran under an order.
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

    /// Its name, as it is written in a playbook.
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

    /// The point by the name of [`word`](Self::word).
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.word() == word)
    }

    /// The only site that is possible; `None` where the playbook may choose.
    pub fn only_site(self) -> Option<HookSite> {
        match self {
            Self::BeforeAll | Self::AfterAll => None,
            Self::BeforeStart | Self::AfterStart | Self::BeforeStop | Self::AfterStop => {
                Some(HookSite::Host)
            }
            Self::OnSuccess | Self::OnFailure => Some(HookSite::Control),
        }
    }

    /// Whether it is a point in the life of an instance.
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
    fn a_point_has_one_name_in_playbooks_journals_and_scripts() {
        for point in HookPoint::ALL {
            assert_eq!(
                serde_json::to_string(&point).expect("JSON"),
                format!("\"{point}\"")
            );
            assert_eq!(HookPoint::of_word(point.word()), Some(point));
        }
        assert_eq!(HookPoint::of_word("before"), None);
    }
}
