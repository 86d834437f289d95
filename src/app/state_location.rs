//! Where the state of an inventory is: in the state directory, or in a shared database.

use std::path::Path;

use super::environment::Files;
use super::error::{Error, Refused};
use crate::config::{self, Project, SecretUrl, Transport, state_url};
use crate::core::release::Driver;
use crate::store::{
    Access, Database, RecordStore, ServiceKey, Sqlite, StateDir, Store, StoreAccess, StoreError,
    connect, state_dir_for,
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

/// Opens the state of an inventory for reading, if it exists. The inventory may have errors.
pub(crate) fn open_state_of(inventory: &Path) -> Result<Option<Box<dyn Store>>, Error> {
    let Some((url, _)) = config::shared_state(inventory) else {
        return Ok(open_existing(&state_dir_for(inventory), RecordStore::open)?);
    };
    let store = StateLocation::shared(&url)?.open_store(StoreAccess::Read)?;
    Ok(Some(Box::new(store)))
}

/// Opens the state of a state directory for reading, if it exists, even if it was moved away.
pub(crate) fn open_even_if_moved(
    state_dir: &StateDir,
) -> Result<Option<Box<dyn Store>>, StoreError> {
    open_existing(state_dir, RecordStore::open_even_if_moved)
}

/// Whether a state directory has a history of a service, and was not moved away.
pub(crate) fn has_history(state_dir: &StateDir, service_key: &ServiceKey) -> bool {
    let store = open_existing(state_dir, RecordStore::open).ok().flatten();
    let records = store.and_then(|store| store.service(service_key).ok());
    records.is_some_and(|records| !records.revisions().is_empty())
}

/// Opens the state of a state directory for reading, if it exists, with `open`.
fn open_existing(
    state_dir: &StateDir,
    open: fn(Box<dyn Database>, StoreAccess) -> Result<RecordStore, StoreError>,
) -> Result<Option<Box<dyn Store>>, StoreError> {
    let Some(database) = Sqlite::open_existing(state_dir)? else {
        return Ok(None);
    };
    Ok(Some(Box::new(open(Box::new(database), StoreAccess::Read)?)))
}

/// Who needs access to the state directory. It contains the releases of local hosts, so their
/// services need access, too, if they run as other users.
pub(crate) fn state_dir_access(project: &Project) -> Access {
    let service = &project.playbook.service;
    let has_user = |host: &config::HostConfig| {
        service.user.is_some() || service.driver != Driver::Process || host.ssh.escalation.is_root()
    };
    let needs_access = |host: &config::HostConfig| {
        host.transport == Transport::Local && host.base_dir.is_none() && has_user(host)
    };
    if project.inventory.hosts.iter().any(needs_access) {
        Access::Services
    } else {
        Access::OwnerOnly
    }
}
