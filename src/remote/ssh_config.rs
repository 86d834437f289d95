//! The user's ssh configuration, as `ssh -G` prints it.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::time::timeout;

use super::program;
use crate::system::process_group;

/// ssh only reads files for `-G`, but a `Match exec` may run anything.
const DEADLINE: Duration = Duration::from_secs(5);

/// The settings for one destination. Tokens such as `%h` are not expanded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SshSettings {
    pub(super) host_name: Option<String>,
    pub(super) proxy_jump: Option<String>,
    pub(super) proxy_command: Option<String>,
    pub(super) control_path: Option<String>,
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
        let mut settings = Self::default();
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
}

/// Whether any file that ssh reads mentions a proxy. If none does, ship skips `ssh -G` for the
/// hosts. `config` is the file given with `-F`.
pub(super) async fn config_mentions_proxy(config: Option<&Path>) -> bool {
    let mut words = vec![OsString::from("-v"), "-G".into()];
    if let Some(path) = config {
        words.extend(["-F".into(), path.into()]);
    }
    words.extend(["--".into(), "localhost".into()]);
    let Some(output) = run_ssh(&words)
        .await
        .filter(|output| output.status.success())
    else {
        return true;
    };
    let debug_log = String::from_utf8_lossy(&output.stderr);
    config_files(&debug_log).any(|path| match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            text.contains("proxyjump") || text.contains("proxycommand")
        }
        Err(_) => true,
    })
}

/// The files that ssh has read, including those of an `Include`, as `ssh -v` lists them.
fn config_files(debug_log: &str) -> impl Iterator<Item = &Path> {
    debug_log
        .lines()
        .filter_map(|line| line.trim_end().split_once("Reading configuration data "))
        .map(|(_, path)| path.as_ref())
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
    async fn proxy_is_found_in_an_included_file() {
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
        assert!(!config_mentions_proxy(Some(&config)).await);
        std::fs::write(&included, "User y\npROXYjump bastion\n").expect("our own file");
        assert!(config_mentions_proxy(Some(&config)).await);
        assert!(
            config_mentions_proxy(Some(&dir.path().join("missing"))).await,
            "ssh reports the error"
        );
    }
}
