//! A process group that ends with its owner.
//!
//! The crate process-wrap does not do this: dropped, its group child leaves the group running, and
//! to wait for one is to wait for every process that it has left in the background.

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// Starts a command in a process group of its own, so that Ctrl-C in the terminal does not reach
/// it: in-flight work ends safely.
///
/// # Errors
/// If it cannot be started.
pub fn spawn(command: &mut Command) -> std::io::Result<(Child, ProcessGroup)> {
    let child = command.process_group(0).kill_on_drop(true).spawn()?;
    let leader = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    Ok((child, ProcessGroup { leader }))
}

/// The group of a child that was not waited for yet. Dropped, everything in it is killed: the child
/// alone would leave its own children behind (a `ProxyJump`'s ssh, a script's `sleep`).
#[derive(Debug)]
pub struct ProcessGroup {
    leader: Option<Pid>,
}

impl ProcessGroup {
    /// Notes that the leader was waited for, so that its process id may be reused.
    pub fn ended(mut self) {
        self.leader = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // It may have ended by itself; then there is nothing to do.
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
            assert!(began.elapsed() < Duration::from_secs(10), "sleep goes on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn ended_group_is_left_alone() {
        let (mut child, group) = spawn(&mut sleeper()).expect("sh");
        wait_for_start(&mut child).await;
        let leader = group.leader.expect("a leader");
        group.ended();
        assert!(test_kill_process_group(leader).is_ok());
        let _ = kill_process_group(leader, Signal::KILL);
        child.wait().await.expect("it was killed now");
    }
}
