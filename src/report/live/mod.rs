//! The live screen: one frame that is redrawn in place.

use std::io::{Stderr, Write};
use std::time::Duration;

use crossterm::Command;
use crossterm::cursor::{Hide, MoveTo, MoveUp, Show};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};

use super::message::{RolloutMessage, Severity};
use super::narrator::Narrator;
use super::{phrases, plain};
use crate::core::ids::Slot;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::report::reporter::{Reporter, ReporterSetup};
use content::ScreenContent;
use frame::ScreenFrame;
use line::ScreenLine;

mod capacity_bar;
mod content;
mod frame;
mod instances;
mod line;
mod style;

#[cfg(test)]
mod tests;

/// The shortest time between two frames. Faster events wait for the next frame.
const BETWEEN_FRAMES_MIN: Duration = Duration::from_millis(50);
/// For terminals that do not report their size.
const DEFAULT_SIZE: Size = Size {
    width: 80,
    height: 24,
};

/// The size of a terminal, in columns and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    width: usize,
    height: usize,
}

/// Shows a rollout on one screen.
pub struct Live<W: Write> {
    out: W,
    colour: bool,
    size: Box<dyn Fn() -> Size + Send>,
    narrator: Narrator,
    content: Option<ScreenContent>,
    /// The lines on the screen, and the time of the last frame.
    drawn: Vec<ScreenLine>,
    drawn_size: Size,
    drawn_at: Time,
    /// The messages above the frame, for a screen that is cleared.
    above: String,
    /// Whether a frame is on the screen and the cursor is hidden.
    open: bool,
}

impl Live<Stderr> {
    /// A live screen on the terminal of this process.
    pub fn stderr(setup: ReporterSetup) -> Self {
        let out = std::io::stderr();
        let colour = anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never;
        Self::new(out, setup, colour, Box::new(terminal_size))
    }
}

impl<W: Write> Live<W> {
    fn new(out: W, setup: ReporterSetup, colour: bool, size: Box<dyn Fn() -> Size + Send>) -> Self {
        let narrator = Narrator::new(setup);
        Self {
            out,
            colour,
            size,
            narrator,
            content: None,
            drawn: Vec::new(),
            drawn_size: DEFAULT_SIZE,
            above: String::new(),
            drawn_at: Time::default(),
            open: false,
        }
    }

    /// Prints a message above the frame, where it scrolls away with the rest of the terminal.
    fn write_above(&mut self, message: &RolloutMessage) {
        let mut text = self.rewind((self.size)());
        let message = format!("{}\r\n", self.plain_text(message));
        text.push_str(&message);
        self.above.push_str(&message);
        self.drawn.clear();
        self.write(&text);
    }

    /// Replaces the frame on the screen.
    fn draw(&mut self, now: Time) {
        let Some(content) = &self.content else { return };
        let size = (self.size)();
        let Some(rollout) = self.narrator.rollout() else {
            return;
        };
        let ReporterSetup { clock, glyphs, .. } = self.narrator.setup();
        // The last column and the last line stay empty: terminals differ in when they wrap or
        // scroll there.
        let frame = ScreenFrame {
            rollout,
            content,
            clock,
            glyphs,
            width: size.width.saturating_sub(1),
            height: size.height.saturating_sub(1),
        };
        let lines = frame.lines();
        self.drawn_at = now;
        if self.open && lines == self.drawn && size == self.drawn_size {
            return;
        }
        let mut text = self.rewind(size);
        if !self.open {
            command(&mut text, &Hide);
        }
        for line in &lines {
            let shown = if self.colour {
                line.styled()
            } else {
                line.text()
            };
            text.push_str(&shown);
            command(&mut text, &Clear(ClearType::UntilNewLine));
            text.push_str("\r\n");
        }
        command(&mut text, &Clear(ClearType::FromCursorDown));
        command(&mut text, &EndSynchronizedUpdate);
        self.open = true;
        (self.drawn, self.drawn_size) = (lines, size);
        self.write(&text);
    }

