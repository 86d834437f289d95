//! Errors on the way to a host, with what to do about each.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::ids::HostId;
use crate::core::time::Human;

/// Why there is no connection to a host.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The host key is not in `known_hosts` yet.
    #[error(
        "{}: the host key of {} is not in known_hosts, so ship does not talk to it ({}); connect \
         once by hand, \
         compare the fingerprint, and say yes: {}",
        .0.host, .0.place, .0.said, .0.by_hand
    )]
    HostKeyUnknown(Box<LoginAttempt>),
    /// The host key differs from the known one.
    #[error(
        "{}: THE HOST KEY OF {} IS NOT THE ONE THAT IS KNOWN: either somebody is in between, or \
         the machine was set up \
         anew ({}); only if you know that it was set up anew, remove the old key with `ssh-keygen \
         -R` and connect once \
         by hand: {}",
        .0.host, .0.place, .0.said, .0.by_hand
    )]
    HostKeyChanged(Box<LoginAttempt>),
    /// The host accepts none of the keys for this user.
    #[error(
        "{}: {} does not let us in ({}); {}, then try by hand: {}",
        .0.host, .0.place, .0.said, .0.key_advice(), .0.by_hand
    )]
    Authentication(Box<LoginAttempt>),
    /// ssh cannot even begin: no such host name, a mistake in its configuration, no algorithm in
    /// common.
    #[error(
        "{}: ssh cannot connect to {} ({}); check {}, then try by hand: {}",
        .0.host, .0.place, .0.said, .0.settings("`address` and the `[ssh]` keys in the inventory"), .0.by_hand
    )]
    Misconfigured(Box<LoginAttempt>),
    /// There is no answer, or none in time.
    #[error(
        "{}: {} cannot be reached ({}; {}); check that the machine is up and that sshd listens, \
         then try by hand: {}",
        .0.host, .0.place, .0.said, .0.effort(), .0.by_hand
    )]
    Unreachable(Box<LoginAttempt>),
    /// The user's `ProxyCommand` fails.
    #[error(
        "{}: the ProxyCommand on the way to {} ended before the login ({}; {}); check that \
         command and its credentials, \
         then try by hand: {}",
        .0.host, .0.place, .0.said, .0.effort(), .0.by_hand
    )]
    Proxy(Box<LoginAttempt>),
    /// The server says why nobody, or this account, may log in now.
    #[error(
        "{}: {} ended the login ({}; {}); check the account and /run/nologin on the host, then \
         try by hand: {}",
        .0.host, .0.place, .0.said, .0.effort(), .0.by_hand
    )]
    TurnedAway(Box<LoginAttempt>),
    /// The server ends the connection before the login, as an overloaded one does.
    #[error(
        "{}: {} hung up before the login ({}; {}); {}, then try by hand: {}",
        .0.host, .0.place, .0.said, .0.effort(), .0.busy_advice(), .0.by_hand
    )]
    Busy(Box<LoginAttempt>),
    /// A program or file is missing on this machine.
    #[error("{host}: cannot start ssh on this machine: {why}")]
    Here {
        /// The host that was to be reached.
        host: HostId,
        why: String,
    },
}

/// What was tried to reach a host.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The host's name in the fleet.
    pub host: HostId,
    /// Where: `deploy@192.168.72.233:22`, `the jump host bastion`.
    pub place: String,
    /// Whether that is a jump host on the way to the host, to which the inventory's settings do not
    /// apply.
    pub is_jump: bool,
    /// The last line that ssh printed.
    pub said: String,
    pub tries: u32,
    /// How long that took in all.
    pub waited: Duration,
    /// How long each try was given.
    pub deadline: Duration,
    /// The command with which a person gets the same result.
    pub by_hand: String,
}

impl ConnectError {
    /// Whether another try would fail in the same way.
    pub fn is_final(&self) -> bool {
        !matches!(
            self,
            ConnectError::Unreachable(_)
                | ConnectError::Proxy(_)
                | ConnectError::TurnedAway(_)
                | ConnectError::Busy(_)
        )
    }

    /// The same error for another host on the same route.
    pub(super) fn on_behalf_of(mut self, other: &HostId) -> Self {
        match &mut self {
            ConnectError::HostKeyUnknown(attempt)
            | ConnectError::HostKeyChanged(attempt)
            | ConnectError::Authentication(attempt)
            | ConnectError::Misconfigured(attempt)
            | ConnectError::Unreachable(attempt)
            | ConnectError::Proxy(attempt)
            | ConnectError::TurnedAway(attempt)
            | ConnectError::Busy(attempt) => attempt.host = other.clone(),
            ConnectError::Here { host, .. } => *host = other.clone(),
        }
        self
    }
}

