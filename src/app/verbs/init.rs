//! `ship init`: writes an example inventory and playbook.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::app::error::{Error, Refused};

const INVENTORY: &str = include_str!("init/inventory.toml");
const PLAYBOOK: &str = include_str!("init/playbook.toml");
/// The default name of the service, if the name of the directory is not a valid one.
const SERVICE: &str = "app";

/// The files that `ship init` wrote.
pub struct FirstFiles {
    pub inventory: PathBuf,
    pub playbook: PathBuf,
}

/// Writes an inventory, by default `inventory.toml`, and its playbook.
///
/// # Errors
/// If one of them exists already, or cannot be written.
pub fn init(inventory: Option<PathBuf>) -> Result<FirstFiles, Error> {
    let inventory = inventory.unwrap_or_else(|| PathBuf::from("inventory.toml"));
    let playbook = inventory.with_file_name("playbook.toml");
    if inventory == playbook {
        return Err(Refused::InventoryIsPlaybook.into());
    }
    for file in [&inventory, &playbook] {
        if file.exists() {
            return Err(Refused::FileExists(file.clone()).into());
        }
    }
    let service = service_name(&inventory);
    write_new(&playbook, &PLAYBOOK.replace("SERVICE", &service))?;
    write_new(&inventory, &INVENTORY.replace("PLAYBOOK", "playbook.toml"))?;
    Ok(FirstFiles {
        inventory,
        playbook,
    })
}

/// The name of the directory, with the characters that are valid for a service.
fn service_name(inventory: &Path) -> String {
    let absolute = std::path::absolute(inventory).unwrap_or_else(|_| inventory.to_owned());
    let dir = absolute
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().to_lowercase());
    let sanitize = |c: char| {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            c
        } else {
            '-'
        }
    };
    let name: String = dir
        .unwrap_or_default()
        .chars()
        .take(30)
        .map(sanitize)
        .collect();
    let name = name.trim_matches('-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.to_owned()
    } else {
        SERVICE.to_owned()
    }
}

/// Writes a file that must not exist yet.
fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let path = path.to_owned();
    let written = OpenOptions::new().write(true).create_new(true).open(&path);
    match written.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(why) if why.kind() == ErrorKind::AlreadyExists => Err(Refused::FileExists(path).into()),
        Err(why) => Err(Refused::CannotWrite { path, why }.into()),
    }
}
