//! Why the state cannot be used.

use crate::store::lease::Holder;
use crate::store::locks;
use crate::trust::Untrusted;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the store could not do its work.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{}", database_text(.path, .source))]
    Database {
        path: PathBuf,
        source: rusqlite::Error,
    },
    /// It belongs to another user, or others can write to it.
    #[error("{0}")]
    Untrusted(#[from] Untrusted),
    /// A directory or file of the state cannot be made or read.
    #[error("{}", directory_text(.path, .source))]
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The stored value cannot be decoded.
    #[error("the state database {} holds what this version of ship cannot read ({what})\n{}", path.display(), adopt(.path))]
    Unreadable { path: PathBuf, what: String },
    /// Another controller holds the lease.
    #[error("{0}")]
    Held(Box<Holder>),
    /// The lease was lost to another controller.
    #[error("the lease was taken over by another ship")]
    LeaseLost,
}

/// The system's message, and what to do about it.
pub(super) fn directory_text(path: &Path, source: &std::io::Error) -> String {
    let failed = format!("cannot use {} for the state: {source}", path.display());
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!("{failed}\nhint: run ship as the user who owns it")
        }
        _ => failed,
    }
}

/// The database's message, and what to do about it.
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
                 ended, or end it"
            )
        }
        Some(DiskFull) => format!("{failed}\nhint: make room on the disk"),
        Some(CannotOpen | PermissionDenied | ReadOnly) => format!(
            "{failed}\nhint: run ship as the user who owns {shown}, on a file system that can be \
             written, or {}",
            adopt(path).trim_start_matches("hint: ")
        ),
        _ => format!("{failed}\n{}", adopt(path)),
    }
}

/// The hint for a database that is missing.
pub(super) fn adopt(path: &Path) -> String {
    let path = crate::script::quote(&path.to_string_lossy());
    format!(
        "hint: move the database away with `mv {path} {path}.bad`: the next deploy adopts what \
         runs on the hosts and begins \
         a new history"
    )
}
