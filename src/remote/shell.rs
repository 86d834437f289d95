//! How a script reaches a shell on the host, and what it means when it does not.
//!
//! The script travels on standard input. The command line holds only a fixed text that every login
//! shell reads in the same way: fish, for one, halves backslashes within quotes, csh expands `!`,
//! and sudo logs all of its command line.

use std::time::Duration;

use super::error::RunError;
use super::opening::{PreambleReader, SCRIPT_MARK, SHELL_MARK};
use super::words::clean;
use crate::core::time::whole_seconds;
use crate::remote::command::Output;
use crate::remote::target::HostLogin;
use crate::script::quote::quote;

/// Seconds between the TERM at the deadline and the KILL.
const KILL_AFTER_S: u64 = 5;

/// Reads a script of exactly `$0` bytes and leaves what follows to the script. Nothing runs of a
/// script that did not arrive whole. `dd` is the one program that reads no further than it is told
/// to: `head -c` of busybox does.
const READ_AND_RUN: &str = concat!(
    r#"LC_ALL=C; s=$(dd bs=$0 count=1 iflag=fullblock 2>/dev/null); "#,
    r#"[ ${#s} = $0 ] || { echo INCOMPLETE >&2; exit 1; }; echo MARK; eval "$s""#
);
/// The host's message about a script that did not arrive completely.
const INCOMPLETE: &str = "dd did not read the whole script";

/// A command line, and what its standard input begins with.
#[derive(Debug)]
pub(super) struct ShellCommand {
    /// The command line, word by word.
    pub(super) words: Vec<String>,
    /// The script, as the shell reads it.
    pub(super) script: Vec<u8>,
}

