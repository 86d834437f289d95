//! Begins the ssh process that holds a host's connection, and tries again where that may help.
//!
//! The `openssh` crate speaks with this process (sessions, forwarding) but does not begin it here: its own launcher
//! leaves the process behind when a stalled connection is given up, and overrides the user's own
//! `StrictHostKeyChecking`. Without the override ssh asks whether to trust an unknown key, and as it may not ask
//! (`BatchMode`), it refuses.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::error::{Attempt, ConnectError};
use super::refusal::Refusal;
use super::{Target, group};
use crate::core::time::Human;
use crate::script::quote::quote;

/// All tries together may take so many times the timeout of one.
const TIMEOUTS_IN_ALL: u32 = 3;
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A server that is found dead after three unanswered questions.
const ALIVE_INTERVAL_S: u32 = 5;
const ALIVE_COUNT: u32 = 3;
/// How long the process outlives its last user, should ship be killed.
const PERSIST_S: u32 = 2;

/// Those who were turned away queue here: a bastion refuses from ten logins at a time on.
static TURNED_AWAY: Semaphore = Semaphore::const_new(4);

/// A running ssh master, known by its directory. It is nobody's child.
#[derive(Debug)]
pub(super) struct Master {
    dir: TempDir,
}

impl Master {
    /// Begins one, and waits until the login is done.
    pub(super) async fn start(target: &Target, control_dir: &Path) -> Result<Self, ConnectError> {
        let dir = tempfile::Builder::new().prefix("c").tempdir_in(control_dir);
        let master = Self { dir: dir.map_err(|e| here(target, format!("{}: {e}", control_dir.display())))? };
        let began = Instant::now();
        let bound = target.connect_timeout * TIMEOUTS_IN_ALL;
        let mut turn = None;
        let mut tries = 0;
        loop {
            tries += 1;
            let left = bound.saturating_sub(began.elapsed());
            let Some((refusal, said)) = master.login(target, left.min(target.connect_timeout)).await? else {
                return Ok(master);
            };
            let pause = pause(tries);
            if tries >= refusal.tries_max() || began.elapsed() + pause >= bound {
                return Err(error(target, refusal, said, tries, began.elapsed()));
            }
            tracing::debug!(host = %target.name, tries, said, "connecting again in {}", Human(pause));
            sleep(pause).await;
            if refusal == Refusal::Busy && turn.is_none() {
                turn = timeout(bound.saturating_sub(began.elapsed()), TURNED_AWAY.acquire()).await.ok();
            }
        }
    }

    /// The socket on which it takes orders.
    pub(super) fn socket(&self) -> PathBuf {
        // Short: such a path has 104 bytes on some systems, and ssh adds 17 while it makes the socket.
        self.dir.path().join("m")
    }

