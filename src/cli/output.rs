//! What the command line writes: data to stdout, progress and errors to stderr.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use super::exit::{CliError, Exit};
use crate::report::note_stdout_failure;

/// Data goes to stdout; breaks off where its reader has gone away (`| head`), which is no error.
pub(super) fn write(text: &str) -> io::Result<ControlFlow<()>> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}

/// The data is all that a verb has to say.
pub(super) fn print(text: &str) -> Result<Exit, CliError> {
    print_while_read(text).map(|_| Exit::Done)
}

/// Some of the data; breaks off if nobody reads it any more.
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

/// A line of progress. Where nobody reads it, the work goes on.
pub(super) fn note(text: &str) {
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

pub(super) fn complain(fail: &CliError) -> ExitCode {
    note(fail.message.trim_end());
    fail.exit.into()
}
