//! How a probe reaches an instance.

use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Over the network.
    Direct {
        /// A name or an IP address.
        address: String,
    },
    /// Through a unix socket of this machine, which ssh forwards to the instance's port.
    Socket(PathBuf),
}

impl Route {
    pub(super) fn socket(&self) -> Option<&Path> {
        match self {
            Route::Direct { .. } => None,
            Route::Socket(path) => Some(path),
        }
    }
}
