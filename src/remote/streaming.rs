//! A script whose output is read while it runs, and which notices when its reader is gone.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::error::RunFailure;
use super::preamble::PreambleReader;

/// How often a script is sent a byte as a sign that its reader is alive. A script that gets
/// none for a few intervals ends, because the network may have failed.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// The longest part of a line that is kept.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Sends a heartbeat for as long as the future is polled and the script reads.
pub(super) async fn send_heartbeats(mut to: impl AsyncWrite + Unpin) {
    while to.write_all(b".").await.is_ok() && to.flush().await.is_ok() {
        sleep(HEARTBEAT).await;
    }
}

/// Sends the script's lines to `to` until the output ends. Invalid UTF-8 is replaced, and lines
/// that are too long are truncated.
pub(super) async fn forward_lines(
    from: Option<impl AsyncRead + Unpin>,
    preamble: &mut PreambleReader,
    to: &mpsc::Sender<String>,
) -> Result<(), RunFailure> {
    let Some(mut from) = from else { return Ok(()) };
    let (mut chunk, mut line) = (vec![0; 64 << 10], Vec::new());
    loop {
        let read = from
            .read(&mut chunk)
            .await
            .map_err(|e| RunFailure::Lost(format!("cannot read its output: {e}")))?;
        if read == 0 {
            // A line without a newline is incomplete: the connection may have broken within it.
            return Ok(());
        }
        for part in preamble
            .take(&chunk[..read])
            .split_inclusive(|byte| *byte == b'\n')
        {
            let (text, is_whole) = part
                .strip_suffix(b"\n")
                .map_or((part, false), |text| (text, true));
            let room = LINE_BYTES_MAX - line.len();
            line.extend_from_slice(&text[..text.len().min(room)]);
            if is_whole {
                let whole = String::from_utf8_lossy(&std::mem::take(&mut line)).into_owned();
                to.send(whole)
                    .await
                    .map_err(|_| RunFailure::Lost("the reader is gone".to_owned()))?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn streaming_returns_complete_lines_truncated_to_the_limit() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("motd\nship-shell\nship-script\none\n\n{long}\ncaf\u{e9}\nno end");
        let (sender, mut receiver) = mpsc::channel(8);
        forward_lines(
            Some(text.as_bytes()),
            &mut PreambleReader::default(),
            &sender,
        )
        .await
        .unwrap();
        drop(sender);
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push(line);
        }
        assert_eq!(lines, ["one", "", &long[1..], "caf\u{e9}"]);
    }
}
