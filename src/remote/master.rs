//! Starts the ssh master process that holds a host's connection, and retries temporary
//! failures.
//!
//! The `openssh` crate talks to this process (sessions, forwarding) but does not start it: its
//! own launcher leaves the process running when a stalled connection is abandoned, and overrides
//! the user's `StrictHostKeyChecking`. Without the override, ssh would ask whether to accept an
//! unknown key; with `BatchMode` it refuses.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use openssh::{ForwardType, Session, Socket};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::error::ConnectError;
use super::keeping::LoginKey;
use super::login::Login;
use super::master_files::{MasterFiles, MasterLifetime};
use super::program;
use super::sanitize::clean;
use super::ssh_config::exit_master;
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

/// The limit of hosts that share a login at a jump host. Each host costs the ssh process three open
/// files, of which it may have 1024 by default.
pub(super) const HOSTS_MAX: usize = 200;
/// How long a master that exists already may take to get an answer from the host.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);
/// A path on a host to which nothing can connect.
const NOWHERE: &str = "/dev/null/ship";
/// The time limit for asking a master to end.
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// Limits concurrent retries: a bastion refuses more than ten unauthenticated logins at a time.
static BUSY_RETRIES: Semaphore = Semaphore::const_new(4);

/// A running ssh master process. It is not a child of this process.
#[derive(Debug)]
pub(super) struct Master {
    pub(super) files: MasterFiles,
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
            // Each attempt has its own files, so that a late socket of one is not mistaken for the
            // socket of the next.
            let files = MasterFiles::reserve(login, dir);
            let files = files.map_err(|e| login.local_error(format!("{}: {e}", dir.display())))?;
            let master = Self { files };
            let Some((refusal, message)) = master
                .log_in(login, via, remaining.min(login.timeout))
                .await?
            else {
                return Ok(master);
            };
            master.files.remove_kept();
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

    /// Takes over the master that an earlier command has kept for the same login, if it still
    /// reaches the host.
    pub(super) async fn reuse(login: &Login, key: &LoginKey, dir: &Path) -> Option<Self> {
        let kept = key.take().await?;
        let lifetime = MasterLifetime::Kept(Box::new(kept));
        let files = MasterFiles::of(lifetime, dir).ok()?;
        let master = Self { files };
        if master.reaches_host().await {
            tracing::debug!(host = %login.host, login = login.label(), "using the kept connection");
            // What it has logged belongs to other commands.
            drop(master.files.empty_log());
            return Some(master);
        }
        tracing::debug!(host = %login.host, "the kept connection is dead");
        master.end().await;
        None
    }

    /// The user's own master with this socket, if it reaches the host.
    pub(super) async fn of_user(login: &Login, socket: PathBuf, dir: &Path) -> Option<Self> {
        let files = MasterFiles::of(MasterLifetime::User(socket), dir).ok()?;
        let master = Self { files };
        let is_usable = master.reaches_host().await;
        tracing::debug!(host = %login.host, is_usable, "found the user's control connection");
        is_usable.then_some(master)
    }

    /// Whether the host answers. ssh alone notices a dead network only after some keepalives.
    async fn reaches_host(&self) -> bool {
        let session = Session::resume_mux(self.files.socket().into_boxed_path(), None);
        let path = self.files.dir().join("p");
        let here = || Socket::from(path.as_path());
        let there = || Socket::from(Path::new(NOWHERE));
        let ask = async {
            let local = ForwardType::Local;
            session.request_port_forward(local, here(), there()).await?;
            // The host refuses to connect there, or to forward at all; ssh then closes the stream.
            let mut stream = UnixStream::connect(&path).await?;
            drop(stream.read(&mut [0]).await);
            session.close_port_forward(local, here(), there()).await?;
            // It is closed, too, when the connection to the host breaks.
            session.check().await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        };
        matches!(timeout(ANSWER_DEADLINE, ask).await, Ok(Ok(())))
    }

    /// Ends the use of the master by this process. `is_intact` is whether nothing still runs through
    /// it and the host has answered so far; otherwise the next command must not use it. `hosts` is how
    /// many connections were made through it.
    pub(super) async fn release(&self, is_intact: bool, hosts: usize) {
        match &self.files.lifetime {
            MasterLifetime::User(_) => {}
            MasterLifetime::Kept(kept) if is_intact => {
                self.files.unlink();
                let is_kept = kept.keep(hosts).unwrap_or_else(|error| {
                    tracing::debug!(%error, "cannot keep a connection");
                    false
                });
                // Hosts may be connected through a jump host's, which ends after them.
                if !is_kept && !kept.record.is_jump {
                    self.end().await;
                }
            }
            MasterLifetime::Kept(_) => self.end().await,
            MasterLifetime::Process => {
                if !is_intact {
                    exit_master(&self.files.socket()).await;
                }
                let session = Session::resume_mux(self.files.socket().into_boxed_path(), None);
                // An error means that the master has already ended.
                drop(timeout(STOP_DEADLINE, session.close()).await);
            }
        }
    }

    /// Ends the master and everything that still runs through it.
    async fn end(&self) {
        match &self.files.lifetime {
            MasterLifetime::Kept(kept) => kept.end().await,
            MasterLifetime::Process | MasterLifetime::User(_) => {
                exit_master(&self.files.socket()).await;
            }
        }
    }

