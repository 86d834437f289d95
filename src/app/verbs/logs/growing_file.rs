//! A text file that may still grow.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::trust;

/// A text file and the position up to which it was read.
pub(super) struct GrowingFile {
    file: File,
    /// The start of a line that is not complete yet.
    rest: Vec<u8>,
}

impl GrowingFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: trust::open_own(path)?,
            rest: Vec::new(),
        })
    }

    /// Reads the complete lines that were added since the last call.
    pub(super) fn read_lines(&mut self) -> io::Result<Vec<String>> {
        let at = self.file.stream_position()?;
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_to_end(&mut self.rest)?;
        let end = self
            .rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |last| last + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        Ok(String::from_utf8_lossy(&whole)
            .lines()
            .map(str::to_owned)
            .collect())
    }
}
