//! Scripts and forwarded ports over one ssh connection.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openssh::{Child, ForwardType, Session, Socket};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

use super::error::{ConnectError, RunFailure};
use super::host_shell::{self, HostShell};
use super::keeping::LoginKey;
use super::login::Login;
use super::master::Master;
use super::master_files::MasterLifetime;
use super::sanitize::clean;
use super::shell;
use super::stdio::ScriptIo;
use crate::config::Escalation;
use crate::remote::master::Hop;

/// The time limit of ssh commands on this machine that do not contact the host.
const COMMAND_DEADLINE: Duration = Duration::from_secs(3);

/// The target end of a forwarded socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ForwardTarget {
    Port(String, u16),
    Path(PathBuf),
}

impl ForwardTarget {
    fn socket(&self) -> Socket<'_> {
        match self {
            Self::Port(address, port) => Socket::new(address, *port),
            Self::Path(path) => Socket::from(path.as_path()),
        }
    }
}

impl fmt::Display for ForwardTarget {
    /// As the option `-L` of ssh has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(address, port) if address.contains(':') => write!(f, "[{address}]:{port}"),
            Self::Port(address, port) => write!(f, "{address}:{port}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Ssh {
    session: Arc<Session>,
    /// Runs scripts, one after the other. `None` until the first one.
    shell: Mutex<Option<HostShell>>,
    master: Master,
    /// Keeps the master alive. The master ends a moment after its last user, and this connection
    /// lasts as long as this process: no new login is needed after a pause between two batches, and
    /// nothing remains if ship is killed.
    keepalive: UnixStream,
    /// Keeps the jump host's login for as long as a connection uses it.
    _via: Option<Arc<Hop>>,
    forwards: Mutex<BTreeMap<ForwardTarget, PathBuf>>,
    /// Whether the connection was lost, or a script was abandoned on the host: its session would keep
    /// the master from ending.
    broken: AtomicBool,
}

impl Ssh {
    /// Logs in, through a jump host's login if `via` is given.
    pub(super) async fn connect(
        login: &Login,
        via: Option<Arc<Hop>>,
        dir: &Path,
    ) -> Result<Self, ConnectError> {
        let master = Master::start(login, via.as_deref(), dir).await?;
        Self::over(master, via, login).await
    }

    /// Uses the connection that an earlier command has kept, if it still reaches the host.
    pub(super) async fn reuse(login: &Login, key: &LoginKey, dir: &Path) -> Option<Self> {
        let master = Master::reuse(login, key, dir).await?;
        Self::over(master, None, login).await.ok()
    }

    /// Uses the user's own connection with this control socket, if it reaches the host.
    pub(super) async fn of_user(login: &Login, socket: PathBuf, dir: &Path) -> Option<Self> {
        let master = Master::of_user(login, socket, dir).await?;
        Self::over(master, None, login).await.ok()
    }

    async fn over(
        master: Master,
        via: Option<Arc<Hop>>,
        login: &Login,
    ) -> Result<Self, ConnectError> {
        let keepalive = master.keepalive(login).await?;
        Ok(Self {
            session: Arc::new(Session::resume_mux(
                master.files.socket().into_boxed_path(),
                None,
            )),
            shell: Mutex::default(),
            master,
            keepalive,
            _via: via,
            forwards: Mutex::default(),
            broken: AtomicBool::new(false),
        })
    }

    /// Runs a command line until it ends.
    pub(super) async fn run(
        &self,
        words: &[String],
        io: ScriptIo<'_, '_>,
    ) -> Result<i32, RunFailure> {
        let line = shell::command_line(words);
        let guard = AbandonGuard(&self.broken);
        let mut child = self.spawn(&line).await?;
        let (stdin, stdout, stderr) = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        );
        // Waiting before the streams end would truncate them.
        io.transfer(stdin, stdout, stderr).await?;
        let status = self.status(child).await;
        guard.disarm();
        status
    }

