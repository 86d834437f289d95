//! Starts the ssh process that holds a host's connection, and retries where that may help.
//!
//! The `openssh` crate speaks with this process (sessions, forwarding) but does not begin it here:
//! its own launcher leaves the process behind when a stalled connection is given up, and overrides
//! the user's own `StrictHostKeyChecking`. Without the override ssh asks whether to trust an
//! unknown key, and as it may not ask (`BatchMode`), it refuses.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tempfile::{TempDir, TempPath};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::error::ConnectError;
use super::login::Login;
use super::program;
use super::refusal::SshRefusal;
use super::settings::ssh;
use super::words::clean;
use crate::core::time::{Human, whole_seconds};
use crate::script::quote::quote;
use crate::system::process_group;

/// All tries together take at most this multiple of one try's timeout.
const TIMEOUTS_IN_ALL: u32 = 3;
/// Twice as long each time, and never the same for two hosts: those refused together must not
/// return together. Chance adds up to as much again to each.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(1))
    .without_max_times()
    .with_jitter();
/// A server that is found dead after three unanswered questions.
const ALIVE_INTERVAL_S: u32 = 5;
const ALIVE_COUNT: u32 = 3;
/// How long the master survives its last user, in case ship is killed.
const PERSIST_S: u32 = 2;

/// Limits the retries after a refusal: a bastion refuses logins from the tenth concurrent one on.
static TURNED_AWAY: Semaphore = Semaphore::const_new(4);

/// A running ssh master, identified by its directory. It is not a child of this process.
#[derive(Debug)]
pub(super) struct Master {
    dir: TempDir,
}

impl Master {
    /// Begins one, and waits until the login is done. `via` is the jump host's login through which
    /// it goes.
    pub(super) async fn start(
        login: &Login,
        via: Option<&Hop>,
        dir: &Path,
    ) -> Result<Self, ConnectError> {
        let began = Instant::now();
        let bound = login.timeout * TIMEOUTS_IN_ALL;
        let mut turn = None;
        let mut refusals = Vec::new();
        let mut pauses = PAUSES.build();
        loop {
            let left = bound.saturating_sub(began.elapsed());
            // A directory for each try: a late socket of one must not be taken for that of the
            // next.
            let own_dir = tempfile::Builder::new().prefix("c").tempdir_in(dir);
            let master = Self {
                dir: own_dir.map_err(|e| login.failed_here(format!("{}: {e}", dir.display())))?,
            };
            let Some((refusal, said)) = master.log_in(login, via, left.min(login.timeout)).await?
            else {
                return Ok(master);
            };
            refusals.push(refusal);
            // A network may fail in several ways, each of which is worth its tries.
            let alike = refusals
                .iter()
                .filter(|earlier| **earlier == refusal)
                .count();
            let tries = u32::try_from(refusals.len()).unwrap_or(u32::MAX);
            // There is always another pause.
            let pause = pauses.next().unwrap_or_default();
            let is_last = alike >= refusal.tries_max() || began.elapsed() + pause >= bound;
            if is_last || !is_open(via).await {
                return Err(login.error(refusal, said, tries, began.elapsed()));
            }
            tracing::debug!(host = %login.host, tries, said, "connecting again in {}", Human(pause));
            sleep(pause).await;
            if refusal == SshRefusal::Busy && turn.is_none() {
                turn = timeout(bound.saturating_sub(began.elapsed()), TURNED_AWAY.acquire())
                    .await
                    .ok();
            }
        }
    }

    /// A connection that keeps the master alive; without one, it ends after a moment.
    pub(super) async fn leash(&self, login: &Login) -> Result<UnixStream, ConnectError> {
        let connected = UnixStream::connect(self.socket()).await;
        connected.map_err(|e| {
            login.failed_here(format!("the control socket of ssh does not answer: {e}"))
        })
    }

    /// The socket on which it takes commands.
    pub(super) fn socket(&self) -> PathBuf {
        // Short: such a path has 104 bytes on some systems, and ssh adds 17 while it makes the
        // socket.
        self.dir.path().join("m")
    }

