//! The destination of a login, and how a person would log in there.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use super::error::{ConnectError, LoginAttempt};
use super::refusal::SshRefusal;
use crate::core::ids::HostId;
use crate::remote::target::Target;
use crate::script::quote::quote;

/// A login at a host, or at a jump host on the route to it.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// The host at the end of the route.
    pub(super) host: HostId,
    /// The options that a person would give to `ssh`.
    pub(super) options: Vec<OsString>,
    /// An address or a name that ssh knows.
    pub(super) address: String,
    /// For messages: `deploy@192.168.72.233:22`, `the jump host bastion`.
    pub(super) place: String,
    /// Whether it is a jump host, to which the inventory's settings do not apply.
    pub(super) is_jump: bool,
    /// The user's `ProxyCommand` on the way there, where ssh runs one.
    pub(super) proxy_command: Option<String>,
    /// How long one try may take.
    pub(super) timeout: Duration,
}

impl Login {
    /// The login at a host itself.
    pub(super) fn at(target: &Target) -> Self {
        let mut options = address_options(target);
        if let Some(path) = &target.ssh.known_hosts {
            options.extend(["-o".into(), known_hosts(path)]);
        }
        Self {
            host: target.name.clone(),
            options,
            address: target.address.clone(),
            place: place(target),
            is_jump: false,
            proxy_command: None,
            timeout: target.ssh.connect_timeout,
        }
    }

    pub(super) fn error(
        &self,
        refusal: SshRefusal,
        said: String,
        tries: u32,
        waited: Duration,
    ) -> ConnectError {
        let attempt = Box::new(LoginAttempt {
            host: self.host.clone(),
            place: self.place.clone(),
            is_jump: self.is_jump,
            said,
            tries,
            waited,
            deadline: self.timeout,
            by_hand: self.by_hand(),
        });
        match refusal {
            SshRefusal::HostKeyUnknown => ConnectError::HostKeyUnknown(attempt),
            SshRefusal::HostKeyChanged => ConnectError::HostKeyChanged(attempt),
            SshRefusal::Authentication => ConnectError::Authentication(attempt),
            SshRefusal::Misconfigured => ConnectError::Misconfigured(attempt),
            SshRefusal::Unreachable => ConnectError::Unreachable(attempt),
            SshRefusal::Proxy => ConnectError::Proxy(attempt),
            SshRefusal::TurnedAway => ConnectError::TurnedAway(attempt),
            SshRefusal::HungUp | SshRefusal::Busy => ConnectError::Busy(attempt),
        }
    }

    /// The error for something that is missing on this machine.
    pub(super) fn failed_here(&self, why: String) -> ConnectError {
        ConnectError::Here {
            host: self.host.clone(),
            why,
        }
    }

    /// The command with which a person logs in on the same route.
    fn by_hand(&self) -> String {
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

/// The options by which ssh finds the host and the user's settings for it.
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

/// Quotes the path, since ssh reads several files there, and escapes `%`.
fn known_hosts(path: &Path) -> OsString {
    let path = path.to_string_lossy().replace('%', "%%");
    format!("UserKnownHostsFile=\"{path}\"").into()
}

fn place(target: &Target) -> String {
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
        })
    }

    #[test]
    fn the_advice_is_a_command_to_paste() {
        assert_eq!(
            login().by_hand(),
            "`ssh -p 2222 -l deploy -o 'UserKnownHostsFile=\"/etc/my hosts/100%%\"' 192.168.72.233`"
        );
    }

    #[test]
    fn an_error_says_who_where_what_how_long_and_what_next() {
        let said = "ssh: connect to host 192.168.72.233 port 2222: Connection refused".to_owned();
        let error = login().error(SshRefusal::Unreachable, said, 2, Duration::from_millis(140));
        insta::assert_snapshot!(error, @r#"web1: deploy@192.168.72.233:2222 cannot be reached (ssh: connect to host 192.168.72.233 port 2222: Connection refused; 2 tries of at most 10s, 140ms in all); check that the machine is up and that sshd listens, then try by hand: `ssh -p 2222 -l deploy -o 'UserKnownHostsFile="/etc/my hosts/100%%"' 192.168.72.233`"#);
    }
}
