//! A line of the screen: pieces of text, each in its style, measured in columns.

use std::fmt::Write as _;

use anstyle::Style;

use super::super::text::{self, Glyphs};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ScreenLine(Vec<(String, Style)>);

impl ScreenLine {
    /// A line of one piece without style.
    pub(super) fn plain(text: &str) -> Self {
        Self::default().and(text, Style::new())
    }

    /// The line with one more piece.
    pub(super) fn and(mut self, text: &str, style: Style) -> Self {
        self.0.push((text.to_owned(), style));
        self
    }

    /// The columns it takes.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(text, _)| text::width(text)).sum()
    }

    /// The line in at most `max` columns and in signs that can be shown.
    pub(super) fn fit(self, max: usize, glyphs: &Glyphs) -> Self {
        let cut = self.width() > max;
        let mark = text::fit(glyphs.ellipsis, if cut { max } else { 0 }, "");
        let mut room = if cut {
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
        if cut {
            fitted.and(&mark, Style::new())
        } else {
            fitted
        }
    }

    pub(super) fn text(&self) -> String {
        self.0.iter().map(|(text, _)| text.as_str()).collect()
    }

    /// The text with its styles as a terminal understands them.
    pub(super) fn styled(&self) -> String {
        self.0
            .iter()
            .fold(String::new(), |mut line, (text, style)| {
                let _ = write!(line, "{style}{text}{style:#}");
                line
            })
    }
}
