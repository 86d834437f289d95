//! Standard output that remembers whether anything was lost.

use std::io::{self, ErrorKind, Stdout as Real, Write};
use std::sync::OnceLock;

static FAILURE: OnceLock<String> = OnceLock::new();

#[derive(Debug)]
pub struct Stdout(Real);

impl Default for Stdout {
    fn default() -> Self {
        Self(io::stdout())
    }
}

/// Why something that was written to standard output is lost, if it is. A reader that has gone away
/// is no failure.
pub fn stdout_failure() -> Option<&'static str> {
    FAILURE.get().map(String::as_str)
}

/// Remembers a failure to write to standard output.
pub fn note_stdout_failure(error: &io::Error) {
    if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) {
        // The first one says most.
        drop(FAILURE.set(error.to_string()));
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).inspect_err(note_stdout_failure)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().inspect_err(note_stdout_failure)
    }
}
