//! The output of a script that is saved to a file.

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::error::RunFailure;
use super::preamble::PreambleReader;

const CHUNK_BYTES: usize = 64 << 10;

/// A file on this machine to which the output of a script is saved.
#[derive(Debug)]
pub struct SavedOutput<'a> {
    pub file: &'a mut File,
    /// The limit of the output: a host must not fill the disk of this machine.
    pub bytes_max: u64,
}

impl SavedOutput<'_> {
    /// Writes the script's output to the file until it ends.
    pub(super) async fn save(
        self,
        from: Option<impl AsyncRead + Unpin>,
        preamble: &mut PreambleReader,
    ) -> Result<(), RunFailure> {
        let Some(mut from) = from else { return Ok(()) };
        let cannot_save = |why| RunFailure::Lost(format!("cannot save its output: {why}"));
        let (mut chunk, mut saved_bytes) = (vec![0; CHUNK_BYTES], 0);
        loop {
            let read = from
                .read(&mut chunk)
                .await
                .map_err(|why| RunFailure::Lost(format!("cannot read its output: {why}")))?;
            if read == 0 {
                return self.file.flush().await.map_err(cannot_save);
            }
            let bytes = preamble.take(&chunk[..read]);
            saved_bytes += bytes.len() as u64;
            if saved_bytes > self.bytes_max {
                return Err(RunFailure::Lost(format!(
                    "it printed more than {} bytes",
                    self.bytes_max
                )));
            }
            self.file.write_all(&bytes).await.map_err(cannot_save)?;
        }
    }
}
