//! The files that decide a login: keys, certificates and lists of host keys.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::known_hosts::KnownHosts;
use super::resolved_name::ResolvedName;
use super::ssh_config::SshSettings;
use crate::system::accounts;

/// The variable with the socket of the user's agent.
pub(super) const AGENT: &str = "SSH_AUTH_SOCK";
/// The files that ssh reads beside a private key.
const KEY_SUFFIXES: [&str; 3] = ["", ".pub", "-cert.pub"];

/// The name of the user and the home directory.
static ACCOUNT: LazyLock<(String, String)> = LazyLock::new(|| {
    let uid = accounts::effective_uid();
    let home = accounts::home_dir(uid).unwrap_or_default();
    let user = accounts::user_name(uid).unwrap_or_default();
    (user, home.to_string_lossy().into_owned())
});

/// The files and the names that decide a login, also at the jump hosts on the way, as they were
/// before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoginFiles {
    keys: Vec<FileVersion>,
    known_hosts: Vec<KnownHosts>,
    /// The names that this machine resolves: that of the host or of the first jump host.
    names: Vec<ResolvedName>,
}

/// A file, and what changes with its content, its permissions or its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileVersion {
    path: PathBuf,
    /// The device, the inode and the time of the last change; `None` if the file does not exist.
    version: Option<(u64, u64, i64, i64)>,
}

impl LoginFiles {
    /// The files of a login with these settings. `before` are those of the logins at the jump hosts
    /// on the way. `None` if the login depends on something that ship cannot compare.
    pub(super) async fn of(
        address: &str,
        settings: &SshSettings,
        before: &[&Self],
    ) -> Option<Self> {
        // The output of a command may differ each time.
        if settings.values("knownhostscommand").any(|it| it != "none") {
            return None;
        }
        let mut keys = key_files(address, settings)?;
        keys.extend(std::env::var_os(AGENT).map(PathBuf::from));
        let keys = keys.into_iter().map(FileVersion::of);
        let known_hosts = known_hosts_files(settings);
        let known_hosts = known_hosts.iter().map(|path| KnownHosts::read(path));
        let names = match before {
            [] => {
                let name = settings.host_name.as_deref().unwrap_or(address);
                vec![ResolvedName::resolve(name).await]
            }
            [first, ..] => first.names.clone(),
        };
        Some(Self {
            names,
            keys: keys
                .chain(before.iter().flat_map(|jump| jump.keys.iter().cloned()))
                .collect(),
            known_hosts: known_hosts
                .chain(
                    before
                        .iter()
                        .flat_map(|jump| jump.known_hosts.iter().cloned()),
                )
                .collect(),
        })
    }

    /// Adds the files of an ssh configuration that applies only to a jump host.
    pub(super) fn add_config(&mut self, files: &[PathBuf]) {
        self.keys.extend(files.iter().cloned().map(FileVersion::of));
    }

    /// Whether a login would use the same keys, trust the same host keys, and lead to the same
    /// machine.
    pub(super) async fn are_unchanged(&self) -> bool {
        self.keys.iter().all(FileVersion::is_current)
            && self.known_hosts.iter().all(KnownHosts::is_unchanged)
            && self.lead_to_same_machine().await
    }

    async fn lead_to_same_machine(&self) -> bool {
        for name in &self.names {
            if !name.is_current().await {
                return false;
            }
        }
        true
    }
}

impl FileVersion {
    fn of(path: PathBuf) -> Self {
        // The next command may run in another directory.
        let path = std::path::absolute(&path).unwrap_or(path);
        let version = version(&path);
        Self { path, version }
    }

    fn is_current(&self) -> bool {
        version(&self.path) == self.version
    }
}

fn version(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let metadata = fs::metadata(path).ok()?;
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    Some((metadata.dev(), metadata.ino(), changed.0, changed.1))
}

/// The private keys, the public keys and the certificates that ssh may offer, and the list of host
/// keys that it rejects. `None` if a path has a token that ship does not know.
fn key_files(address: &str, settings: &SshSettings) -> Option<Vec<PathBuf>> {
    let (user, home) = &*ACCOUNT;
    let value = |key| settings.values(key).next().unwrap_or_default();
    let tokens = [
        ('%', "%"),
        ('d', home.as_str()),
        ('u', user),
        ('h', value("hostname")),
        ('p', value("port")),
        ('r', value("user")),
        ('n', address),
    ];
    let mut files = Vec::new();
    let keys = settings
        .values("identityfile")
        .chain(settings.values("certificatefile"));
    for key in keys {
        let path = expand(key, home, &tokens)?;
        files.extend(KEY_SUFFIXES.map(|suffix| PathBuf::from(format!("{path}{suffix}"))));
    }
    files.extend(settings.values("revokedhostkeys").map(PathBuf::from));
    Some(files)
}

/// The files of host keys. Their paths are separated by spaces and may have spaces themselves, so a
/// path may be a part of a line or all of it; a file that does not exist changes nothing.
pub(super) fn known_hosts_files(settings: &SshSettings) -> Vec<PathBuf> {
    let lines = settings
        .values("userknownhostsfile")
        .chain(settings.values("globalknownhostsfile"));
    let paths = lines.flat_map(|line| line.split(' ').chain([line]));
    let mut paths: Vec<_> = paths.map(PathBuf::from).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// Replaces the tokens of a path, such as `%h`. `None` if one of them is unknown.
fn expand(path: &str, home: &str, tokens: &[(char, &str)]) -> Option<String> {
    let mut expanded = String::new();
    let rest = match path.strip_prefix("~/") {
        Some(rest) => {
            expanded.push_str(home);
            expanded.push('/');
            rest
        }
        None => path,
    };
    let mut chars = rest.chars();
    while let Some(char) = chars.next() {
        if char == '%' {
            let token = chars.next()?;
            let (_, value) = tokens.iter().find(|(name, _)| *name == token)?;
            expanded.push_str(value);
        } else {
            expanded.push(char);
        }
    }
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_keys_are_expanded_as_ssh_does() {
        let tokens = [('%', "%"), ('h', "web1"), ('r', "deploy")];
        let expanded = |path| expand(path, "/home/anna", &tokens);
        assert_eq!(
            expanded("~/.ssh/%h-%r").as_deref(),
            Some("/home/anna/.ssh/web1-deploy")
        );
        assert_eq!(expanded("/keys/100%%").as_deref(), Some("/keys/100%"));
        assert_eq!(expanded("/keys/%C"), None);
        assert_eq!(expanded("/keys/%"), None);
    }

    #[test]
    fn known_hosts_files_may_have_spaces() {
        let settings = SshSettings {
            text: "userknownhostsfile /a b/hosts\nglobalknownhostsfile /c /d\n".to_owned(),
            ..SshSettings::default()
        };
        let files = known_hosts_files(&settings);
        for path in ["/a b/hosts", "/c", "/d"] {
            assert!(files.contains(&PathBuf::from(path)), "{files:?}");
        }
    }
}
