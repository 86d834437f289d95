//! An open connection to a host.

use crate::config::Escalation;
use crate::core::policy::password_proof::PasswordRejection;
use crate::remote::command::{Command, Output};
use crate::remote::end_mark;
use crate::remote::error::{RunError, RunFailure};
use crate::remote::host_shell::{self, HostShell};
use crate::remote::input_file::InputFile;
use crate::remote::local::Local;
use crate::remote::preamble::PreambleReader;
use crate::remote::sanitize::clean;
use crate::remote::saved_output::SavedOutput;
use crate::remote::shell;
use crate::remote::ssh::Ssh;
use crate::remote::stdio::{Capture, Opening, ScriptIo, StdinSource};
use crate::remote::sudo_dialog::{PasswordRefusal, SudoDialog};
use crate::remote::sudo_password::SudoPassword;
use crate::remote::target::HostLogin;
use futures::FutureExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// The limit of scripts that run concurrently on one connection. sshd allows 10 sessions by default
/// and still counts sessions that are closing, so 8 short scripts at a time already hit the limit.
pub(super) const SCRIPTS_MAX: usize = 4;

/// How long ship waits for the end of a sudo that asks for a password.
const END_SUDO_DEADLINE: Duration = Duration::from_secs(5);

/// A connection to a host on which scripts run, made by a
/// [`Connector`](crate::remote::Connector). The owner must [close](Connection::close) it.
#[derive(Debug)]
pub struct Connection {
    pub(super) login: HostLogin,
    pub(super) root: RootAccess,
    /// Limits the scripts that run concurrently.
    pub(super) scripts: Arc<Semaphore>,
    pub(super) kind: ConnectionKind,
    pub(super) delays: Mutex<Delays>,
}

/// How scripts become root.
#[derive(Debug)]
pub(super) struct RootAccess {
    pub(super) escalation: Escalation,
    pub(super) password: Option<Arc<SudoPassword>>,
    /// Held by the first script that may get the password.
    pub(super) first_script: tokio::sync::Mutex<()>,
}

/// How long the host takes before a script starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// From the first packet of the login to its end.
    pub login: Duration,
    /// The shortest start of the login shell so far; every session waits for one.
    pub shell: Option<Duration>,
    /// The shortest start of sudo or doas so far; every session waits for one. `None` without them.
    pub sudo: Option<Duration>,
}

#[derive(Debug)]
pub(super) enum ConnectionKind {
    Ssh(Box<Ssh>),
    Local(Local),
}

impl ConnectionKind {
    async fn run(&self, words: &[String], io: ScriptIo<'_, '_>) -> Result<i32, RunFailure> {
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
        self.run_to(command, None).await
    }

    /// Runs a script, and saves its standard output if there is a file for it.
    async fn run_to(
        &self,
        command: &Command<'_>,
        output: Option<&mut SavedOutput>,
    ) -> Result<Output, RunError> {
        let permit = self.scripts.acquire().await;
        let file = InputFile::open(&command.input).await;
        let file = file.map_err(|failure| failure.at(self.login.name.clone()))?;
        let shell = match &self.kind {
            ConnectionKind::Ssh(ssh)
                if output.is_none() && file.as_ref().is_none_or(InputFile::is_small) =>
            {
                ssh.idle_shell().map(|shell| (ssh, shell))
            }
            ConnectionKind::Ssh(_) | ConnectionKind::Local(_) => None,
        };
        let ended = match shell {
            Some((ssh, mut shell)) => self.run_in_shell(command, file, ssh, &mut shell).await,
            None => self.run_in_session(command, file, output).await,
        };
        drop(permit);
        ended
    }

    /// Runs a script in a session of its own.
    async fn run_in_session(
        &self,
        command: &Command<'_>,
        file: Option<InputFile<'_>>,
        output: Option<&mut SavedOutput>,
    ) -> Result<Output, RunError> {
        let has_input = !command.input.is_empty();
        let escalation = self.root.escalation;
        let shell_command = shell::prepare(command.script, has_input, command.deadline, escalation);
        let mut dialog = self.dialog().await?;
        let mut capture = Capture::for_script(dialog.as_ref());
        let ended = timeout(command.deadline, async {
            let opening = Opening {
                script: &shell_command.script,
                dialog: dialog.as_mut(),
            };
            let head = &command.input.head;
            let source = StdinSource {
                opening,
                head,
                file,
            };
            let io = match output {
                Some(output) => ScriptIo::Saved(source, output, &mut capture),
                None => ScriptIo::Buffered(source, &mut capture),
            };
            self.kind.run(&shell_command.words, io).await
        });
        let ended = ended.await;
        self.run_result(ended, command.deadline, capture, dialog)
    }

