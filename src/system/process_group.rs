//! A process group that ends with its owner.
//!
//! The process-wrap crate does not provide this: when dropped, its group child leaves the group
//! running, and waiting for it means waiting for every process left in the background.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// Starts a command in its own process group, so that Ctrl-C in the terminal does not reach it and
/// in-flight actions finish.
///
/// # Errors
/// If the command cannot be started.
pub fn spawn(command: &mut Command) -> std::io::Result<(Child, ProcessGroup)> {
    let child = command.process_group(0).kill_on_drop(true).spawn()?;
    let leader = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    Ok((child, ProcessGroup { leader }))
}

/// The process group of a child that has not been waited for yet. When dropped, it kills every
/// process in the group; killing only the child would leave its own children running (a
/// `ProxyJump`'s ssh, a script's `sleep`).
#[derive(Debug)]
pub struct ProcessGroup {
    leader: Option<Pid>,
}

impl ProcessGroup {
    /// Marks the group as ended, so that dropping this value kills nothing: the leader was waited
    /// for, so another process may get its process ID.
    pub fn mark_ended(mut self) {
        self.leader = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // An error means that the group has already ended.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    use rustix::process::test_kill_process_group;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn sleeper() -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "sleep 60 & echo started; wait"])
            .stdout(Stdio::piped());
        command
    }

    async fn wait_for_start(child: &mut Child) {
        let mut started = [0; 8];
        let stdout = child.stdout.as_mut().expect("a pipe");
        stdout.read_exact(&mut started).await.expect("it starts");
    }

    #[tokio::test]
    async fn dropped_group_kills_the_children_of_its_leader() {
        let (mut child, group) = spawn(&mut sleeper()).expect("sh");
        wait_for_start(&mut child).await;
        let leader = group.leader.expect("a leader");
        drop(group);
        child.wait().await.expect("the leader was killed");
        let began = Instant::now();
        while test_kill_process_group(leader).is_ok() {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "sleep is still running"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn ended_group_is_left_alone() {
        let (mut child, group) = spawn(&mut sleeper()).expect("sh");
        wait_for_start(&mut child).await;
        let leader = group.leader.expect("a leader");
        group.mark_ended();
        assert!(test_kill_process_group(leader).is_ok());
        let _ = kill_process_group(leader, Signal::KILL);
        child.wait().await.expect("it was killed now");
    }
}
