//! The directory of the control sockets, which is removed when ship ends, in whichever way.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

use super::program;

/// The script for `sh` that removes the directory after ship has ended.
const REAPER: &str = include_str!("reaper.sh");
/// The time limit for the removal at a normal end, when almost nothing is left.
const REMOVE_DEADLINE: Duration = Duration::from_secs(3);

/// A private directory with a short path, and a process that waits to remove it.
///
/// The process reads a pipe whose other end only ship holds (no child inherits it), so that it
/// notices the end of a ship that was killed. It has a process group of its own: neither a Ctrl-C
/// nor a kill of ship's group reaches it. Dropped, the directory goes a moment later; then every
/// master in it is ended.
#[derive(Debug)]
pub(super) struct ControlDir {
    path: PathBuf,
    reaper: Child,
}

impl ControlDir {
    pub(super) fn make(parent: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("ship-")
            .tempdir_in(parent)?;
        let mut command = program::command("sh");
        command
            .args(["-c", REAPER, "ship-reaper"])
            .arg(dir.path())
            .current_dir("/")
            .process_group(0);
        let reaper = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // From here on it is the process that removes it.
        Ok(Self {
            path: dir.keep(),
            reaper,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory with all files.
    pub(super) async fn remove(mut self) {
        drop(self.reaper.stdin.take());
        if timeout(REMOVE_DEADLINE, self.reaper.wait()).await.is_err() {
            tracing::debug!(path = %self.path.display(), "the control sockets are still being \
                                                          cleared away");
        }
    }
}

/// Where to make it: a socket's path has some 100 bytes at most.
pub(super) fn parent() -> PathBuf {
    const PARENT_BYTES_MAX: usize = 48;
    let candidates = [
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
        Some(std::env::temp_dir()),
    ];
    candidates
        .into_iter()
        .flatten()
        .find(|dir| dir.is_absolute() && dir.as_os_str().len() <= PARENT_BYTES_MAX && dir.is_dir())
        .unwrap_or_else(|| PathBuf::from("/tmp"))
}
