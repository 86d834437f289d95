//! Which inventory is meant where none is named: found the way git finds a repository.

use std::path::{Path, PathBuf};

use super::exit::Fail;
use crate::config::{self, Overrides, Project};
use crate::script::quote;
use crate::store::{Sqlite, find};
use crate::trust;

/// The name of an inventory that is alone in its directory.
const INVENTORY: &str = "inventory.toml";

/// The inventory that is meant.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// The file.
    pub(super) path: PathBuf,
    /// The directory in which ship has found it; `None` for one that was named.
    found_in: Option<PathBuf>,
}

impl Chosen {
    /// Reads the inventory and its playbook.
    pub(super) fn load(&self, overrides: &Overrides) -> Result<Project, Fail> {
        let project = config::load(&self.path, overrides)?;
        self.check(&project)?;
        Ok(project)
    }

    /// Refuses files of another user to which an inventory leads that nobody has named.
    pub(super) fn check(&self, project: &Project) -> Result<(), Fail> {
        project
            .local_files(self.found_in.as_deref())
            .iter()
            .try_for_each(|file| self.check_file(file))
    }

    fn check_file(&self, file: &Path) -> Result<(), Fail> {
        let Some(base) = &self.found_in else {
            return Ok(());
        };
        trust::check_found(file, base).map_err(|untrusted| {
            Fail::refused(format!(
                "error: {untrusted}, and ship has found it by itself\nhint: to use it all the \
                 same, name the inventory, as in \
                 `ship status {}`; or make it yours with `{}`",
                quote(&self.path.to_string_lossy()),
                super::exit::remedy(&untrusted)
            ))
        })
    }
}

/// The inventory that was named, or the only one that was deployed from here, or else
/// `inventory.toml` where there is no other.
pub(super) fn inventory(named: Option<PathBuf>) -> Result<Chosen, Fail> {
    if let Some(named) = named {
        return Ok(Chosen {
            path: named,
            found_in: None,
        });
    }
    let here = std::env::current_dir()
        .map_err(|error| Fail::refused(format!("error: no current directory: {error}")))?;
    let place = find(&here);
    let known = match &place {
        Some(place) => match Sqlite::open_existing(place)? {
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
    let base = place
        .and_then(|place| place.dir.parent().map(Path::to_owned))
        .unwrap_or_else(|| here.clone());
    let found = |path: &PathBuf| {
        let chosen = Chosen {
            path: path.clone(),
            found_in: Some(base.clone()),
        };
        chosen.check_file(path).map(|()| chosen)
    };
    let own = here.join(INVENTORY);
    if base != here && own.is_file() && !known.is_empty() && !known.contains(&own) {
        let all: Vec<_> = std::iter::once(own).chain(known).collect();
        return Err(Fail::refused(ask(
            "one lies here, and others were deployed from a parent directory",
            &all,
            &here,
        )));
    }
    if let [only] = &known[..] {
        return found(only);
    }
    if !known.is_empty() {
        return Err(Fail::refused(ask(
            "several fleets were deployed from here",
            &known,
            &here,
        )));
    }
    match &files_nearby(&here)[..] {
        [only] if *only == here.join(INVENTORY) => found(only),
        candidates => Err(Fail::refused(ask(
            "nothing was deployed from here yet",
            candidates,
            &here,
        ))),
    }
}

fn ask(what: &str, candidates: &[PathBuf], here: &Path) -> String {
    let mut text = format!("error: which inventory? {what}; name one");
    if candidates.is_empty() {
        text.push_str(", as in `ship deploy inventory.toml`");
    } else {
        text.push(':');
        for candidate in candidates {
            text.push_str("\n  ");
            text.push_str(
                &candidate
                    .strip_prefix(here)
                    .unwrap_or(candidate)
                    .to_string_lossy(),
            );
        }
    }
    text
}

/// Whether a file is named as inventories and playbooks are.
pub(super) fn is_toml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "toml")
}

/// Files that look like inventories: `*.toml` in `inventory/`, and `inventory*.toml` here.
pub(super) fn files_nearby(here: &Path) -> Vec<PathBuf> {
    let list = |dir: PathBuf| {
        std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
    };
    let is_named_so = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("inventory"))
    };
    let mut found: Vec<_> = list(here.join("inventory"))
        .filter(|path| is_toml(path))
        .collect();
    found.extend(
        list(here.to_owned())
            .filter(|path| is_toml(path))
            .filter(is_named_so),
    );
    found.sort();
    found
}
