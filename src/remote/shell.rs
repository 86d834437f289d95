//! How a script reaches a shell on the host, and the errors if it does not.
//!
//! The script is sent on standard input. The command line holds only a fixed text that every
//! login shell reads in the same way: fish, for example, halves backslashes within quotes, csh
//! expands `!`, and sudo logs its whole command line.

use std::time::Duration;

use super::error::{EscalationRefusal, RunError};
use super::escalation;
use super::preamble::{PROCESS_MARK, PreambleReader, ROOT_MARK, SCRIPT_MARK, SHELL_MARK};
use super::sanitize::clean;
use crate::config::Escalation;
use crate::core::time::whole_seconds;
use crate::remote::command::Output;
use crate::remote::target::HostLogin;
use crate::script::quote::quote;

/// The exit status of a shell that does not find a command.
pub(super) const NOT_FOUND: i32 = 127;

/// Seconds between SIGTERM at the deadline and SIGKILL.
pub(super) const KILL_AFTER_S: &str = "5";

/// Reads a script of exactly `$0` bytes and leaves the rest of the input to the script. A
/// script that did not arrive completely does not run at all. Of the usual tools, only `dd` never
/// reads ahead: `head -c` of busybox does.
const READ_AND_RUN: &str = concat!(
    r#"LC_ALL=C; s=$(dd bs=$0 count=1 iflag=fullblock 2>/dev/null); "#,
    r#"[ ${#s} = $0 ] || { echo INCOMPLETE >&2; exit 1; }; echo MARK; eval "$s""#
);
/// The host's message if a script did not arrive completely.
const INCOMPLETE: &str = "dd did not read the whole script";

/// A command line, and the beginning of its standard input.
#[derive(Debug)]
pub(super) struct ShellCommand {
    pub(super) words: Vec<String>,
    /// The script, as the shell reads it.
    pub(super) script: Vec<u8>,
}

/// Prepares a script. If there is no further input, the shell reads the script directly, which
/// saves a process.
///
/// If sudo may ask for a password, ship sends the script only after the process of root has printed
/// its mark: see [`SudoDialog`](super::sudo_dialog::SudoDialog).
///
/// The host kills the script at the deadline, with all its children, because a dropped
/// connection would leave it running. (A service that the script started has its own session and
/// survives.)
///
/// What happens to a script whose controller is gone, as measured:
///
/// - *ship is killed, or the connection is closed:* the server's side of the connection ends at
///   once, the script does not. Because it has not printed anything yet, no write fails, and an
///   action (such as a stop that waits) is completed within its own time. A transfer reaches the
///   end of its input early: the script verifies what has arrived, finds it incomplete and removes it.
/// - *the network fails:* the same, except that the server does not notice. On this side, the
///   connection is abandoned after three unanswered keepalive requests. On the host, an action is
///   completed, a transfer waits until its deadline, and the server's process stays until its own
///   keepalive fails (`ClientAliveInterval`, or the kernel after two hours).
/// - *after that*, nothing can take effect: no process is left, except for a shared shell without a
///   script beside the server's process, and if a newer controller has claimed the host in the
///   meantime, the check under the lock rejects the script's next step.
pub(super) fn prepare(
    script: &str,
    has_input: bool,
    deadline: Duration,
    escalation: Escalation,
) -> ShellCommand {
    let deadline_s = deadline_s(deadline).to_string();
    let timeout = ["timeout", "-k", KILL_AFTER_S, &deadline_s, "sh"].map(str::to_owned);
    let mut words = root_words(escalation);
    words.extend(timeout);
    let opening = announcement(escalation);
    if has_input {
        let script = script.trim_end_matches('\n');
        let program = format!("{opening}{}", read_and_run());
        words.extend(["-c".to_owned(), program, script.len().to_string()]);
        return ShellCommand {
            words,
            script: script.as_bytes().to_vec(),
        };
    }
    // Without sudo, the shell that runs the script announces itself, which saves a shell.
    let script = if escalation.is_root() {
        if !opening.is_empty() {
            words.extend(["-c".to_owned(), format!("{opening}exec sh")]);
        }
        whole(script)
    } else {
        format!("{opening}{}", whole(script))
    };
    ShellCommand {
        words,
        script: script.into_bytes(),
    }
}

