//! Diagnostics: errors in the configuration files, each with its place and a hint.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

/// The limit of diagnostics that are shown; further ones are counted.
const SHOWN_MAX: usize = 50;
/// The lines that are shown before and after a place.
const LINES_AROUND: usize = 3;

/// A file or command line of the user.
#[derive(PartialEq, Eq)]
pub(super) struct SourceText {
    /// The path as given, or `command line`.
    pub(super) name: String,
    pub(super) text: String,
    /// Whether it is the command line, where every value is text.
    pub(super) is_command_line: bool,
    /// The offset of each line, computed once for all diagnostics of the file.
    line_starts: Vec<usize>,
}

impl SourceText {
    pub(super) fn file(name: String, text: String) -> Self {
        Self::new(name, text, false)
    }

    /// A part of the command line.
    pub(super) fn command_line(text: String) -> Self {
        Self::new("command line".to_owned(), text, true)
    }

    fn new(name: String, text: String, is_command_line: bool) -> Self {
        let line_starts = [0]
            .into_iter()
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            name,
            text,
            is_command_line,
            line_starts,
        }
    }

    /// The number (from 0) and the offset of the line of a byte.
    fn line_of(&self, at: usize) -> (usize, usize) {
        let number = self
            .line_starts
            .partition_point(|start| *start <= at)
            .saturating_sub(1);
        (number, self.line_starts.get(number).copied().unwrap_or(0))
    }

    /// The lines around a span, the number of the first one (from 1), and its offset.
    fn around(&self, span: &Range<usize>) -> (&str, usize, usize) {
        let first = self.line_of(span.start).0.saturating_sub(LINES_AROUND);
        let start = self.line_starts.get(first).copied().unwrap_or(0);
        let last = self.line_of(span.end).0 + LINES_AROUND + 1;
        let end = self
            .line_starts
            .get(last)
            .copied()
            .unwrap_or(self.text.len());
        (
            self.text.get(start..end).unwrap_or_default(),
            first + 1,
            start,
        )
    }
}

/// A place in a file or on the command line.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceSpan {
    source: Arc<SourceText>,
    span: Range<usize>,
}

/// The place of a [`Diagnostic`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pointer {
    /// A text, which is shown.
    Text(SourceSpan),
    /// A line that is not shown, because the file contains secrets or is not text.
    Line {
        path: String,
        line: usize,
        column: usize,
    },
    /// A whole file.
    File(String),
}

/// One error with its place and a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    message: String,
    pointer: Pointer,
    label: Option<String>,
    related: Option<(SourceSpan, String)>,
    note: Option<String>,
    help: Option<String>,
}

/// All errors, in the order of the files. Displays as a report without colour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl SourceSpan {
    /// The bytes `span` of `source`, clipped to its length.
    pub(super) fn new(source: &Arc<SourceText>, span: Range<usize>) -> Self {
        let end = floor_char(&source.text, span.end.min(source.text.len()));
        let start = floor_char(&source.text, span.start.min(end));
        Self {
            source: Arc::clone(source),
            span: start..end,
        }
    }

    /// A part of the command line, from a byte of `text` to its end.
    pub(super) fn on_command_line(text: &str, start: usize) -> Self {
        let source = Arc::new(SourceText::command_line(text.to_owned()));
        Self::new(&source, start..text.len())
    }

    /// The path of the file as given, or `command line`.
    pub fn path(&self) -> &str {
        &self.source.name
    }

    /// The line, from 1.
    pub fn line(&self) -> usize {
        1 + self.source.line_of(self.span.start).0
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> usize {
        let (_, start) = self.source.line_of(self.span.start);
        1 + self
            .source
            .text
            .get(start..self.span.start)
            .unwrap_or_default()
            .chars()
            .count()
    }

    pub(super) fn text(&self) -> &str {
        self.source.text.get(self.span.clone()).unwrap_or_default()
    }

    pub(super) fn is_command_line(&self) -> bool {
        self.source.is_command_line
    }

    /// A part of this place; `range` is in bytes from its start.
    pub(super) fn part(&self, range: &Range<usize>) -> Self {
        Self::new(
            &self.source,
            self.span.start + range.start..self.span.start + range.end,
        )
    }

    /// The bytes to underline: the first line of this place, and at least one character if
    /// possible.
    fn underlined(&self) -> Range<usize> {
        let start = self.span.start;
        let rest = self.source.text.get(start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let wanted = self
            .text()
            .lines()
            .next()
            .unwrap_or_default()
            .trim_end()
            .len();
        let first = line.chars().next().map_or(0, char::len_utf8);
        start..start + wanted.max(first)
    }
}

impl fmt::Debug for SourceSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path(), self.line(), self.column())
    }
}