    /// A path for a socket that leads to a port of the host.
    pub(super) fn forward_socket(&self, number: usize) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    /// All that ssh has printed so far.
    pub(super) fn log(&self) -> String {
        std::fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Tries once: `None` on success. If dropped, kills ssh with its children.
    async fn log_in(
        &self,
        login: &Login,
        via: Option<&Hop>,
        deadline: Duration,
    ) -> Result<Option<(SshRefusal, String)>, ConnectError> {
        let log = self
            .empty_log()
            .map_err(|e| login.failed_here(format!("{}: {e}", self.log_path().display())))?;
        let mut command = self.login_command(login, via, deadline);
        command.stderr(log);
        let mark = via.map(Hop::mark);
        let (mut child, group) = process_group::spawn(&mut command)
            .map_err(|e| login.failed_here(format!("ssh: {e}")))?;
        let noted = child.id().map(|leader| self.note(leader)).transpose();
        let _note =
            noted.map_err(|e| login.failed_here(format!("{}: {e}", self.dir.path().display())))?;
        match timeout(deadline, child.wait()).await {
            Ok(Ok(status)) => {
                group.ended();
                if status.success() {
                    return Ok(None);
                }
                let reason = via
                    .zip(mark)
                    .and_then(|(hop, mark)| hop.reason_since(mark))
                    .unwrap_or_default();
                Ok(Some(refusal_of(&format!("{}{reason}", self.log()), status)))
            }
            Ok(Err(e)) => Err(login.failed_here(format!("waiting for ssh: {e}"))),
            Err(_) => {
                drop(group);
                // It may have logged in at the very last moment, and be nobody's child any more.
                if self.socket().exists() {
                    exit(self).await;
                }
                let printed = match clean(&self.log()).as_str() {
                    "" => String::new(),
                    words => format!("; it printed: {words}"),
                };
                let said = format!("the login did not end within {}{printed}", Human(deadline));
                Ok(Some((SshRefusal::Unreachable, said)))
            }
        }
    }

    fn login_command(&self, login: &Login, via: Option<&Hop>, deadline: Duration) -> Command {
        let mut command = program::command("ssh");
        command.args(options(&self.socket(), &self.log_path(), deadline));
        if let Some(hop) = via {
            command
                .args(["-o", "ProxyUseFdpass=no", "-o"])
                .arg(hop.proxy_command());
        } else if let Some(proxy) = login
            .proxy_command
            .as_deref()
            .and_then(|command| self.logged(command))
        {
            command.arg("-o").arg(proxy);
        }
        command.args(&login.options).arg("--").arg(&login.address);
        // What a jump host's ssh would ask a person goes to a program that says no; it has no
        // `BatchMode`.
        command
            .env("SSH_ASKPASS", "false")
            .env("SSH_ASKPASS_REQUIRE", "force");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// The setting for the user's `ProxyCommand` with what it prints in the log: a master with
    /// `ControlPersist` throws that away. `None` where the user's shell, which reads the setting,
    /// writes such a redirection differently.
    fn logged(&self, proxy_command: &str) -> Option<String> {
        let is_csh = std::env::var("SHELL").is_ok_and(|shell| shell.ends_with("csh"));
        let log = quote(&self.log_path().to_string_lossy()).replace('%', "%%");
        (!is_csh).then(|| format!("ProxyCommand={proxy_command} 2>>{log}"))
    }

    /// Notes the process group of a login for as long as it is under way, for whoever clears up
    /// should ship be killed.
    fn note(&self, leader: u32) -> std::io::Result<TempPath> {
        let path = TempPath::try_from_path(self.dir.path().join("login"))?;
        std::fs::write(&path, format!("{leader}\n"))?;
        Ok(path)
    }

    fn empty_log(&self) -> std::io::Result<File> {
        File::create(self.log_path())?;
        OpenOptions::new().append(true).open(self.log_path())
    }
}

/// Why ssh ended with `status`, by its log, and in words for a person.
fn refusal_of(log: &str, status: ExitStatus) -> (SshRefusal, String) {
    let refusal = SshRefusal::of(log);
    let said = match (refusal.words(log).as_str(), refusal) {
        ("", _) => format!("ssh ended with {status}"),
        (words, SshRefusal::Proxy | SshRefusal::TurnedAway) => words.to_owned(),
        (words, _) => format!("ssh: {}", words.trim_start_matches("ssh: ")),
    };
    (refusal, said)
}

/// The options of a master; all others are the user's to configure.
fn options(socket: &Path, log: &Path, deadline: Duration) -> Vec<OsString> {
    let mut options: Vec<OsString> = ["-M", "-f", "-N", "-S"].map(OsString::from).into();
    options.extend([socket.into(), "-E".into(), log.into()]);
    for option in [
        "BatchMode=yes".to_owned(),
        // A user's `LogLevel QUIET` would hide why it failed.
        "LogLevel=INFO".to_owned(),
        format!("ConnectTimeout={}", whole_seconds(deadline)),
        format!("ServerAliveInterval={ALIVE_INTERVAL_S}"),
        format!("ServerAliveCountMax={ALIVE_COUNT}"),
        format!("ControlPersist={PERSIST_S}"),
        // The user's forwards and commands are for the user's own sessions.
        "ClearAllForwardings=yes".to_owned(),
        "RemoteCommand=none".to_owned(),
    ] {
        options.extend(["-o".into(), option.into()]);
    }
    options
}

/// Ends a master with whatever still runs on it.
pub(super) async fn exit(master: &Master) {
    let words = ["-F", "none", "-O", "exit", "-S"]
        .map(OsString::from)
        .into_iter();
    ssh(&words
        .chain([master.socket().into(), "--".into(), "nobody".into()])
        .collect::<Vec<_>>())
    .await;
}

async fn is_open(via: Option<&Hop>) -> bool {
    match via {
        Some(hop) => hop.is_alive().await,
        None => true,
    }
}

#[derive(Debug)]
pub(super) struct Hop {
    name: String,
    pub(super) master: Master,
    /// Keeps the master alive as long as this process lives.
    _leash: UnixStream,
    /// Keeps the login that this one goes through.
    _via: Option<Arc<Hop>>,
}

impl Hop {
    pub(super) async fn make(
        name: String,
        via: Option<Arc<Hop>>,
        login: &Login,
        dir: &Path,
    ) -> Result<Self, ConnectError> {
        let master = Master::start(login, via.as_deref(), dir).await?;
        let leash = master.leash(login).await?;
        Ok(Self {
            name,
            master,
            _leash: leash,
            _via: via,
        })
    }

    /// The name for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the master process still answers.
    pub(super) async fn is_alive(&self) -> bool {
        UnixStream::connect(self.master.socket()).await.is_ok()
    }

    /// The setting by which another login goes through this one. Without its master it leads
    /// nowhere: never past the jump host.
    pub(super) fn proxy_command(&self) -> String {
        let socket = quote(&self.master.socket().to_string_lossy()).replace('%', "%%");
        format!("ProxyCommand=ssh -F none -S {socket} -o ProxyCommand=false -W '[%h]:%p' -- nobody")
    }

    /// The length of the log so far.
    pub(super) fn mark(&self) -> usize {
        self.master.log().len()
    }

    /// Why the jump host could not reach a host since then. Only where there is one reason: which
    /// host a line is about, it does not say. A line as ssh writes it.
    pub(super) fn reason_since(&self, mark: usize) -> Option<String> {
        let log = self.master.log();
        let mut reasons = log
            .get(mark..)?
            .lines()
            .filter_map(|line| line.split_once(": open failed: "))
            .map(|(_, why)| why);
        let reason = reasons.next()?.trim();
        reasons
            .all(|other| other.trim() == reason)
            .then(|| format!("open failed: {reason}\r\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses: Vec<_> = PAUSES.build().take(100).collect();
        assert!((50..=100).contains(&pauses[0].as_millis()));
        assert!((400..=800).contains(&pauses[3].as_millis()));
        assert!(pauses[99] <= Duration::from_secs(2));
    }
}
