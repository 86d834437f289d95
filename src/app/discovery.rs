//! Finds the inventory if the command line has none, the way git finds a repository.

use std::path::{Path, PathBuf};

use super::error::{Error, Refused};
use crate::app::state_location::open_even_if_moved;
use crate::config::Project;
use crate::store::find;
use crate::trust;

/// The default name of an inventory.
const INVENTORY: &str = "inventory.toml";

#[derive(Clone, Debug)]
pub struct ChosenInventory {
    pub path: PathBuf,
    /// The directory in which ship found the inventory; `None` if the user named it.
    found_in: Option<PathBuf>,
}

impl ChosenInventory {
    /// Refuses files of another user, if ship found the inventory on its own.
    pub(crate) fn check(&self, project: &Project) -> Result<(), Error> {
        project
            .local_files(self.found_in.as_deref())
            .iter()
            .try_for_each(|file| self.check_file(file))
    }

    fn check_file(&self, file: &Path) -> Result<(), Error> {
        let Some(base) = &self.found_in else {
            return Ok(());
        };
        trust::check_found(file, base).map_err(|untrusted| {
            let inventory = self.path.clone();
            Refused::FoundUntrusted {
                untrusted,
                inventory,
            }
            .into()
        })
    }
}

/// The named inventory, or the only one that was deployed from here, or else `inventory.toml` if it
/// is the only candidate.
pub(crate) fn find_inventory(named: Option<PathBuf>) -> Result<ChosenInventory, Error> {
    if let Some(named) = named {
        return Ok(ChosenInventory {
            path: named,
            found_in: None,
        });
    }
    let here = std::env::current_dir().map_err(Refused::NoDirectory)?;
    let state_dir = find(&here);
    let known = match &state_dir {
        Some(state_dir) => match open_even_if_moved(state_dir)? {
            Some(store) => store
                .inventories()?
                .into_iter()
                .map(|known| known.inventory)
                .collect(),
            None => Vec::new(),
        },
        None => Vec::new(),
    };
    let mut known: Vec<PathBuf> = known.into_iter().filter(|path| path.is_file()).collect();
    known.dedup();
    let base = state_dir
        .and_then(|state_dir| state_dir.dir.parent().map(Path::to_owned))
        .unwrap_or_else(|| here.clone());
    let found = |path: &PathBuf| {
        let chosen = ChosenInventory {
            path: path.clone(),
            found_in: Some(base.clone()),
        };
        chosen.check_file(path).map(|()| chosen)
    };
    let unclear = |reason: &'static str, candidates: Vec<PathBuf>| {
        let here = here.clone();
        let which = Refused::NoInventoryChosen {
            reason,
            candidates,
            here,
        };
        Err(which.into())
    };
    let own = here.join(INVENTORY);
    if base != here && own.is_file() && !known.is_empty() && !known.contains(&own) {
        let all: Vec<_> = std::iter::once(own).chain(known).collect();
        return unclear(
            "there is one in this directory, and others were deployed from a parent directory",
            all,
        );
    }
    if let [only] = &known[..] {
        return found(only);
    }
    if !known.is_empty() {
        return unclear(
            "several inventories were deployed from here or a parent directory",
            known,
        );
    }
    match &files_nearby(&here)[..] {
        [only] if *only == here.join(INVENTORY) => found(only),
        candidates => unclear(
            "nothing has been deployed from here yet",
            candidates.to_vec(),
        ),
    }
}

/// Whether a file is named like an inventory or a playbook.
pub fn is_toml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "toml")
}

/// Possible inventories: `inventory/*.toml` and `inventory*.toml`.
pub fn files_nearby(here: &Path) -> Vec<PathBuf> {
    let list = |dir: PathBuf| {
        std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let is_inventory_name = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("inventory"))
    };
    let mut found: Vec<_> = list(here.join("inventory"))
        .filter(|path| is_toml(path))
        .collect();
    found.extend(
        list(here.to_owned())
            .filter(|path| is_toml(path))
            .filter(is_inventory_name),
    );
    found.sort();
    found
}
