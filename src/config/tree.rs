//! A TOML document as a tree in which every key and value knows its place, whichever text it came
//! from.

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
    /// Wide enough for every reader, which checks its own range.
    Integer(i128),
    Float,
    Boolean(bool),
    Datetime,
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

/// Reads a document as far as it can be read, and says where it cannot.
pub(super) fn parse(source: &Arc<SourceText>) -> (Node, Vec<Diagnostic>) {
    parse_as(source, &source.text)
}

/// Reads `text`, whose places are those of `source`.
pub(super) fn parse_as(source: &Arc<SourceText>, text: &str) -> (Node, Vec<Diagnostic>) {
    let (root, errors) = DeTable::parse_recoverable(text);
    // One slip makes all that follows look wrong; only keys written twice stand for themselves.
    let telling = errors
        .iter()
        .enumerate()
        .filter(|(index, error)| *index == 0 || error.message() == DUPLICATE);
    let found = telling
        .map(|(_, error)| syntax_error(source, error))
        .collect();
    let table = Value::Table(table(source, root.get_ref()));
    // Of the whole file no line is more wrong than the first.
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
    let diagnostic = Diagnostic::at(&place, format!("this is not TOML: {what}"));
    match (what, expected) {
        (DUPLICATE, _) => {
            diagnostic.help("a key may be written once in a table; keep one of the two")
        }
        (_, "") => diagnostic.help("the format is described at https://toml.io"),
        (_, expected) => diagnostic.help(format!(
            "expected {expected}; the format is described at https://toml.io"
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

/// Reads an integer; one beyond the range of `i128` stays beyond every limit.
fn integer(number: &DeInteger<'_>) -> i128 {
    let beyond = if number.as_str().starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    };
    i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(beyond)
}

impl Node {
    /// What the value is, for "must be …, not …".
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float => "a number with a fraction",
            Value::Boolean(_) => "true or false",
            Value::Datetime => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The value as text: a string, or any plain value from the command line, where nobody writes
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
