//! A line of the screen: pieces of text with styles, measured in columns.

use std::fmt::Write as _;

use anstyle::Style;

use super::super::text::{self, Glyphs};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ScreenLine(Vec<(String, Style)>);

impl ScreenLine {
    /// The line with one more piece.
    pub(super) fn and(mut self, text: &str, style: Style) -> Self {
        match self.0.last_mut() {
            Some((last, same)) if *same == style => last.push_str(text),
            _ => self.0.push((text.to_owned(), style)),
        }
        self
    }

    /// The line followed by another.
    pub(super) fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The line with spaces up to `columns`.
    pub(super) fn pad(self, columns: usize) -> Self {
        let missing = columns.saturating_sub(self.width());
        self.and(&" ".repeat(missing), Style::new())
    }

    /// The width in columns.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| text::width(text)).sum()
    }

    /// The line in at most `max` columns, with characters that the terminal can show.
    pub(super) fn fit(self, max: usize, glyphs: &Glyphs) -> Self {
        let is_cut = self.width() > max;
        let mark = text::fit(glyphs.ellipsis, if is_cut { max } else { 0 }, "");
        let mut room = if is_cut {
            max.saturating_sub(text::width(&mark))
        } else {
            max
        };
        let mut fitted = Self::default();
        for (text, style) in self.0 {
            let text = glyphs.show(text::head(&text, room));
            room -= text::width(&text);
            fitted.0.push((text, style));
        }
        if is_cut {
            fitted.and(&mark, Style::new())
        } else {
            fitted
        }
    }

    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(text, _)| text.as_str()).collect()
    }

    /// The text with the escape sequences of its styles.
    pub(super) fn styled(&self) -> String {
        self.0
            .iter()
            .fold(String::new(), |mut line, (text, style)| {
                let _ = write!(line, "{style}{text}{style:#}");
                line
            })
    }
}
