//! Files that the user may have meant instead of what was typed as the inventory.

use std::path::{Path, PathBuf};

use super::discovery::{files_nearby, is_toml};
use crate::config;

/// Jaro-Winkler similarity from which two names count as similar.
const SIMILARITY_MIN: f64 = 0.85;

/// The file with the most similar name, if any is similar enough.
pub(crate) fn most_similar(path: &Path) -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let beside = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let nearby = files_nearby(&here)
        .into_iter()
        .map(|file| file.strip_prefix(&here).map(Path::to_owned).unwrap_or(file));
    let mut candidates = toml_files(beside.unwrap_or(Path::new("")));
    candidates.extend(nearby);
    let stem = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .trim_end_matches(".toml")
            .to_lowercase()
    };
    let wanted = stem(path);
    let similarity = |candidate: &PathBuf| strsim::jaro_winkler(&stem(candidate), &wanted);
    candidates
        .into_iter()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))
        .filter(|best| similarity(best) >= SIMILARITY_MIN)
}

/// Whether a file is a playbook and not an inventory.
pub(crate) fn is_playbook(path: &Path) -> bool {
    table(path).is_some_and(|table| {
        let has = |key| table.contains_key(key);
        has("service") && !["playbook", "hosts", "fleet"].into_iter().any(has)
    })
}

/// The inventories that refer to a playbook, in the current directory and near the playbook.
pub(crate) fn inventories_of(playbook: &Path) -> Vec<PathBuf> {
    let dir = playbook
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let above = dir.join("..");
    let places = [
        PathBuf::new(),
        "inventory".into(),
        dir.to_owned(),
        dir.join("inventory"),
        above.clone(),
        above.join("inventory"),
    ];
    let own = playbook.canonicalize().ok();
    let mut users: Vec<(PathBuf, PathBuf)> = Vec::new();
    for file in places.iter().flat_map(|dir| toml_files(dir)) {
        let Some(real) = file
            .canonicalize()
            .ok()
            .filter(|_| playbook_of(&file) == own)
        else {
            continue;
        };
        if !users.iter().any(|(known, _)| *known == real) {
            users.push((real, file));
        }
    }
    users.into_iter().map(|(_, file)| file).collect()
}

/// The files in a directory whose names are valid for an inventory, in order.
pub(crate) fn toml_files(dir: &Path) -> Vec<PathBuf> {
    let read = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let names = std::fs::read_dir(read)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| dir.join(entry.file_name()));
    let mut files: Vec<_> = names
        .filter(|path| is_toml(path) && path.is_file())
        .collect();
    files.sort();
    files
}

/// The playbook that an inventory names.
fn playbook_of(inventory: &Path) -> Option<PathBuf> {
    let table = table(inventory)?;
    let playbook = table.get("playbook")?.as_str()?;
    inventory.parent()?.join(playbook).canonicalize().ok()
}

fn table(path: &Path) -> Option<toml::Table> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > config::FILE_BYTES_MAX as u64 {
        return None;
    }
    std::fs::read_to_string(path).ok()?.parse().ok()
}
