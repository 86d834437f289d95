//! Writes logs to stdout.

use std::ops::ControlFlow;

use super::super::output;
use crate::app::error::{Error, Internal};

/// Writes to stdout; `Break` if the reader has closed the pipe.
pub(super) fn write(text: &str) -> Result<ControlFlow<()>, Error> {
    output::write(text)
        .map_err(|error| Internal::Other(format!("cannot write to stdout: {error}")).into())
}
