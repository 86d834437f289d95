//! The file that a script receives on its standard input.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::pipe::{PIPE_BUF, SpliceFlags, splice};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::RunFailure;
use crate::script::Input;

/// Bytes that are copied at a time, if the kernel cannot move them. Many hosts may receive a release at
/// the same time.
const COPIED_BYTES: usize = 32 << 10;
/// Bytes that the kernel is asked to move at a time. A pipe usually has space for 64 KB.
const MOVED_BYTES: u64 = 1 << 20;
/// The longest file that a shared shell reads, which holds it in memory.
const SMALL_FILE_BYTES_MAX: u64 = 256 << 10;

/// The file of an [`Input`], of which only the length that it had when it was opened is sent.
pub(super) struct InputFile<'a> {
    path: &'a Path,
    file: File,
    size_bytes: u64,
    sent_bytes: u64,
}

impl<'a> InputFile<'a> {
    /// Opens the file, if the input has one. A file that cannot be read is reported before the
    /// script starts.
    pub(super) async fn open(input: &'a Input) -> Result<Option<Self>, RunFailure> {
        let Some(path) = &input.file else {
            return Ok(None);
        };
        let opened = async {
            let file = tokio::fs::File::open(path).await?;
            Ok::<_, io::Error>(Some(Self {
                path,
                size_bytes: file.metadata().await?.len(),
                sent_bytes: 0,
                file: file.into_std().await,
            }))
        };
        opened.await.map_err(|error| {
            RunFailure::NotStarted(format!("cannot read {}: {error}", path.display()))
        })
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether a shared shell may read it. The end of a session shows a script early that it need not
    /// read the rest of a larger file.
    pub(super) fn is_small(&self) -> bool {
        self.size_bytes() <= SMALL_FILE_BYTES_MAX
    }

    /// Sends everything. A script may end without reading all of it; its exit status shows whether
    /// that is an error.
    ///
    /// The kernel moves the pages of the file into the pipe. If the pipe is full, a write of few bytes
    /// waits until it has space. What is not a pipe, or a file that cannot be moved, is copied.
    pub(super) async fn send(
        mut self,
        to: &mut (impl AsyncWrite + AsFd + Unpin),
    ) -> Result<(), RunFailure> {
        let mut can_move = true;
        while self.sent_bytes < self.size_bytes {
            let moved = if can_move {
                self.move_into(to)
            } else {
                Err(Errno::INVAL)
            };
            let copied = match moved {
                Ok(0) => return Err(self.failure(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {
                    tokio::task::consume_budget().await;
                    continue;
                }
                Err(Errno::AGAIN | Errno::INTR) => self.read(PIPE_BUF),
                Err(Errno::INVAL) => {
                    can_move = false;
                    self.read(COPIED_BYTES)
                }
                Err(Errno::PIPE) => return Ok(()),
                Err(error) => return Err(self.failure(error.into())),
            };
            let bytes = copied.map_err(|error| self.failure(error))?;
            if to.write_all(&bytes).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Moves the next bytes into a pipe without waiting, and returns their number.
    fn move_into(&mut self, pipe: &impl AsFd) -> Result<usize, Errno> {
        let left = (self.size_bytes - self.sent_bytes).min(MOVED_BYTES);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let from = Some(&mut self.sent_bytes);
        splice(&self.file, from, pipe, None, left, SpliceFlags::NONBLOCK)
    }

    /// The next bytes.
    fn read(&mut self, max_bytes: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.size_bytes - self.sent_bytes).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(max_bytes)];
        self.file.read_exact_at(&mut bytes, self.sent_bytes)?;
        self.sent_bytes += bytes.len() as u64;
        Ok(bytes)
    }

    fn failure(&self, source: io::Error) -> RunFailure {
        RunFailure::Input {
            path: self.path.to_owned(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::NamedTempFile;
    use tokio::io::{AsyncRead, AsyncReadExt};
    use tokio::net::UnixStream;
    use tokio::net::unix::pipe;

    use super::*;

    fn input_of(file: &NamedTempFile) -> Input {
        Input {
            head: Vec::new(),
            file: Some(file.path().to_owned()),
        }
    }

    /// Sends a file with this content while it is read; returns what was read.
    async fn send_through(
        mut to: impl AsyncWrite + AsFd + Unpin,
        mut from: impl AsyncRead + Unpin,
        content: &[u8],
    ) -> Vec<u8> {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let input = input_of(&file);
        let file = InputFile::open(&input).await.unwrap().unwrap();
        let mut received = Vec::new();
        let writing = async {
            let written = file.send(&mut to).await;
            drop(to);
            written
        };
        let (written, read) = tokio::join!(writing, from.read_to_end(&mut received));
        assert!(written.is_ok() && read.is_ok(), "{written:?} {read:?}");
        received
    }

    #[tokio::test]
    async fn file_arrives_through_a_pipe_and_through_a_socket() {
        let content: Vec<_> = (0..100_003_u32).flat_map(u32::to_le_bytes).collect();
        let (to, from) = pipe::pipe().unwrap();
        assert!(send_through(to, from, &content).await == content);
        let (to, from) = UnixStream::pair().unwrap();
        assert!(send_through(to, from, &content).await == content);
    }

    #[tokio::test]
    async fn script_that_does_not_read_is_not_an_error() {
        let (mut to, from) = pipe::pipe().unwrap();
        drop(from);
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        let input = input_of(&file);
        let opened = InputFile::open(&input).await.unwrap().unwrap();
        assert!(opened.send(&mut to).await.is_ok());
    }
}
