//! A shell on the host that runs one script after the other.
//!
//! A script in a session of its own costs two round trips before it begins, and on the host a process
//! of sshd, the login shell and sudo. This shell costs that once. Each script still has a process of
//! its own, so that it cannot change the next one.
//!
//! This side sends the program of the shell as one line: the command line must be short, because
//! sudo logs it. For each script it sends a line with four words: the mark of the shell, the bytes of
//! the script if input follows it (otherwise 0), the bytes of both, and the seconds until the
//! deadline. The script and its input follow, and nothing else until its end, so that a shell may read
//! ahead. A script with input reads from a pipe that ends after it, and what it has not read is
//! dropped. At its end, the shell prints the mark and the exit status on both streams.
//!
//! Only this side and the shell know the mark. The shell ends if a line does not begin with it, so
//! that input is never taken for a script, even if the program that reads it was killed.

use std::sync::Arc;
use std::time::Duration;

use openssh::{Child, ChildStderr, ChildStdin, ChildStdout, Session};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::shell;
use crate::config::Escalation;
use crate::script::quote::quote;

/// Reads the program of the shell. It has no character that login shells read in different ways.
const READ_PROGRAM: &str = r#"read -r program && eval "$program""#;

/// Runs scripts until the end of its input, or until a line does not begin with `$mark`. `$run` runs
/// a script with input.
const RUN_SCRIPTS: &str = concat!(
    "finish() { echo $mark $1; echo $mark $1 >&2; }; ",
    r#"while read -r word script all limit && [ "$word" = "$mark" ]; do "#,
    "if [ $script = 0 ]; then timeout -k KILL $limit sh; finish $?; ",
    "else dd bs=$all count=1 iflag=fullblock 2>/dev/null | { ",
    r#"timeout -k KILL $limit sh -c "$run" $script; code=$?; "#,
    "while read -r rest; do :; done; finish $code; }; fi; done"
);

/// A shell that has been started and waits for a script, or runs one.
#[derive(Debug)]
pub(super) struct HostShell {
    pub(super) mark: String,
    pub(super) child: Child<Arc<Session>>,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl HostShell {
    /// `None` if a stream of the child is not a pipe.
    pub(super) fn of(mark: &str, mut child: Child<Arc<Session>>) -> Option<Self> {
        let stdin = child.stdin().take()?;
        let stdout = child.stdout().take()?;
        let stderr = child.stderr().take()?;
        Some(Self {
            mark: mark.to_owned(),
            child,
            stdin,
            stdout,
            stderr,
        })
    }

    /// Whether it still waits for a script, as far as this side knows: a server may close sessions
    /// in which nothing happens.
    pub(super) fn is_open(&self) -> bool {
        let mut streams = [PollFd::new(&self.stdout, PollFlags::empty())];
        let at_once = Timespec::default();
        rustix::event::poll(&mut streams, Some(&at_once)).is_ok()
            && !streams[0].revents().contains(PollFlags::HUP)
    }
}

/// The words that start a shell.
pub(super) fn words(escalation: Escalation) -> Vec<String> {
    let mut words = shell::root_words(escalation);
    let program = format!("{}{READ_PROGRAM}", shell::announcement(escalation));
    words.extend(["sh".to_owned(), "-c".to_owned(), program]);
    words
}

/// The program of a new shell with this mark, which precedes its first script.
pub(super) fn program(mark: &str) -> String {
    let run_scripts = RUN_SCRIPTS.replace("KILL", shell::KILL_AFTER_S);
    let run = quote(&shell::read_and_run());
    format!("mark={mark}; run={run}; {run_scripts}\n")
}

/// A script as the shell reads it. Its input follows, which has exactly this length.
pub(super) fn request(script: &str, input_bytes: u64, mark: &str, deadline: Duration) -> String {
    let deadline_s = shell::deadline_s(deadline);
    let (script, script_bytes) = if input_bytes == 0 {
        (shell::whole(script), 0)
    } else {
        let script = script.trim_end_matches('\n');
        (script.to_owned(), script.len())
    };
    let all_bytes = script.len() as u64 + input_bytes;
    format!("{mark} {script_bytes} {all_bytes} {deadline_s}\n{script}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::shell::command_line;

    #[test]
    fn command_line_is_short_and_the_same_for_every_login_shell() {
        for escalation in [
            Escalation::None,
            Escalation::Sudo,
            Escalation::SudoPassword,
            Escalation::Doas,
        ] {
            let line = command_line(&words(escalation));
            assert!(!line.contains(['\\', '!', '\n', '`', '~']), "{line}");
            assert!(line.len() < 250, "{line}");
        }
        let program = program("ship-end-1");
        assert_eq!(program.lines().count(), 1, "{program}");
    }
}
