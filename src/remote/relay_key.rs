//! The key with which hosts receive files from each other during one rollout.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use tokio::time::timeout;

use super::program;
use super::sanitize::clean;

const DEADLINE: Duration = Duration::from_secs(5);

/// A pair of keys in the format of OpenSSH. It is only in memory.
pub struct RelayKey {
    /// One line, without a comment.
    pub public: String,
    pub private: String,
}

impl fmt::Debug for RelayKey {
    /// Does not print the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl RelayKey {
    /// Makes a new pair with `ssh-keygen`.
    ///
    /// # Errors
    /// If `ssh-keygen` is missing or fails.
    pub async fn generate() -> Result<Self, String> {
        let failed = |why: String| format!("cannot make a key with ssh-keygen: {why}");
        // Its mode is 0700.
        let dir = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
        let path = dir.path().join("key");
        let mut command = program::command("ssh-keygen");
        command
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(&path)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = timeout(DEADLINE, command.output()).await;
        let output = output.map_err(|_| failed(format!("no result within {DEADLINE:?}")))?;
        let output = output.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(clean(&String::from_utf8_lossy(&output.stderr))));
        }
        let read = |path| std::fs::read_to_string(path).map_err(|error| failed(error.to_string()));
        Ok(Self {
            public: read(path.with_extension("pub"))?.trim().to_owned(),
            private: read(path)?,
        })
    }
}
