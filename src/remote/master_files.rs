//! The files of an ssh master on this machine, and how long it lasts.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::{TempDir, TempPath};

use super::kept_connections::KeptMaster;
use super::login::Login;

/// The name of the socket. It is short: the path of a socket has at most 104 bytes on some systems,
/// and ssh adds 17 while it creates the socket.
const SOCKET: &str = "m";

/// The files of an ssh master.
#[derive(Debug)]
pub(super) struct MasterFiles {
    /// The directory of this process: its sockets, or links to those that outlive it.
    dir: TempDir,
    pub(super) lifetime: MasterLifetime,
}

/// When a master ends.
#[derive(Debug)]
pub(super) enum MasterLifetime {
    /// With this process.
    Process,
    /// Some time after this process, unless another one uses it.
    Kept(Box<KeptMaster>),
    /// When the user ends it; this is its socket (`ControlPath`).
    User(PathBuf),
}

impl MasterFiles {
    /// The files of a new master, in a directory below `dir`.
    pub(super) fn reserve(login: &Login, dir: &Path) -> io::Result<Self> {
        let lifetime = match &login.keeping {
            Some(keeping) => {
                let kept = keeping.reserve(login.label(), login.is_jump)?;
                MasterLifetime::Kept(Box::new(kept))
            }
            None => MasterLifetime::Process,
        };
        Self::of(lifetime, dir)
    }

    /// The files of a master, in a directory below `dir`.
    pub(super) fn of(lifetime: MasterLifetime, dir: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("c").tempdir_in(dir)?;
        match &lifetime {
            MasterLifetime::Process => {}
            // The reaper ends it if this process is killed.
            MasterLifetime::Kept(kept) => symlink(kept.socket(), dir.path().join(SOCKET))?,
            // The reaper cancels the forwards on it.
            MasterLifetime::User(socket) => symlink(socket, dir.path().join("user"))?,
        }
        Ok(Self { dir, lifetime })
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The socket on which the master takes commands.
    pub(super) fn socket(&self) -> PathBuf {
        match &self.lifetime {
            MasterLifetime::Process => self.dir.path().join(SOCKET),
            MasterLifetime::Kept(kept) => kept.socket(),
            MasterLifetime::User(socket) => socket.clone(),
        }
    }

    /// Makes the reaper forget the master.
    pub(super) fn unlink(&self) {
        drop(fs::remove_file(self.dir.path().join(SOCKET)));
    }

    /// Removes the files of a kept master that has ended.
    pub(super) fn remove_kept(&self) {
        if let MasterLifetime::Kept(kept) = &self.lifetime {
            kept.remove_files();
        }
    }

    /// The path of a socket that is forwarded to the host.
    pub(super) fn forward_socket(&self, number: usize) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    /// Records a socket that is about to be forwarded to `target`, so that the reaper cancels the
    /// forward on the user's master if this process is killed.
    pub(super) fn record_forward(&self, socket: &Path, target: &str) -> io::Result<()> {
        if !matches!(self.lifetime, MasterLifetime::User(_)) {
            return Ok(());
        }
        let path = self.dir.path().join("forwards");
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{}:{target}", socket.display())
    }

    /// Records the process group of a login while it is in progress, for the reaper in case
    /// ship is killed.
    pub(super) fn record_group(&self, leader: u32) -> io::Result<TempPath> {
        let path = TempPath::try_from_path(self.dir.path().join("login"))?;
        fs::write(&path, format!("{leader}\n"))?;
        Ok(path)
    }

    /// Everything that ssh has printed so far.
    pub(super) fn log(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    pub(super) fn log_path(&self) -> PathBuf {
        match &self.lifetime {
            MasterLifetime::Kept(kept) => kept.log(),
            MasterLifetime::Process | MasterLifetime::User(_) => self.dir.path().join("log"),
        }
    }

    pub(super) fn empty_log(&self) -> io::Result<File> {
        File::create(self.log_path())?;
        OpenOptions::new().append(true).open(self.log_path())
    }
}
