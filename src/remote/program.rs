//! Programs of this machine.

use std::ffi::OsStr;

use tokio::process::Command;

use crate::config::remove_secrets;

/// A command for `program` that does not inherit ship's secrets.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    remove_secrets(command.as_std_mut());
    command
}
