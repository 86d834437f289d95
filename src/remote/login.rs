//! The destination of a login, and the `ssh` command that reproduces it.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use super::error::{ConnectError, LoginAttempt};
use super::keeping::{Keeping, LoginKey, LoginWords};
use super::login_files::LoginFiles;
use super::ssh_config::{SshConfigFiles, SshSettings};
use super::ssh_error::SshRefusal;
use crate::core::ids::HostId;
use crate::remote::target::Target;
use crate::script::quote::quote;

/// A login at a host, or at a jump host in front of it.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// The host for which the login is made, even if this is a login at a jump host.
    pub(super) host: HostId,
    /// The options that a user would pass to `ssh`.
    pub(super) options: Vec<OsString>,
    /// An address or a name that ssh can resolve.
    pub(super) address: String,
    /// For messages: `deploy@192.168.72.233:22`, `the jump host bastion`.
    pub(super) destination: String,
    /// Whether the destination is a jump host, to which the inventory's settings do not apply.
    pub(super) is_jump: bool,
    /// The user's `ProxyCommand` for this login, if ssh runs one.
    pub(super) proxy_command: Option<String>,
    /// The time limit of one attempt.
    pub(super) timeout: Duration,
    /// How the connection is kept for the next command; `None` if it ends with this one.
    pub(super) keeping: Option<Keeping>,
}

impl Login {
    /// The login at the host itself.
    pub(super) fn at(target: &Target) -> Self {
        let mut options = address_options(target);
        if let Some(path) = &target.ssh.known_hosts {
            options.extend(["-o".into(), known_hosts(path)]);
        }
        Self {
            host: target.name.clone(),
            options,
            address: target.address.clone(),
            destination: destination(target),
            is_jump: false,
            proxy_command: None,
            timeout: target.ssh.connect_timeout,
            keeping: None,
        }
    }

    /// What a kept connection of this login, through the jump hosts `before`, is found by. `None` if
    /// the target does not ask for it, or something that decides the login is unknown.
    pub(super) fn key(
        &self,
        target: &Target,
        config: Option<&SshConfigFiles>,
        settings: Option<&SshSettings>,
        before: &[&Self],
    ) -> Option<LoginKey> {
        let connections = target.kept.clone().filter(|_| target.is_kept())?;
        let config = config.filter(|config| !config.is_dynamic || settings.is_some())?;
        let settings = settings.filter(|_| config.is_dynamic);
        let before = before.iter().map(|jump| Some(&jump.keeping.as_ref()?.key));
        let before: Option<Vec<_>> = before.collect();
        let words = LoginWords {
            label: &self.label(),
            options: &self.canonical_options(target),
            address: &self.address,
        };
        let time = target.ssh.persist;
        Some(LoginKey::of(
            connections,
            time,
            &words,
            config,
            settings,
            &before?,
        ))
    }

    /// The options with paths that do not depend on the directory of the command.
    fn canonical_options(&self, target: &Target) -> Vec<OsString> {
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut options = self.options.clone();
        if !self.is_jump {
            options = address_options(target);
            let path = target.ssh.known_hosts.as_ref();
            options.extend(path.map(|path| known_hosts(&canonical(path))));
        }
        let word = |word: OsString| canonical(Path::new(&word)).into_os_string();
        options.into_iter().map(word).collect()
    }

    /// Keeps the connection for the next command, if there is a key and the files that decide the
    /// login are known.
    pub(super) async fn keep(
        &mut self,
        key: Option<LoginKey>,
        settings: Option<&SshSettings>,
        before: &[&Self],
    ) {
        self.keeping = None;
        let (Some(key), Some(settings)) = (key, settings) else {
            return;
        };
        let before = before
            .iter()
            .map(|jump| Some(&jump.keeping.as_ref()?.files));
        let Some(before) = before.collect::<Option<Vec<_>>>() else {
            return;
        };
        let files = LoginFiles::of(&self.address, settings, &before).await;
        self.keeping = files.map(|files| Keeping { key, files });
    }

    /// What a kept connection of this login is called: the host, or the jump host.
    pub(super) fn label(&self) -> String {
        if self.is_jump {
            self.destination.clone()
        } else {
            self.host.to_string()
        }
    }

