//! The connections that are kept for the next command.
//!
//! A kept connection is an ssh master with a socket in a private directory, and a record that
//! describes it. A master belongs to one process at a time: the one that has renamed the record owns
//! the master, and writes the record again at its end. So two commands never share a master, and the
//! master of a killed command is never used by the next one.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::login_files::LoginFiles;
use super::ssh_config::exit_master;
use crate::config::hex;
use crate::system::accounts::{effective_uid, user_name};
use crate::trust;

const PRIVATE: u32 = 0o700;
const BEYOND_OWNER: u32 = 0o077;
/// The limit of the directory's path: that of a socket has 104 bytes on some systems, and ssh adds 17
/// while it creates the socket.
const DIR_BYTES_MAX: usize = 72;
const RUNTIME_DIR_BYTES_MAX: usize = 48;
/// The digits of a digest in a name.
const DIGITS: usize = 16;
/// A file without a master is removed after this time. A login that is in progress has one soon.
const LEFTOVER_AGE: Duration = Duration::from_mins(10);
/// The limit of ssh processes that end masters.
const EXITS_CONCURRENT_MAX: usize = 16;

const RECORD: &str = "record-";
/// The prefix of a record whose master is being closed.
const CLOSING: &str = "closing-";
const MASTER: &str = "m-";
const LOG: &str = ".log";

/// The kept connections of one inventory.
#[derive(Debug)]
pub struct KeptConnections {
    dir: PathBuf,
}

/// Why ship keeps no connections.
#[derive(Debug, thiserror::Error)]
#[error("{} {why}", path.display())]
pub struct NotPrivate {
    path: PathBuf,
    why: String,
}

/// How many connections were closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClosedConnections {
    pub hosts: usize,
    pub jump_hosts: usize,
    /// The connections whose ssh process does not answer. They are still open.
    pub stuck: usize,
    /// The connections that a command is using. They are still open, and are kept at its end.
    pub in_use: usize,
}

/// A master that lasts until the next command, owned by this process.
#[derive(Debug)]
pub(super) struct KeptMaster {
    dir: PathBuf,
    /// The name of the record: what decides the login.
    digest: String,
    pub(super) record: KeptRecord,
}

/// The description of a kept master.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeptRecord {
    /// The name of its socket.
    socket: String,
    /// The host in the inventory, or the jump host.
    label: String,
    pub(super) is_jump: bool,
    /// How many connections were made through it, if it is a jump host's.
    pub(super) hosts: usize,
    pub(super) files: LoginFiles,
}

impl KeptConnections {
    /// Those of an inventory file.
    ///
    /// # Errors
    /// If the directory belongs to another user, is accessible to others, or cannot be created.
    pub fn of(inventory: &Path) -> Result<Self, NotPrivate> {
        Self::in_dir(&base_dir(), inventory)
    }

    /// Like [`of`](Self::of), in a directory other than the default.
    ///
    /// # Errors
    /// As for [`of`](Self::of).
    pub fn in_dir(base: &Path, inventory: &Path) -> Result<Self, NotPrivate> {
        let absolute = || std::path::absolute(inventory).unwrap_or_else(|_| inventory.to_owned());
        let inventory = inventory.canonicalize().unwrap_or_else(|_| absolute());
        let dir = base.join(short_digest(inventory.as_os_str().as_encoded_bytes()));
        if dir.as_os_str().len() > DIR_BYTES_MAX {
            let why = "has a path that is too long for a socket".to_owned();
            return Err(NotPrivate { path: dir, why });
        }
        make_private(base)?;
        make_private(&dir)?;
        let kept = Self { dir };
        kept.remove_leftovers();
        Ok(kept)
    }

    /// Reserves the files of a new master.
    pub(super) fn reserve(
        &self,
        digest: &str,
        label: String,
        is_jump: bool,
        files: LoginFiles,
    ) -> io::Result<KeptMaster> {
        let log = tempfile::Builder::new()
            .prefix(MASTER)
            .suffix(LOG)
            .rand_bytes(8)
            .tempfile_in(&self.dir)?;
        let (_, path) = log.keep().map_err(|error| error.error)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let record = KeptRecord {
            socket: name.trim_end_matches(LOG).to_owned(),
            label,
            is_jump,
            hosts: 0,
            files,
        };
        Ok(KeptMaster {
            dir: self.dir.clone(),
            digest: digest.to_owned(),
            record,
        })
    }

