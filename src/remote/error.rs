//! Errors of connections and scripts, with the next step for each.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::ids::HostId;
use crate::core::time::Human;

#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "{}: the host key of {} is not in known_hosts, so ship does not connect ({}); compare the \
         fingerprint and accept the key once: {}",
        .0.host, .0.destination, .0.ssh_output, .0.ssh_command
    )]
    HostKeyUnknown(Box<LoginAttempt>),
    #[error(
        "{}: host key for {} has changed: this could be a man-in-the-middle attack, or the host was \
         reinstalled ({}); if you know that it was reinstalled, remove the old key with `ssh-keygen \
         -R` and accept the new one: {}",
        .0.host, .0.destination, .0.ssh_output, .0.ssh_command
    )]
    HostKeyChanged(Box<LoginAttempt>),
    /// The host accepts none of the user's keys.
    #[error(
        "{}: {} rejected the login ({}); {}, then try: {}",
        .0.host, .0.destination, .0.ssh_output, .0.key_advice(), .0.ssh_command
    )]
    Authentication(Box<LoginAttempt>),
    /// ssh cannot start to connect: unknown host name, mistake in its configuration, no common
    /// algorithm.
    #[error(
        "{}: ssh cannot connect to {} ({}); check {}, then try: {}",
        .0.host, .0.destination, .0.ssh_output, .0.settings("`address` and the `[ssh]` keys in the inventory"), .0.ssh_command
    )]
    Misconfigured(Box<LoginAttempt>),
    /// The host did not answer in time.
    #[error(
        "{}: cannot reach {} ({}; {}); check that the host is up and that sshd is running, then \
         try: {}",
        .0.host, .0.destination, .0.ssh_output, .0.effort(), .0.ssh_command
    )]
    Unreachable(Box<LoginAttempt>),
    #[error(
        "{}: the ProxyCommand for {} exited before the login ({}; {}); check that command and its \
         credentials, then try: {}",
        .0.host, .0.destination, .0.ssh_output, .0.effort(), .0.ssh_command
    )]
    Proxy(Box<LoginAttempt>),
    /// The server printed why it rejects all users, or this one.
    #[error(
        "{}: {} closed the connection during the login ({}; {}); check the account and \
         /run/nologin on the host, then try: {}",
        .0.host, .0.destination, .0.ssh_output, .0.effort(), .0.ssh_command
    )]
    LoginClosed(Box<LoginAttempt>),
    /// The server closed the connection before the login, as an overloaded server does.
    #[error(
        "{}: {} closed the connection before the login ({}; {}); {}, then try: {}",
        .0.host, .0.destination, .0.ssh_output, .0.effort(), .0.busy_advice(), .0.ssh_command
    )]
    Busy(Box<LoginAttempt>),
    #[error("{host}: cannot start ssh on this machine: {why}")]
    OnThisMachine { host: HostId, why: String },
}

/// A failed login, after all its attempts.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The host's name in the inventory.
    pub host: HostId,
    /// For messages: `deploy@192.168.72.233:22`, `the jump host bastion`.
    pub destination: String,
    /// Whether the destination is a jump host, to which the inventory's settings do not apply.
    pub is_jump: bool,
    /// The last line that ssh printed.
    pub ssh_output: String,
    pub tries: u32,
    /// The duration of all attempts together.
    pub waited: Duration,
    /// The time limit of each attempt.
    pub deadline: Duration,
    /// The `ssh` command that reproduces the failure.
    pub ssh_command: String,
}

impl ConnectError {
    /// Whether a retry would fail in the same way.
    pub fn is_final(&self) -> bool {
        !matches!(
            self,
            ConnectError::Unreachable(_)
                | ConnectError::Proxy(_)
                | ConnectError::LoginClosed(_)
                | ConnectError::Busy(_)
        )
    }

    /// The same error for another host behind the same jump host.
    pub(super) fn for_host(mut self, other: &HostId) -> Self {
        match &mut self {
            ConnectError::HostKeyUnknown(attempt)
            | ConnectError::HostKeyChanged(attempt)
            | ConnectError::Authentication(attempt)
            | ConnectError::Misconfigured(attempt)
            | ConnectError::Unreachable(attempt)
            | ConnectError::Proxy(attempt)
            | ConnectError::LoginClosed(attempt)
            | ConnectError::Busy(attempt) => attempt.host = other.clone(),
            ConnectError::OnThisMachine { host, .. } => *host = other.clone(),
        }
        self
    }
}

