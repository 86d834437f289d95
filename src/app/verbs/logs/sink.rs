//! The receiver of log lines.

use std::ops::ControlFlow;

use crate::app::error::Error;

/// Receives log lines.
pub trait LineSink<Line>: Sync {
    /// Writes further lines; `Break` if the reader has closed the pipe.
    ///
    /// # Errors
    /// If the lines cannot be written.
    fn write(&self, lines: &[Line]) -> Result<ControlFlow<()>, Error>;
}
