//! Asks for a password on the terminal of this process.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

use rustix::process::getpgrp;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

/// The byte that Ctrl-C sends.
const CTRL_C: u8 = 3;

/// Why there is no password.
#[derive(Debug)]
pub enum PromptError {
    /// There is no terminal, or this process runs in its background.
    NoTerminal,
    /// The user pressed Ctrl-C.
    Interrupted,
    Io(io::Error),
}

/// Asks for a password on the controlling terminal, and reads a line that the terminal does not
/// show. Blocks until the user has answered.
///
/// # Errors
/// If there is no terminal, or the user interrupts.
pub fn read_password(question: &str) -> Result<Vec<u8>, PromptError> {
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| PromptError::NoTerminal)?;
    // A background process would be stopped by its question.
    if tcgetpgrp(&terminal).ok() != Some(getpgrp()) {
        return Err(PromptError::NoTerminal);
    }
    let hidden = HiddenInput::begin(&terminal).map_err(PromptError::Io)?;
    let answer = ask(&terminal, question);
    drop(hidden);
    // The newline of the user was not shown.
    let _ = (&terminal).write_all(b"\n");
    answer
}

fn ask(mut terminal: &File, question: &str) -> Result<Vec<u8>, PromptError> {
    terminal
        .write_all(question.as_bytes())
        .map_err(PromptError::Io)?;
    let mut line = Vec::new();
    let mut reader = BufReader::new(terminal);
    loop {
        let piece = reader.fill_buf().map_err(PromptError::Io)?;
        let length = piece.len();
        line.extend_from_slice(piece);
        reader.consume(length);
        if line.contains(&CTRL_C) {
            return Err(PromptError::Interrupted);
        }
        if length == 0 || line.ends_with(b"\n") {
            if line.ends_with(b"\n") {
                line.pop();
            }
            return Ok(line);
        }
    }
}

/// The terminal without echo, until it is dropped.
struct HiddenInput<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> HiddenInput<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes |= LocalModes::ICANON;
        // Without signals: one that ends ship would leave the terminal without echo. Instead,
        // Ctrl-C ends the line.
        hidden.local_modes &= !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VEOL] = CTRL_C;
        // What was typed before the question is not an answer.
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        // An error means that the terminal is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