    pub(super) fn error(
        &self,
        refusal: SshRefusal,
        ssh_output: String,
        tries: u32,
        waited: Duration,
    ) -> ConnectError {
        let attempt = Box::new(LoginAttempt {
            host: self.host.clone(),
            destination: self.destination.clone(),
            is_jump: self.is_jump,
            ssh_output,
            tries,
            waited,
            deadline: self.timeout,
            ssh_command: self.ssh_command(),
        });
        match refusal {
            SshRefusal::HostKeyUnknown => ConnectError::HostKeyUnknown(attempt),
            SshRefusal::HostKeyChanged => ConnectError::HostKeyChanged(attempt),
            SshRefusal::Authentication => ConnectError::Authentication(attempt),
            SshRefusal::Misconfigured => ConnectError::Misconfigured(attempt),
            SshRefusal::Unreachable => ConnectError::Unreachable(attempt),
            SshRefusal::Proxy => ConnectError::Proxy(attempt),
            SshRefusal::LoginClosed => ConnectError::LoginClosed(attempt),
            SshRefusal::HungUp | SshRefusal::Busy => ConnectError::Busy(attempt),
        }
    }

    /// The error for a problem on this machine.
    pub(super) fn local_error(&self, why: String) -> ConnectError {
        ConnectError::OnThisMachine {
            host: self.host.clone(),
            why,
        }
    }

    /// The `ssh` command with which a user reproduces the login.
    fn ssh_command(&self) -> String {
        let is_plain = |word: &str| {
            word.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./=@:".contains(&b))
        };
        let words = self
            .options
            .iter()
            .map(OsString::as_os_str)
            .chain([OsStr::new(&self.address)]);
        let quoted = words.map(|word| {
            let word = word.to_string_lossy();
            if is_plain(&word) {
                word.into_owned()
            } else {
                quote(&word)
            }
        });
        format!("`ssh {}`", quoted.collect::<Vec<_>>().join(" "))
    }
}

/// The options with which ssh finds the host and the user's settings for it.
pub(super) fn address_options(target: &Target) -> Vec<OsString> {
    let mut options = Vec::new();
    let mut add = |name: &str, value: &OsStr| options.extend([name.into(), value.to_owned()]);
    if let Some(path) = &target.ssh.config {
        add("-F", path.as_os_str());
    }
    if let Some(path) = &target.ssh.identity_file {
        add("-o", OsStr::new("IdentitiesOnly=yes"));
        add("-i", path.as_os_str());
    }
    if let Some(port) = target.ssh.port {
        add("-p", OsStr::new(&port.to_string()));
    }
    if let Some(user) = &target.ssh.user {
        add("-l", OsStr::new(user));
    }
    options
}

/// Quotes the path, because ssh accepts several files there, and escapes `%`.
fn known_hosts(path: &Path) -> OsString {
    let path = path.to_string_lossy().replace('%', "%%");
    format!("UserKnownHostsFile=\"{path}\"").into()
}

fn destination(target: &Target) -> String {
    let user = target
        .ssh
        .user
        .as_ref()
        .map(|user| format!("{user}@"))
        .unwrap_or_default();
    let port = target
        .ssh
        .port
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    format!("{user}{}{port}", target.address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SshConfig, Transport};

    fn login() -> Login {
        Login::at(&Target {
            name: "web1".into(),
            address: "192.168.72.233".into(),
            transport: Transport::Ssh,
            ssh: SshConfig {
                user: Some("deploy".into()),
                port: Some(2222),
                known_hosts: Some("/etc/my hosts/100%".into()),
                ..SshConfig::default()
            },
            sudo_password: None,
            kept: None,
        })
    }

    #[test]
    fn login_prints_a_command_to_paste() {
        assert_eq!(
            login().ssh_command(),
            "`ssh -p 2222 -l deploy -o 'UserKnownHostsFile=\"/etc/my hosts/100%%\"' 192.168.72.233`"
        );
    }

    #[test]
    fn connect_error_names_host_destination_cause_attempts_and_next_step() {
        let ssh_output =
            "ssh: connect to host 192.168.72.233 port 2222: Connection refused".to_owned();
        let error = login().error(
            SshRefusal::Unreachable,
            ssh_output,
            2,
            Duration::from_millis(140),
        );
        insta::assert_snapshot!(error, @r#"web1: cannot reach deploy@192.168.72.233:2222 (ssh: connect to host 192.168.72.233 port 2222: Connection refused; 2 attempts of at most 10s, 140ms in total); check that the host is up and that sshd is running, then try: `ssh -p 2222 -l deploy -o 'UserKnownHostsFile="/etc/my hosts/100%%"' 192.168.72.233`"#);
    }
}
