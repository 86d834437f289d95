//! The input and the output of a running script.

use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use super::error::RunFailure;
use super::live;
use super::opening::PreambleReader;
use super::words::clean;
use crate::remote::command::Output;

/// What is kept of each stream. A script's report is a few KB; more is a mistake that must not fill
/// the memory.
const STREAM_BYTES_MAX: usize = 4 << 20;
const CHUNK_BYTES: usize = 256 << 10;

/// What is said to a script, and heard from it.
pub(super) enum ScriptIo<'a> {
    /// It is fed, and heard out.
    Whole(StdinSource<'a>, &'a mut Capture),
    /// The script, and where each of its lines goes. As long as somebody waits for them, it gets a
    /// sign of life.
    Live(&'a [u8], &'a mpsc::Sender<String>, &'a mut Capture),
}

impl ScriptIo<'_> {
    /// Writes and reads at the same time; either alone would block on a full pipe.
    pub(super) async fn hold(
        self,
        stdin: Option<impl AsyncWrite + Unpin>,
        stdout: Option<impl AsyncRead + Unpin>,
        stderr: Option<impl AsyncRead + Unpin>,
    ) -> Result<(), RunFailure> {
        match self {
            ScriptIo::Whole(
                feed,
                Capture {
                    opening,
                    stdout: said,
                    stderr: complained,
                },
            ) => tokio::try_join!(
                feed.send(stdin),
                said.fill(stdout, opening.as_mut()),
                complained.fill(stderr, None)
            )
            .map(|_| ()),
            ScriptIo::Live(
                script,
                lines,
                Capture {
                    opening,
                    stderr: complained,
                    ..
                },
            ) => {
                let opening = opening.get_or_insert_default();
                let heard = async {
                    tokio::try_join!(
                        live::lines(stdout, opening, lines),
                        complained.fill(stderr, None)
                    )
                };
                tokio::select! {
                    heard = heard => heard.map(|_| ()),
                    never = live::beat(stdin, script) => match never {},
                }
            }
        }
    }
}

/// What a script has said so far. Kept outside of the future that reads, so that a deadline does
/// not lose it.
#[derive(Debug, Default)]
pub(super) struct Capture {
    /// The output before the script's own; `None` for a program.
    opening: Option<PreambleReader>,
    stdout: CapturedStream,
    stderr: CapturedStream,
}

#[derive(Debug, Default)]
struct CapturedStream {
    bytes: Vec<u8>,
    truncated: bool,
}

impl Capture {
    /// For a script, whose output begins after ship's marks.
    pub(super) fn of_script() -> Self {
        Self {
            opening: Some(PreambleReader::default()),
            ..Self::default()
        }
    }

    pub(super) fn take_opening(&mut self) -> PreambleReader {
        self.opening.take().unwrap_or_default()
    }

    pub(super) fn into_output(self, status: i32) -> Output {
        Output {
            truncated: self.stdout.truncated || self.stderr.truncated,
            stdout: self.stdout.into_text(),
            stderr: self.stderr.into_text(),
            status,
        }
    }

    /// The last line of standard error, or else of standard output.
    pub(super) fn last_words(&self) -> Option<String> {
        self.stderr.last_line().or_else(|| self.stdout.last_line())
    }
}

impl CapturedStream {
    /// Reads to the end, and keeps the beginning of the script's own output.
    async fn fill(
        &mut self,
        from: Option<impl AsyncRead + Unpin>,
        mut opening: Option<&mut PreambleReader>,
    ) -> Result<(), RunFailure> {
        let Some(mut from) = from else { return Ok(()) };
        let mut chunk = vec![0; 16 << 10];
        loop {
            let read = from
                .read(&mut chunk)
                .await
                .map_err(|e| RunFailure::Lost(format!("reading its output: {e}")))?;
            if read == 0 {
                return Ok(());
            }
            match opening
                .as_deref_mut()
                .filter(|opening| !opening.has_script())
            {
                Some(opening) => self.keep(&opening.take(&chunk[..read])),
                None => self.keep(&chunk[..read]),
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
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

/// A script and its [`Input`](crate::script::Input), ready to be sent: a file that cannot be read is
/// noticed before the script begins.
#[derive(Debug)]
pub(super) struct StdinSource<'a> {
    script: &'a [u8],
    head: &'a [u8],
    file: Option<(&'a Path, tokio::fs::File)>,
}

impl<'a> StdinSource<'a> {
    pub(super) async fn open(
        script: &'a [u8],
        input: &'a crate::script::Input,
    ) -> Result<Self, RunFailure> {
        let file = match &input.file {
            None => None,
            Some(path) => match tokio::fs::File::open(path).await {
                Ok(file) => Some((path.as_path(), file)),
                Err(e) => {
                    return Err(RunFailure::NotStarted(format!(
                        "failed to read {}: {e}",
                        path.display()
                    )));
                }
            },
        };
        Ok(Self {
            script,
            head: &input.head,
            file,
        })
    }

    /// Writes all of it, then closes. A script may end without having read it: its status tells
    /// whether that is well.
    async fn send(self, to: Option<impl AsyncWrite + Unpin>) -> Result<(), RunFailure> {
        let Some(mut to) = to else { return Ok(()) };
        if to.write_all(self.script).await.is_err() || to.write_all(self.head).await.is_err() {
            return Ok(());
        }
        let Some((path, file)) = self.file else {
            return Ok(());
        };
        let mut file = BufReader::with_capacity(CHUNK_BYTES, file);
        loop {
            let chunk = match file.fill_buf().await {
                Ok(chunk) => chunk,
                Err(source) => {
                    return Err(RunFailure::Input {
                        path: path.to_owned(),
                        source,
                    });
                }
            };
            let length = chunk.len();
            if length == 0 || to.write_all(chunk).await.is_err() {
                return Ok(());
            }
            file.consume(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_the_cap_is_read_to_the_end_but_not_kept() {
        let mut stream = CapturedStream::default();
        let text = vec![b'x'; STREAM_BYTES_MAX + 1];
        stream.fill(Some(text.as_slice()), None).await.unwrap();
        assert_eq!(
            (stream.bytes.len(), stream.truncated),
            (STREAM_BYTES_MAX, true)
        );
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hide_the_others() {
        let stream = CapturedStream {
            bytes: b"caf\xe9 open\n\n".to_vec(),
            truncated: false,
        };
        assert_eq!(stream.last_line().as_deref(), Some("caf\u{fffd} open"));
    }
}
