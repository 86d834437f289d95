//! `ship inventory`: the hosts of an inventory, also those from its command.

use std::sync::Arc;

use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::config::{Inventory, Overrides};

/// Reads the inventory and runs its command, if it has one. Connects to no host.
///
/// # Errors
/// If the files are invalid, or the command fails.
pub fn inventory(env: &Arc<dyn Environment>) -> Result<Inventory, Error> {
    // The version does not matter here, and the playbook may have none.
    let overrides = Overrides {
        version: Some("0".to_owned()),
        set: Vec::new(),
    };
    let files = env.read_files(&overrides, Reading::Strict)?;
    Ok(files.project.inventory)
}