    /// Takes the master of a login away from every other process.
    pub(super) fn take(&self, digest: &str) -> Option<KeptMaster> {
        self.take_record(&record_name(digest), digest)
    }

    fn take_record(&self, name: &str, digest: &str) -> Option<KeptMaster> {
        // Only one process can rename the record, and what it then reads is what it has renamed.
        let taken = tempfile::Builder::new()
            .prefix("taken-")
            .tempfile_in(&self.dir)
            .ok()?
            .into_temp_path();
        fs::rename(self.dir.join(name), &taken).ok()?;
        self.read_record(&taken, digest)
    }

    fn read_record(&self, path: &Path, digest: &str) -> Option<KeptMaster> {
        let record = fs::read(path).ok()?;
        let record: KeptRecord = serde_json::from_slice(&record).ok()?;
        let is_name = record.socket.starts_with(MASTER) && !record.socket.contains('/');
        is_name.then(|| KeptMaster {
            dir: self.dir.clone(),
            digest: digest.to_owned(),
            record,
        })
    }

    /// Closes all of them, except those that a command is using.
    pub async fn close(&self) -> ClosedConnections {
        let names = self
            .names()
            .filter(|name| name.starts_with(RECORD) || name.starts_with(CLOSING));
        let mut masters: Vec<_> = names.filter_map(|name| self.begin_close(&name)).collect();
        masters.retain(|(record, master)| {
            let is_alive = UnixStream::connect(master.socket()).is_ok();
            if !is_alive {
                master.remove_files();
                drop(fs::remove_file(record));
            }
            is_alive
        });
        let (jump_hosts, hosts): (Vec<_>, Vec<_>) = masters
            .into_iter()
            .partition(|(_, master)| master.record.is_jump);
        let mut closed = Vec::new();
        for group in [hosts, jump_hosts] {
            let ends = stream::iter(group).map(|(record, master)| async move {
                let has_ended = master.has_ended().await;
                if has_ended {
                    drop(fs::remove_file(record));
                }
                (master, has_ended)
            });
            let ended: Vec<_> = ends.buffered(EXITS_CONCURRENT_MAX).collect().await;
            closed.extend(ended);
        }
        ClosedConnections {
            in_use: self.count_other_sockets(&closed),
            ..ClosedConnections::of(&closed)
        }
    }

    /// The sockets of running masters, without those that are to be closed.
    fn count_other_sockets(&self, closed: &[(KeptMaster, bool)]) -> usize {
        let is_known = |name: &str| {
            closed
                .iter()
                .any(|(master, _)| master.record.socket == name)
        };
        let sockets = self
            .names()
            .filter(|name| name.starts_with(MASTER) && !name.ends_with(LOG) && !is_known(name));
        sockets
            .filter(|name| UnixStream::connect(self.dir.join(name)).is_ok())
            .count()
    }

    /// Takes a master away from every command. The record stays under another name until the master
    /// has ended, so that the next attempt finds what an interrupted one has left.
    fn begin_close(&self, name: &str) -> Option<(PathBuf, KeptMaster)> {
        let mut record = self.dir.join(name);
        if let Some(digest) = name.strip_prefix(RECORD) {
            let closing = self.dir.join(format!("{CLOSING}{digest}"));
            fs::rename(&record, &closing).ok()?;
            record = closing;
        }
        let master = self.read_record(&record, "")?;
        Some((record, master))
    }

