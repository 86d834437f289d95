//! The files of a verb that only looks, stops or goes back: a playbook that is wrong by now does not
//! keep it from that.

use std::path::{Path, PathBuf};

use crate::config::{self, Overrides, Project};
use crate::core::ids::Revision;
use crate::store::{Inventories as _, Revisions as _, Sqlite, place_for};

/// Files that can be read.
pub(super) struct Recalled {
    pub(super) project: Project,
    /// The revision whose playbook it is; `None` for the present one.
    pub(super) as_of: Option<Revision>,
}

/// The present files with the version of the newest revision, or else that revision's own playbook.
pub(super) fn recalled(inventory: &Path, overrides: &Overrides) -> Option<Recalled> {
    let absolute: PathBuf = std::path::absolute(inventory).ok()?;
    let store = Sqlite::open_existing(&place_for(inventory)).ok()??;
    let known = store
        .inventories()
        .ok()?
        .into_iter()
        .find(|known| known.inventory == absolute)?;
    let record = store.revisions(&known.subject).ok()?.pop()?;
    let version = overrides
        .version
        .clone()
        .unwrap_or_else(|| record.definition.version.clone());
    let overrides = Overrides {
        version: Some(version),
        set: overrides.set.clone(),
    };
    // What lacks no more than a version is better than what was.
    if let Ok(project) = config::load(inventory, &overrides) {
        return Some(Recalled {
            project,
            as_of: None,
        });
    }
    let as_it_was = |path: &Path| {
        if path == inventory {
            std::fs::read(path)
        } else {
            Ok(record.playbook.clone().into_bytes())
        }
    };
    let project = config::load_with(inventory, &overrides, as_it_was).ok()?;
    Some(Recalled {
        project,
        as_of: Some(record.revision),
    })
}
