//! An inventory and playbooks that ship writes for the user.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::error::{Error, Refused};

/// The name of the only playbook, beside the inventory.
pub(crate) const PLAYBOOK_NAME: &str = "playbook.toml";

/// The places of a new inventory and its playbooks.
#[derive(Debug)]
pub struct NewFiles {
    pub inventory: PathBuf,
    /// Beside the inventory.
    pub playbooks: Vec<PathBuf>,
}

impl NewFiles {
    /// The place of an inventory, by default `inventory.toml`, and of playbooks with these names.
    ///
    /// # Errors
    /// If one of them exists already.
    pub(crate) fn at(inventory: Option<PathBuf>, playbooks: &[&str]) -> Result<Self, Error> {
        let inventory = inventory.unwrap_or_else(|| PathBuf::from("inventory.toml"));
        let playbooks = playbooks.iter().map(|name| inventory.with_file_name(name));
        let playbooks: Vec<_> = playbooks.collect();
        if playbooks.contains(&inventory) {
            return Err(Refused::InventoryIsPlaybook(inventory).into());
        }
        for file in std::iter::once(&inventory).chain(&playbooks) {
            if file.exists() {
                return Err(Refused::FileExists(file.clone()).into());
            }
        }
        Ok(Self {
            inventory,
            playbooks,
        })
    }

    /// Writes the inventory and the texts of the playbooks, in their order.
    ///
    /// # Errors
    /// If one of them exists by now, or cannot be written.
    pub(crate) fn write(&self, inventory: &str, playbooks: &[String]) -> Result<(), Error> {
        for (path, text) in self.playbooks.iter().zip(playbooks) {
            write_new(path, text)?;
        }
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
