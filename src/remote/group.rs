//! A process group that ends with its owner.

use std::ffi::OsStr;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::config::without_secrets;

/// A program of this machine that inherits no secret of ship's.
pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    without_secrets(command.as_std_mut());
    command
}

/// Begins a command in a process group of its own, so that Ctrl-C in the terminal does not reach
/// it: in-flight work ends safely.
pub(super) fn spawn(command: &mut Command) -> std::io::Result<(Child, Group)> {
    let child = command.process_group(0).kill_on_drop(true).spawn()?;
    let leader = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    Ok((child, Group { leader }))
}

/// The group of a child that was not waited for yet. Dropped, everything in it is killed: the child
/// alone would leave its own children behind (a `ProxyJump`'s ssh, a script's `sleep`).
#[derive(Debug)]
pub(super) struct Group {
    leader: Option<Pid>,
}

impl Group {
    /// The leader has been waited for: its number may belong to somebody else from now on.
    pub(super) fn ended(mut self) {
        self.leader = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It may have ended by itself; then there is nothing to do.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
