//! Where the state of an inventory is: in the state directory, or in a shared database.

use super::control_machine::state_dir_access;
use super::environment::Files;
use super::error::{Error, Refused};
use crate::config::{SecretUrl, state_url};
use crate::store::{
    Access, Database, RecordStore, Sqlite, StateDir, StoreAccess, StoreError, connect,
};

/// Where the state is.
pub(crate) enum StateLocation {
    Directory(StateDir, Access),
    /// The URL of a shared database, which may contain a password.
    Shared(String),
}

impl StateLocation {
    /// The location that the files name.
    pub(crate) fn of(files: &Files) -> Result<Self, Error> {
        match &files.project.inventory.state {
            Some(url) => Self::shared(url),
            None => Ok(Self::Directory(
                files.state_dir.clone(),
                state_dir_access(&files.project),
            )),
        }
    }

    /// A shared database.
    pub(crate) fn shared(url: &SecretUrl) -> Result<Self, Error> {
        let resolved = url.resolve(state_url);
        Ok(Self::Shared(resolved.map_err(Refused::UnknownStateUrl)?))
    }

    /// Opens the database.
    pub(crate) fn open(&self, access: StoreAccess) -> Result<Box<dyn Database>, StoreError> {
        Ok(match (self, access) {
            (Self::Shared(url), access) => connect(url, access)?,
            (Self::Directory(state_dir, _), StoreAccess::Read) => {
                Box::new(Sqlite::open_to_read(state_dir)?)
            }
            (Self::Directory(state_dir, services), StoreAccess::Write) => {
                Box::new(Sqlite::open_for(state_dir, *services)?)
            }
        })
    }

    /// Opens the store.
    pub(crate) fn open_store(&self, access: StoreAccess) -> Result<RecordStore, StoreError> {
        RecordStore::open(self.open(access)?, access)
    }
}
