//! Runs the command of `[hosts_from]` on this machine, at most once in a process.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::config::{Diagnostic, Diagnostics, FILE_BYTES_MAX, HostsFrom, HostsOutput};
use crate::remote::{LocalCommand, Output, run_supervised};

/// The statuses with which a shell reports that it cannot run a program.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;
/// A shell adds the number of the signal that ended a program.
const SIGNALLED: i32 = 128;
const SIGNAL_MAX: i32 = 64;

/// The command of an inventory, and its result.
#[derive(Default)]
pub(crate) struct HostsCommand {
    finished: Mutex<Option<FinishedCommand>>,
}

struct FinishedCommand {
    words: Vec<String>,
    result: Result<HostsOutput, Diagnostics>,
}

impl HostsCommand {
    /// The output of the command, which runs in the directory of the inventory.
    ///
    /// # Errors
    /// If the command fails, prints too much, or does not end in time.
    pub(crate) fn output(
        &self,
        from: &HostsFrom,
        inventory: &Path,
    ) -> Result<HostsOutput, Diagnostics> {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = finished
            .take()
            .filter(|earlier| earlier.words == from.command);
        let now = earlier.unwrap_or_else(|| FinishedCommand {
            words: from.command.clone(),
            result: output(from, inventory),
        });
        finished.insert(now).result.clone()
    }
}

fn output(from: &HostsFrom, inventory: &Path) -> Result<HostsOutput, Diagnostics> {
    let beside = inventory.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = beside.unwrap_or(Path::new("."));
    let by_hand = "run it yourself in the directory of the inventory";
    let failure = |why: &str, output: &str, help: String| -> Diagnostics {
        let failure: Diagnostic = from.failure(why, output);
        failure.help(help).into()
    };
    let output = run(from, dir)
        .and_then(|ran| ran.map_err(io::Error::other))
        .map_err(|why| {
            let help = format!("{by_hand}; `timeout` in [hosts_from] sets how long it may take");
            failure(&why.to_string(), "", help)
        })?;
    let all = format!("{}\n{}", output.stdout, output.stderr);
    if output.status != 0 {
        return Err(failure(
            &ended(output.status),
            &all,
            remedy(output.status, by_hand),
        ));
    }
    if output.truncated {
        let why = format!("it printed more than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(failure(
            &why,
            &output.stderr,
            "print only the hosts".to_owned(),
        ));
    }
    Ok(HostsOutput::printed(from, output.stdout, output.stderr))
}

/// Runs the command on a thread of its own, because files are read without a runtime, too.
fn run(from: &HostsFrom, dir: &Path) -> io::Result<Result<Output, String>> {
    let command = LocalCommand {
        words: &from.command,
        env: &BTreeMap::new(),
        dir: Some(dir),
        deadline: from.timeout,
    };
    let run = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build()?;
        Ok(runtime.block_on(run_supervised(&command)))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, run)?;
        let panicked = |_| Err(io::Error::other("the thread that ran it has failed"));
        thread.join().unwrap_or_else(panicked)
    })
}

fn ended(status: i32) -> String {
    match status {
        NOT_FOUND => "it was not found (exit status 127)".to_owned(),
        NOT_EXECUTABLE => "it cannot be executed (exit status 126)".to_owned(),
        _ if (1..=SIGNAL_MAX).contains(&(status - SIGNALLED)) => {
            format!("it was killed by signal {}", status - SIGNALLED)
        }
        _ => format!("it ended with exit status {status}"),
    }
}

fn remedy(status: i32, by_hand: &str) -> String {
    match status {
        NOT_FOUND => "check the spelling; a program without `/` must be in PATH, and a path is \
                      relative to the inventory"
            .to_owned(),
        NOT_EXECUTABLE => "make it executable with `chmod +x`, and check its first line".to_owned(),
        _ => by_hand.to_owned(),
    }
}