impl LoginAttempt {
    fn settings(&self, of_inventory: &'static str) -> &'static str {
        if self.is_jump {
            "the jump host's settings in the ssh_config"
        } else {
            of_inventory
        }
    }

    fn key_advice(&self) -> String {
        if self.said.contains("Too many authentication failures") {
            let advice = if self.is_jump {
                "set `IdentityFile` to the right one and `IdentitiesOnly yes` in the ssh_config"
            } else {
                "set `identity_file` in the inventory to the right one (ship then adds \
                 `IdentitiesOnly yes`)"
            };
            return format!("ssh offered more keys than the server accepts: {advice}");
        }
        let settings = self.settings("`user` and `identity_file` in the inventory");
        format!("check {settings} and the keys of `ssh-add -l`")
    }

    fn busy_advice(&self) -> &'static str {
        if self.said.contains("UNKNOWN port 65535") {
            // So ssh names the other end of a ProxyCommand.
            "its ProxyCommand ended and printed nothing: check that command"
        } else {
            "it may be busy: wait, or raise `MaxStartups` in its sshd_config (a jump host's too)"
        }
    }

    fn effort(&self) -> impl fmt::Display {
        let plural = if self.tries == 1 { "try" } else { "tries" };
        format!(
            "{} {plural} of at most {}, {} in all",
            self.tries,
            Human(self.deadline),
            Human(self.waited)
        )
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not end in time.
    #[error(
        "{host}: {waiting_for} did not end within {}{}; what it did is not known until the host \
         is asked again",
        Human(*.deadline), last_words(.said.as_deref())
    )]
    TimedOut {
        host: HostId,
        deadline: Duration,
        /// What did not end: the script, or a step before it.
        waiting_for: &'static str,
        /// The last line that was printed by then.
        said: Option<String>,
    },
    /// The connection broke, or the shell was killed.
    #[error(
        "{host}: a script broke off ({why}); what it did is not known until the host is asked again"
    )]
    Lost { host: HostId, why: String },
    /// The login shell did not run ship's command line: the script did not begin.
    #[error(
        "{host}: the login shell{} did not run ship's command ({said}); check the shell with \
         `getent passwd {}` on the \
         host, and its startup files", of_user(.user.as_deref()), user_or_placeholder(.user.as_deref())
    )]
    LoginShell {
        host: HostId,
        /// The user whose shell it is, if the inventory names one.
        user: Option<String>,
        /// What the host printed, and the exit status.
        said: String,
    },
    /// The script did not run: sudo wants a password, or does not know the user.
    #[error("{host}: sudo refused ({said}); {}", sudo_advice(.said, user_or_placeholder(.user.as_deref())))]
    SudoRefused {
        host: HostId,
        /// The user who ran sudo, if the inventory names one.
        user: Option<String>,
        /// What sudo printed, and the exit status.
        said: String,
    },
    /// A file broke while it was sent: the script got a part of it.
    #[error("{host}: failed to read {} to send it: {source}", path.display())]
    Input {
        host: HostId,
        path: PathBuf,
        source: io::Error,
    },
    /// The script could not be begun.
    #[error("{host}: the script could not be started: {why}")]
    NotStarted { host: HostId, why: String },
}

impl RunError {
    /// Whether the script may have done something: then the host is to be observed again, never
    /// assumed.
    pub fn is_unknown(&self) -> bool {
        match self {
            RunError::TimedOut { .. } | RunError::Lost { .. } | RunError::Input { .. } => true,
            RunError::LoginShell { .. }
            | RunError::SudoRefused { .. }
            | RunError::NotStarted { .. } => false,
        }
    }
}

fn last_words(words: Option<&str>) -> String {
    words
        .map(|words| format!(" (it last said: {words})"))
        .unwrap_or_default()
}

fn user_or_placeholder(user: Option<&str>) -> &str {
    user.unwrap_or("USER")
}

fn of_user(user: Option<&str>) -> String {
    user.map(|user| format!(" of {user}")).unwrap_or_default()
}

/// What helps, by the messages of sudo, sudo-rs, and shells that do not find it.
fn sudo_advice(said: &str, user: &str) -> String {
    const NO_PERMISSION: [&str; 8] = [
        "password is required",
        "terminal is required",
        "authentication is required",
        "is not in the sudoers file",
        "is not allowed to execute",
        "is not allowed to run",
        "may not run sudo",
        "I'm afraid I can't do that",
    ];
    if NO_PERMISSION.iter().any(|sign| said.contains(sign)) {
        return format!(
            "allow it without a password: `echo '{user} ALL=(ALL) NOPASSWD: ALL' | sudo tee \
             /etc/sudoers.d/ship` on the \
             host, or set `sudo = false` in the inventory if root is not needed"
        );
    }
    if said.contains("must have a tty") {
        return format!(
            "allow it without a terminal: put `Defaults:{user} !requiretty` into \
             /etc/sudoers.d/ship"
        );
    }
    if said.contains("sudo: not found") || said.contains("sudo: command not found") {
        return format!(
            "install sudo on the host, log in as root instead of {user}, or set `sudo = false`"
        );
    }
    format!("log in as {user} and run `sudo -n true` to see the same")
}

/// A [`RunError`] that does not know its host yet.
#[derive(Debug)]
pub(super) enum RunFailure {
    Lost(String),
    Input { path: PathBuf, source: io::Error },
    NotStarted(String),
}

impl RunFailure {
    pub(super) fn at(self, host: HostId) -> RunError {
        match self {
            RunFailure::Lost(why) => RunError::Lost { host, why },
            RunFailure::Input { path, source } => RunError::Input { host, path, source },
            RunFailure::NotStarted(why) => RunError::NotStarted { host, why },
        }
    }
}
