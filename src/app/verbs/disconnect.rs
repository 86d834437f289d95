//! `ship disconnect`: closes the connections that are kept for the next command.

use std::path::{Path, PathBuf};

use crate::app::discovery::find_inventory;
use crate::app::error::{Error, Refused};
use crate::config::{Diagnostic, Diagnostics};
use crate::remote::{ClosedConnections, KeptConnections};

/// Closes the kept connections of an inventory. Reads only where the file is: what it contains may
/// have changed since the connections were made. Connects to no host.
///
/// # Errors
/// If the inventory is not found, or the directory of the connections is not private.
pub async fn disconnect(inventory: Option<PathBuf>) -> Result<ClosedConnections, Error> {
    let chosen = find_inventory(inventory)?;
    std::fs::metadata(&chosen.path).map_err(|why| unreadable(&chosen.path, &why))?;
    let kept = KeptConnections::of(&chosen.path).map_err(Refused::ConnectionsNotPrivate)?;
    Ok(kept.close().await)
}

fn unreadable(inventory: &Path, why: &std::io::Error) -> Error {
    let shown = inventory.display().to_string();
    let diagnostic = Diagnostic::file(shown.clone(), format!("cannot read {shown}: {why}"));
    let help = "name the inventory whose connections are to be closed";
    Diagnostics::from(diagnostic.help(help)).into()
}
