//! The standard input and output of a running script.

use std::borrow::Cow;
use std::convert::Infallible;
use std::os::fd::AsFd;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{self, UnboundedSender};

use super::end_mark::EndFinder;
use super::error::RunFailure;
use super::input_file::InputFile;
use super::preamble::PreambleReader;
use super::sanitize::clean;
use super::saved_output::SavedOutput;
use super::streaming;
use super::sudo_dialog::{PromptFinder, Sign, SudoDialog};
use crate::remote::command::Output;

/// How much of each stream is kept. A script's report is a few KB; more is a mistake that must
/// not fill the memory.
const STREAM_BYTES_MAX: usize = 4 << 20;

/// What is written to a script, and where its output goes.
pub(super) enum ScriptIo<'a, 'd> {
    /// Writes the whole input and captures the output.
    Buffered(StdinSource<'a, 'd>, &'a mut Capture),
    /// Writes the script, then a heartbeat for as long as the caller waits; sends each line of
    /// the output to the channel.
    Streaming(Opening<'a, 'd>, &'a mpsc::Sender<String>, &'a mut Capture),
    /// Writes the script, and sends its output to the file.
    Saved(StdinSource<'a, 'd>, &'a mut SavedOutput, &'a mut Capture),
}

impl ScriptIo<'_, '_> {
    /// Writes and reads concurrently, because doing one after the other would block on a full pipe.
    ///
    /// The output ends with its stream, or with the mark that the capture expects. A mark holds the
    /// exit status, which this returns.
    pub(super) async fn transfer(
        self,
        stdin: Option<impl AsyncWrite + AsFd + Unpin>,
        stdout: Option<impl AsyncRead + Unpin>,
        stderr: Option<impl AsyncRead + Unpin>,
    ) -> Result<Option<i32>, RunFailure> {
        match self {
            ScriptIo::Buffered(
                source,
                Capture {
                    preamble,
                    stdout: out,
                    stderr: err,
                    dialog,
                },
            ) => tokio::try_join!(
                source.send(stdin),
                ending(dialog.as_ref(), out.fill(stdout, preamble.as_mut())),
                err.fill(stderr, None)
            )
            .map(|((), status, _)| status),
            ScriptIo::Streaming(
                opening,
                lines,
                Capture {
                    preamble,
                    stderr: err,
                    dialog,
                    ..
                },
            ) => {
                let preamble = preamble.get_or_insert_default();
                let forwarded = streaming::forward_lines(stdout, preamble, lines);
                let received = async {
                    tokio::try_join!(ending(dialog.as_ref(), forwarded), err.fill(stderr, None))
                };
                tokio::select! {
                    received = received => received.map(|_| None),
                    never = heartbeats(opening, stdin) => match never {},
                }
            }
            ScriptIo::Saved(
                source,
                output,
                Capture {
                    preamble,
                    stderr: err,
                    dialog,
                    ..
                },
            ) => {
                let preamble = preamble.get_or_insert_default();
                tokio::try_join!(
                    source.send(stdin),
                    ending(dialog.as_ref(), output.save(stdout, preamble)),
                    err.fill(stderr, None)
                )
                .map(|_| None)
            }
        }
    }
}

/// Reports the end of the output to the dialog.
async fn ending<T>(dialog: Option<&UnboundedSender<Sign>>, read: impl Future<Output = T>) -> T {
    let read = read.await;
    if let Some(dialog) = dialog {
        // It may have ended before.
        let _ = dialog.send(Sign::End);
    }
    read
}

async fn heartbeats(opening: Opening<'_, '_>, to: Option<impl AsyncWrite + Unpin>) -> Infallible {
    if let Some(mut to) = to
        && opening.send(&mut to).await
    {
        streaming::send_heartbeats(to).await;
    }
    // A script that does not read any more has ended, or is about to: its output shows that.
    std::future::pending().await
}

/// A script, and the dialog with sudo before it is sent.
#[derive(Default)]
pub(super) struct Opening<'a, 'd> {
    pub(super) script: &'a [u8],
    pub(super) dialog: Option<&'a mut SudoDialog<'d>>,
}

impl Opening<'_, '_> {
    /// Holds the dialog and writes the script. Returns whether the input may follow.
    async fn send(self, to: &mut (impl AsyncWrite + Unpin)) -> bool {
        if let Some(dialog) = self.dialog
            && !dialog.hold(to).await
        {
            return false;
        }
        to.write_all(self.script).await.is_ok()
    }
}

/// The output so far. It is stored outside of the future that reads it, so that it survives a
/// timeout.
#[derive(Debug, Default)]
pub(super) struct Capture {
    /// The output before the script's own; `None` for a local program.
    preamble: Option<PreambleReader>,
    stdout: CapturedStream,
    stderr: CapturedStream,
    /// The dialog before the script.
    dialog: Option<UnboundedSender<Sign>>,
}

#[derive(Debug, Default)]
struct CapturedStream {
    bytes: Vec<u8>,
    truncated: bool,
    /// Finds the end of the output, if the stream continues after it.
    end: Option<EndFinder>,
    /// Finds the prompts of sudo, for the dialog.
    prompts: Option<(PromptFinder, UnboundedSender<Sign>)>,
}

impl Capture {
    /// For a script, whose output starts after ship's markers, and the dialog before it.
    pub(super) fn for_script(dialog: Option<&SudoDialog<'_>>) -> Self {
        let mut capture = Self {
            preamble: Some(PreambleReader::default()),
            ..Self::default()
        };
        if let (Some(dialog), Some(preamble)) = (dialog, &mut capture.preamble) {
            preamble.report_to(dialog.sender());
            capture.stderr.prompts = Some((PromptFinder::default(), dialog.sender()));
            capture.dialog = Some(dialog.sender());
        }
        capture
    }