/// Prepares a script. Without an input of its own, the shell reads the script itself: that takes
/// one program less.
///
/// The host itself ends it at the deadline, with all its children: a dropped connection would leave
/// it running. (A service that it started has a session of its own and stays.)
///
/// What happens to a script without its controller, as measured:
///
/// - *ship is killed, or the connection is closed:* the server's side of the connection ends at
///   once, the script does not. It has printed nothing yet that could fail, so that an act (a stop
///   that waits) is completed within its own time. A transfer reaches the end of its input early:
///   the part that has arrived is verified, found incomplete and removed.
/// - *the network is cut:* the same, except that the server does not notice. Here the connection is
///   given up after three unanswered questions; there an act is completed, a transfer waits until
///   its deadline, and the server's process stays until its own keepalive fails
///   (`ClientAliveInterval`, or the kernel after two hours).
/// - *after that* nothing can take effect: no process is left, and what a newer controller has
///   claimed in between refuses the script's next step under the lock.
pub(super) fn launch(
    script: &str,
    has_input: bool,
    deadline: Duration,
    sudo: bool,
) -> ShellCommand {
    // Rounded up, so that the wait on this side always ends first and a status of 124 is the
    // script's own.
    let deadline_s = whole_seconds(deadline).to_string();
    let outer = format!(r#"LC_ALL=C; export LC_ALL; echo {SHELL_MARK}; exec "$@""#);
    let mut words = vec![
        "/bin/sh".to_owned(),
        "-c".to_owned(),
        outer,
        "ship".to_owned(),
    ];
    let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    if sudo {
        add(&["sudo", "-n", "--"]);
    }
    add(&[
        "timeout",
        "-k",
        &KILL_AFTER_S.to_string(),
        &deadline_s,
        "sh",
    ]);
    let script = script.trim_end_matches('\n');
    if !has_input {
        // As one command, so that it is read to its end before any of it runs.
        let script = format!("{{\nexec </dev/null\necho {SCRIPT_MARK}\n{script}\n}}\n");
        return ShellCommand {
            words,
            script: script.into_bytes(),
        };
    }
    add(&[
        "-c",
        &READ_AND_RUN
            .replace("MARK", SCRIPT_MARK)
            .replace("INCOMPLETE", INCOMPLETE),
        &script.len().to_string(),
    ]);
    ShellCommand {
        words,
        script: script.as_bytes().to_vec(),
    }
}

/// The words as one line for any login shell.
pub(super) fn line(words: &[String]) -> String {
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

/// Whether a word can stay unquoted, so that the line reads well in a log.
fn is_plain(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-/".contains(&b))
}

/// Tells a script that ran from one that the login shell, sudo or a missing program kept from
/// running.
pub(super) fn judge(
    output: Output,
    opening: &PreambleReader,
    sudo: bool,
    place: &HostLogin,
) -> Result<Output, RunError> {
    if opening.has_script() {
        return Ok(output);
    }
    let host = place.name.clone();
    let user = place.user.clone();
    let printed = clean(&format!("{}\n{}", opening.before(), output.stderr));
    let said = match printed.as_str() {
        "" => format!(
            "it printed nothing and ended with exit status {}",
            output.status
        ),
        printed => format!("{printed}; exit status {}", output.status),
    };
    Err(match (opening.has_shell(), sudo) {
        (false, _) => RunError::LoginShell { host, user, said },
        (true, true) if !output.stderr.contains(INCOMPLETE) => {
            RunError::SudoRefused { host, user, said }
        }
        (true, _) => RunError::NotStarted { host, why: said },
    })
}

/// What had not ended at the deadline.
pub(super) fn waiting_for(opening: &PreambleReader, sudo: bool) -> &'static str {
    match (opening.has_shell(), opening.has_script(), sudo) {
        (false, ..) => "the start of the login shell",
        (true, false, true) => "sudo",
        _ => "the script",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(before: &str, stderr: &str, status: i32, sudo: bool) -> Result<Output, RunError> {
        let mut opening = PreambleReader::default();
        opening.take(before.as_bytes());
        let output = Output {
            stdout: String::new(),
            stderr: stderr.into(),
            status,
            truncated: false,
        };
        judge(
            output,
            &opening,
            sudo,
            &HostLogin {
                name: "web1".into(),
                user: Some("deploy".into()),
            },
        )
    }

    #[test]
    fn deadline_on_the_host_is_never_shorter_than_here() {
        let deadline =
            |ms| launch("true", false, Duration::from_millis(ms), false).words[7].clone();
        assert_eq!(
            [deadline(0), deadline(1), deadline(1000), deadline(1001)],
            ["1", "1", "1", "2"]
        );
    }

    #[test]
    fn command_line_holds_nothing_that_shells_read_differently() {
        for (has_input, sudo) in [(false, false), (true, true)] {
            let line =
                line(&launch("echo 'a\\b' !x\n", has_input, Duration::from_secs(30), sudo).words);
            assert!(!line.contains(['\\', '!', '\n', '`', '~']), "{line}");
            assert!(line.len() < 400, "{line}");
        }
    }

    #[test]
    fn sudo_refusal_names_the_words_of_sudo_and_what_helps() {
        for (said, helps) in [
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
            let error = judged("motd\nship-shell\n", said, 1, true).unwrap_err();
            assert!(matches!(error, RunError::SudoRefused { .. }));
            let error = error.to_string();
            assert!(
                error.contains(said) && error.contains(helps) && error.contains("deploy"),
                "{error}"
            );
        }
    }

    #[test]
    fn login_shell_that_runs_nothing_is_named_with_its_words() {
        let error = judged("This account is currently not available.\n", "", 1, true)
            .unwrap_err()
            .to_string();
        insta::assert_snapshot!(error, @"web1: the login shell of deploy did not run ship's \
                                         command (This account is currently not available.; exit \
                                         status 1); check the shell with `getent passwd deploy` \
                                         on the host, and its startup files");
        let error = judged("", "", 1, false).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"web1: the login shell of deploy did not run ship's \
                                         command (it printed nothing and ended with exit status \
                                         1); check the shell with `getent passwd deploy` on the \
                                         host, and its startup files");
    }

    #[test]
    fn script_that_ran_keeps_its_own_failure() {
        assert!(
            judged(
                "ship-shell\nship-script\n",
                "sudo: a password is required\n",
                1,
                true
            )
            .is_ok()
        );
        assert!(
            judged(
                "hello ship-shell\nship-script\n",
                "sh: 1: pyhton3: not found\n",
                127,
                false
            )
            .is_ok()
        );
    }
}