    /// Removes the files of masters that have ended by themselves.
    fn remove_leftovers(&self) {
        let is_old = |path: &Path| {
            let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
            let age = modified
                .ok()
                .and_then(|at| SystemTime::now().duration_since(at).ok());
            age.is_some_and(|age| age >= LEFTOVER_AGE)
        };
        for name in self.names() {
            let path = self.dir.join(&name);
            if name.starts_with(RECORD) {
                let record = fs::read(&path).ok();
                let record = record.and_then(|text| serde_json::from_slice(&text).ok());
                let socket = record.map(|record: KeptRecord| self.dir.join(record.socket));
                if socket.is_none_or(|socket| !socket.exists())
                    && let Some(master) = self.take_record(&name, "")
                {
                    master.remove_files();
                }
            } else if is_old(&path) {
                let socket = self.dir.join(name.trim_end_matches(LOG));
                if !name.starts_with(MASTER) || is_dead(&socket) {
                    drop(fs::remove_file(&path));
                }
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    }
}

impl ClosedConnections {
    /// Counts masters, each with whether it has ended.
    fn of(masters: &[(KeptMaster, bool)]) -> Self {
        let count = |is_jump| {
            let found = masters
                .iter()
                .filter(|(master, has_ended)| *has_ended && master.record.is_jump == is_jump);
            found
                .map(|(master, _)| &master.record.label)
                .collect::<BTreeSet<_>>()
                .len()
        };
        Self {
            hosts: count(false),
            jump_hosts: count(true),
            stuck: masters.iter().filter(|(_, has_ended)| !has_ended).count(),
            in_use: 0,
        }
    }
}

impl KeptMaster {
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join(&self.record.socket)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join(format!("{}{LOG}", self.record.socket))
    }

    /// Leaves the master to the next command. `hosts` is how many connections this one has made
    /// through it. Returns false if another master for the same login is kept already.
    pub(super) fn keep(&self, hosts: usize) -> io::Result<bool> {
        let record = KeptRecord {
            hosts: self.record.hosts + hosts,
            ..self.record.clone()
        };
        let mut file = tempfile::Builder::new()
            .prefix("new-")
            .tempfile_in(&self.dir)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        match file.persist_noclobber(self.dir.join(record_name(&self.digest))) {
            Ok(_) => Ok(true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.error),
        }
    }

    /// Ends the master and removes its files. One that does not answer is recorded, so that
    /// [`KeptConnections::close`] finds it.
    pub(super) async fn end(&self) {
        if self.has_ended().await {
            return;
        }
        let path = self.dir.join(format!("{CLOSING}{}", self.record.socket));
        let record = serde_json::to_vec(&self.record).unwrap_or_default();
        if let Err(error) = fs::write(&path, record) {
            tracing::warn!(%error, "cannot record a connection that does not end");
        }
    }

    /// Ends the master and removes its files; returns false if it does not answer.
    async fn has_ended(&self) -> bool {
        let has_ended = exit_master(&self.socket()).await || is_dead(&self.socket());
        if has_ended {
            self.remove_files();
        }
        has_ended
    }

    /// Removes what a master that has ended leaves in the directory.
    pub(super) fn remove_files(&self) {
        for path in [self.socket(), self.log()] {
            // ssh itself removes its socket, unless it was killed.
            drop(fs::remove_file(path));
        }
    }
}

/// Whether a socket is missing, or remains from a process that was killed.
fn is_dead(path: &Path) -> bool {
    let is_dead = |error: io::Error| {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        matches!(error.kind(), ConnectionRefused | NotFound)
    };
    UnixStream::connect(path).is_err_and(is_dead)
}

fn record_name(digest: &str) -> String {
    format!("{RECORD}{digest}")
}

fn short_digest(bytes: &[u8]) -> String {
    let mut digest = hex(&Sha256::digest(bytes));
    digest.truncate(DIGITS);
    digest
}

/// Where the directories of all inventories are: the user's runtime directory, or `/tmp`. Not
/// `TMPDIR`, which may differ between two commands and may have a long path.
fn base_dir() -> PathBuf {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usable = runtime_dir.filter(|dir| {
        dir.is_absolute()
            && dir.as_os_str().len() <= RUNTIME_DIR_BYTES_MAX
            && dir.is_dir()
            && trust::check_own(dir).is_ok()
    });
    usable.map_or_else(
        || PathBuf::from(format!("/tmp/ship-{}", effective_uid())),
        |dir| dir.join("ship"),
    )
}

/// Creates a directory for this user alone. An existing one must be exactly that.
fn make_private(path: &Path) -> Result<(), NotPrivate> {
    let refused = |why: String| NotPrivate {
        path: path.to_owned(),
        why,
    };
    let failed = |error: io::Error| refused(format!("cannot be used: {error}"));
    match DirBuilder::new().mode(PRIVATE).create(path) {
        // Whatever the umask is.
        Ok(()) => {
            fs::set_permissions(path, Permissions::from_mode(PRIVATE)).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let metadata = fs::symlink_metadata(path).map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    let owner = metadata.uid();
    if metadata.is_symlink() {
        Err(refused("is a symbolic link".to_owned()))
    } else if !metadata.is_dir() {
        Err(refused("is not a directory".to_owned()))
    } else if owner != effective_uid() {
        let name = user_name(owner).unwrap_or_else(|| format!("uid {owner}"));
        Err(refused(format!("belongs to {name}")))
    } else if mode & BEYOND_OWNER != 0 {
        Err(refused(format!(
            "is accessible to other users (mode {mode:04o})"
        )))
    } else {
        Ok(())
    }
}
