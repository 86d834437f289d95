//! Notifications by a program on this machine that reads its stdin.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::config::remove_secrets;
use crate::core::journal::notification::Notification;
use crate::core::printable::strip_controls;
use crate::system::process_group;

/// The part of its stderr that is read.
const STDERR_BYTES_MAX: u64 = 64 << 10;
const ERROR_CHARS_MAX: usize = 200;

/// Runs a command with the notification as JSON on its stdin and the main fields in its environment.
pub(super) async fn run_command(
    words: &[String],
    notification: &Notification,
    dir: &Path,
) -> Result<(), String> {
    let mut json = serde_json::to_string(notification).map_err(|why| why.to_string())?;
    json.push('\n');
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let number = |number: Option<String>| number.unwrap_or_default();
    let environment = [
        ("SHIP_OCCASION", notification.occasion.word().to_owned()),
        ("SHIP_OUTCOME", notification.outcome.clone()),
        ("SHIP_SERVICE", notification.service.clone()),
        ("SHIP_FLEET", notification.fleet.clone()),
        ("SHIP_VERB", notification.verb.clone()),
        ("SHIP_VERSION", text(&notification.version)),
        (
            "SHIP_PREVIOUS_VERSION",
            text(&notification.previous_version),
        ),
        (
            "SHIP_REVISION",
            number(notification.revision.map(|revision| revision.to_string())),
        ),
        (
            "SHIP_ROLLOUT",
            number(notification.rollout.map(|rollout| rollout.to_string())),
        ),
        ("SHIP_WHO", notification.who.clone()),
        ("SHIP_EXIT_CODE", notification.exit_code.to_string()),
        ("SHIP_SUMMARY", notification.summary.clone()),
        ("SHIP_WHY", text(&notification.why)),
        ("SHIP_REPORT", text(&notification.report)),
    ];
    feed(words, json.as_bytes(), &environment, Some(dir)).await
}

/// Runs a command that reads `input`. Dropping the future kills the command and its children.
pub(super) async fn feed(
    words: &[String],
    input: &[u8],
    environment: &[(&str, String)],
    dir: Option<&Path>,
) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("the command is empty".to_owned());
    };
    let mut command = Command::new(program);
    remove_secrets(command.as_std_mut());
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    if let Some(dir) = dir.filter(|dir| !dir.as_os_str().is_empty()) {
        command.current_dir(dir);
    }
    // A file, because a background process of the command could hold a pipe open for ever.
    let errors = tempfile::tempfile()
        .map_err(|why| format!("cannot create a temporary file for its stderr: {why}"))?;
    let stderr = errors.try_clone().map_err(|why| why.to_string())?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr);
    let (mut child, group) = process_group::spawn(&mut command)
        .map_err(|why| format!("cannot start `{program}`: {why}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command may ignore its stdin; only its exit status counts.
        let _ = stdin.write_all(input).await;
    }
    let status = child
        .wait()
        .await
        .map_err(|why| format!("{program}: {why}"))?;
    group.mark_ended();
    if status.success() {
        return Ok(());
    }
    let detail = match last_line(errors).as_str() {
        "" => String::new(),
        last => format!(": {last}"),
    };
    Err(format!("`{program}` exited with {status}{detail}"))
}

/// The last line of stderr that is not blank; empty if there is none.
fn last_line(mut errors: File) -> String {
    let mut text = Vec::new();
    let _ = errors
        .rewind()
        .and_then(|()| errors.take(STDERR_BYTES_MAX).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let last = text
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default();
    strip_controls(last).take(ERROR_CHARS_MAX).collect()
}
