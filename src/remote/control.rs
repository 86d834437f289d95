//! The directory of the control sockets, which is removed however ship ends.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

use super::program;

/// The `sh` script that removes the directory after ship has ended.
const REAPER: &str = include_str!("reaper.sh");
/// The time limit for the removal when ship ends normally and almost nothing is left to remove.
const REMOVE_DEADLINE: Duration = Duration::from_secs(3);

/// A private directory with a short path, and a process that removes it.
///
/// The process reads a pipe whose other end only ship holds (no child inherits it), so that it
/// notices when ship is killed. It has its own process group: neither Ctrl-C nor a kill of ship's
/// process group reaches it. When this value is dropped, the process ends every ssh master in the
/// directory and removes it a moment later.
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
        // From here on, the reaper removes the directory.
        Ok(Self {
            path: dir.keep(),
            reaper,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory and everything in it.
    pub(super) async fn remove(mut self) {
        drop(self.reaper.stdin.take());
        if timeout(REMOVE_DEADLINE, self.reaper.wait()).await.is_err() {
            tracing::debug!(path = %self.path.display(), "still removing the control sockets");
        }
    }
}

/// Where to create the directory: a socket's path has about 100 bytes at most.
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
