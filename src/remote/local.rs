//! Scripts on this machine: the demo, and a control machine that is a host of its own fleet.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use super::error::RunFailure;
use super::program;
use super::stdio::ScriptIo;
use crate::system::process_group;

#[derive(Debug)]
pub(super) struct Local;

impl Local {
    /// Runs a command line until it ends. If dropped, it kills everything that was started.
    pub(super) async fn run(
        &self,
        words: &[String],
        io: ScriptIo<'_, '_>,
    ) -> Result<i32, RunFailure> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(RunFailure::NotStarted("an empty command".to_owned()));
        };
        let mut command = program::command(program);
        command.args(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let (mut child, group) = process_group::spawn(&mut command)
            .map_err(|e| RunFailure::NotStarted(format!("{program}: {e}")))?;

        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        io.transfer(stdin, stdout, stderr).await?;
        let status = child
            .wait()
            .await
            .map_err(|e| RunFailure::Lost(e.to_string()))?;
        group.mark_ended();
        match (status.code(), status.signal()) {
            (Some(code), _) => Ok(code),
            (None, signal) => Err(RunFailure::Lost(format!(
                "it was killed by signal {}",
                signal.unwrap_or(0)
            ))),
        }
    }
}