/// The words that make the following ones run as root; none without escalation. The login shell
/// announces itself before.
pub(super) fn root_words(escalation: Escalation) -> Vec<String> {
    if !escalation.is_root() {
        return Vec::new();
    }
    let process = if escalation == Escalation::SudoPassword {
        format!(r#"echo "{PROCESS_MARK}$$"; "#)
    } else {
        String::new()
    };
    let outer = format!(r#"{}{process}exec "$@""#, announce_shell());
    let outer = ["/bin/sh", "-c", &outer, "ship"];
    let words = outer.iter().chain(escalation::command_words(escalation));
    words.map(|word| (*word).to_owned()).collect()
}

/// What the first shell of a session runs first.
fn announce_shell() -> String {
    format!("LC_ALL=C; export LC_ALL; echo {SHELL_MARK}; ")
}

/// What the shell that reads scripts runs first.
pub(super) fn announcement(escalation: Escalation) -> String {
    match escalation {
        Escalation::None => announce_shell(),
        Escalation::SudoPassword => format!("echo {ROOT_MARK}; "),
        Escalation::Sudo | Escalation::Doas => String::new(),
    }
}

/// The seconds after which the host ends a script. Rounded up, so that this side always stops waiting
/// first and a status of 124 is the script's own.
pub(super) fn deadline_s(deadline: Duration) -> u64 {
    whole_seconds(deadline)
}

/// A program for a shell that reads a script of `$0` bytes, whose input follows.
pub(super) fn read_and_run() -> String {
    READ_AND_RUN
        .replace("MARK", SCRIPT_MARK)
        .replace("INCOMPLETE", INCOMPLETE)
}

/// A script without input, as a compound command, so that a shell reads all of it before it runs any
/// of it.
pub(super) fn whole(script: &str) -> String {
    let script = script.trim_end_matches('\n');
    format!("{{\nexec </dev/null\necho {SCRIPT_MARK}\n{script}\n}}\n")
}

/// Joins the words to one line that any login shell reads in the same way.
pub(super) fn command_line(words: &[String]) -> String {
    let quoted: Vec<_> = words
        .iter()
        .map(|word| {
            if is_plain(word) {
                word.clone()
            } else {
                quote(word)
            }
        })
        .collect();
    format!("exec {}", quoted.join(" "))
}

/// Whether a word can stay unquoted, which keeps the line readable in logs.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-/".contains(&b))
}

/// Returns the output of a script that has started.
///
/// # Errors
/// If the login shell, sudo, doas or a missing program prevented the script from starting.
pub(super) fn check_started(
    output: Output,
    preamble: &PreambleReader,
    escalation: Escalation,
    login: &HostLogin,
) -> Result<Output, RunError> {
    if preamble.has_script() {
        return Ok(output);
    }
    let host = login.name.clone();
    let user = login.user.clone();
    let printed = clean(&format!("{}\n{}", preamble.before(), output.stderr));
    let message = match printed.as_str() {
        "" => format!(
            "it printed nothing and exited with status {}",
            output.status
        ),
        printed => format!("{printed}; exit status {}", output.status),
    };
    let program = escalation::program(escalation)
        .filter(|_| !preamble.has_root() && !output.stderr.contains(INCOMPLETE));
    // Without sudo, the login shell runs `timeout` directly.
    let lacks_timeout = output.status == NOT_FOUND && output.stderr.contains("timeout");
    Err(match (preamble.has_shell(), program) {
        (false, None) if lacks_timeout => RunError::NotStarted { host, why: message },
        (false, _) => RunError::LoginShell {
            host,
            user,
            output: message,
        },
        (true, Some(program)) => RunError::EscalationRefused(Box::new(EscalationRefusal {
            advice: escalation::advice(escalation, &message, user.as_deref().unwrap_or("USER")),
            host,
            program,
            output: message,
        })),
        (true, None) => RunError::NotStarted { host, why: message },
    })
}

/// What had not finished at the deadline.
pub(super) fn waiting_for(preamble: &PreambleReader, escalation: Escalation) -> &'static str {
    if !preamble.has_shell() {
        return "the start of the login shell";
    }
    escalation::program(escalation)
        .filter(|_| !preamble.has_root() && !preamble.has_script())
        .unwrap_or("the script")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(before: &str, stderr: &str, status: i32, is_root: bool) -> Result<Output, RunError> {
        let mut preamble = PreambleReader::default();
        preamble.take(before.as_bytes());
        let output = Output {
            stdout: String::new(),
            stderr: stderr.into(),
            status,
            truncated: false,
        };
        check_started(
            output,
            &preamble,
            if is_root {
                Escalation::Sudo
            } else {
                Escalation::None
            },
            &HostLogin {
                name: "web1".into(),
                user: Some("deploy".into()),
            },
        )
    }

    #[test]
    fn deadline_on_the_host_is_never_shorter_than_here() {
        let deadline = |ms| {
            prepare("true", false, Duration::from_millis(ms), Escalation::None).words[3].clone()
        };
        assert_eq!(
            [deadline(0), deadline(1), deadline(1000), deadline(1001)],
            ["1", "1", "1", "2"]
        );
    }

    #[test]
    fn command_line_holds_nothing_that_shells_read_differently() {
        for (has_input, escalation) in [
            (false, Escalation::None),
            (true, Escalation::Sudo),
            (false, Escalation::SudoPassword),
            (true, Escalation::SudoPassword),
            (true, Escalation::Doas),
        ] {
            let deadline = Duration::from_secs(30);
            let line =
                command_line(&prepare("echo 'a\\b' !x\n", has_input, deadline, escalation).words);
            assert!(!line.contains(['\\', '!', '\n', '`', '~']), "{line}");
            assert!(line.len() < 400, "{line}");
        }
    }

    #[test]
    fn sudo_error_contains_its_message_and_the_next_step() {
        for (message, helps) in [
            ("sudo: a password is required", "NOPASSWD"),
            (
                "sudo: a terminal is required to read the password; either use the -S option",
                "NOPASSWD",
            ),
            ("deploy is not in the sudoers file.", "NOPASSWD"),
            (
                "Sorry, user deploy is not allowed to execute '/usr/bin/timeout -k 5 30 sh' as \
                 root on web1.",
                "NOPASSWD",
            ),
            ("sudo: interactive authentication is required", "NOPASSWD"),
            (
                "sudo: sorry, you must have a tty to run sudo",
                "!requiretty",
            ),
            ("ship: 1: exec: sudo: not found", "install sudo"),
            (
                "sudo: account validation failure, is your account locked?",
                "`sudo -n true`",
            ),
        ] {
            let error = checked("motd\nship-shell\n", message, 1, true).unwrap_err();
            assert!(matches!(error, RunError::EscalationRefused(_)));
            let error = error.to_string();
            assert!(
                error.contains(message) && error.contains(helps) && error.contains("deploy"),
                "{error}"
            );
        }
    }

    #[test]
    fn login_shell_error_contains_its_output() {
        let error = checked("This account is currently not available.\n", "", 1, true)
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(error, @"web1: the login shell of deploy did not run ship's \
                                         command (This account is currently not available.; exit \
                                         status 1); check the shell with `getent passwd deploy` \
                                         on the host, and its startup files");
        let error = checked("", "", 1, false).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"web1: the login shell of deploy did not run ship's \
                                         command (it printed nothing and exited with status \
                                         1); check the shell with `getent passwd deploy` on the \
                                         host, and its startup files");
    }

    #[test]
    fn missing_timeout_is_not_attributed_to_the_login_shell() {
        let error = checked("motd\n", "sh: 1: exec: timeout: not found", 127, false).unwrap_err();
        assert!(matches!(error, RunError::NotStarted { .. }));
        assert!(error.to_string().contains("timeout: not found"), "{error}");
    }

    #[test]
    fn script_that_ran_keeps_its_own_failure() {
        assert!(
            checked(
                "ship-shell\nship-script\n",
                "sudo: a password is required\n",
                1,
                true
            )
            .is_ok()
        );
        assert!(
            checked(
                "hello ship-shell\nship-script\n",
                "sh: 1: pyhton3: not found\n",
                127,
                false
            )
            .is_ok()
        );
    }
}
