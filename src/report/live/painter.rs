//! The terminal of the live screen: a frame that is replaced in place, and the text above it.

use std::io::Write;

use crossterm::Command;
use crossterm::cursor::{Hide, MoveTo, MoveUp, Show};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};

use super::line::ScreenLine;

/// The size of a terminal, in columns and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TerminalSize {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// For terminals that do not report their size.
const DEFAULT_SIZE: TerminalSize = TerminalSize {
    width: 80,
    height: 24,
};

/// Writes frames to a terminal.
pub(super) struct Painter<W: Write> {
    out: W,
    colour: bool,
    size: Box<dyn Fn() -> TerminalSize + Send>,
    /// The lines on the screen.
    frame: Vec<ScreenLine>,
    frame_size: TerminalSize,
    /// The text above the frame, for a screen that is cleared.
    above: String,
    /// The text that the next frame pushes above itself.
    pending: String,
    /// Whether a frame is on the screen and the cursor is hidden.
    is_open: bool,
}

impl<W: Write> Painter<W> {
    pub(super) fn new(out: W, colour: bool, size: Box<dyn Fn() -> TerminalSize + Send>) -> Self {
        Self {
            out,
            colour,
            size,
            frame: Vec::new(),
            frame_size: DEFAULT_SIZE,
            above: String::new(),
            pending: String::new(),
            is_open: false,
        }
    }

    /// The size of the terminal.
    pub(super) fn size(&self) -> TerminalSize {
        (self.size)()
    }

    /// Prints lines above the next frame, where they scroll away with the rest of the terminal;
    /// at once if no frame is on the screen.
    pub(super) fn print(&mut self, text: &str) {
        let text = self.coloured(text);
        if self.is_open {
            self.pending.push_str(&terminal_lines(&text));
        } else {
            self.write(&text);
        }
    }

    /// Replaces the frame on a screen of this size.
    pub(super) fn paint(&mut self, lines: Vec<ScreenLine>, size: TerminalSize) {
        let is_same = self.is_open && lines == self.frame && size == self.frame_size;
        if is_same && self.pending.is_empty() {
            return;
        }
        let mut text = self.rewind(size);
        if !self.is_open {
            command(&mut text, &Hide);
        }
        text.push_str(&self.pending);
        self.above.push_str(&std::mem::take(&mut self.pending));
        let lines_of_text = lines.iter().map(|line| {
            let line = if self.colour {
                line.styled()
            } else {
                line.text()
            };
            line + "\n"
        });
        text.push_str(&terminal_lines(&lines_of_text.collect::<String>()));
        command(&mut text, &Clear(ClearType::FromCursorDown));
        command(&mut text, &EndSynchronizedUpdate);
        self.is_open = true;
        (self.frame, self.frame_size) = (lines, size);
        self.write(&text);
    }

    /// Moves the cursor to the first line of the frame, which the next lines overwrite.
    fn rewind(&self, size: TerminalSize) -> String {
        let mut text = String::new();
        command(&mut text, &BeginSynchronizedUpdate);
        text.push('\r');
        // A terminal that was resized has wrapped and moved the lines, each in its own way.
        if self.is_open && size != self.frame_size {
            command(&mut text, &Clear(ClearType::All));
            command(&mut text, &MoveTo(0, 0));
            text.push_str(&self.above);
            return text;
        }
        let up = self.frame.len().min(size.height.saturating_sub(1));
        if let Ok(up @ 1..) = u16::try_from(up) {
            command(&mut text, &MoveUp(up));
        }
        text
    }

    /// Leaves the frame on the screen, with this text below it, and shows the cursor.
    pub(super) fn close(&mut self, below: &str) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        let mut text = std::mem::take(&mut self.pending);
        text.push_str(&terminal_lines(&self.coloured(below)));
        command(&mut text, &EndSynchronizedUpdate);
        command(&mut text, &Show);
        self.frame.clear();
        self.above.clear();
        self.write(&text);
    }

    fn coloured(&self, text: &str) -> String {
        if self.colour {
            return text.to_owned();
        }
        anstream::adapter::strip_str(text).to_string()
    }

    /// Ignores errors: a lost terminal does not stop the rollout.
    fn write(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes());
        let _ = written.and_then(|()| self.out.flush());
    }
}

impl<W: Write> Drop for Painter<W> {
    fn drop(&mut self) {
        self.close("");
    }
}

/// Lines that overwrite others.
fn terminal_lines(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        lines.push_str(line);
        command(&mut lines, &Clear(ClearType::UntilNewLine));
        lines.push_str("\r\n");
    }
    lines
}

fn command(text: &mut String, command: &impl Command) {
    // Writing to a string cannot fail.
    let _ = command.write_ansi(text);
}

/// The size of the terminal of this process.
pub(super) fn terminal_size() -> TerminalSize {
    match crossterm::terminal::size() {
        Ok((width @ 1.., height @ 1..)) => TerminalSize {
            width: width.into(),
            height: height.into(),
        },
        _ => DEFAULT_SIZE,
    }
}
