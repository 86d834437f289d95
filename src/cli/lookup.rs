//! Which inventory is meant where none is named: found the way git finds a repository.

use std::path::{Path, PathBuf};

use super::exit::Fail;
use crate::store::{Sqlite, find};

/// The inventory that was named, or the only one that was deployed from here.
pub(super) fn inventory(named: Option<PathBuf>) -> Result<PathBuf, Fail> {
    if let Some(named) = named {
        return Ok(named);
    }
    let here =
        std::env::current_dir().map_err(|error| Fail::refused(format!("error: no current directory: {error}")))?;
    let known = match find(&here) {
        Some(place) => match Sqlite::open_existing(&place)? {
            Some(store) => store.inventories()?.into_iter().map(|known| known.inventory).collect(),
            None => Vec::new(),
        },
        None => Vec::new(),
    };
    let mut known: Vec<PathBuf> = known.into_iter().filter(|path| path.is_file()).collect();
    known.dedup();
    if let [only] = &known[..] {
        return Ok(only.clone());
    }
    let (what, candidates) = if known.is_empty() {
        ("nothing was deployed from here yet", files_nearby(&here))
    } else {
        ("several fleets were deployed from here", known)
    };
    Err(Fail::refused(ask(what, &candidates, &here)))
}

fn ask(what: &str, candidates: &[PathBuf], here: &Path) -> String {
    let mut text = format!("error: which inventory? {what}; name one");
    if candidates.is_empty() {
        text.push_str(", as in `ship deploy inventory.toml`");
    } else {
        text.push(':');
        for candidate in candidates {
            text.push_str("\n  ");
            text.push_str(&candidate.strip_prefix(here).unwrap_or(candidate).to_string_lossy());
        }
    }
    text
}

/// Files that look like inventories: `*.toml` in `inventory/`, and `inventory*.toml` here.
fn files_nearby(here: &Path) -> Vec<PathBuf> {
    let list = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let is_named_so =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("inventory"));
    let mut found: Vec<_> = list(here.join("inventory")).filter(is_toml).collect();
    found.extend(list(here.to_owned()).filter(is_toml).filter(is_named_so));
    found.sort();
    found
}
