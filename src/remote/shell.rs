//! How a script is handed to a shell, and what it means when it does not get there.

use std::time::Duration;

use super::error::RunError;
use super::{Output, Place};
use crate::script::quote::quote;

/// After the deadline's TERM, how long until KILL.
const KILL_AFTER_S: u64 = 5;

/// The command line of a script, word by word. The host itself ends it at the deadline, with all its children: a
/// dropped connection would leave it running. (A service that it started has a session of its own and stays.)
///
/// What becomes of it without its controller, as measured:
///
/// - *ship is killed, or the connection is closed:* the server's side of the connection ends at once, the script does
///   not. It has printed nothing yet that could fail, so that an act (a stop that waits) is completed within its own
///   time. Whoever reads its input meets the end of it: what arrived until then is verified, found short and removed.
/// - *the network is cut:* the same, but that the server does not know. Here the connection is given up after three
///   unanswered questions; there an act is completed, a transfer waits for more until the deadline ends it, and the
///   server's process stays until its own keepalive finds out (`ClientAliveInterval`, or the kernel after two hours).
/// - *after that* nothing can take effect: no process is left, and what a newer controller has claimed in between
///   refuses the script's next step under the lock.
pub(super) fn words(script: &str, deadline: Duration, sudo: bool) -> Vec<String> {
    // Rounded up, so that the wait on this side always ends first and a status of 124 is the script's own.
    let deadline_s = deadline.as_secs() + u64::from(deadline.subsec_nanos() > 0);
    let sudo: &[&str] = if sudo { &["sudo", "-n", "--"] } else { &[] };
    let (kill_after, deadline) = (KILL_AFTER_S.to_string(), deadline_s.max(1).to_string());
    let run = ["timeout", "-k", &kill_after, &deadline, "sh", "-c", script];
    sudo.iter().chain(run.iter()).map(|word| (*word).to_owned()).collect()
}

/// The words as one line for a login shell, which may be dash, bash, zsh or busybox's. Messages come in English, so
/// that they can be read by [`judge`].
pub(super) fn line(words: &[String]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| if is_plain(word) { word.clone() } else { quote(word) }).collect();
    format!("export LC_ALL=C; exec {}", quoted.join(" "))
}

/// Only for the line to read well in a log.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Tells a script that did not run because of sudo from one that ran.
pub(super) fn judge(output: Output, sudo: bool, place: &Place) -> Result<Output, RunError> {
    if !sudo || !matches!(output.status, 1 | 126 | 127) || !output.stdout.is_empty() {
        return Ok(output);
    }
    match output.stderr.lines().find(|line| is_refusal(line)) {
        None => Ok(output),
        Some(said) => Err(RunError::SudoRefused {
            host: place.name.clone(),
            user: place.user.clone().unwrap_or_else(|| "USER".to_owned()),
            said: said.trim().to_owned(),
        }),
    }
}

/// Of sudo, of sudo-rs, and of the shells that do not find it. Warnings of sudo ("unable to resolve host") are none.
fn is_refusal(line: &str) -> bool {
    const REFUSALS: [&str; 15] = [
        "a password is required",
        "a terminal is required",
        "authentication is required",
        "is not in the sudoers file",
        "is not allowed to execute",
        "is not allowed to run",
        "may not run sudo",
        "must have a tty",
        "I'm afraid I can't do that",
        "no valid sudoers sources",
        "account validation failure",
        "effective uid is not 0",
        "must be owned by uid 0",
        "no new privileges",
        "not found",
    ];
    let line_is_sudos = line.contains("sudo") || line.contains("Sorry, user ") || line.ends_with(" as root.");
    line_is_sudos && REFUSALS.iter().any(|refusal| line.contains(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(stdout: &str, stderr: &str, status: i32) -> Result<Output, RunError> {
        let output = Output { stdout: stdout.into(), stderr: stderr.into(), status, truncated: false };
        judge(output, true, &Place { name: "web1".into(), user: Some("deploy".into()) })
    }

    #[test]
    fn the_hosts_own_watch_is_never_shorter_than_ours() {
        let deadline = |ms| words("true", Duration::from_millis(ms), false)[3].clone();
        assert_eq!([deadline(0), deadline(1), deadline(1000), deadline(1001)], ["1", "1", "1", "2"]);
    }

    #[test]
    fn every_way_in_which_sudo_refuses_is_told_with_advice() {
        for said in [
            "sudo: a password is required",
            "sudo: a terminal is required to read the password; either use the -S option to read from standard input",
            "deploy is not in the sudoers file.",
            "Sorry, user deploy is not allowed to execute '/usr/bin/timeout -k 5 30 sh -c true' as root on web1.",
            "sudo: interactive authentication is required",
            "sudo: sorry, you must have a tty to run sudo",
            "sh: 1: exec: sudo: not found",
            "bash: line 1: exec: sudo: not found",
            "zsh:1: command not found: sudo",
        ] {
            let error = judged("", said, if said.contains("not found") { 127 } else { 1 }).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("NOPASSWD") && error.contains("deploy"), "{error}");
        }
    }

    #[test]
    fn a_script_that_ran_keeps_its_own_failure() {
        assert!(judged("", "sudo: unable to resolve host web1: Name or service not known\n", 1).is_ok());
        assert!(judged("ran\n", "sudo: a password is required\n", 1).is_ok(), "a hook's own sudo");
        assert!(judged("", "sh: 1: pyhton3: not found\n", 127).is_ok());
    }
}
