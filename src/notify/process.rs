//! A program on this machine that reads some input.

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

/// As much is kept of what it complains.
const COMPLAINT_BYTES_MAX: u64 = 64 << 10;
const COMPLAINT_CHARS_MAX: usize = 200;

/// Runs a command with the notice as JSON on its stdin, and what matters most of it in its
/// environment.
pub(super) async fn tell(
    words: &[String],
    notice: &Notification,
    dir: &Path,
) -> Result<(), String> {
    let mut json = serde_json::to_string(notice).map_err(|why| why.to_string())?;
    json.push('\n');
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let number = |number: Option<String>| number.unwrap_or_default();
    let environment = [
        ("SHIP_OCCASION", notice.occasion.word().to_owned()),
        ("SHIP_OUTCOME", notice.outcome.clone()),
        ("SHIP_SERVICE", notice.service.clone()),
        ("SHIP_FLEET", notice.fleet.clone()),
        ("SHIP_VERB", notice.verb.clone()),
        ("SHIP_VERSION", text(&notice.version)),
        ("SHIP_PREVIOUS_VERSION", text(&notice.previous_version)),
        (
            "SHIP_REVISION",
            number(notice.revision.map(|revision| revision.to_string())),
        ),
        (
            "SHIP_ROLLOUT",
            number(notice.rollout.map(|rollout| rollout.to_string())),
        ),
        ("SHIP_WHO", notice.who.clone()),
        ("SHIP_EXIT_CODE", notice.exit_code.to_string()),
        ("SHIP_SUMMARY", notice.summary.clone()),
        ("SHIP_WHY", text(&notice.why)),
        ("SHIP_REPORT", text(&notice.report)),
    ];
    feed(words, json.as_bytes(), &environment, Some(dir)).await
}

/// Runs a command that reads `input`. If dropped, kills it and its children.
pub(super) async fn feed(
    words: &[String],
    input: &[u8],
    environment: &[(&str, String)],
    dir: Option<&Path>,
) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("an empty command".to_owned());
    };
    let mut command = Command::new(program);
    remove_secrets(command.as_std_mut());
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    if let Some(dir) = dir.filter(|dir| !dir.as_os_str().is_empty()) {
        command.current_dir(dir);
    }
    // A file, as what it leaves in the background may hold a pipe open for ever.
    let complaint =
        tempfile::tempfile().map_err(|why| format!("there is no place for what it says: {why}"))?;
    let stderr = complaint.try_clone().map_err(|why| why.to_string())?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr);
    let (mut child, group) = process_group::spawn(&mut command)
        .map_err(|why| format!("{program} cannot be started: {why}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read is judged by how it ends.
        let _ = stdin.write_all(input).await;
    }
    let status = child
        .wait()
        .await
        .map_err(|why| format!("{program}: {why}"))?;
    group.ended();
    if status.success() {
        return Ok(());
    }
    let said = match last_line(complaint).as_str() {
        "" => String::new(),
        last => format!(": {last}"),
    };
    Err(format!("{program} ended with {status}{said}"))
}

/// The last line of a program's complaint that is not blank; empty where there is none.
fn last_line(mut complaint: File) -> String {
    let mut said = Vec::new();
    let _ = complaint
        .rewind()
        .and_then(|()| complaint.take(COMPLAINT_BYTES_MAX).read_to_end(&mut said));
    let said = String::from_utf8_lossy(&said);
    let last = said
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default();
    strip_controls(last).take(COMPLAINT_CHARS_MAX).collect()
}
