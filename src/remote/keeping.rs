//! How the connection of a login is kept for the next command, and found again.

use std::env;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::kept_connections::{KeptConnections, KeptMaster};
use super::login_files::{AGENT, LoginFiles};
use super::ssh_config::{SshConfigFiles, SshSettings};
use crate::config::hex;
use crate::core::time::whole_seconds;

/// What a kept connection is found by.
#[derive(Clone, Debug)]
pub(super) struct LoginKey {
    connections: Arc<KeptConnections>,
    /// How long it stays open without a command.
    pub(super) time: Duration,
    /// The digest of everything that decides the login, apart from the files of keys.
    digest: String,
}

/// A login as ssh is called for it.
pub(super) struct LoginWords<'a> {
    /// Names the host, or the jump host.
    pub(super) label: &'a str,
    pub(super) options: &'a [OsString],
    pub(super) address: &'a str,
}

/// How the connection of a login is kept.
#[derive(Clone, Debug)]
pub(super) struct Keeping {
    pub(super) key: LoginKey,
    pub(super) files: LoginFiles,
}

impl LoginKey {
    /// The key of a login through the jump hosts `before`. `settings` are those of `ssh -G`, if they
    /// may differ although the configuration files are the same.
    pub(super) fn of(
        connections: Arc<KeptConnections>,
        time: Duration,
        words: &LoginWords<'_>,
        config: &SshConfigFiles,
        settings: Option<&SshSettings>,
        before: &[&Self],
    ) -> Self {
        let mut digest = LoginDigest::default();
        // A connection that is kept for another time is another one: its process ends on its own.
        digest.add(&whole_seconds(time).to_be_bytes());
        digest.add(words.label.as_bytes());
        digest.add(words.address.as_bytes());
        for option in words.options {
            digest.add(option.as_encoded_bytes());
        }
        digest.add(config.digest.as_bytes());
        digest.add(settings.map_or("", |settings| &settings.text).as_bytes());
        let agent = env::var_os(AGENT).unwrap_or_default();
        digest.add(agent.as_encoded_bytes());
        for jump in before {
            digest.add(jump.digest.as_bytes());
        }
        Self {
            connections,
            time,
            digest: digest.finish(),
        }
    }

    /// Takes the master that an earlier command has kept. One that was made with other keys, trusts a
    /// host key that the user does not trust any more, or leads to another machine, is ended.
    pub(super) async fn take(&self) -> Option<KeptMaster> {
        let master = self.connections.take(&self.digest)?;
        if master.record.files.are_unchanged().await {
            return Some(master);
        }
        master.end().await;
        None
    }
}

impl Keeping {
    /// Reserves the files of a new master.
    pub(super) fn reserve(&self, label: String, is_jump: bool) -> io::Result<KeptMaster> {
        let LoginKey {
            connections,
            digest,
            ..
        } = &self.key;
        connections.reserve(digest, label, is_jump, self.files.clone())
    }
}

/// A digest of parts that cannot run into each other.
#[derive(Default)]
struct LoginDigest(Sha256);

impl LoginDigest {
    fn add(&mut self, part: &[u8]) {
        self.0.update(part.len().to_be_bytes());
        self.0.update(part);
    }

    fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_digest_do_not_run_into_each_other() {
        let digest = |parts: &[&str]| {
            let mut digest = LoginDigest::default();
            for part in parts {
                digest.add(part.as_bytes());
            }
            digest.finish()
        };
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
    }
}
