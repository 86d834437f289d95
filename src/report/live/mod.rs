//! One screen, redrawn in place: what the article watches with three loops.

use std::io::{Stderr, Write};
use std::time::Duration;

use crossterm::Command;
use crossterm::cursor::{Hide, MoveUp, Show};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};

use super::message::{RolloutMessage, Severity};
use super::narrator::Narrator;
use super::plain;
use crate::core::ids::Slot;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::report::reporter::{Reporter, ReporterSetup};
use frame::ScreenFrame;
use line::ScreenLine;
use view::ScreenContent;

mod frame;
mod line;
mod pods;
mod style;
mod view;

#[cfg(test)]
mod tests;

/// Events that come faster than this wait for the next frame.
const BETWEEN_FRAMES_MIN: Duration = Duration::from_millis(50);
/// For terminals that do not tell their size.
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
    /// The lines on the screen, and the moment they were drawn.
    drawn: Vec<ScreenLine>,
    drawn_at: Time,
    /// Whether the screen is ship's at present: the cursor is hidden, and frames replace each
    /// other.
    open: bool,
}

impl Live<Stderr> {
    /// On this process' terminal.
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
            drawn_at: Time::default(),
            open: false,
        }
    }

    /// Puts lines that stay above the screen, where they scroll away with the rest of the terminal.
    fn write_above(&mut self, message: &RolloutMessage) {
        let mut text = self.erasure((self.size)());
        text.push_str(&self.plainly(message));
        text.push_str("\r\n");
        self.drawn.clear();
        self.write(&text);
    }

    /// Replaces the lines on the screen.
    fn draw(&mut self, now: Time) {
        let Some(content) = &self.content else { return };
        let size = (self.size)();
        let Some(rollout) = self.narrator.rollout() else {
            return;
        };
        let ReporterSetup { clock, glyphs, .. } = self.narrator.setup();
        // A full last column or a full last line would make terminals scroll or wrap, each in its
        // own way.
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
        if self.open && lines == self.drawn {
            return;
        }
        let mut text = self.erasure(size);
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
        self.drawn = lines;
        self.write(&text);
    }

    /// What brings the cursor back to the first line of the screen: from there on everything is
    /// written over.
    fn erasure(&self, size: Size) -> String {
        let mut text = String::new();
        command(&mut text, &BeginSynchronizedUpdate);
        text.push('\r');
        // A terminal that has become narrower has broken the lines into several.
        let broken = |line: &ScreenLine| line.width().div_ceil(size.width.max(1)).max(1);
        let up: usize = self.drawn.iter().map(broken).sum();
        let up = up.min(size.height.saturating_sub(1));
        if let Ok(up @ 1..) = u16::try_from(up) {
            command(&mut text, &MoveUp(up));
        }
        text
    }

    fn plainly(&self, message: &RolloutMessage) -> String {
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

    /// A screen that is gone is no reason to stop a rollout.
    fn write(&mut self, text: &str) {
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }
}

impl<W: Write + Send> Reporter for Live<W> {
    fn event(&mut self, entry: &Entry, status: &Status) {
        let messages = self.narrator.tell(entry, status);
        if matches!(entry.event, Event::RolloutStarted(_)) {
            let mut content = ScreenContent::new(status.clone(), entry.at);
            for message in &messages {
                content.note(message);
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
            content.answer(entry.at, slot, answer);
        }
        for message in &messages {
            content.note(message);
        }
        for message in messages {
            match message.severity {
                Severity::Failure => self.write_above(&message),
                Severity::Summary => {
                    self.draw(entry.at);
                    let summary = self.plainly(&message);
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

    fn tick(&mut self, status: &Status, now: Time) {
        if let Some(content) = &mut self.content {
            (content.status, content.now) = (status.clone(), now);
            self.draw(now);
        }
    }

    fn answer(&mut self, slot: &Slot, now: Time, text: &str) {
        if let Some(content) = &mut self.content {
            content.answer(now, slot, text);
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
