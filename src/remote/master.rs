//! Starts the ssh master process that holds a host's connection, and retries temporary
//! failures.
//!
//! The `openssh` crate talks to this process (sessions, forwarding) but does not start it: its
//! own launcher leaves the process running when a stalled connection is abandoned, and overrides
//! the user's `StrictHostKeyChecking`. Without the override, ssh would ask whether to accept an
//! unknown key; with `BatchMode` it refuses.

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
use super::sanitize::clean;
use super::ssh_config::run_ssh;
use super::ssh_error::SshRefusal;
use crate::core::time::{Human, whole_seconds};
use crate::script::quote::quote;
use crate::system::process_group;

/// All attempts together take at most this multiple of one attempt's timeout.
const TIMEOUTS_TOTAL: u32 = 3;
/// The pause doubles each time, and jitter of up to the same length makes it differ between
/// hosts: hosts that were refused together must not retry together.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_secs(1))
    .without_max_times()
    .with_jitter();
/// A connection is considered dead after three unanswered keepalive requests.
const ALIVE_INTERVAL_S: u32 = 5;
const ALIVE_COUNT: u32 = 3;
/// How long the master outlives its last user, in case ship is killed.
const PERSIST_S: u32 = 2;

/// Limits concurrent retries: a bastion refuses more than ten unauthenticated logins at a time.
static BUSY_RETRIES: Semaphore = Semaphore::const_new(4);

/// A running ssh master process, identified by its directory. It is not a child of this
/// process.
#[derive(Debug)]
pub(super) struct Master {
    dir: TempDir,
}

impl Master {
    /// Starts a master and waits until the login is complete. `via` is the login at the jump
    /// host through which it connects.
    pub(super) async fn start(
        login: &Login,
        via: Option<&Hop>,
        dir: &Path,
    ) -> Result<Self, ConnectError> {
        let began = Instant::now();
        let total_timeout = login.timeout * TIMEOUTS_TOTAL;
        let mut permit = None;
        let mut refusals = Vec::new();
        let mut pauses = PAUSES.build();
        loop {
            let remaining = total_timeout.saturating_sub(began.elapsed());
            // Each attempt has its own directory, so that a late socket of one is not mistaken
            // for the socket of the next.
            let own_dir = tempfile::Builder::new().prefix("c").tempdir_in(dir);
            let master = Self {
                dir: own_dir.map_err(|e| login.local_error(format!("{}: {e}", dir.display())))?,
            };
            let Some((refusal, message)) = master
                .log_in(login, via, remaining.min(login.timeout))
                .await?
            else {
                return Ok(master);
            };
            refusals.push(refusal);
            // A network may fail in several ways, and each of them has its own limit of attempts.
            let same_refusals = refusals
                .iter()
                .filter(|earlier| **earlier == refusal)
                .count();
            let tries = u32::try_from(refusals.len()).unwrap_or(u32::MAX);
            // The number of pauses is not limited, so there is always another one.
            let pause = pauses.next().unwrap_or_default();
            let is_last =
                same_refusals >= refusal.tries_max() || began.elapsed() + pause >= total_timeout;
            if is_last || !is_usable(via).await {
                return Err(login.error(refusal, message, tries, began.elapsed()));
            }
            tracing::debug!(host = %login.host, tries, message, "retrying in {}", Human(pause));
            sleep(pause).await;
            if refusal == SshRefusal::Busy && permit.is_none() {
                permit = timeout(
                    total_timeout.saturating_sub(began.elapsed()),
                    BUSY_RETRIES.acquire(),
                )
                .await
                .ok();
            }
        }
    }

    /// Opens a connection that keeps the master alive. Without one, the master ends after a moment.
    pub(super) async fn keepalive(&self, login: &Login) -> Result<UnixStream, ConnectError> {
        let connected = UnixStream::connect(self.socket()).await;
        connected.map_err(|e| {
            login.local_error(format!("the control socket of ssh does not answer: {e}"))
        })
    }

    /// The socket on which the master takes commands.
    pub(super) fn socket(&self) -> PathBuf {
        // Short: the path of a socket has at most 104 bytes on some systems, and ssh adds 17
        // while it creates the socket.
        self.dir.path().join("m")
    }

