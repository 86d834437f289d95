//! Scripts on this machine: the embedded default, and a control machine that is a host of its own
//! fleet.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use super::error::RunFailure;
use super::pipes::ScriptIo;
use super::program;
use crate::system::process_group;

/// This machine.
#[derive(Debug)]
pub(super) struct Local;

impl Local {
    /// Runs a command line to its end. If dropped, kills everything that it started.
    pub(super) async fn run(
        &self,
        words: &[String],
        talk: ScriptIo<'_>,
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
        talk.hold(stdin, stdout, stderr).await?;
        let status = child
            .wait()
            .await
            .map_err(|e| RunFailure::Lost(e.to_string()))?;
        group.ended();
        match (status.code(), status.signal()) {
            (Some(code), _) => Ok(code),
            (None, signal) => Err(RunFailure::Lost(format!(
                "it was ended by signal {}",
                signal.unwrap_or(0)
            ))),
        }
    }
}
