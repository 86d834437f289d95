//! An open connection to a host.

use crate::remote::command::{Command, Output};
use crate::remote::error::{RunError, RunFailure};
use crate::remote::local::Local;
use crate::remote::preamble::PreambleReader;
use crate::remote::sanitize::clean;
use crate::remote::saved_output::SavedOutput;
use crate::remote::shell;
use crate::remote::ssh::Ssh;
use crate::remote::stdio::{Capture, ScriptIo, StdinSource};
use crate::remote::target::HostLogin;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// The limit of scripts that run concurrently on one connection. sshd allows 10 sessions by default
/// and still counts sessions that are closing, so 8 short scripts at a time already hit the limit.
pub(super) const SCRIPTS_MAX: usize = 4;

/// A connection to a host on which scripts run, made by a
/// [`Connector`](crate::remote::Connector). The owner must [close](Connection::close) it.
#[derive(Debug)]
pub struct Connection {
    pub(super) login: HostLogin,
    pub(super) sudo: bool,
    pub(super) scripts: Semaphore,
    pub(super) kind: ConnectionKind,
    pub(super) delays: Mutex<Delays>,
}

/// How long the host takes before a script starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// From the first packet of the login to its end.
    pub login: Duration,
    /// The shortest start of the login shell so far; every script waits for one.
    pub shell: Option<Duration>,
    /// The shortest start of sudo so far; every script waits for one. `None` without sudo.
    pub sudo: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum ConnectionKind {
    Ssh(Box<Ssh>),
    Local(Local),
}

impl ConnectionKind {
    async fn run(&self, words: &[String], io: ScriptIo<'_>) -> Result<i32, RunFailure> {
        match self {
            ConnectionKind::Ssh(ssh) => ssh.run(words, io).await,
            ConnectionKind::Local(local) => local.run(words, io).await,
        }
    }
}

impl Connection {
    /// Runs a script and waits until it ends. At most `SCRIPTS_MAX` scripts run concurrently; the
    /// deadline counts from the start of the script.
    ///
    /// # Errors
    /// If [`RunError::is_unknown`], the script may have run in part or in whole, or may still
    /// run.
    pub async fn run(&self, command: &Command<'_>) -> Result<Output, RunError> {
        let shell_command = shell::prepare(
            command.script,
            !command.input.is_empty(),
            command.deadline,
            self.sudo,
        );
        let permit = self.scripts.acquire().await;
        let mut capture = Capture::for_script();
        let ended = timeout(command.deadline, async {
            let io = ScriptIo::Buffered(
                StdinSource::open(&shell_command.script, &command.input).await?,
                &mut capture,
            );
            self.kind.run(&shell_command.words, io).await
        });
        let ended = ended.await;
        drop(permit);
        self.run_result(ended, command.deadline, capture)
    }

    /// Runs a script that prints lines until its reader disconnects, and sends each line to
    /// `lines`. Such a script does not count towards `SCRIPTS_MAX`.
    ///
    /// The script gets a byte on its standard input every
    /// [`HEARTBEAT`](crate::remote::HEARTBEAT), and end of file when the caller is gone: the script
    /// then ends with all its children. The returned output holds only its standard error.
    ///
    /// # Errors
    /// As for [`Connection::run`].
    pub async fn stream(
        &self,
        script: &str,
        deadline: Duration,
        lines: &mpsc::Sender<String>,
    ) -> Result<Output, RunError> {
        let shell_command = shell::prepare(script, true, deadline, self.sudo);
        let mut capture = Capture::for_script();
        let io = ScriptIo::Streaming(&shell_command.script, lines, &mut capture);
        let ended = timeout(deadline, self.kind.run(&shell_command.words, io)).await;
        self.run_result(ended, deadline, capture)
    }

    /// Runs a script and saves its standard output, unchanged, to a file. The returned output holds
    /// only its standard error.
    ///
    /// # Errors
    /// As for [`Connection::run`]; and if the file cannot be written, or the script prints more than
    /// it may.
    pub async fn save(
        &self,
        command: &Command<'_>,
        output: &mut SavedOutput,
    ) -> Result<Output, RunError> {
        let has_input = !command.input.is_empty();
        let shell_command = shell::prepare(command.script, has_input, command.deadline, self.sudo);
        let permit = self.scripts.acquire().await;
        let mut capture = Capture::for_script();
        let ended = timeout(command.deadline, async {
            let source = StdinSource::open(&shell_command.script, &command.input).await?;
            let io = ScriptIo::Saved(source, output, &mut capture);
            self.kind.run(&shell_command.words, io).await
        });
        let ended = ended.await;
        drop(permit);
        self.run_result(ended, command.deadline, capture)
    }

    /// How long the host delays the start of scripts.
    pub fn delays(&self) -> Delays {
        *self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_delays(&self, preamble: &PreambleReader) {
        let Some((shell, sudo)) = preamble.delays() else {
            return;
        };
        let shortest =
            |known: Option<Duration>, new| Some(known.map_or(new, |known| known.min(new)));
        let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        delays.shell = shortest(delays.shell, shell);
        if self.sudo {
            delays.sudo = shortest(delays.sudo, sudo);
        }
    }

    fn run_result(
        &self,
        ended: Result<Result<i32, RunFailure>, Elapsed>,
        deadline: Duration,
        mut capture: Capture,
    ) -> Result<Output, RunError> {
        let host = self.login.name.clone();
        let preamble = capture.take_preamble();
        self.record_delays(&preamble);
        match ended {
            Err(_) => {
                let waiting_for = shell::waiting_for(&preamble, self.sudo);
                let last_output = capture
                    .last_output()
                    .or_else(|| Some(clean(&preamble.before())).filter(|text| !text.is_empty()));
                Err(RunError::TimedOut {
                    host,
                    deadline,
                    waiting_for,
                    last_output,
                })
            }
            Ok(Err(failure)) => Err(failure.at(host)),
            Ok(Ok(status)) => shell::check_started(
                capture.into_output(status),
                &preamble,
                self.sudo,
                &self.login,
            ),
        }
    }

    /// Forwards a port that the host can reach to a unix socket on this machine. A second call
    /// returns the same socket. `None` if the host is this machine, where no forwarding is needed.
    ///
    /// A connection to the socket succeeds even if nothing listens on the port; ssh closes it a
    /// moment later.
    ///
    /// # Errors
    /// If the connection is lost, or ssh refuses.
    pub async fn forward(&self, address: &str, port: u16) -> Result<Option<PathBuf>, RunError> {
        match &self.kind {
            ConnectionKind::Local(_) => Ok(None),
            ConnectionKind::Ssh(ssh) => ssh
                .forward(address, port)
                .await
                .map(Some)
                .map_err(|failure| failure.at(self.login.name.clone())),
        }
    }

    /// Like [`Connection::forward`] for a unix socket of the host, which the login user must be
    /// allowed to open.
    ///
    /// # Errors
    /// If the connection is lost, or ssh refuses.
    pub async fn forward_path(&self, path: &Path) -> Result<Option<PathBuf>, RunError> {
        match &self.kind {
            ConnectionKind::Local(_) => Ok(None),
            ConnectionKind::Ssh(ssh) => ssh
                .forward_path(path)
                .await
                .map(Some)
                .map_err(|failure| failure.at(self.login.name.clone())),
        }
    }

    /// Closes the connection and ends its ssh process. Takes a few seconds at most.
    pub async fn close(self) {
        match self.kind {
            ConnectionKind::Ssh(ssh) => ssh.close().await,
            ConnectionKind::Local(_) => {}
        }
    }
}