    /// Runs a script in the shell at this place, or in a new one.
    async fn run_in_shell(
        &self,
        command: &Command<'_>,
        file: Option<InputFile<'_>>,
        ssh: &Ssh,
        place: &mut Option<HostShell>,
    ) -> Result<Output, RunError> {
        let is_running = place.is_some();
        let mut dialog = if is_running {
            None
        } else {
            self.dialog().await?
        };
        let mark = place.as_ref().map(|shell| shell.mark.clone());
        let mark = mark.unwrap_or_else(end_mark::new_mark);
        let Command {
            script,
            input,
            deadline,
        } = command;
        let head = &input.head;
        let file_bytes = file.as_ref().map_or(0, InputFile::size_bytes);
        let input_bytes = head.len() as u64 + file_bytes;
        let request = host_shell::request(script, input_bytes, &mark, *deadline);
        let request = if is_running {
            request
        } else {
            host_shell::program(&mark) + &request
        };
        let capture = Capture::for_script(dialog.as_ref());
        let mut capture = capture.until(&mark, is_running);
        let ended = timeout(*deadline, async {
            let opening = Opening {
                script: request.as_bytes(),
                dialog: dialog.as_mut(),
            };
            let source = StdinSource {
                opening,
                head,
                file,
            };
            let io = ScriptIo::Buffered(source, &mut capture);
            ssh.run_in_shell(place, &mark, self.root.escalation, io)
                .await
        });
        let ended = ended.await;
        let result = self.run_result(ended, *deadline, capture, dialog);
        if result.is_err() {
            place.take();
        }
        result
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
        let shell_command = shell::prepare(script, true, deadline, self.root.escalation);
        let mut dialog = self.dialog().await?;
        let mut capture = Capture::for_script(dialog.as_ref());
        let opening = Opening {
            script: &shell_command.script,
            dialog: dialog.as_mut(),
        };
        let io = ScriptIo::Streaming(opening, lines, &mut capture);
        let ended = timeout(deadline, self.kind.run(&shell_command.words, io)).await;
        self.run_result(ended, deadline, capture, dialog)
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
        self.run_to(command, Some(output)).await
    }

    /// Waits until sudo may start, if it may ask for a password. This wait has no deadline of its
    /// own: it ends with the scripts on the hosts that are asked before.
    async fn dialog(&self) -> Result<Option<SudoDialog<'_>>, RunError> {
        let RootAccess {
            escalation: Escalation::SudoPassword,
            password: Some(password),
            first_script,
        } = &self.root
        else {
            return Ok(None);
        };
        let host = &self.login.name;
        let turn = password.turn(host, first_script).await;
        let turn = turn.map_err(|rejection| self.not_sent(rejection))?;
        let end_sudo = Box::new(|process| self.end_sudo(process).boxed());
        Ok(Some(SudoDialog::new(host, password, turn, end_sudo)))
    }

    fn not_sent(&self, rejection: PasswordRejection) -> RunError {
        RunError::PasswordNotSent {
            host: self.login.name.clone(),
            rejected_by: rejection.host,
        }
    }

    /// Kills a sudo that asks for a password. The login user may do that until sudo has become
    /// root.
    async fn end_sudo(&self, process: u32) {
        let words = ["/bin/sh", "-c", &format!("kill -s KILL {process}")].map(str::to_owned);
        let mut capture = Capture::default();
        let io = ScriptIo::Buffered(StdinSource::default(), &mut capture);
        let ended = timeout(END_SUDO_DEADLINE, self.kind.run(&words, io));
        // A sudo that stays reads the end of its input.
        match ended.await {
            Ok(Ok(0)) => {}
            ended => tracing::debug!(host = %self.login.name, ?ended, "cannot end sudo"),
        }
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
        if self.root.escalation.is_root() {
            delays.sudo = shortest(delays.sudo, sudo);
        }
    }

    fn run_result(
        &self,
        ended: Result<Result<i32, RunFailure>, Elapsed>,
        deadline: Duration,
        mut capture: Capture,
        dialog: Option<SudoDialog<'_>>,
    ) -> Result<Output, RunError> {
        let host = self.login.name.clone();
        let preamble = capture.take_preamble();
        self.record_delays(&preamble);
        if let Some(mut dialog) = dialog {
            capture.tidy_errors(|text| dialog.tidy(text, preamble.has_root()));
            let output = clean(&capture.errors());
            match dialog.refusal(&output, matches!(ended, Ok(Ok(_)))) {
                Some(PasswordRefusal::Rejected) => {
                    return Err(RunError::PasswordRejected { host, output });
                }
                Some(PasswordRefusal::NotSent(rejection)) => return Err(self.not_sent(rejection)),
                None => {}
            }
        }
        match ended {
            Err(_) => {
                let waiting_for = shell::waiting_for(&preamble, self.root.escalation);
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
                self.root.escalation,
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
