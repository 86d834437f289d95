//! A TOML document as a tree. Every key and value has its place in the file or on the command line.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::diagnostic::{Diagnostic, SourceSpan, SourceText};

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: SourceSpan,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    String(String),
    /// Wider than every integer that is read; the readers check their own ranges.
    Integer(i128),
    Float,
    Boolean(bool),
    Datetime,
    /// Only in JSON.
    Null,
    Array(Vec<Node>),
    Table(Table),
}

#[derive(Debug, Default)]
pub(super) struct Table(pub(super) BTreeMap<String, TomlEntry>);

/// A key's place and its value.
#[derive(Debug)]
pub(super) struct TomlEntry {
    pub(super) key: SourceSpan,
    pub(super) node: Node,
}

/// Parses a document, also an invalid one as far as possible, and returns the errors.
pub(super) fn parse(source: &Arc<SourceText>) -> (Node, Vec<Diagnostic>) {
    parse_as(source, &source.text)
}

/// Parses `text`, with the places of `source`.
pub(super) fn parse_as(source: &Arc<SourceText>, text: &str) -> (Node, Vec<Diagnostic>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    // Errors after the first one are mostly caused by it, except for duplicate keys.
    let relevant = errors
        .iter()
        .enumerate()
        .filter(|(index, error)| *index == 0 || error.message() == DUPLICATE);
    let found = relevant
        .map(|(_, error)| syntax_error(source, error))
        .collect();
    let table = Value::Table(table(source, root.get_ref()));
    // Errors of the whole file point at its first line.
    (
        Node {
            place: SourceSpan::new(source, 0..0),
            value: table,
        },
        found,
    )
}

const DUPLICATE: &str = "duplicate key";

fn syntax_error(source: &Arc<SourceText>, error: &toml::de::Error) -> Diagnostic {
    let end = source.text.trim_end().len();
    let place = SourceSpan::new(source, error.span().unwrap_or(end..end));
    let message = error.message();
    let (what, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let diagnostic = Diagnostic::at(&place, format!("invalid TOML: {what}"));
    match (what, expected) {
        (DUPLICATE, _) => {
            diagnostic.help("keep one of the two: a key may occur only once in a table")
        }
        (_, "") => diagnostic.help("see https://toml.io for the format"),
        (_, expected) => diagnostic.help(format!(
            "expected {expected}; see https://toml.io for the format"
        )),
    }
}

fn node(source: &Arc<SourceText>, spanned: &Spanned<DeValue<'_>>) -> Node {
    let value = match spanned.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => Value::Integer(integer(number)),
        DeValue::Float(_) => Value::Float,
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| node(source, item)).collect())
        }
        DeValue::Table(entries) => Value::Table(table(source, entries)),
    };
    Node {
        place: SourceSpan::new(source, spanned.span()),
        value,
    }
}

fn table(source: &Arc<SourceText>, entries: &DeTable<'_>) -> Table {
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let name: &std::borrow::Cow<'_, str> = key.get_ref();
        (
            name.to_string(),
            TomlEntry {
                key: SourceSpan::new(source, key.span()),
                node: node(source, value),
            },
        )
    };
    Table(entries.iter().map(entry).collect())
}

/// Parses an integer. One outside the range of `i128` is clamped, which is still out of range for
/// every reader.
fn integer(number: &DeInteger<'_>) -> i128 {
    let beyond = if number.as_str().starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    };
    i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(beyond)
}

impl Node {
    /// The type of the value, for "must be …, not …".
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float => "a number with a fraction",
            Value::Boolean(_) => "true or false",
            Value::Datetime => "a date",
            Value::Null => "null",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The value as text: a string, or any plain value from the command line, where strings have no
    /// quotes.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            Value::Array(_) | Value::Table(_) => None,
            _ if self.place.is_command_line() => Some(self.place.text()),
            _ => None,
        }
    }
}
