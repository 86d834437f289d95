//! Programs that run on this machine and end with their caller.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::error::RunFailure;
use super::program;
use super::stdio::{Capture, ScriptIo, StdinSource};
use crate::core::release::hook::STILL_RUNNING;
use crate::core::time::Human;
use crate::remote::command::Output;
use crate::system::process_group;

/// Runs its arguments as a program. If standard input reaches end of file first, because the
/// caller is gone, it kills the whole process group. The watcher does not keep the output streams
/// open.
const SUPERVISOR: &str = r#"exec 3<&0 </dev/null
command_id=$1
shift
SHIP_COMMAND=$command_id "$@" 3<&- &
child=$!
{ cat <&3; kill -s KILL 0; } >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$child"
status=$?
kill "$watcher" 2>/dev/null
exit "$status""#;

/// A program on this machine.
#[derive(Clone, Debug)]
pub struct LocalCommand<'a> {
    /// The program and its arguments.
    pub words: &'a [String],
    /// Variables in addition to this process's environment.
    pub env: &'a BTreeMap<String, String>,
    /// The working directory; `None` for this process's own.
    pub dir: Option<&'a Path>,
    /// After this time, the program is killed with its children.
    pub deadline: Duration,
}

/// Runs a program on this machine. It is killed, with its children, at its deadline, when the
/// future is dropped, and when this process is killed.
///
/// # Errors
/// A message, if it cannot be started or does not end in time.
pub async fn run_supervised(command: &LocalCommand<'_>) -> Result<Output, String> {
    let mut capture = Capture::default();
    let command_id = command_id();
    match timeout(command.deadline, run(command, &command_id, &mut capture)).await {
        Ok(Ok(status)) => {
            let mut output = capture.into_output(status);
            if let Some(left) = leftover_processes(&command_id) {
                if !output.stderr.is_empty() && !output.stderr.ends_with('\n') {
                    output.stderr.push('\n');
                }
                output.stderr.extend([STILL_RUNNING, &left, "\n"]);
            }
            Ok(output)
        }
        Ok(Err(RunFailure::Lost(why) | RunFailure::NotStarted(why))) => Err(why),
        Ok(Err(RunFailure::Input { path, source })) => Err(format!("{}: {source}", path.display())),
        Err(_) => {
            let last_output = capture
                .last_output()
                .map(|last_output| format!("; last output: {last_output}"))
                .unwrap_or_default();
            Err(format!(
                "it did not finish within {}{last_output}",
                Human(command.deadline)
            ))
        }
    }
}

/// The value of the variable `SHIP_COMMAND`, which only this program and its children have.
fn command_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{}.{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The processes that still have the program's `SHIP_COMMAND` although the program has ended. A
/// process that clears its environment, as service managers do, is meant to stay.
fn leftover_processes(command_id: &str) -> Option<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let variable = format!("SHIP_COMMAND={command_id}");
    let has_command_id = |dir: &PathBuf| {
        let environment = std::fs::read(dir.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|word| word == variable.as_bytes())
    };
    let name = |dir: PathBuf| {
        let comm = std::fs::read_to_string(dir.join("comm")).ok()?;
        Some(format!(
            "{} (pid {})",
            comm.trim_end(),
            dir.file_name()?.to_str()?
        ))
    };
    let is_process = |entry: &std::fs::DirEntry| {
        entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
    };
    let found: Vec<_> = entries
        .filter(is_process)
        .map(|entry| entry.path())
        .filter(has_command_id)
        .filter_map(name)
        .collect();
    (!found.is_empty()).then(|| found.join(", "))
}

async fn run(
    local: &LocalCommand<'_>,
    command_id: &str,
    capture: &mut Capture,
) -> Result<i32, RunFailure> {
    let mut command = program::command("/bin/sh");
    command
        .args(["-c", SUPERVISOR, "ship"])
        .arg(command_id)
        .args(local.words)
        .envs(local.env);
    if let Some(dir) = local.dir {
        command.current_dir(dir);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (mut child, group) = process_group::spawn(&mut command)
        .map_err(|e| RunFailure::NotStarted(format!("sh: {e}")))?;
    // Held until the program ends: when the pipe closes, the supervisor notices that its caller
    // is gone.
    let stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let io = ScriptIo::Buffered(StdinSource::default(), capture);
    io.transfer(None::<tokio::process::ChildStdin>, stdout, stderr)
        .await?;
    let status = child
        .wait()
        .await
        .map_err(|e| RunFailure::Lost(e.to_string()))?;
    drop(stdin);
    group.mark_ended();
    status
        .code()
        .ok_or_else(|| RunFailure::Lost("it was killed by a signal".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    async fn ran(script: &str, deadline: Duration) -> Result<Output, String> {
        let env = BTreeMap::from([("SHIP_TEST".to_owned(), "a b".to_owned())]);
        let words = words(&["sh", "-c", script]);
        run_supervised(&LocalCommand {
            words: &words,
            env: &env,
            dir: Some(Path::new("/")),
            deadline,
        })
        .await
    }

    #[tokio::test]
    async fn local_command_has_its_environment_its_directory_and_no_input() {
        let output = ran("pwd; echo $SHIP_TEST; cat; exit 3", Duration::from_secs(10))
            .await
            .expect("it runs");
        assert_eq!((output.stdout.as_str(), output.status), ("/\na b\n", 3));
    }

    #[tokio::test]
    async fn local_command_reports_processes_that_outlive_it() {
        // Until it runs `sleep`, the process has the name of the previous program.
        let script = "setsid sleep 50 >/dev/null 2>&1 & echo $!
            until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done";
        let output = ran(script, Duration::from_secs(10)).await.expect("it runs");
        let pid = output.stdout.trim();
        assert_eq!(output.stderr, format!("{STILL_RUNNING}sleep (pid {pid})\n"));
        assert!(
            std::process::Command::new("kill")
                .arg(pid)
                .status()
                .expect("kill")
                .success()
        );
    }

    #[tokio::test]
    async fn local_command_is_killed_at_its_deadline_and_its_last_output_is_reported() {
        let began = std::time::Instant::now();
        let error = ran("echo busy; sleep 60", Duration::from_millis(300))
            .await
            .expect_err("it does not end");
        assert_eq!(error, "it did not finish within 300ms; last output: busy");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
