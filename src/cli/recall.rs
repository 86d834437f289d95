//! A session for who only looks, stops or goes back: a playbook that is wrong by now does not keep
//! him from it.

use std::path::{Path, PathBuf};

use super::exit::Fail;
use super::session::{Session, StoreAccess};
use super::{args, lookup, note};
use crate::config::{self, Overrides, Project};
use crate::core::ids::Revision;
use crate::store::{Sqlite, Store as _, place_for};

impl Session {
    /// Opens as [`Session::open`] does. Where the playbook is wrong, or says no version without the
    /// command line, it is read as the newest revision has it.
    pub(super) fn recall(
        inventory: args::InventoryArg,
        overrides: &Overrides,
        access: StoreAccess,
    ) -> Result<Self, Fail> {
        let chosen = lookup::inventory(inventory.inventory)?;
        let project = match config::load(&chosen.path, overrides) {
            Ok(project) => project,
            Err(wrong) => {
                let Some(Recalled { project, as_of }) = recalled(&chosen.path, overrides) else {
                    return Err(wrong.into());
                };
                if let Some(revision) = as_of {
                    note(&format!(
                        "note: the playbook is wrong (`ship check` says how); it is read as \
                         revision {revision} has it"
                    ));
                }
                project
            }
        };
        chosen.check(&project)?;
        Self::of(project, chosen.path, overrides, access)
    }
}

/// Files that can be read.
struct Recalled {
    project: Project,
    /// The revision whose playbook it is; `None` for the present one.
    as_of: Option<Revision>,
}

/// The present files with the version of the newest revision, or else that revision's own playbook.
fn recalled(inventory: &Path, overrides: &Overrides) -> Option<Recalled> {
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