impl LoginAttempt {
    fn settings(&self, inventory_keys: &'static str) -> &'static str {
        if self.is_jump {
            "the jump host's settings in the ssh_config"
        } else {
            inventory_keys
        }
    }

    fn key_advice(&self) -> String {
        if self.ssh_output.contains("Too many authentication failures") {
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
        if self.ssh_output.contains("UNKNOWN port 65535") {
            // ssh prints this for the other end of a ProxyCommand.
            "its ProxyCommand exited without output: check that command"
        } else {
            "it may be overloaded: wait, or raise `MaxStartups` in its sshd_config (also on a jump host)"
        }
    }

    fn effort(&self) -> impl fmt::Display {
        let plural = if self.tries == 1 {
            "attempt"
        } else {
            "attempts"
        };
        format!(
            "{} {plural} of at most {}, {} in total",
            self.tries,
            Human(self.deadline),
            Human(self.waited)
        )
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(
        "{host}: {waiting_for} did not finish within {}{}; its result is unknown until ship observes \
         the host again",
        Human(*.deadline), last_output_note(.last_output.as_deref())
    )]
    TimedOut {
        host: HostId,
        deadline: Duration,
        /// What did not finish: the script, or a step before it.
        waiting_for: &'static str,
        /// The last line printed before the deadline.
        last_output: Option<String>,
    },
    #[error(
        "{host}: lost the script ({why}); its result is unknown until ship observes the host again"
    )]
    Lost { host: HostId, why: String },
    /// The login shell did not run ship's command line, so the script did not start.
    #[error(
        "{host}: the login shell{} did not run ship's command ({output}); check the shell with \
         `getent passwd {}` on the host, and its startup files",
         of_user(.user.as_deref()), user_or_placeholder(.user.as_deref())
    )]
    LoginShell {
        host: HostId,
        /// The login user, if the inventory names one.
        user: Option<String>,
        /// What the host printed, and the exit status.
        output: String,
    },
    /// sudo or doas did not start the script: it asks for a password, or does not allow this user.
    #[error("{}: {} refused ({}); {}", .0.host, .0.program, .0.output, .0.advice)]
    EscalationRefused(Box<EscalationRefusal>),
    /// sudo rejected the password.
    #[error(
        "{host}: sudo rejected the password{}; run the command again with the right one, or set `sudo \
         = true` for this host and allow sudo without a password", in_parentheses(.output)
    )]
    PasswordRejected {
        host: HostId,
        /// What sudo printed.
        output: String,
    },
    /// ship did not send the password, because another host had rejected it.
    #[error("{host}: did not get the sudo password, because {rejected_by} rejected it")]
    PasswordNotSent { host: HostId, rejected_by: HostId },
    /// Reading a file failed while it was being sent: the script got a part of it.
    #[error("{host}: cannot read {} while sending it: {source}", path.display())]
    Input {
        host: HostId,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{host}: cannot start the script: {why}")]
    NotStarted { host: HostId, why: String },
}

/// Why sudo or doas did not start a script.
#[derive(Debug)]
pub struct EscalationRefusal {
    pub host: HostId,
    /// `sudo` or `doas`.
    pub program: &'static str,
    /// What the program printed, and the exit status.
    pub output: String,
    /// The next step.
    pub advice: String,
}

impl RunError {
    /// Whether the script may have changed something, so that the host must be observed again.
    pub fn is_unknown(&self) -> bool {
        match self {
            RunError::TimedOut { .. } | RunError::Lost { .. } | RunError::Input { .. } => true,
            RunError::LoginShell { .. }
            | RunError::EscalationRefused(_)
            | RunError::PasswordRejected { .. }
            | RunError::PasswordNotSent { .. }
            | RunError::NotStarted { .. } => false,
        }
    }
}

/// ` (output)`; empty without output.
fn in_parentheses(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(" ({output})")
    }
}

fn last_output_note(words: Option<&str>) -> String {
    words
        .map(|words| format!(" (last output: {words})"))
        .unwrap_or_default()
}

fn user_or_placeholder(user: Option<&str>) -> &str {
    user.unwrap_or("USER")
}

fn of_user(user: Option<&str>) -> String {
    user.map(|user| format!(" of {user}")).unwrap_or_default()
}

/// A [`RunError`] without its host.
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
