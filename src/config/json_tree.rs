//! A JSON document as the tree of `toml_tree`. Every key and value has its place in the text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::diagnostic::{Diagnostic, SourceSpan, SourceText};
use super::toml_tree::{Node, Table, TomlEntry, Value};
use super::value::quoted;

/// The limit of lists and objects within each other. Nothing that ship reads has more than four.
const DEPTH_MAX: usize = 16;

/// Parses a document.
pub(super) fn parse(source: &Arc<SourceText>) -> Result<Node, Box<Diagnostic>> {
    let tree = JsonTree { source };
    let root: &RawValue =
        serde_json::from_str(&source.text).map_err(|error| tree.syntax_error(0, &error))?;
    tree.node(root.get(), 0)
}

/// Whether a text is one JSON document.
pub(super) fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

struct JsonTree<'a> {
    source: &'a Arc<SourceText>,
}

/// The entries of an object in their order, also those with the same key.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'a> JsonTree<'a> {
    /// `text` is a part of the source: one value without blanks around it.
    fn node(&self, text: &'a str, depth: usize) -> Result<Node, Box<Diagnostic>> {
        let place = self.place(text);
        if depth > DEPTH_MAX {
            let message = format!("lists and objects are nested more than {DEPTH_MAX} deep");
            return Err(Diagnostic::at(&place, message).into());
        }
        let value = match text.as_bytes().first() {
            Some(b'{') => Value::Table(self.table(text, depth)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = self.read(text)?;
                let nodes = items
                    .into_iter()
                    .map(|item| self.node(item.get(), depth + 1));
                Value::Array(nodes.collect::<Result<_, _>>()?)
            }
            Some(b'"') => Value::String(self.read(text)?),
            Some(b't') => Value::Boolean(true),
            Some(b'f') => Value::Boolean(false),
            Some(b'n') => Value::Null,
            _ => number(text),
        };
        Ok(Node { place, value })
    }

    fn table(&self, text: &'a str, depth: usize) -> Result<Table, Box<Diagnostic>> {
        let Entries(entries) = self.read(text)?;
        let mut table = BTreeMap::<String, TomlEntry>::new();
        let mut end = self.offset(text);
        for (name, value) in entries {
            let start = self.offset(value.get());
            let key = self.key_place(end, start);
            end = start + value.get().len();
            if let Some(first) = table.get(&name) {
                let message = format!("duplicate key {}", quoted(&name));
                let diagnostic =
                    Diagnostic::at(&key, message).related(&first.key, "first used here");
                return Err(diagnostic.help("print each key once").into());
            }
            let node = self.node(value.get(), depth + 1)?;
            table.insert(name, TomlEntry { key, node });
        }
        Ok(Table(table))
    }

    /// The place of the key between the previous value and its own.
    fn key_place(&self, from: usize, to: usize) -> SourceSpan {
        let between = self.source.text.get(from..to).unwrap_or_default();
        let start = between.find('"').unwrap_or(0);
        let end = between.rfind('"').map_or(between.len(), |at| at + 1);
        SourceSpan::new(self.source, from + start..from + end)
    }

    fn read<T: Deserialize<'a>>(&self, text: &'a str) -> Result<T, Box<Diagnostic>> {
        serde_json::from_str(text).map_err(|error| self.syntax_error(self.offset(text), &error))
    }

    fn place(&self, text: &str) -> SourceSpan {
        let start = self.offset(text);
        SourceSpan::new(self.source, start..start + text.len())
    }

    /// Where a part of the source starts in it.
    fn offset(&self, part: &str) -> usize {
        part.as_ptr().addr() - self.source.text.as_ptr().addr()
    }

    /// An error in the part of the source that starts at `offset`.
    fn syntax_error(&self, offset: usize, error: &serde_json::Error) -> Box<Diagnostic> {
        let part = self.source.text.get(offset..).unwrap_or_default();
        let lines_before = part
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1));
        let line_start: usize = lines_before.map(str::len).sum();
        let at = offset + line_start + error.column().saturating_sub(1);
        let text = error.to_string();
        let position = format!(" at line {} column {}", error.line(), error.column());
        let what = text.strip_suffix(&position).unwrap_or(&text);
        let place = SourceSpan::new(self.source, at..at + 1);
        Diagnostic::at(&place, format!("invalid JSON: {what}")).into()
    }
}

/// An integer outside the range of `i128` is clamped, which is still out of range for every reader.
fn number(text: &str) -> Value {
    if text.contains(['.', 'e', 'E']) {
        return Value::Float;
    }
    let beyond = if text.starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    };
    Value::Integer(text.parse().unwrap_or(beyond))
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<SourceText> {
        Arc::new(SourceText::file("output".to_owned(), text.to_owned()))
    }

    fn error(text: &str) -> (String, Option<(usize, usize)>) {
        let error = parse(&source(text)).expect_err("it is invalid");
        (error.message().to_owned(), error.line_and_column())
    }

    #[test]
    fn keys_and_values_have_their_places() {
        let text = "[\n  {\"name\" : \"web1\",\n   \"labels\": {\"ä\": 12}}, null]";
        let root = parse(&source(text)).expect("it is valid");
        let Value::Array(items) = root.value else {
            panic!("a list")
        };
        assert_eq!(items[1].kind(), "null");
        let Value::Table(Table(host)) = &items[0].value else {
            panic!("an object")
        };
        let (name, labels) = (&host["name"], &host["labels"]);
        assert_eq!(
            (name.key.text(), name.node.place.text()),
            ("\"name\"", "\"web1\"")
        );
        let Value::Table(Table(labels)) = &labels.node.value else {
            panic!("an object")
        };
        let label = &labels["ä"];
        assert_eq!((label.key.line(), label.key.column()), (3, 15));
        assert_eq!(
            (label.node.place.line(), label.node.place.column()),
            (3, 20)
        );
        assert!(matches!(label.node.value, Value::Integer(12)));
    }

    #[test]
    fn invalid_document_is_reported_at_its_place() {
        assert_eq!(
            error("[{\"name\": \"web1\"},\n {\"name\": \"we"),
            (
                "invalid JSON: EOF while parsing a string".to_owned(),
                Some((2, 13))
            )
        );
        assert_eq!(
            error("[1, \"\\ud800\"]"),
            (
                "invalid JSON: unexpected end of hex escape".to_owned(),
                Some((1, 12))
            )
        );
        assert_eq!(
            error("[{\"a\": 1, \"a\": 2}]"),
            ("duplicate key `a`".to_owned(), Some((1, 11)))
        );
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let (message, place) = error(&deep);
        assert_eq!(message, "lists and objects are nested more than 16 deep");
        assert_eq!(place, Some((1, 18)));
        assert!(
            error(&"[".repeat(100_000))
                .0
                .starts_with("invalid JSON: EOF")
        );
    }

    #[test]
    fn huge_numbers_are_out_of_every_range() {
        let root = parse(&source(
            "[123456789012345678901234567890123456789012, -1e400]",
        ));
        let Value::Array(items) = root.expect("it is valid").value else {
            panic!("a list")
        };
        assert!(matches!(items[0].value, Value::Integer(i128::MAX)));
        assert!(matches!(items[1].value, Value::Float));
    }
}
