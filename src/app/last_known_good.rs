//! The files of a verb that only looks, stops or goes back: a playbook that is wrong by now, or right
//! only with what the command line of the rollout has set, does not keep it from that.

use std::io;
use std::path::Path;

use crate::config::{self, Overrides, Project};
use crate::core::ids::Revision;
use crate::store::{ServiceKey, Store};

/// Files that can be read.
pub struct LastKnownGood {
    pub project: Project,
    /// The revision whose playbook it is; `None` for the present one.
    pub as_of: Option<Revision>,
}

/// What was deployed last from an inventory, by its absolute path.
pub fn known_subject(store: &dyn Store, inventory: &Path) -> Option<ServiceKey> {
    let mut known = store.inventories().ok()?.into_iter();
    known
        .find(|known| known.inventory == inventory)
        .map(|known| known.service_key)
}

/// The present files with the version and the settings of the newest rollout, or else the playbook
/// of the newest revision.
pub fn last_known_good(
    store: &dyn Store,
    inventory: &Path,
    overrides: &Overrides,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Option<LastKnownGood> {
    let absolute = std::path::absolute(inventory).ok()?;
    let subject = known_subject(store, &absolute)?;
    let record = store.revisions(&subject).ok()?.pop()?;
    let newest = store.runs(&subject).ok()?.pop();
    let settings = newest.map(|run| run.start.set).unwrap_or_default();
    let version = overrides.version.as_ref();
    let version = version.unwrap_or(&record.definition.version).clone();
    let with = |set: Vec<String>| Overrides {
        version: Some(version.clone()),
        set,
    };
    let as_given = with(overrides.set.clone());
    let as_begun = with([settings, overrides.set.clone()].concat());
    // What lacks no more than a version is better than what was.
    for overrides in [&as_given, &as_begun] {
        if let Ok(project) = config::load_with(inventory, overrides, &read) {
            let as_of = None;
            return Some(LastKnownGood { project, as_of });
        }
    }
    let as_it_was = |path: &Path| {
        if path == inventory {
            read(path)
        } else {
            Ok(record.playbook.clone().into_bytes())
        }
    };
    let old = [&as_given, &as_begun]
        .into_iter()
        .find_map(|overrides| config::load_with(inventory, overrides, as_it_was).ok());
    Some(LastKnownGood {
        project: old?,
        as_of: Some(record.revision),
    })
}
