//! Floor 2: runs a script on a host, over SSH or here.
//!
//! A [`Connection`] is made once a host, by a [`Connector`], and serves every script, every upload
//! and every forwarded port. What happens on it always ends: connecting, running and closing each
//! have a bound, and whatever was begun on this machine (ssh processes, sockets, local scripts)
//! ends with its owner, even if that is killed.

mod connector;
mod control;
mod error;
mod group;
mod jump;
mod leash;
mod live;
mod local;
mod login;
mod master;
mod opening;
mod pipes;
mod refusal;
mod resolve;
mod settings;
mod shell;
mod ssh;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

pub use self::connector::Connector;
pub use self::error::{Attempt, ConnectError, RunError};
pub use self::leash::{Here, run_here};
pub use self::live::BEAT;
pub use self::resolve::{link_local, network_address, unreachable_directly};

use self::error::Failure;
use self::local::Local;
use self::opening::Opening;
use self::pipes::{Capture, Feed, Talk};
use self::ssh::Ssh;
use self::words::clean;
use crate::core::ids::HostId;

/// Scripts at one time on one connection. A server allows 10 sessions by default and counts those
/// that are just ending, so that 8 short scripts at a time already lose some.
const SCRIPTS_MAX: usize = 4;

/// How a host is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Over SSH.
    #[default]
    Ssh,
    /// It is this machine.
    Local,
}

/// A host and how to get there. What is `None` is left to the user's own `ssh_config`.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in the fleet, for messages.
    pub name: HostId,
    /// A network address, or an alias of the `ssh_config`.
    pub address: String,
    /// How it is reached.
    pub transport: Transport,
    /// Who logs in.
    pub user: Option<String>,
    /// Where sshd listens.
    pub port: Option<u16>,
    /// The only key to offer.
    pub identity_file: Option<PathBuf>,
    /// An `ssh_config` to use instead of the user's own and the system's.
    pub config: Option<PathBuf>,
    /// The file of known host keys to use instead of the user's own.
    pub known_hosts: Option<PathBuf>,
    /// How long one try to connect may take, from the first packet to the end of the login.
    pub connect_timeout: Duration,
    /// Whether scripts run as root, by `sudo -n`.
    pub sudo: bool,
}

/// What to run, and for how long.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// A POSIX sh script.
    pub script: &'a str,
    /// What its standard input holds.
    pub input: Input,
    /// How long it may run. Both ends watch it: here the wait ends, there the script is ended.
    pub deadline: Duration,
}

/// A script's standard input: some bytes, then a file. Empty by default.
#[derive(Clone, Default)]
pub struct Input {
    /// What comes first.
    pub head: Vec<u8>,
    /// A file of this machine that follows.
    pub file: Option<PathBuf>,
}

/// What a script has said. Each stream is kept up to 4 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// Its exit status.
    pub status: i32,
    /// Whether more was printed than is kept.
    pub truncated: bool,
}

/// A way to a host on which scripts run, made by a [`Connector`]. To be
/// [closed](Connection::close).
#[derive(Debug)]
pub struct Connection {
    place: Place,
    sudo: bool,
    scripts: Semaphore,
    way: Way,
    delays: Mutex<Delays>,
}

/// How long it takes until a script can begin, for reasons that lie on the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// The login, from the first packet on.
    pub login: Duration,
    /// The start of the login shell, for each script; the shortest that was seen.
    pub shell: Option<Duration>,
    /// sudo, for each script; the shortest that was seen. `None` where it is not used.
    pub sudo: Option<Duration>,
}

#[derive(Debug)]
enum Way {
    Ssh(Box<Ssh>),
    Local(Local),
}

impl Way {
    async fn run(&self, words: &[String], talk: Talk<'_>) -> Result<i32, Failure> {
        match self {
            Way::Ssh(ssh) => ssh.run(words, talk).await,
            Way::Local(local) => local.run(words, talk).await,
        }
    }
}

/// A host as messages name it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    name: HostId,
    user: Option<String>,
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
            let talk = Talk::Whole(
                Feed::open(&launch.script, &command.input).await?,
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
    /// The script gets a byte on its standard input every few seconds ([`BEAT`]), and the end of it
    /// when whoever called this is gone: it then ends by itself, with all that it began. Of what it
    /// is given the output holds only what it complained about.
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
        let talk = Talk::Live(&launch.script, lines, &mut capture);
        let ended = timeout(deadline, self.way.run(&launch.words, talk)).await;
        self.judge(ended, deadline, capture)
    }

    /// How long the host makes scripts wait.
    pub fn delays(&self) -> Delays {
        *self.delays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_delays(&self, opening: &Opening) {
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
        ended: Result<Result<i32, Failure>, Elapsed>,
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
            Way::Local(_) => Ok(None),
            Way::Ssh(ssh) => ssh
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
            Way::Local(_) => Ok(None),
            Way::Ssh(ssh) => ssh
                .forward_path(path)
                .await
                .map(Some)
                .map_err(|failure| failure.at(self.place.name.clone())),
        }
    }

    /// Ends the connection, and the ssh process behind it. Takes a few seconds at most.
    pub async fn close(self) {
        match self.way {
            Way::Ssh(ssh) => ssh.close().await,
            Way::Local(_) => {}
        }
    }
}

impl Output {
    /// What it complained about, in one line without what would move a terminal's cursor.
    pub fn complaint(&self) -> String {
        match clean(&self.stderr).as_str() {
            "" => format!(
                "the script ended with exit status {} and printed nothing",
                self.status
            ),
            words => words.to_owned(),
        }
    }
}

impl Input {
    /// Whether it holds nothing.
    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.file.is_none()
    }
}

impl fmt::Debug for Input {
    /// Never the bytes: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("head_bytes", &self.head.len())
            .field("file", &self.file)
            .finish()
    }
}

impl From<Vec<u8>> for Input {
    fn from(head: Vec<u8>) -> Self {
        Self { head, file: None }
    }
}
