//! Scripts and ports over one ssh connection.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openssh::{Child, ForwardType, Session, Socket};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::error::{ConnectError, RunFailure};
use super::login::Login;
use super::master::{self, Master};
use super::pipes::ScriptIo;
use super::shell;
use super::words::clean;
use crate::remote::master::Hop;

/// The time limit of ssh commands on this machine that do not ask the host.
const ORDER_DEADLINE: Duration = Duration::from_secs(3);
/// The status of a shell that does not find a command.
const NOT_FOUND: i32 = 127;

/// What a forwarded socket leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ForwardTarget {
    Port(String, u16),
    Path(PathBuf),
}

#[derive(Debug)]
pub(super) struct Ssh {
    session: Session,
    master: Master,
    /// Keeps the master: it ends a moment after its last user, and this one is there for as long as
    /// this process is. A wait between two batches costs no new login, and nothing stays behind a
    /// ship that is killed.
    leash: UnixStream,
    /// Keeps the jump host's login as long as a connection goes through it.
    _via: Option<Arc<Hop>>,
    forwards: Mutex<BTreeMap<ForwardTarget, PathBuf>>,
    /// A script was left alone on the host: its session would keep the master when it is asked to
    /// end.
    abandoned: AtomicBool,
}

impl Ssh {
    /// Logs in; through a jump host's login, if one is given.
    pub(super) async fn connect(
        login: &Login,
        via: Option<Arc<Hop>>,
        dir: &Path,
    ) -> Result<Self, ConnectError> {
        let master = Master::start(login, via.as_deref(), dir).await?;
        let leash = master.leash(login).await?;
        Ok(Self {
            session: Session::resume_mux(master.socket().into_boxed_path(), None),
            master,
            leash,
            _via: via,
            forwards: Mutex::default(),
            abandoned: AtomicBool::new(false),
        })
    }

    /// Runs a command line to its end.
    pub(super) async fn run(
        &self,
        words: &[String],
        talk: ScriptIo<'_>,
    ) -> Result<i32, RunFailure> {
        let line = shell::line(words);
        let unfinished = Unfinished(&self.abandoned);
        let mut child = self.spawn(&line).await?;
        let (stdin, stdout, stderr) = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        );
        // To wait before the streams end would cut them off.
        talk.hold(stdin, stdout, stderr).await?;
        let status = self.status(child).await;
        unfinished.defuse();
        status
    }

    /// Starts a command line. If the server refuses for too many sessions, nothing has run.
    async fn spawn(&self, line: &str) -> Result<Child<&Session>, RunFailure> {
        const PAUSE: Duration = Duration::from_millis(50);
        loop {
            let mut command = self.session.raw_command(line);
            command
                .stdin(openssh::Stdio::piped())
                .stdout(openssh::Stdio::piped())
                .stderr(openssh::Stdio::piped());
            match command.spawn().await {
                Ok(child) => return Ok(child),
                Err(openssh::Error::SshMux(e)) if e.to_string().contains("refused") => {
                    sleep(PAUSE).await;
                }
                Err(e) => return Err(self.lost(&e)),
            }
        }
    }

    async fn status(&self, child: Child<&Session>) -> Result<i32, RunFailure> {
        match child.wait().await {
            Ok(status) => Ok(status.code().unwrap_or_else(|| status.into_raw())),
            Err(openssh::Error::Remote(_)) => Ok(NOT_FOUND),
            // A killed shell and a lost connection look alike: whether the master still answers
            // makes the difference.
            Err(e) => Err(match timeout(ORDER_DEADLINE, self.session.check()).await {
                Ok(Ok(())) => {
                    RunFailure::Lost("the shell on the host was ended by a signal".to_owned())
                }
                _ => self.lost(&e),
            }),
        }
    }

    /// Forwards a port of the host to this machine, for one use.
    pub(super) async fn forward(&self, address: &str, port: u16) -> Result<PathBuf, RunFailure> {
        self.lead_to(ForwardTarget::Port(address.to_owned(), port))
            .await
    }

    /// Forwards a unix socket of the host to this machine, for one use.
    pub(super) async fn forward_path(&self, path: &Path) -> Result<PathBuf, RunFailure> {
        self.lead_to(ForwardTarget::Path(path.to_owned())).await
    }

    async fn lead_to(&self, far: ForwardTarget) -> Result<PathBuf, RunFailure> {
        let mut forwards = self.forwards.lock().await;
        if let Some(path) = forwards.get(&far) {
            return Ok(path.clone());
        }
        let path = self.master.forward_socket(forwards.len());
        let here = Socket::from(path.as_path());
        let (there, what) = match &far {
            ForwardTarget::Port(address, port) => {
                (Socket::new(address, *port), format!("port {port}"))
            }
            ForwardTarget::Path(path) => (Socket::from(path.as_path()), path.display().to_string()),
        };
        match timeout(
            ORDER_DEADLINE,
            self.session
                .request_port_forward(ForwardType::Local, here, there),
        )
        .await
        {
            Ok(Ok(())) => {}
            Ok(Err(openssh::Error::SshMux(e))) => {
                return Err(RunFailure::NotStarted(format!("forwarding {what}: {e}")));
            }
            Ok(Err(e)) => return Err(self.lost(&e)),
            Err(_) => return Err(RunFailure::Lost(format!("forwarding {what} took too long"))),
        }
        forwards.insert(far, path.clone());
        Ok(path)
    }

    pub(super) async fn close(self) {
        // The other order would keep it waiting for us.
        drop(self.leash);
        if self.abandoned.into_inner() {
            master::exit(&self.master).await;
        }
        // An error says that it has ended already.
        let _ = timeout(ORDER_DEADLINE, self.session.close()).await;
    }

    /// What ssh has noted about a broken connection, if anything.
    fn lost(&self, error: &openssh::Error) -> RunFailure {
        tracing::debug!(%error, "connection lost");
        RunFailure::Lost(match clean(&self.master.log()).as_str() {
            "" => "connection lost".to_owned(),
            words => format!("connection lost; ssh: {words}"),
        })
    }
}

/// Remembers that the end of a script was not awaited, for whatever reason.
struct Unfinished<'a>(&'a AtomicBool);

impl Unfinished<'_> {
    fn defuse(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
