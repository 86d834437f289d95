//! `ship init`: writes an example inventory and playbook.

use std::path::{Path, PathBuf};

use crate::app::error::Error;
use crate::app::new_files::{NewFiles, PLAYBOOK_NAME};

const INVENTORY: &str = include_str!("init/inventory.toml");
const PLAYBOOK: &str = include_str!("init/playbook.toml");
const STACK: &str = include_str!("init/stack.toml");
const WORKER: &str = include_str!("init/worker.toml");
/// The default name of the service, if the name of the directory is not a valid one.
const SERVICE: &str = "app";

/// Writes an inventory, by default `inventory.toml`, and its playbook.
///
/// # Errors
/// If one of them exists already, or cannot be written.
pub fn init(inventory: Option<PathBuf>) -> Result<NewFiles, Error> {
    let files = NewFiles::at(inventory, &[PLAYBOOK_NAME])?;
    let service = service_name(&files.inventory);
    let inventory = INVENTORY.replace("PLAYBOOK", PLAYBOOK_NAME);
    files.write(&inventory, &[PLAYBOOK.replace("SERVICE", &service)])?;
    Ok(files)
}

/// Writes an inventory with two services, and their playbooks.
///
/// # Errors
/// If one of them exists already, or cannot be written.
pub fn init_stack(inventory: Option<PathBuf>) -> Result<NewFiles, Error> {
    let files = NewFiles::at(inventory, &["api.toml", "worker.toml"])?;
    let api = PLAYBOOK.replace("SERVICE", "api");
    files.write(STACK, &[api, WORKER.to_owned()])?;
    Ok(files)
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
