//! Where the lines of a log go.

use std::ops::ControlFlow;

use crate::app::error::Error;

/// Takes the lines of a log.
pub trait LineSink<Line>: Sync {
    /// Takes further lines; breaks off where nobody reads any more.
    ///
    /// # Errors
    /// If they cannot be shown.
    fn write(&self, lines: &[Line]) -> Result<ControlFlow<()>, Error>;
}