    /// For a script whose output ends with this mark, in a shell that runs already if `is_next`.
    pub(super) fn until(mut self, end_mark: &str, is_next: bool) -> Self {
        for stream in [&mut self.stdout, &mut self.stderr] {
            stream.end = Some(EndFinder::of(end_mark));
        }
        if is_next {
            self.preamble = Some(PreambleReader::in_running_shell());
        }
        self
    }

    pub(super) fn take_preamble(&mut self) -> PreambleReader {
        self.preamble.take().unwrap_or_default()
    }

    pub(super) fn into_output(self, status: i32) -> Output {
        Output {
            truncated: self.stdout.truncated || self.stderr.truncated,
            stdout: self.stdout.into_text(),
            stderr: self.stderr.into_text(),
            status,
        }
    }

    /// What was printed on standard error.
    pub(super) fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes).into_owned()
    }

    /// Replaces what was printed on standard error.
    pub(super) fn tidy_errors(&mut self, tidy: impl FnOnce(&str) -> String) {
        self.stderr.bytes = tidy(&self.errors()).into_bytes();
    }

    /// The last line of standard error, or else of standard output.
    pub(super) fn last_output(&self) -> Option<String> {
        self.stderr.last_line().or_else(|| self.stdout.last_line())
    }
}

impl CapturedStream {
    /// Reads to the end, and keeps the beginning of the script's own output. Returns the exit status
    /// that follows the end mark, if the stream has one.
    async fn fill(
        &mut self,
        from: Option<impl AsyncRead + Unpin>,
        mut preamble: Option<&mut PreambleReader>,
    ) -> Result<Option<i32>, RunFailure> {
        let Some(mut from) = from else {
            return Ok(None);
        };
        let mut chunk = vec![0; 16 << 10];
        loop {
            let read = from
                .read(&mut chunk)
                .await
                .map_err(|e| RunFailure::Lost(format!("cannot read its output: {e}")))?;
            let (own, status) = match &mut self.end {
                Some(end) if read == 0 => (Cow::Owned(end.take_rest()), None),
                Some(end) => (Cow::Owned(end.take(&chunk[..read])), end.status()),
                None => (Cow::Borrowed(&chunk[..read]), None),
            };
            match preamble
                .as_deref_mut()
                .filter(|preamble| !preamble.has_script())
            {
                Some(preamble) => self.keep(&preamble.take(&own)),
                None => self.keep(&own),
            }
            if read == 0 || status.is_some() {
                return Ok(status);
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some((finder, dialog)) = &mut self.prompts {
            for _ in 0..finder.take(bytes) {
                // After the end of the dialog, the text is the script's own.
                let _ = dialog.send(Sign::Prompt);
            }
        }
        let room = STREAM_BYTES_MAX - self.bytes.len();
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.truncated |= bytes.len() > room;
    }

    fn into_text(self) -> String {
        String::from_utf8(self.bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }

    fn last_line(&self) -> Option<String> {
        last_line(&String::from_utf8_lossy(&self.bytes)).map(clean)
    }
}

/// The last line that is not blank.
pub(super) fn last_line(text: &str) -> Option<&str> {
    text.lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
}

/// A script and its input, ready to send.
#[derive(Default)]
pub(super) struct StdinSource<'a, 'd> {
    pub(super) opening: Opening<'a, 'd>,
    pub(super) head: &'a [u8],
    pub(super) file: Option<InputFile<'a>>,
}

impl StdinSource<'_, '_> {
    /// Writes everything, then closes. A script may end without reading all of it; its exit
    /// status shows whether that is an error.
    async fn send(self, to: Option<impl AsyncWrite + AsFd + Unpin>) -> Result<(), RunFailure> {
        let Some(mut to) = to else { return Ok(()) };
        if !self.opening.send(&mut to).await || to.write_all(self.head).await.is_err() {
            return Ok(());
        }
        match self.file {
            Some(file) => file.send(&mut to).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Input;

    #[tokio::test]
    async fn capture_reads_everything_but_keeps_only_the_limit() {
        let mut stream = CapturedStream::default();
        let text = vec![b'x'; STREAM_BYTES_MAX + 1];
        stream.fill(Some(text.as_slice()), None).await.unwrap();
        assert_eq!(
            (stream.bytes.len(), stream.truncated),
            (STREAM_BYTES_MAX, true)
        );
    }

    /// Sends a file that changes from 10 bytes to this size after it was opened.
    async fn send_changed_file(size_bytes: u64) -> (Result<(), RunFailure>, usize) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10).unwrap();
        let input = Input {
            head: b"head".to_vec(),
            file: Some(file.path().to_owned()),
        };
        let source = StdinSource {
            opening: Opening::default(),
            head: &input.head,
            file: InputFile::open(&input).await.unwrap(),
        };
        file.as_file().set_len(size_bytes).unwrap();
        let (to, mut from) = tokio::net::unix::pipe::pipe().unwrap();
        let result = source.send(Some(to)).await;
        let mut sent = Vec::new();
        from.read_to_end(&mut sent).await.unwrap();
        (result, sent.len())
    }

    #[tokio::test]
    async fn file_is_sent_with_the_length_that_it_had() {
        let (result, sent_bytes) = send_changed_file(20).await;
        assert!(result.is_ok());
        assert_eq!(sent_bytes, "head".len() + 10);
        let (result, _) = send_changed_file(5).await;
        assert!(
            matches!(result, Err(RunFailure::Input { .. })),
            "{result:?}"
        );
    }

    #[test]
    fn capture_replaces_invalid_utf8() {
        let stream = CapturedStream {
            bytes: b"caf\xe9 open\n\n".to_vec(),
            ..CapturedStream::default()
        };
        assert_eq!(stream.last_line().as_deref(), Some("caf\u{fffd} open"));
    }
}