    /// The place of the shell that runs scripts; `None` while it runs one.
    pub(super) fn idle_shell(&self) -> Option<MutexGuard<'_, Option<HostShell>>> {
        let mut place = self.shell.try_lock().ok()?;
        if !place.as_ref().is_some_and(HostShell::is_open) {
            place.take();
        }
        Some(place)
    }

    /// Runs a script in the shell at this place, which it starts with this mark if there is none. A
    /// shell that may not be able to run another script does not stay there.
    pub(super) async fn run_in_shell(
        &self,
        place: &mut Option<HostShell>,
        mark: &str,
        escalation: Escalation,
        io: ScriptIo<'_, '_>,
    ) -> Result<i32, RunFailure> {
        let guard = AbandonGuard(&self.broken);
        let is_new = place.is_none();
        let mut shell = match place.take() {
            Some(shell) => shell,
            None => self.start_shell(mark, escalation).await?,
        };
        let (stdin, stdout, stderr) = (&mut shell.stdin, &mut shell.stdout, &mut shell.stderr);
        let status = io.transfer(Some(stdin), Some(stdout), Some(stderr)).await?;
        let ended = match status {
            // As a shell reports a signal. The script itself may still run.
            Some(129..=192) => Err(killed_shell()),
            Some(status) => {
                place.replace(shell);
                Ok(status)
            }
            None => match self.status(shell.child).await {
                // The shell was not started for this script: its exit status is another one.
                Ok(_) if !is_new => Err(RunFailure::Lost("the shell on the host ended".to_owned())),
                ended => ended,
            },
        };
        guard.disarm();
        ended
    }

    async fn start_shell(
        &self,
        mark: &str,
        escalation: Escalation,
    ) -> Result<HostShell, RunFailure> {
        let line = shell::command_line(&host_shell::words(escalation));
        let child = self.spawn(&line).await?;
        let no_pipes = || RunFailure::NotStarted("ssh passed no streams".to_owned());
        HostShell::of(mark, child).ok_or_else(no_pipes)
    }

    /// Starts a command line. If the server refuses because of too many sessions, nothing has
    /// run, and this tries again, without a shell that waits for scripts.
    async fn spawn(&self, line: &str) -> Result<Child<Arc<Session>>, RunFailure> {
        const PAUSE: Duration = Duration::from_millis(50);
        loop {
            let mut command = Arc::clone(&self.session).arc_raw_command(line);
            command
                .stdin(openssh::Stdio::piped())
                .stdout(openssh::Stdio::piped())
                .stderr(openssh::Stdio::piped());
            match command.spawn().await {
                Ok(child) => return Ok(child),
                Err(openssh::Error::SshMux(e)) if e.to_string().contains("refused") => {
                    drop(self.shell.try_lock().map(|mut place| place.take()));
                    sleep(PAUSE).await;
                }
                Err(e) => return Err(self.lost(&e)),
            }
        }
    }

    async fn status(&self, child: Child<Arc<Session>>) -> Result<i32, RunFailure> {
        match child.wait().await {
            Ok(status) => Ok(status.code().unwrap_or_else(|| status.into_raw())),
            Err(openssh::Error::Remote(_)) => Ok(shell::NOT_FOUND),
            // A killed shell and a lost connection look the same; whether the master still
            // answers distinguishes them.
            Err(e) => Err(
                match timeout(COMMAND_DEADLINE, self.session.check()).await {
                    Ok(Ok(())) => killed_shell(),
                    _ => self.lost(&e),
                },
            ),
        }
    }

    /// Forwards a port of the host to a socket on this machine.
    pub(super) async fn forward(&self, address: &str, port: u16) -> Result<PathBuf, RunFailure> {
        self.forward_to(ForwardTarget::Port(address.to_owned(), port))
            .await
    }

    /// Forwards a unix socket of the host to a socket on this machine.
    pub(super) async fn forward_path(&self, path: &Path) -> Result<PathBuf, RunFailure> {
        self.forward_to(ForwardTarget::Path(path.to_owned())).await
    }

    async fn forward_to(&self, target: ForwardTarget) -> Result<PathBuf, RunFailure> {
        let mut forwards = self.forwards.lock().await;
        if let Some(path) = forwards.get(&target) {
            return Ok(path.clone());
        }
        let path = self.master.files.forward_socket(forwards.len());
        let recorded = self.master.files.record_forward(&path, &target.to_string());
        recorded.map_err(|error| RunFailure::NotStarted(format!("{}: {error}", path.display())))?;
        let here = Socket::from(path.as_path());
        let what = match &target {
            ForwardTarget::Port(_, port) => format!("port {port}"),
            ForwardTarget::Path(path) => path.display().to_string(),
        };
        let there = target.socket();
        match timeout(
            COMMAND_DEADLINE,
            self.session
                .request_port_forward(ForwardType::Local, here, there),
        )
        .await
        {
            Ok(Ok(())) => {}
            Ok(Err(openssh::Error::SshMux(e))) => {
                return Err(RunFailure::NotStarted(format!(
                    "cannot forward {what}: {e}"
                )));
            }
            Ok(Err(e)) => return Err(self.lost(&e)),
            Err(_) => {
                self.broken.store(true, Ordering::Relaxed);
                return Err(RunFailure::Lost(format!("forwarding {what} timed out")));
            }
        }
        forwards.insert(target, path.clone());
        Ok(path)
    }

    pub(super) async fn close(self) {
        if !matches!(self.master.files.lifetime, MasterLifetime::Process) {
            self.cancel_forwards().await;
        }
        // Dropped first, because ending the master would wait for them.
        drop((self.keepalive, self.shell));
        self.master.release(!self.broken.into_inner(), 0).await;
    }

    async fn cancel_forwards(&self) {
        for (target, path) in self.forwards.lock().await.iter() {
            let here = Socket::from(path.as_path());
            let local = ForwardType::Local;
            let cancelled = self
                .session
                .close_port_forward(local, here, target.socket());
            if !matches!(timeout(COMMAND_DEADLINE, cancelled).await, Ok(Ok(()))) {
                self.broken.store(true, Ordering::Relaxed);
                return;
            }
        }
    }

    /// The error of a broken connection, with what ssh has logged about it.
    fn lost(&self, error: &openssh::Error) -> RunFailure {
        tracing::debug!(%error, "connection lost");
        self.broken.store(true, Ordering::Relaxed);
        RunFailure::Lost(match clean(&self.master.files.log()).as_str() {
            "" => "connection lost".to_owned(),
            words => format!("connection lost; ssh: {words}"),
        })
    }
}

fn killed_shell() -> RunFailure {
    RunFailure::Lost("the shell on the host was killed by a signal".to_owned())
}

/// Sets its flag when dropped, because the caller did not wait for the end of a script.
struct AbandonGuard<'a>(&'a AtomicBool);

impl AbandonGuard<'_> {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbandonGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
