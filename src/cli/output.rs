//! Writes data to stdout, and progress and errors to stderr.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use super::exit::{CliError, Exit};
use crate::report::note_stdout_failure;

/// Writes data to stdout. A closed pipe (`| head`) is not an error, but nothing more can be
/// written.
pub(super) fn write(text: &str) -> io::Result<ControlFlow<()>> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}

/// Prints all the data of a verb.
pub(super) fn print(text: &str) -> Result<Exit, CliError> {
    print_while_read(text).map(|_| Exit::Done)
}

/// Prints a part of the data; `Break` if the reader has closed the pipe.
pub(super) fn print_while_read(text: &str) -> Result<ControlFlow<()>, CliError> {
    write(text).map_err(|error| {
        note_stdout_failure(&error);
        stdout_fail(&error)
    })
}

pub(super) fn stdout_fail(error: &io::Error) -> CliError {
    CliError::new(
        Exit::Internal,
        format!("error: cannot write to stdout: {error}"),
    )
}

/// Prints a line to stderr. If stderr is closed, the work continues.
pub(super) fn note(text: &str) {
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

pub(super) fn print_error(fail: &CliError) -> ExitCode {
    note(fail.message.trim_end());
    fail.exit.into()
}