    /// The path of a socket that is forwarded to the host.
    pub(super) fn forward_socket(&self, number: usize) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    /// Everything that ssh has printed so far.
    pub(super) fn log(&self) -> String {
        std::fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Attempts to log in once; `None` on success. Dropping the future kills ssh with its children.
    async fn log_in(
        &self,
        login: &Login,
        via: Option<&Hop>,
        deadline: Duration,
    ) -> Result<Option<(SshRefusal, String)>, ConnectError> {
        let log = self
            .empty_log()
            .map_err(|e| login.local_error(format!("{}: {e}", self.log_path().display())))?;
        let mut command = self.login_command(login, via, deadline);
        command.stderr(log);
        let log_start = via.map(Hop::log_length);
        let (mut child, group) = process_group::spawn(&mut command)
            .map_err(|e| login.local_error(format!("ssh: {e}")))?;
        let group_file = child
            .id()
            .map(|leader| self.record_group(leader))
            .transpose();
        let _group_file = group_file
            .map_err(|e| login.local_error(format!("{}: {e}", self.dir.path().display())))?;
        match timeout(deadline, child.wait()).await {
            Ok(Ok(status)) => {
                group.mark_ended();
                if status.success() {
                    return Ok(None);
                }
                let reason = via
                    .zip(log_start)
                    .and_then(|(hop, log_start)| hop.reason_since(log_start))
                    .unwrap_or_default();
                Ok(Some(classify_log(
                    &format!("{}{reason}", self.log()),
                    status,
                )))
            }
            Ok(Err(e)) => Err(login.local_error(format!("cannot wait for ssh: {e}"))),
            Err(_) => {
                drop(group);
                // ssh may have logged in at the last moment and moved to the background.
                if self.socket().exists() {
                    exit(self).await;
                }
                let printed = match clean(&self.log()).as_str() {
                    "" => String::new(),
                    words => format!("; output: {words}"),
                };
                let message = format!(
                    "the login did not finish within {}{printed}",
                    Human(deadline)
                );
                Ok(Some((SshRefusal::Unreachable, message)))
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
            .and_then(|command| self.redirect_to_log(command))
        {
            command.arg("-o").arg(proxy);
        }
        command.args(&login.options).arg("--").arg(&login.address);
        // `BatchMode` does not apply to the ssh of a jump host, so its prompts go to a program that
        // declines them.
        command
            .env("SSH_ASKPASS", "false")
            .env("SSH_ASKPASS_REQUIRE", "force");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// The setting for the user's `ProxyCommand` with its error output redirected to the log,
    /// because a master with `ControlPersist` discards that output. `None` if the user's shell,
    /// which runs the command, has another syntax for the redirection.
    fn redirect_to_log(&self, proxy_command: &str) -> Option<String> {
        let is_csh = std::env::var("SHELL").is_ok_and(|shell| shell.ends_with("csh"));
        let log = quote(&self.log_path().to_string_lossy()).replace('%', "%%");
        (!is_csh).then(|| format!("ProxyCommand={proxy_command} 2>>{log}"))
    }

    /// Records the process group of a login while it is in progress, for the reaper in case
    /// ship is killed.
    fn record_group(&self, leader: u32) -> std::io::Result<TempPath> {
        let path = TempPath::try_from_path(self.dir.path().join("login"))?;
        std::fs::write(&path, format!("{leader}\n"))?;
        Ok(path)
    }

    fn empty_log(&self) -> std::io::Result<File> {
        File::create(self.log_path())?;
        OpenOptions::new().append(true).open(self.log_path())
    }
}

/// The refusal that ssh's log shows, and its message.
fn classify_log(log: &str, status: ExitStatus) -> (SshRefusal, String) {
    let refusal = SshRefusal::classify(log);
    let message = match (refusal.summary(log).as_str(), refusal) {
        ("", _) => format!("ssh ended with {status}"),
        (words, SshRefusal::Proxy | SshRefusal::LoginClosed) => words.to_owned(),
        (words, _) => format!("ssh: {}", words.trim_start_matches("ssh: ")),
    };
    (refusal, message)
}

/// The options of a master. All others are the user's to configure.
fn options(socket: &Path, log: &Path, deadline: Duration) -> Vec<OsString> {
    let mut options: Vec<OsString> = ["-M", "-f", "-N", "-S"].map(OsString::from).into();
    options.extend([socket.into(), "-E".into(), log.into()]);
    for option in [
        "BatchMode=yes".to_owned(),
        // The user's `LogLevel QUIET` would hide why the login failed.
        "LogLevel=INFO".to_owned(),
        format!("ConnectTimeout={}", whole_seconds(deadline)),
        format!("ServerAliveInterval={ALIVE_INTERVAL_S}"),
        format!("ServerAliveCountMax={ALIVE_COUNT}"),
        format!("ControlPersist={PERSIST_S}"),
        // The user's forwardings and commands are for the user's own sessions.
        "ClearAllForwardings=yes".to_owned(),
        "RemoteCommand=none".to_owned(),
    ] {
        options.extend(["-o".into(), option.into()]);
    }
    options
}

/// Ends a master and everything that still runs through it.
pub(super) async fn exit(master: &Master) {
    let words = ["-F", "none", "-O", "exit", "-S"]
        .map(OsString::from)
        .into_iter();
    run_ssh(
        &words
            .chain([master.socket().into(), "--".into(), "nobody".into()])
            .collect::<Vec<_>>(),
    )
    .await;
}

async fn is_usable(via: Option<&Hop>) -> bool {
    match via {
        Some(hop) => hop.is_alive().await,
        None => true,
    }
}

/// A login at a jump host, through which ssh reaches the hosts behind it.
#[derive(Debug)]
pub(super) struct Hop {
    name: String,
    pub(super) master: Master,
    /// Keeps the master alive for as long as this process lives.
    _keepalive: UnixStream,
    /// Keeps the login through which this one connects.
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
        let keepalive = master.keepalive(login).await?;
        Ok(Self {
            name,
            master,
            _keepalive: keepalive,
            _via: via,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the master process accepts connections.
    pub(super) async fn is_alive(&self) -> bool {
        UnixStream::connect(self.master.socket()).await.is_ok()
    }

    /// The setting with which another login connects through this one. If the master is gone, that
    /// login fails: it never bypasses the jump host.
    pub(super) fn proxy_command(&self) -> String {
        let socket = quote(&self.master.socket().to_string_lossy()).replace('%', "%%");
        format!("ProxyCommand=ssh -F none -S {socket} -o ProxyCommand=false -W '[%h]:%p' -- nobody")
    }

    pub(super) fn log_length(&self) -> usize {
        self.master.log().len()
    }

    /// Why the jump host could not reach a host, as a line of ssh's log after its first `log_start`
    /// bytes. `None` if there were several reasons, because a line does not name its host.
    pub(super) fn reason_since(&self, log_start: usize) -> Option<String> {
        let log = self.master.log();
        let mut reasons = log
            .get(log_start..)?
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
    fn pauses_grow_up_to_a_limit() {
        let pauses: Vec<_> = PAUSES.build().take(100).collect();
        assert!((50..=100).contains(&pauses[0].as_millis()));
        assert!((400..=800).contains(&pauses[3].as_millis()));
        assert!(pauses[99] <= Duration::from_secs(2));
    }
}
