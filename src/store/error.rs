//! Errors of the state store.

use crate::store::lease::Holder;
use crate::store::locks;
use crate::trust::Untrusted;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{}", database_text(.path, .source))]
    Database {
        path: PathBuf,
        source: rusqlite::Error,
    },
    /// The state directory belongs to another user, or others can write to it.
    #[error("{0}")]
    Untrusted(#[from] Untrusted),
    /// A directory or file of the state cannot be created or read.
    #[error("{}", directory_text(.path, .source))]
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A stored value cannot be decoded.
    #[error("the state in {location} contains data that this version of ship cannot read ({what})\n{}", unreadable_hint(.location))]
    Unreadable {
        /// A path, or a URL without a password.
        location: String,
        what: String,
    },
    /// A shared database cannot be reached, does not answer, or has no space. It may work again
    /// later.
    #[error("cannot use the state in {location}: {why}\nhint: {hint}")]
    Unavailable {
        /// The URL, without a password.
        location: String,
        /// What was being done, and what the other side answered.
        why: String,
        hint: String,
    },
    /// A shared database was reached, or its URL read, but ship cannot or must not use it: a wrong
    /// password, a missing privilege, tables of another program.
    #[error("cannot use the state in {location}: {why}\nhint: {hint}")]
    Rejected {
        /// The URL, without a password.
        location: String,
        why: String,
        hint: String,
    },
    /// Another process changes the same records all the time.
    #[error("the state in {location} is changed by several processes at once\nhint: try again")]
    Contended { location: String },
    /// Another controller holds the lease.
    #[error(
        "{0}\nhint: wait with `--lock-timeout 10m`, stop it with `ship pause` or `ship abort`, or break \
         the lock with `ship unlock`"
    )]
    Held(Box<Holder>),
    /// The lease was lost to another controller.
    #[error(
        "the lock was taken over by another ship process: someone broke it with `ship unlock`, or it \
         was not renewed in time; this process has stopped\nhint: see the state of the rollout with \
         `ship status`"
    )]
    LeaseLost,
}

impl StoreError {
    /// Whether a further attempt may succeed, for example because the disk has space again.
    pub fn may_be_temporary(&self) -> bool {
        match self {
            Self::Database { .. }
            | Self::Directory { .. }
            | Self::Unavailable { .. }
            | Self::Contended { .. } => true,
            Self::Untrusted(_)
            | Self::Unreadable { .. }
            | Self::Rejected { .. }
            | Self::Held(_)
            | Self::LeaseLost => false,
        }
    }
}

/// The system's error, with a hint.
pub(super) fn directory_text(path: &Path, source: &std::io::Error) -> String {
    let failed = format!("cannot access the state in {}: {source}", path.display());
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!("{failed}\nhint: run ship as the user who owns it")
        }
        _ => failed,
    }
}

/// The database's error, with a hint.
pub(super) fn database_text(path: &Path, source: &rusqlite::Error) -> String {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly,
    };
    let shown = path.display();
    let failed = format!("the state database {shown} failed: {source}");
    match source.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => {
            let holders = locks::holders(path);
            let who = if holders.is_empty() {
                "another process".to_owned()
            } else {
                holders.join(" and ")
            };
            format!(
                "the state database {shown} is locked by {who}\nhint: wait until that process has \
                     finished, or stop it"
            )
        }
        Some(DiskFull) => format!("{failed}\nhint: free space on the disk"),
        Some(CannotOpen | PermissionDenied | ReadOnly) => format!(
            "{failed}\nhint: run ship as the user who owns {shown}, on a writable file system, or {}",
            recovery_hint(path).trim_start_matches("hint: ")
        ),
        _ => format!("{failed}\n{}", recovery_hint(path)),
    }
}

/// The hint for data that cannot be read.
fn unreadable_hint(location: &str) -> String {
    if location.contains("://") {
        "hint: use the version of ship that wrote it".to_owned()
    } else {
        recovery_hint(Path::new(location))
    }
}

/// The hint for a database that cannot be used.
pub(super) fn recovery_hint(path: &Path) -> String {
    let path = crate::script::quote(&path.to_string_lossy());
    format!(
        "hint: move the database away with `mv {path} {path}.bad`; the next deploy then adopts what \
         runs on the hosts and starts a new history"
    )
}
