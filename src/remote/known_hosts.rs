//! The host keys that were trusted when a kept connection was made.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::hex;

/// The marker of a key that must not be trusted any more.
const REVOKED: &[u8] = b"@revoked";

/// A file of host keys, as it was before a login.
///
/// ssh appends keys to such a file on its own (`StrictHostKeyChecking=accept-new`,
/// `UpdateHostKeys`), and users append those of other hosts. None of this changes which key a host
/// may have, so a file counts as unchanged if it has only grown, without a revoked key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownHosts {
    path: PathBuf,
    bytes: usize,
    sha256: String,
}

impl KnownHosts {
    /// A file that does not exist counts as empty.
    pub(super) fn read(path: &Path) -> Self {
        Self::from_content(path, &content(path))
    }

    fn from_content(path: &Path, content: &[u8]) -> Self {
        Self {
            // The next command may run in another directory.
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            bytes: content.len(),
            sha256: hex(&Sha256::digest(content)),
        }
    }

    /// Whether the file still has all its keys and no newly revoked one.
    pub(super) fn is_unchanged(&self) -> bool {
        self.is_extended_by(&content(&self.path))
    }

    fn is_extended_by(&self, content: &[u8]) -> bool {
        let Some((before, added)) = content.split_at_checked(self.bytes) else {
            return false;
        };
        let has_revoked = added
            .split(u8::is_ascii_whitespace)
            .any(|word| word == REVOKED);
        !has_revoked && hex(&Sha256::digest(before)) == self.sha256
    }
}

fn content(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hosts_may_grow_but_neither_lose_nor_revoke_a_key() {
        let file = KnownHosts::from_content(Path::new("known_hosts"), b"web1 key1\nweb2 key2\n");
        for (content, expected) in [
            ("web1 key1\nweb2 key2\n", true),
            ("web1 key1\nweb2 key2\nweb3 key3\n", true),
            ("web1 key1\n", false),
            ("web1 other\nweb2 key2\n", false),
            ("web2 key2\nweb1 key1\n", false),
            ("web1 key1\nweb2 key2\n@revoked * key1\n", false),
            ("", false),
        ] {
            assert_eq!(
                file.is_extended_by(content.as_bytes()),
                expected,
                "{content}"
            );
        }
    }
}
