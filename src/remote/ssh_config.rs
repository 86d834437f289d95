//! The user's ssh configuration, as `ssh -G` prints it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::program;
use crate::config::hex;
use crate::system::process_group;
use crate::trust;

/// ssh only reads files for `-G`, but a `Match exec` may run anything.
const DEADLINE: Duration = Duration::from_secs(5);

/// The keywords with which a configuration chooses how ssh reaches a host.
const ROUTE_WORDS: [&str; 3] = ["proxyjump", "proxycommand", "controlpath"];
/// Words of a configuration whose effect depends on more than its text: `Match exec`,
/// `Match localnetwork`, names that DNS completes, and variables of the environment.
const DYNAMIC_WORDS: [&str; 4] = ["exec", "localnetwork", "canonicalizehostname", "${"];

/// The settings for one destination. Tokens such as `%h` are expanded only in `control_path`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SshSettings {
    pub(super) host_name: Option<String>,
    pub(super) proxy_jump: Option<String>,
    pub(super) proxy_command: Option<String>,
    pub(super) control_path: Option<String>,
    /// All settings, one a line.
    pub(super) text: String,
}

impl SshSettings {
    /// Runs `ssh -G`; `None` if that fails, because the login will report the reason.
    pub(super) async fn query(options: &[OsString], address: &str) -> Option<Self> {
        let mut words = vec![OsString::from("-G")];
        words.extend_from_slice(options);
        words.extend(["--".into(), address.into()]);
        let output = run_ssh(&words)
            .await
            .filter(|output| output.status.success())?;
        Some(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    fn parse(text: &str) -> Self {
        let mut settings = Self {
            text: text.to_owned(),
            ..Self::default()
        };
        for line in text.lines() {
            let Some((key, value)) = line.split_once(' ') else {
                continue;
            };
            let field = match key {
                "hostname" => &mut settings.host_name,
                "proxyjump" => &mut settings.proxy_jump,
                "proxycommand" => &mut settings.proxy_command,
                "controlpath" => &mut settings.control_path,
                _ => continue,
            };
            *field = Some(value.to_owned()).filter(|value| value != "none");
        }
        settings
    }

    /// The values of a key, in the order of their precedence.
    pub(super) fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        let lines = self.text.lines().filter_map(|line| line.split_once(' '));
        lines
            .filter(move |(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// The socket of the user's own connection to the destination (`ControlPath`), if it exists and
    /// no other user could have put it there.
    pub(super) fn control_socket(&self) -> Option<PathBuf> {
        let path = PathBuf::from(self.control_path.as_ref()?);
        let dir = path.parent()?;
        let is_own = path.exists() && trust::check_found(&path, dir).is_ok();
        is_own.then_some(path)
    }
}

/// The configuration files that ssh reads, for any host.
#[derive(Debug)]
pub(super) struct SshConfigFiles {
    /// A digest of their paths and contents.
    pub(super) digest: String,
    /// Whether one mentions a proxy or a control connection. If none does, ship skips `ssh -G` for the
    /// hosts.
    pub(super) mentions_route: bool,
    /// Whether the settings of a host may differ although the files are the same.
    pub(super) is_dynamic: bool,
    pub(super) paths: Vec<PathBuf>,
}

/// The configuration files of all hosts, by the file given with `-F`.
#[derive(Debug, Default)]
pub(super) struct SshConfigs(Mutex<BTreeMap<Option<PathBuf>, FilesOnce>>);

/// Files that are read once; `None` if that has failed.
type FilesOnce = Arc<OnceCell<Option<Arc<SshConfigFiles>>>>;

impl SshConfigFiles {
    /// Reads them; `None` if ssh reports an error in them, or one cannot be read.
    async fn read(config: Option<&Path>) -> Option<Self> {
        let mut words = vec![OsString::from("-v"), "-G".into()];
        if let Some(path) = config {
            words.extend(["-F".into(), path.into()]);
        }
        words.extend(["--".into(), "localhost".into()]);
        let output = run_ssh(&words)
            .await
            .filter(|output| output.status.success())?;
        let debug_log = String::from_utf8_lossy(&output.stderr);
        let mut files = Self {
            digest: String::new(),
            mentions_route: false,
            is_dynamic: false,
            paths: config_files(&debug_log).map(Path::to_owned).collect(),
        };
        let mut digest = Sha256::new();
        for path in &files.paths {
            let bytes = std::fs::read(path).ok()?;
            let path = path.canonicalize().ok()?;
            digest.update(Sha256::digest(path.as_os_str().as_encoded_bytes()));
            digest.update(Sha256::digest(&bytes));
            let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            let mentions = |words: &[&str]| words.iter().any(|word| text.contains(word));
            files.mentions_route |= mentions(&ROUTE_WORDS);
            files.is_dynamic |= mentions(&DYNAMIC_WORDS);
        }
        files.digest = hex(&digest.finalize());
        Some(files)
    }
}

impl SshConfigs {
    /// Those of hosts with this `config`; `None` if ssh reports an error in them, or one cannot be
    /// read.
    pub(super) async fn of(&self, config: Option<&PathBuf>) -> Option<Arc<SshConfigFiles>> {
        let files = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(config.cloned()).or_default())
        };
        let read = async || {
            let files = SshConfigFiles::read(config.map(PathBuf::as_path)).await;
            files.map(Arc::new)
        };
        files.get_or_init(read).await.clone()
    }
}

/// The files that ssh has read, including those of an `Include`, as `ssh -v` lists them.
fn config_files(debug_log: &str) -> impl Iterator<Item = &Path> {
    debug_log
        .lines()
        .filter_map(|line| line.trim_end().split_once("Reading configuration data "))
        .map(|(_, path)| path.as_ref())
}

/// Ends a master and everything that still runs through it. Returns false if there is none, or if it
/// does not answer.
pub(super) async fn exit_master(socket: &Path) -> bool {
    let words = ["-F", "none", "-O", "exit", "-S"]
        .map(OsString::from)
        .into_iter();
    let words = words.chain([socket.into(), "--".into(), "nobody".into()]);
    let output = run_ssh(&words.collect::<Vec<_>>()).await;
    output.is_some_and(|output| output.status.success())
}

/// Runs an ssh command that does not use the network.
pub(super) async fn run_ssh(words: &[OsString]) -> Option<Output> {
    let mut command = program::command("ssh");
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (child, group) = process_group::spawn(&mut command).ok()?;
    let output = timeout(DEADLINE, child.wait_with_output())
        .await
        .ok()?
        .ok()?;
    group.mark_ended();
    Some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_settings_parse_the_relevant_keys() {
        let text = "host h1\nhostname 10.0.0.7\nproxycommand none\nproxyjump \
                    a@b,bastion\ncontrolpath /run/%C\nuser x\nodd\n";
        assert_eq!(
            SshSettings::parse(text),
            SshSettings {
                host_name: Some("10.0.0.7".to_owned()),
                proxy_jump: Some("a@b,bastion".to_owned()),
                proxy_command: None,
                control_path: Some("/run/%C".to_owned()),
                text: text.to_owned(),
            }
        );
    }

    #[test]
    fn files_read_lists_each_configuration_file() {
        let debug_log = "OpenSSH_9.2p1\r\ndebug1: Reading configuration data /home/a b/.ssh/config\r\n\
                    debug1: /etc/ssh/ssh_config line 19: include\ndebug1: Reading configuration \
                    data /etc/ssh/ssh_config\r\n";
        let files: Vec<_> = config_files(debug_log).collect();
        assert_eq!(
            files,
            [
                Path::new("/home/a b/.ssh/config"),
                Path::new("/etc/ssh/ssh_config")
            ]
        );
    }

    #[tokio::test]
    async fn route_is_found_in_an_included_file() {
        if !Path::new("/usr/bin/ssh").exists() {
            eprintln!("SKIPPED: ssh is missing (Debian: apt-get install openssh-client)");
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (config, included) = (dir.path().join("config"), dir.path().join("more.conf"));
        let text = format!(
            "Host a\n  User x\nHost b\n  Include {}/*.conf\n",
            dir.path().display()
        );
        std::fs::write(&config, text).expect("our own file");
        std::fs::write(&included, "User y\n").expect("our own file");
        let mentions_route = async |config: &Path| {
            let files = SshConfigFiles::read(Some(config)).await;
            files.map(|files| files.mentions_route)
        };
        assert_eq!(mentions_route(&config).await, Some(false));
        std::fs::write(&included, "User y\npROXYjump bastion\n").expect("our own file");
        assert_eq!(mentions_route(&config).await, Some(true));
        let missing = dir.path().join("missing");
        assert_eq!(
            mentions_route(&missing).await,
            None,
            "ssh reports the error"
        );
    }
}
