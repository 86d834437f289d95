//! A script whose output is read while it runs, and which notices whether it is read.

use std::convert::Infallible;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::error::RunFailure;
use super::opening::PreambleReader;

/// How often a script is told that somebody listens. One that hears nothing for a few times as long
/// is alone: its host may have been cut off.
pub const BEAT: Duration = Duration::from_secs(10);
/// The longest part of a line that is kept.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Sends the script, and signs of life for as long as it is polled; then the other end reads the
/// end of its input.
pub(super) async fn beat(to: Option<impl AsyncWrite + Unpin>, script: &[u8]) -> Infallible {
    if let Some(mut to) = to
        && to.write_all(script).await.is_ok()
    {
        while to.write_all(b".").await.is_ok() && to.flush().await.is_ok() {
            sleep(BEAT).await;
        }
    }
    // Whoever does not read any more has ended, or is about to: its output tells.
    std::future::pending().await
}

/// Hands out the script's lines until there are no more. Bytes that are no text do not hide the
/// others; what is too long is cut.
pub(super) async fn lines(
    from: Option<impl AsyncRead + Unpin>,
    opening: &mut PreambleReader,
    to: &mpsc::Sender<String>,
) -> Result<(), RunFailure> {
    let Some(mut from) = from else { return Ok(()) };
    let (mut chunk, mut line) = (vec![0; 64 << 10], Vec::new());
    loop {
        let read = from
            .read(&mut chunk)
            .await
            .map_err(|e| RunFailure::Lost(format!("reading its output: {e}")))?;
        if read == 0 {
            // Without its end it is not whole: a connection may have broken off in it.
            return Ok(());
        }
        for part in opening
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
                    .map_err(|_| RunFailure::Lost("nobody listens any more".to_owned()))?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_handed_out_whole_and_no_longer_than_is_kept() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("motd\nship-shell\nship-script\none\n\n{long}\ncaf\u{e9}\nno end");
        let (sender, mut receiver) = mpsc::channel(8);
        lines(
            Some(text.as_bytes()),
            &mut PreambleReader::default(),
            &sender,
        )
        .await
        .unwrap();
        drop(sender);
        let mut heard = Vec::new();
        while let Some(line) = receiver.recv().await {
            heard.push(line);
        }
        assert_eq!(heard, ["one", "", &long[1..], "caf\u{e9}"]);
    }
}
