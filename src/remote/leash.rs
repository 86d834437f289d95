//! Programs of the user on this machine, which end with their caller.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::error::RunFailure;
use super::pipes::{Capture, ScriptIo, StdinSource};
use super::program;
use crate::core::release::hook::STILL_RUNNING;
use crate::core::time::Human;
use crate::remote::command::Output;
use crate::script::Input;
use crate::system::process_group;

/// Runs the words that follow. If standard input ends first, because the caller is gone, it ends
/// the whole process group. The watch does not keep the streams open.
const LEASH: &str = r#"exec 3<&0 </dev/null
ticket=$1
shift
SHIP_COMMAND=$ticket "$@" 3<&- &
child=$!
{ cat <&3; kill -s KILL 0; } >/dev/null 2>&1 &
watch=$!
exec 3<&-
wait "$child"
how=$?
kill "$watch" 2>/dev/null
exit "$how""#;

/// A program on this machine.
#[derive(Clone, Debug)]
pub struct LocalCommand<'a> {
    /// The program and its arguments.
    pub words: &'a [String],
    /// The environment in addition to this process's own.
    pub env: &'a BTreeMap<String, String>,
    /// The working directory; `None` for that of this process.
    pub dir: Option<&'a Path>,
    /// Its time limit, after which it is killed with its children.
    pub deadline: Duration,
}

/// Runs a program on this machine. It is killed, with all that it began, at its deadline, where it
/// is waited for no longer, and where this process is killed.
///
/// # Errors
/// If it cannot be started or does not end by itself in time, in words.
pub async fn run_here(here: &LocalCommand<'_>) -> Result<Output, String> {
    let mut capture = Capture::default();
    let ticket = ticket();
    match timeout(here.deadline, run(here, &ticket, &mut capture)).await {
        Ok(Ok(status)) => {
            let mut output = capture.into_output(status);
            if let Some(left) = strays(&ticket) {
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
            let said = capture
                .last_words()
                .map(|said| format!("; it said last: {said}"))
                .unwrap_or_default();
            Err(format!(
                "it did not end within {}{said}",
                Human(here.deadline)
            ))
        }
    }
}

/// What the variable `SHIP_COMMAND` holds for a program and all that it begins, and for nothing
/// else.
fn ticket() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{}.{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The processes that still have a ticket although their program has ended. One that clears its
/// environment, as service managers do, is meant to stay.
fn strays(ticket: &str) -> Option<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let variable = format!("SHIP_COMMAND={ticket}");
    let has_ticket = |dir: &PathBuf| {
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
        .filter(has_ticket)
        .filter_map(name)
        .collect();
    (!found.is_empty()).then(|| found.join(", "))
}

async fn run(
    here: &LocalCommand<'_>,
    ticket: &str,
    capture: &mut Capture,
) -> Result<i32, RunFailure> {
    let mut command = program::command("/bin/sh");
    command
        .args(["-c", LEASH, "ship"])
        .arg(ticket)
        .args(here.words)
        .envs(here.env);
    if let Some(dir) = here.dir {
        command.current_dir(dir);
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (mut child, group) = process_group::spawn(&mut command)
        .map_err(|e| RunFailure::NotStarted(format!("sh: {e}")))?;
    // Held until the end: when it closes, the program notices that its caller is gone.
    let leash = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let nothing = Input::default();
    let talk = ScriptIo::Whole(StdinSource::open(&[], &nothing).await?, capture);
    talk.hold(None::<tokio::process::ChildStdin>, stdout, stderr)
        .await?;
    let status = child
        .wait()
        .await
        .map_err(|e| RunFailure::Lost(e.to_string()))?;
    drop(leash);
    group.ended();
    status
        .code()
        .ok_or_else(|| RunFailure::Lost("it was ended by a signal".to_owned()))
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
        run_here(&LocalCommand {
            words: &words,
            env: &env,
            dir: Some(Path::new("/")),
            deadline,
        })
        .await
    }

    #[tokio::test]
    async fn it_has_its_environment_its_directory_and_no_input() {
        let output = ran("pwd; echo $SHIP_TEST; cat; exit 3", Duration::from_secs(10))
            .await
            .expect("it runs");
        assert_eq!((output.stdout.as_str(), output.status), ("/\na b\n", 3));
    }

    #[tokio::test]
    async fn processes_that_a_program_leaves_behind_are_named() {
        // Until it executes `sleep`, the process has the name of the program before.
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
    async fn what_does_not_end_is_ended_and_its_last_words_are_told() {
        let began = std::time::Instant::now();
        let error = ran("echo busy; sleep 60", Duration::from_millis(300))
            .await
            .expect_err("it does not end");
        assert_eq!(error, "it did not end within 300ms; it said last: busy");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
