//! An open connection to a machine.

use crate::remote::command::{Command, Output};
use crate::remote::error::{RunError, RunFailure};
use crate::remote::local::Local;
use crate::remote::opening::PreambleReader;
use crate::remote::pipes::{Capture, ScriptIo, StdinSource};
use crate::remote::shell;
use crate::remote::ssh::Ssh;
use crate::remote::target::HostLogin;
use crate::remote::words::clean;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// Scripts at one time on one connection. A server allows 10 sessions by default and counts those
/// that are just ending, so that 8 short scripts at a time already lose some.
pub(super) const SCRIPTS_MAX: usize = 4;

/// A way to a host on which scripts run, made by a [`Connector`](crate::remote::Connector). To be
/// [closed](Connection::close).
#[derive(Debug)]
pub struct Connection {
    pub(super) place: HostLogin,
    pub(super) sudo: bool,
    pub(super) scripts: Semaphore,
    pub(super) way: ConnectionKind,
    pub(super) delays: Mutex<Delays>,
}

/// The delays on the host before a script begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// The time of the login, from its first packet.
    pub login: Duration,
    /// The shortest start of the login shell so far, which each script needs.
    pub shell: Option<Duration>,
    /// The shortest start of sudo so far, which each script needs; `None` without sudo.
    pub sudo: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum ConnectionKind {
    Ssh(Box<Ssh>),
    Local(Local),
}

impl ConnectionKind {
    async fn run(&self, words: &[String], talk: ScriptIo<'_>) -> Result<i32, RunFailure> {
        match self {
            ConnectionKind::Ssh(ssh) => ssh.run(words, talk).await,
            ConnectionKind::Local(local) => local.run(words, talk).await,
        }
    }
}

impl Connection {
    /// Runs a script and waits for its end. The deadline counts from the moment at which the script
    /// gets its turn: four run at one time.
    ///
    /// # Errors
    /// Where [`RunError::is_unknown`], the script may have run, in part or in whole, or run still.
    pub async fn run(&self, command: &Command<'_>) -> Result<Output, RunError> {
        let launch = shell::launch(
            command.script,
            !command.input.is_empty(),
            command.deadline,
            self.sudo,
        );
        let turn = self.scripts.acquire().await;
        let mut capture = Capture::of_script();
        let ended = timeout(command.deadline, async {
            let talk = ScriptIo::Whole(
                StdinSource::open(&launch.script, &command.input).await?,
                &mut capture,
            );
            self.way.run(&launch.words, talk).await
        });
        let ended = ended.await;
        drop(turn);
        self.judge(ended, command.deadline, capture)
    }

    /// Runs a script that goes on until nobody listens any more, and hands out each line of what it
    /// prints. It waits for no turn and keeps none.
    ///
    /// The script gets a byte on its standard input every few seconds
    /// ([`BEAT`](crate::remote::BEAT)), and the end of it when whoever called this is gone: it then
    /// ends by itself, with all that it began. Of what it is given the output holds only what it
    /// complained about.
    ///
    /// # Errors
    /// As for [`Connection::run`].
    pub async fn listen(
        &self,
        script: &str,
        deadline: Duration,
        lines: &mpsc::Sender<String>,
    ) -> Result<Output, RunError> {
        let launch = shell::launch(script, true, deadline, self.sudo);
        let mut capture = Capture::of_script();
        let talk = ScriptIo::Live(&launch.script, lines, &mut capture);
        let ended = timeout(deadline, self.way.run(&launch.words, talk)).await;
        self.judge(ended, deadline, capture)
    }

    /// How long the host makes scripts wait.
    pub fn delays(&self) -> Delays {
        *self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_delays(&self, opening: &PreambleReader) {
        let Some((shell, sudo)) = opening.delays() else {
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

    fn judge(
        &self,
        ended: Result<Result<i32, RunFailure>, Elapsed>,
        deadline: Duration,
        mut capture: Capture,
    ) -> Result<Output, RunError> {
        let host = self.place.name.clone();
        let opening = capture.take_opening();
        self.note_delays(&opening);
        match ended {
            Err(_) => {
                let waiting_for = shell::waiting_for(&opening, self.sudo);
                let said = capture
                    .last_words()
                    .or_else(|| Some(clean(&opening.before())).filter(|said| !said.is_empty()));
                Err(RunError::TimedOut {
                    host,
                    deadline,
                    waiting_for,
                    said,
                })
            }
            Ok(Err(failure)) => Err(failure.at(host)),
            Ok(Ok(status)) => shell::judge(
                capture.into_output(status),
                &opening,
                self.sudo,
                &self.place,
            ),
        }
    }

    /// Makes a port that can be reached from the host reachable from here, as a unix socket; the
    /// second time it is the same one. `None` where no detour is needed because the host is this
    /// machine.
    ///
    /// A connection to the socket succeeds even if nothing listens on the port: it is closed a
    /// moment later.
    ///
    /// # Errors
    /// The connection is lost, or ssh refuses.
    pub async fn forward(&self, address: &str, port: u16) -> Result<Option<PathBuf>, RunError> {
        match &self.way {
            ConnectionKind::Local(_) => Ok(None),
            ConnectionKind::Ssh(ssh) => ssh
                .forward(address, port)
                .await
                .map(Some)
                .map_err(|failure| failure.at(self.place.name.clone())),
        }
    }

    /// The same for a unix socket of the host, which whoever logs in must be allowed to use.
    ///
    /// # Errors
    /// The connection is lost, or ssh refuses.
    pub async fn forward_path(&self, path: &Path) -> Result<Option<PathBuf>, RunError> {
        match &self.way {
            ConnectionKind::Local(_) => Ok(None),
            ConnectionKind::Ssh(ssh) => ssh
                .forward_path(path)
                .await
                .map(Some)
                .map_err(|failure| failure.at(self.place.name.clone())),
        }
    }

    /// Ends the connection, and the ssh process behind it. Takes a few seconds at most.
    pub async fn close(self) {
        match self.way {
            ConnectionKind::Ssh(ssh) => ssh.close().await,
            ConnectionKind::Local(_) => {}
        }
    }
}