    /// A path for a socket that leads to a port of the host.
    pub(super) fn forward_socket(&self, number: usize) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    /// All that ssh has said until now.
    pub(super) fn log(&self) -> String {
        std::fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// One try: `None` if it went well. Given up or dropped, ssh is killed with all that it began.
    async fn login(&self, target: &Target, deadline: Duration) -> Result<Option<(Refusal, String)>, ConnectError> {
        let log = self.empty_log().map_err(|e| here(target, format!("{}: {e}", self.log_path().display())))?;
        let mut command = Command::new("ssh");
        command.args(options(target, &self.socket(), &self.log_path(), deadline));
        command.arg("--").arg(&target.address);
        // What a jump host's ssh would ask a person goes to a program that says no; it has no `BatchMode`.
        command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let (mut child, group) = group::spawn(&mut command).map_err(|e| here(target, format!("ssh: {e}")))?;
        match timeout(deadline, child.wait()).await {
            Ok(Ok(status)) => {
                group.ended();
                if status.success() {
                    return Ok(None);
                }
                let log = self.log();
                let refusal = Refusal::of(&log);
                let said = match refusal.gist(&log) {
                    Some(gist) => format!("ssh: {}", gist.trim_start_matches("ssh: ")),
                    None => format!("ssh ended with {status}"),
                };
                Ok(Some((refusal, said)))
            }
            Ok(Err(e)) => Err(here(target, format!("waiting for ssh: {e}"))),
            Err(_) => Ok(Some((Refusal::Unreachable, format!("the login did not end within {}", Human(deadline))))),
        }
    }

    fn empty_log(&self) -> std::io::Result<File> {
        File::create(self.log_path())?;
        OpenOptions::new().append(true).open(self.log_path())
    }
}

/// The options of a master; what is not among them is the user's to configure.
fn options(target: &Target, socket: &Path, log: &Path, deadline: Duration) -> Vec<OsString> {
    let mut options: Vec<OsString> = ["-M", "-f", "-N", "-S"].map(OsString::from).into();
    options.extend([socket.into(), "-E".into(), log.into()]);
    let connect_timeout_s = deadline.as_secs() + u64::from(deadline.subsec_nanos() > 0);
    for option in [
        "BatchMode=yes".to_owned(),
        // A user's `LogLevel QUIET` would hide why it failed.
        "LogLevel=INFO".to_owned(),
        format!("ConnectTimeout={}", connect_timeout_s.max(1)),
        format!("ServerAliveInterval={ALIVE_INTERVAL_S}"),
        format!("ServerAliveCountMax={ALIVE_COUNT}"),
        format!("ControlPersist={PERSIST_S}"),
        // The user's forwards and commands are for the user's own sessions.
        "ClearAllForwardings=yes".to_owned(),
        "RemoteCommand=none".to_owned(),
    ] {
        options.extend(["-o".into(), option.into()]);
    }
    if let Some(path) = &target.known_hosts {
        options.extend(["-o".into(), known_hosts(path)]);
    }
    options.extend(address_options(target));
    options
}

/// The options by which ssh finds the host and the user's settings for it.
pub(super) fn address_options(target: &Target) -> Vec<OsString> {
    let mut options = Vec::new();
    let mut add = |name: &str, value: &OsStr| options.extend([name.into(), value.to_owned()]);
    if let Some(path) = &target.config {
        add("-F", path.as_os_str());
    }
    if let Some(path) = &target.identity_file {
        add("-o", OsStr::new("IdentitiesOnly=yes"));
        add("-i", path.as_os_str());
    }
    if let Some(port) = target.port {
        add("-p", OsStr::new(&port.to_string()));
    }
    if let Some(user) = &target.user {
        add("-l", OsStr::new(user));
    }
    options
}

/// ssh reads several files there, and expands `%`.
fn known_hosts(path: &Path) -> OsString {
    let path = path.to_string_lossy().replace('%', "%%");
    format!("UserKnownHostsFile=\"{path}\"").into()
}

/// Twice as long each time, and never the same for two hosts: those refused together must not return together.
fn pause(tries: u32) -> Duration {
    let full = PAUSE_FIRST.saturating_mul(1 << (tries - 1).min(8)).min(PAUSE_MAX);
    let share = u32::try_from(RandomState::new().hash_one(tries) % 512).unwrap_or(0);
    full / 2 + full * share / 1024
}

fn error(target: &Target, refusal: Refusal, said: String, tries: u32, waited: Duration) -> ConnectError {
    let attempt = Box::new(Attempt {
        host: target.name.clone(),
        place: place(target),
        said,
        tries,
        waited,
        deadline: target.connect_timeout,
        by_hand: by_hand(target),
    });
    match refusal {
        Refusal::HostKeyUnknown => ConnectError::HostKeyUnknown(attempt),
        Refusal::HostKeyChanged => ConnectError::HostKeyChanged(attempt),
        Refusal::Authentication => ConnectError::Authentication(attempt),
        Refusal::Misconfigured => ConnectError::Misconfigured(attempt),
        Refusal::Unreachable => ConnectError::Unreachable(attempt),
        Refusal::Busy => ConnectError::Busy(attempt),
    }
}

pub(super) fn here(target: &Target, why: String) -> ConnectError {
    ConnectError::Here { host: target.name.clone(), why }
}

fn place(target: &Target) -> String {
    let user = target.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = target.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{user}{}{port}", target.address)
}

/// The command with which a person reaches the host in the same way.
fn by_hand(target: &Target) -> String {
    let known_hosts = target.known_hosts.iter().flat_map(|path| [OsString::from("-o"), known_hosts(path)]);
    let words = address_options(target).into_iter().chain(known_hosts).chain([OsString::from(&target.address)]);
    let is_plain = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./=@:".contains(&b));
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        if is_plain(&word) { word.into_owned() } else { quote(&word) }
    });
    format!("`ssh {}`", quoted.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Transport;

    fn target() -> Target {
        Target {
            name: "web1".into(),
            address: "192.168.72.233".into(),
            transport: Transport::Ssh,
            user: Some("deploy".into()),
            port: Some(2222),
            identity_file: None,
            config: None,
            known_hosts: Some("/etc/my hosts/100%".into()),
            connect_timeout: Duration::from_secs(10),
            sudo: false,
        }
    }

    #[test]
    fn the_advice_is_a_command_to_paste() {
        assert_eq!(
            by_hand(&target()),
            "`ssh -p 2222 -l deploy -o 'UserKnownHostsFile=\"/etc/my hosts/100%%\"' 192.168.72.233`"
        );
    }

    #[test]
    fn an_error_says_who_where_what_how_long_and_what_next() {
        let said = "ssh: connect to host 192.168.72.233 port 2222: Connection refused".to_owned();
        let error = error(&target(), Refusal::Unreachable, said, 2, Duration::from_millis(140));
        insta::assert_snapshot!(error, @r#"web1: deploy@192.168.72.233:2222 cannot be reached (ssh: connect to host 192.168.72.233 port 2222: Connection refused; 2 tries of at most 10s, 140ms in all); check that the machine is up and that sshd listens, then try by hand: `ssh -p 2222 -l deploy -o 'UserKnownHostsFile="/etc/my hosts/100%%"' 192.168.72.233`"#);
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert!((50..=100).contains(&pause(1).as_millis()));
        assert!((400..=800).contains(&pause(4).as_millis()));
        assert!(pause(u32::MAX) <= PAUSE_MAX);
    }
}