    /// Opens a connection that keeps the master alive. Without one, the master ends after a moment.
    pub(super) async fn keepalive(&self, login: &Login) -> Result<UnixStream, ConnectError> {
        let connected = UnixStream::connect(self.files.socket()).await;
        connected.map_err(|e| {
            login.local_error(format!("the control socket of ssh does not answer: {e}"))
        })
    }

    /// Attempts to log in once; `None` on success. Dropping the future kills ssh with its children.
    async fn log_in(
        &self,
        login: &Login,
        via: Option<&Hop>,
        deadline: Duration,
    ) -> Result<Option<(SshRefusal, String)>, ConnectError> {
        let log = self
            .files
            .empty_log()
            .map_err(|e| login.local_error(format!("{}: {e}", self.files.log_path().display())))?;
        let mut command = self.login_command(login, via, deadline);
        command.stderr(log);
        let log_start = via.map(Hop::log_length);
        let (mut child, group) = process_group::spawn(&mut command)
            .map_err(|e| login.local_error(format!("ssh: {e}")))?;
        let group_file = child
            .id()
            .map(|leader| self.files.record_group(leader))
            .transpose();
        let _group_file = group_file
            .map_err(|e| login.local_error(format!("{}: {e}", self.files.dir().display())))?;
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
                    &format!("{}{reason}", self.files.log()),
                    status,
                )))
            }
            Ok(Err(e)) => Err(login.local_error(format!("cannot wait for ssh: {e}"))),
            Err(_) => {
                drop(group);
                // ssh may have logged in at the last moment and moved to the background.
                if self.files.socket().exists() {
                    self.end().await;
                }
                let printed = match clean(&self.files.log()).as_str() {
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
        command.args(options(
            &self.files.socket(),
            &self.files.log_path(),
            deadline,
        ));
        let persist_s = match &login.keeping {
            // A jump host's lasts as long as a host is connected through it.
            Some(keeping) if !login.is_jump => whole_seconds(keeping.key.time),
            _ => PERSIST_S.into(),
        };
        command.args(["-o", &format!("ControlPersist={persist_s}")]);
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
        let log = quote(&self.files.log_path().to_string_lossy()).replace('%', "%%");
        (!is_csh).then(|| format!("ProxyCommand={proxy_command} 2>>{log}"))
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
        // The user's forwardings and commands are for the user's own sessions.
        "ClearAllForwardings=yes".to_owned(),
        "RemoteCommand=none".to_owned(),
    ] {
        options.extend(["-o".into(), option.into()]);
    }
    options
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
    master: Master,
    /// How many connections this process has made through it.
    hosts: AtomicUsize,
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
        // One that is full ends with the hosts behind it.
        let has_room = |master: &Master| earlier_hosts(master) < HOSTS_MAX;
        let kept = match &login.keeping {
            Some(keeping) => Master::reuse(login, &keeping.key, dir).await,
            None => None,
        };
        let master = match kept.filter(has_room) {
            Some(master) => master,
            None => Master::start(login, via.as_deref(), dir).await?,
        };
        let keepalive = master.keepalive(login).await?;
        Ok(Self {
            name,
            master,
            hosts: AtomicUsize::new(0),
            _keepalive: keepalive,
            _via: via,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many hosts an earlier command has connected through it. They may still be connected.
    pub(super) fn earlier_hosts(&self) -> usize {
        earlier_hosts(&self.master)
    }

    /// Counts a connection that is made through it.
    pub(super) fn count_host(&self) {
        self.hosts.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the use of the login by this process.
    pub(super) async fn release(&self) {
        match self.master.files.lifetime {
            // Whatever still runs through it ends.
            MasterLifetime::Process => self.master.end().await,
            MasterLifetime::Kept(_) | MasterLifetime::User(_) => {
                let hosts = self.hosts.load(Ordering::Relaxed);
                self.master.release(self.is_alive().await, hosts).await;
            }
        }
    }

    /// Whether the master process accepts connections.
    pub(super) async fn is_alive(&self) -> bool {
        UnixStream::connect(self.master.files.socket())
            .await
            .is_ok()
    }

    /// The setting with which another login connects through this one. If the master is gone, that
    /// login fails: it never bypasses the jump host.
    pub(super) fn proxy_command(&self) -> String {
        let socket = quote(&self.master.files.socket().to_string_lossy()).replace('%', "%%");
        format!("ProxyCommand=ssh -F none -S {socket} -o ProxyCommand=false -W '[%h]:%p' -- nobody")
    }

    pub(super) fn log_length(&self) -> usize {
        self.master.files.log().len()
    }

    /// Why the jump host could not reach a host, as a line of ssh's log after its first `log_start`
    /// bytes. `None` if there were several reasons, because a line does not name its host.
    pub(super) fn reason_since(&self, log_start: usize) -> Option<String> {
        let log = self.master.files.log();
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

fn earlier_hosts(master: &Master) -> usize {
    match &master.files.lifetime {
        MasterLifetime::Kept(kept) => kept.record.hosts,
        MasterLifetime::Process | MasterLifetime::User(_) => 0,
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
