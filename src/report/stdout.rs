//! Standard output that remembers its first write error.

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

/// The first error of writing to standard output. A reader that closed the pipe is not an error.
pub fn stdout_failure() -> Option<&'static str> {
    FAILURE.get().map(String::as_str)
}

/// Remembers an error of writing to standard output.
pub fn note_stdout_failure(error: &io::Error) {
    if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) {
        // Later errors are usually consequences of the first.
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