fn floor_char(text: &str, index: usize) -> usize {
    (0..=index)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

impl Diagnostic {
    /// An error at a place whose text is shown.
    pub fn at(place: &SourceSpan, message: impl Into<String>) -> Self {
        Self::new(Pointer::Text(place.clone()), message)
    }

    /// An error of a whole file.
    pub fn file(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Pointer::File(path.into()), message)
    }

    /// An error on a line (counted from 1) whose text must not be shown.
    pub fn line(
        path: impl Into<String>,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> Self {
        Self::new(
            Pointer::Line {
                path: path.into(),
                line,
                column,
            },
            message,
        )
    }

    fn new(pointer: Pointer, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            pointer,
            label: None,
            related: None,
            note: None,
            help: None,
        }
    }

    /// Adds a label to the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a note, for example the output of a command.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Adds a related place.
    #[must_use]
    pub fn related(mut self, place: &SourceSpan, label: impl Into<String>) -> Self {
        self.related = Some((place.clone(), label.into()));
        self
    }

    /// Adds a related place, unless there is one already.
    #[must_use]
    pub fn or_related(self, place: &SourceSpan, label: &str) -> Self {
        if self.related.is_some() {
            self
        } else {
            self.related(place, label)
        }
    }

    /// Whether the error is in the text of `place`.
    pub(super) fn is_in_text_of(&self, place: &SourceSpan) -> bool {
        matches!(&self.pointer, Pointer::Text(own) if Arc::ptr_eq(&own.source, &place.source))
    }

    /// The error in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Line and column; `None` for a whole file.
    pub fn line_and_column(&self) -> Option<(usize, usize)> {
        match &self.pointer {
            Pointer::Text(place) => Some((place.line(), place.column())),
            Pointer::Line { line, column, .. } => Some((*line, *column)),
            Pointer::File(_) => None,
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &str {
        match &self.pointer {
            Pointer::Text(place) => place.path(),
            Pointer::Line { path, .. } | Pointer::File(path) => path,
        }
    }

    fn group(&self) -> Group<'_> {
        let mut group = Group::with_title(Level::ERROR.primary_title(self.message.as_str()));
        match &self.pointer {
            Pointer::Text(place) => group = self.snippets(place, group),
            Pointer::Line { path, line, column } => {
                group = group.element(Origin::path(path.as_str()).line(*line).char_column(*column));
            }
            Pointer::File(path) => group = group.element(Origin::path(path.as_str())),
        }
        if let Some(note) = &self.note {
            group = group.element(Level::NOTE.message(normalize_untrusted_str(note)));
        }
        match &self.help {
            Some(help) => group.element(Level::HELP.message(normalize_untrusted_str(help))),
            None => group,
        }
    }

    fn snippets<'a>(&'a self, place: &'a SourceSpan, group: Group<'a>) -> Group<'a> {
        let Some((other, label)) = &self.related else {
            return group.element(snippet(
                place,
                &place.span,
                &[(place, AnnotationKind::Primary, self.label.as_deref())],
            ));
        };
        let primary = (place, AnnotationKind::Primary, self.label.as_deref());
        let context = (other, AnnotationKind::Context, Some(label.as_str()));
        if Arc::ptr_eq(&other.source, &place.source) {
            let both = place.span.start.min(other.span.start)..place.span.end.max(other.span.end);
            return group.element(snippet(place, &both, &[primary, context]));
        }
        group
            .element(snippet(place, &place.span, &[primary]))
            .element(snippet(other, &other.span, &[context]))
    }
}

/// The lines around `span`, with annotations.
fn snippet<'a>(
    place: &'a SourceSpan,
    span: &Range<usize>,
    marks: &[(&'a SourceSpan, AnnotationKind, Option<&'a str>)],
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let (text, line, start) = place.source.around(span);
    let mut snippet = Snippet::source(text)
        .line_start(line)
        .path(place.source.name.as_str());
    for (place, kind, label) in marks {
        let underlined = place.underlined();
        let within = underlined.start - start..underlined.end - start;
        snippet = snippet.annotation(kind.span(within).label(*label));
    }
    snippet
}

impl Diagnostics {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The errors, in the order of the report.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    /// Renders the report, with or without colour.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        }
        .decor_style(DecorStyle::Ascii);
        let mut parts: Vec<String> = self
            .0
            .iter()
            .take(SHOWN_MAX)
            .map(|it| renderer.render(&[it.group()]))
            .collect();
        let more = self.0.len().saturating_sub(SHOWN_MAX);
        if more > 0 {
            parts.push(format!("... and {more} more"));
        }
        parts.join("\n\n")
    }

    /// Sorts the errors by file, in the order in which the files were read, then by place.
    pub(super) fn sorted(mut found: Vec<Diagnostic>, files: &[String]) -> Self {
        let rank = |path: &str| {
            files
                .iter()
                .position(|file| file == path)
                .unwrap_or(files.len())
        };
        found.sort_by_cached_key(|it| (rank(it.path()), it.line_and_column()));
        found.dedup();
        Self(found)
    }
}

impl From<Vec<Diagnostic>> for Diagnostics {
    fn from(found: Vec<Diagnostic>) -> Self {
        Self(found)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(found: Diagnostic) -> Self {
        Self(vec![found])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_from_one() {
        let source = Arc::new(SourceText::file(
            "a.toml".to_owned(),
            "ä = 1\n\nb = 2\n".to_owned(),
        ));
        let place = |at| SourceSpan::new(&source, at..at);
        let found = [0, 2, 6, 7, 8, 12, 14].map(|at| (place(at).line(), place(at).column()));
        assert_eq!(
            found,
            [(1, 1), (1, 2), (1, 6), (2, 1), (3, 1), (3, 5), (4, 1)]
        );
    }

    #[test]
    fn distant_places_in_a_long_file_are_shown_with_their_lines() {
        let text = (1..=2000)
            .map(|n| format!("key{n} = 1"))
            .collect::<Vec<_>>()
            .join("\n");
        let source = Arc::new(SourceText::file("a.toml".to_owned(), text));
        let place = |name: &str| {
            let at = source.text.find(name).unwrap();
            SourceSpan::new(&source, at..at + name.len())
        };
        let diagnostic =
            Diagnostic::at(&place("key1990"), "twice").related(&place("key17 "), "the first");
        let shown = Diagnostics::from(diagnostic).to_string();
        assert!(
            shown.contains("1990 | key1990 = 1") && shown.contains("17 | key17 = 1"),
            "{shown}"
        );
    }
}
