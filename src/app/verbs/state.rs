//! `ship state`: shows where the state is, and moves it.

use std::path::PathBuf;
use std::time::Duration;

use crate::app::control_machine::{ControlMachine, remember_inventory};
use crate::app::deadline::Deadline;
use crate::app::environment::{Environment as _, Reading};
use crate::app::error::{Error, Refused};
use crate::app::notice::Notice;
use crate::app::state_location::StateLocation;
use crate::config::{Overrides, state_url};
use crate::store::{
    Access, CopiedRecords, RecordStore, Store as _, StoreAccess, StoreError, StoreFacts, relocate,
    services_of,
};

/// The word for the state directory as the destination of `ship state move`.
pub const LOCAL: &str = "local";

/// A completed move.
pub struct StateMove {
    pub from: String,
    pub to: String,
    pub copied: CopiedRecords,
    /// The inventory in which `[state]` must be changed.
    pub inventory: PathBuf,
    /// Whether that inventory has a `[state]` table.
    pub has_state_table: bool,
}

/// Reads where the state is.
///
/// # Errors
/// If the files or the state cannot be read.
pub fn show(machine: &ControlMachine) -> Result<StoreFacts, Error> {
    let files = machine.read_files(&Overrides::default(), Reading::WithoutHosts)?;
    let store = StateLocation::of(&files)?.open_store(StoreAccess::Read)?;
    Ok(store.facts()?)
}

/// Moves the state to a URL or back to the state directory, while no other process can change it.
///
/// # Errors
/// If another process holds a lease, a database cannot be used, or the destination already contains
/// state. Then the state stays where it is.
pub async fn move_to(
    machine: &ControlMachine,
    destination: &str,
    lock_timeout: Duration,
) -> Result<StateMove, Error> {
    let files = machine.read_files(&Overrides::default(), Reading::WithoutHosts)?;
    let source = StateLocation::of(&files)?;
    let target = if destination == LOCAL {
        StateLocation::Directory(files.state_dir.clone(), Access::OwnerOnly)
    } else {
        let url = state_url(destination)
            .map_err(|why| Refused::UnknownStateUrl(format!("the URL {why}")))?;
        if contains_password(&url) {
            return Err(Refused::PasswordInArgument.into());
        }
        StateLocation::Shared(url)
    };
    // The state may have been moved away already.
    source.open_store(StoreAccess::Read)?;
    let from = source.open(StoreAccess::Write)?;
    let to = target.open(StoreAccess::Write)?;
    if from.location() == to.location() {
        return Err(Refused::StateIsThere(to.location()).into());
    }
    let mut locks = Vec::new();
    for service_key in services_of(&*from)? {
        let mut store = source.open_store(StoreAccess::Write)?;
        let mut deadline = Deadline::after(lock_timeout);
        loop {
            let holder = machine.lease_holder("state move");
            match store.acquire_lease(&service_key, holder, None) {
                Err(StoreError::Held(holder)) if !deadline.has_passed() => {
                    if deadline.is_first_poll() {
                        machine.notify(&Notice::WaitingForLease {
                            holder: holder.to_string(),
                            wait: lock_timeout,
                        });
                    }
                    deadline.sleep().await;
                }
                taken => break taken?,
            }
        }
        locks.push(store);
    }
    let copied = relocate(&*from, &*to, || {
        locks.iter_mut().try_for_each(RecordStore::renew_lease)
    })?;
    if destination == LOCAL {
        remember_inventory(&files);
    }
    Ok(StateMove {
        has_state_table: files.project.inventory.state.is_some(),
        from: from.location(),
        to: to.location(),
        copied,
        inventory: files.inventory,
    })
}

/// Whether a URL contains a password, which other users of the machine can see among the arguments.
fn contains_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let login = authority.rsplit_once('@').map(|(login, _)| login);
    login.is_some_and(|login| login.contains(':')) || rest.contains("password=")
}
