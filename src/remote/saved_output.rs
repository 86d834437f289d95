//! The output of a script that is saved to a file.

use std::io;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::error::RunFailure;
use super::preamble::PreambleReader;
use crate::core::time::Human;

const CHUNK_BYTES: usize = 64 << 10;

/// How long a script may print nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A file on this machine to which the output of a script is saved.
#[derive(Debug)]
pub struct SavedOutput {
    file: File,
    bytes_max: u64,
    /// Why the file could not be written.
    write_error: Option<io::Error>,
}

impl SavedOutput {
    /// `bytes_max` is the limit of the output: a host must not fill the disk of this machine.
    pub fn new(file: std::fs::File, bytes_max: u64) -> Self {
        Self {
            file: File::from_std(file),
            bytes_max,
            write_error: None,
        }
    }

    /// Why the file could not be written, if that is why the output was not saved.
    pub fn write_error(&self) -> Option<&io::Error> {
        self.write_error.as_ref()
    }

    /// Writes the script's output to the file until it ends.
    pub(super) async fn save(
        &mut self,
        from: Option<impl AsyncRead + Unpin>,
        preamble: &mut PreambleReader,
    ) -> Result<(), RunFailure> {
        let Some(mut from) = from else { return Ok(()) };
        let (mut chunk, mut saved_bytes) = (vec![0; CHUNK_BYTES], 0);
        loop {
            let read = timeout(SILENCE_MAX, from.read(&mut chunk)).await;
            let silence =
                |_| RunFailure::Lost(format!("it sent nothing for {}", Human(SILENCE_MAX)));
            let read = read
                .map_err(silence)?
                .map_err(|why| RunFailure::Lost(format!("cannot read its output: {why}")))?;
            if read == 0 {
                let flushed = self.file.flush().await;
                return flushed.map_err(|why| self.cannot_write(why));
            }
            let bytes = preamble.take(&chunk[..read]);
            saved_bytes += bytes.len() as u64;
            if saved_bytes > self.bytes_max {
                return Err(RunFailure::Lost(format!(
                    "it sent more than {} bytes",
                    self.bytes_max
                )));
            }
            let written = self.file.write_all(&bytes).await;
            written.map_err(|why| self.cannot_write(why))?;
        }
    }

    fn cannot_write(&mut self, why: io::Error) -> RunFailure {
        let failure = RunFailure::Lost(format!("cannot save its output: {why}"));
        self.write_error = Some(why);
        failure
    }
}