    /// Moves the cursor to the first line of the frame, which the next lines overwrite.
    fn rewind(&self, size: Size) -> String {
        let mut text = String::new();
        command(&mut text, &BeginSynchronizedUpdate);
        text.push('\r');
        // A terminal that was resized has wrapped and moved the lines, each in its own way.
        if self.open && size != self.drawn_size {
            command(&mut text, &Clear(ClearType::All));
            command(&mut text, &MoveTo(0, 0));
            text.push_str(&self.above);
            return text;
        }
        let up = self.drawn.len().min(size.height.saturating_sub(1));
        if let Ok(up @ 1..) = u16::try_from(up) {
            command(&mut text, &MoveUp(up));
        }
        text
    }

    fn plain_text(&self, message: &RolloutMessage) -> String {
        let outcome = self.narrator.rollout().and_then(RolloutView::outcome);
        let succeeded = outcome == Some(&Outcome::Succeeded);
        let lines = plain::lines(message, &self.narrator, succeeded);
        let lines = if self.colour {
            lines
        } else {
            anstream::adapter::strip_str(&lines).to_string()
        };
        let mut text = String::new();
        for line in lines.lines() {
            text.push_str(&self.narrator.setup().glyphs.show(line));
            command(&mut text, &Clear(ClearType::UntilNewLine));
            text.push_str("\r\n");
        }
        command(&mut text, &Clear(ClearType::FromCursorDown));
        command(&mut text, &EndSynchronizedUpdate);
        text
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let mut text = String::new();
            command(&mut text, &EndSynchronizedUpdate);
            command(&mut text, &Show);
            self.write(&text);
        }
    }

    /// Ignores errors: a lost terminal does not stop the rollout.
    fn write(&mut self, text: &str) {
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }
}

impl<W: Write + Send> Reporter for Live<W> {
    fn event(&mut self, entry: &Entry, status: &Status) {
        let messages = self.narrator.narrate(entry, status);
        if matches!(entry.event, Event::RolloutStarted(_)) {
            let mut content = ScreenContent::new(status.clone(), entry.at);
            for message in &messages {
                content.add_message(message);
            }
            self.content = Some(content);
            self.draw(entry.at);
            return;
        }
        let Some(content) = &mut self.content else {
            return;
        };
        (content.status, content.now) = (status.clone(), entry.at);
        if let Event::InstanceReady { slot, answer, .. } = &entry.event {
            content.add_answer(entry.at, slot, answer);
        }
        content.apply(entry);
        for message in &messages {
            content.add_message(message);
        }
        for message in messages {
            match message.severity {
                Severity::Failure => self.write_above(&message),
                Severity::Summary => {
                    self.draw(entry.at);
                    let summary = self.plain_text(&message);
                    self.write(&format!("\r\n{summary}"));
                    self.close();
                    self.content = None;
                }
                Severity::Routine | Severity::Sentence | Severity::Notable => {}
            }
        }
        if entry.at.since(self.drawn_at) >= BETWEEN_FRAMES_MIN {
            self.draw(entry.at);
        }
    }

    fn store_lost(&mut self, at: Time, error: &str, wait: Duration) {
        self.write_above(&phrases::store_lost(at, error, wait));
    }

    fn store_recovered(&mut self, at: Time, after: Duration) {
        self.write_above(&phrases::store_recovered(at, after));
    }

    fn tick(&mut self, status: &Status, now: Time) {
        if let Some(content) = &mut self.content {
            (content.status, content.now) = (status.clone(), now);
            self.draw(now);
        }
    }

    fn answer(&mut self, slot: &Slot, now: Time, text: &str) {
        if let Some(content) = &mut self.content {
            content.add_answer(now, slot, text);
        }
    }

    fn finish(&mut self) {
        self.close();
        self.content = None;
    }
}

impl<W: Write> Drop for Live<W> {
    fn drop(&mut self) {
        self.close();
    }
}

fn command(text: &mut String, command: &impl Command) {
    // Writing to a string cannot fail.
    let _ = command.write_ansi(text);
}

fn terminal_size() -> Size {
    match crossterm::terminal::size() {
        Ok((width @ 1.., height @ 1..)) => Size {
            width: width.into(),
            height: height.into(),
        },
        _ => DEFAULT_SIZE,
    }
}
