//! A program of this machine.

use std::ffi::OsStr;

use tokio::process::Command;

use crate::config::remove_secrets;

/// A command for `program` that inherits no secret of ship's.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    remove_secrets(command.as_std_mut());
    command
}
