//! An inventory and a playbook that ship writes for the user.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::error::{Error, Refused};

/// The name of the playbook, beside the inventory.
pub(crate) const PLAYBOOK_NAME: &str = "playbook.toml";

/// The places of a new inventory and its playbook.
#[derive(Debug)]
pub struct NewFiles {
    pub inventory: PathBuf,
    pub playbook: PathBuf,
}

impl NewFiles {
    /// The place of an inventory, by default `inventory.toml`, and of its playbook.
    ///
    /// # Errors
    /// If one of them exists already.
    pub(crate) fn at(inventory: Option<PathBuf>) -> Result<Self, Error> {
        let inventory = inventory.unwrap_or_else(|| PathBuf::from("inventory.toml"));
        let playbook = inventory.with_file_name(PLAYBOOK_NAME);
        if inventory == playbook {
            return Err(Refused::InventoryIsPlaybook.into());
        }
        for file in [&inventory, &playbook] {
            if file.exists() {
                return Err(Refused::FileExists(file.clone()).into());
            }
        }
        Ok(Self {
            inventory,
            playbook,
        })
    }

    /// Writes both files.
    ///
    /// # Errors
    /// If one of them exists by now, or cannot be written.
    pub(crate) fn write(&self, inventory: &str, playbook: &str) -> Result<(), Error> {
        write_new(&self.playbook, playbook)?;
        write_new(&self.inventory, inventory)
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
