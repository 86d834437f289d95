//! How other machines reach the sshd of a host, and the keys by which they recognize it.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::time::timeout;

use super::login::Login;
use super::login_files::known_hosts_files;
use super::lookup::lookup;
use super::program;
use super::ssh_config::SshSettings;
use super::target::Target;

const DEADLINE: Duration = Duration::from_secs(5);

/// The sshd of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshEndpoint {
    /// An IP address, or a name that this machine cannot resolve.
    pub address: String,
    pub port: u16,
    /// The name by which `host_keys` lists the host.
    pub name: String,
    /// The keys that this machine trusts, as lines of `known_hosts`.
    pub host_keys: String,
}

impl SshEndpoint {
    /// The sshd to which a login at the target leads.
    ///
    /// # Errors
    /// If ssh cannot read its configuration, or no file of host keys lists the host.
    pub(super) async fn of(target: &Target) -> Result<Self, String> {
        let login = Login::at(target);
        let settings = SshSettings::query(&login.options, &login.address).await;
        let settings = settings.ok_or("`ssh -G` fails")?;
        let value = |key| settings.values(key).next().filter(|value| *value != "none");
        let host_name = settings.host_name.as_deref().unwrap_or(&login.address);
        let port = value("port")
            .and_then(|port| port.parse().ok())
            .unwrap_or(22);
        let alias = value("hostkeyalias");
        let listed_as = match (alias, port) {
            (Some(alias), _) => alias.to_owned(),
            (None, 22) => host_name.to_owned(),
            (None, port) => format!("[{host_name}]:{port}"),
        };
        let name = alias.unwrap_or(host_name).to_owned();
        let mut host_keys = String::new();
        for file in known_hosts_files(&settings) {
            for line in find_keys(&file, &listed_as).await {
                host_keys.extend([&renamed(&line, &name), "\n"]);
            }
        }
        if host_keys.is_empty() {
            return Err(format!("no known_hosts file of ssh lists {listed_as}"));
        }
        let first = lookup(host_name).await.into_iter().next();
        Ok(Self {
            address: first.map_or_else(|| host_name.to_owned(), |it| it.to_string()),
            port,
            name,
            host_keys,
        })
    }
}

/// The lines of a `known_hosts` file for a name, which may be listed by a hash.
async fn find_keys(file: &Path, name: &str) -> Vec<String> {
    if !file.is_file() {
        return Vec::new();
    }
    let mut command = program::command("ssh-keygen");
    let words = [OsString::from("-F"), name.into(), "-f".into(), file.into()];
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    let Ok(Ok(found)) = timeout(DEADLINE, command.output()).await else {
        return Vec::new();
    };
    let found = String::from_utf8_lossy(&found.stdout);
    let lines = found.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// A line of `known_hosts` with another name.
fn renamed(line: &str, name: &str) -> String {
    let mut words: Vec<_> = line.split_whitespace().collect();
    let names = usize::from(line.starts_with('@'));
    if let Some(word) = words.get_mut(names) {
        *word = name;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_known_hosts_gets_another_name() {
        assert_eq!(
            renamed("|1|abc=|def= ssh-ed25519 AAAA comment", "web1"),
            "web1 ssh-ed25519 AAAA comment"
        );
        assert_eq!(
            renamed("@cert-authority *.example.org ssh-ed25519 AAAA", "web1"),
            "@cert-authority web1 ssh-ed25519 AAAA"
        );
    }
}
