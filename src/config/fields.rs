//! Reads a table key by key, and collects all errors instead of stopping at the first one.
//!
//! A reader returns `None` after it has reported an error. A caller that needs several fields reads
//! all of them before it returns, so that one run reports all errors.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::diagnostic::{Diagnostic, SourceSpan};
use super::toml_tree::{Node, Table, TomlEntry, Value};
use super::value::{Faults, Located, ValueError, nearest, quoted};

/// Collects the errors of the files.
#[derive(Debug, Default)]
pub(super) struct Sink {
    found: RefCell<Vec<Diagnostic>>,
    /// Unknown keys, which are reported at the end of the file with the table that has such a key.
    unknown: RefCell<Vec<UnknownKey>>,
    /// The tables that were read, each with its known keys.
    tables: RefCell<Vec<(&'static str, Vec<&'static str>)>>,
}

/// A key that is not valid in its table.
#[derive(Debug)]
struct UnknownKey {
    key: String,
    table: &'static str,
    place: SourceSpan,
    value: SourceSpan,
    help: String,
}

impl Sink {
    pub(super) fn push(&self, diagnostic: Diagnostic) {
        self.found.borrow_mut().push(diagnostic);
    }

    pub(super) fn extend(&self, diagnostics: Vec<Diagnostic>) {
        self.found.borrow_mut().extend(diagnostics);
    }

    /// Reports the unknown keys of a file, with the table that has such a key.
    pub(super) fn end_file(&self) {
        let (unknown, tables) = (self.unknown.take(), self.tables.take());
        self.found.borrow_mut().extend(
            unknown
                .into_iter()
                .map(|unknown| unknown.diagnostic(&tables)),
        );
    }

    pub(super) fn into_inner(self) -> Vec<Diagnostic> {
        self.end_file();
        self.found.into_inner()
    }
}

impl UnknownKey {
    fn diagnostic(self, tables: &[(&'static str, Vec<&'static str>)]) -> Diagnostic {
        let Self {
            key,
            table,
            place,
            value,
            help,
        } = self;
        let knows = |(name, keys): &&(&'static str, Vec<&'static str>)| {
            *name != table && name.starts_with('[') && keys.contains(&key.as_str())
        };
        // In a table of a file, a mistyped key is more likely than a misplaced one.
        let is_misplaced = place.is_command_line() || !table.starts_with('[');
        let help = match tables.iter().find(knows).filter(|_| is_misplaced) {
            Some((name, _)) if place.is_command_line() && !name.starts_with("[[") => {
                format!(
                    "did you mean `--set {}.{key}={}`?",
                    name.trim_matches(['[', ']']),
                    value.text()
                )
            }
            Some((name, _)) => format!("`{key}` belongs in {name}"),
            None => help,
        };
        Diagnostic::at(&place, format!("unknown key {} in {table}", quoted(&key))).help(help)
    }
}

/// A table being read.
pub(super) struct Fields<'a> {
    table: &'a Table,
    /// The name in messages: `[rollout]`.
    name: &'static str,
    place: &'a SourceSpan,
    sink: &'a Sink,
    /// The keys that were read so far. All of them are valid.
    known: RefCell<Vec<&'static str>>,
}

/// An optional table.
pub(super) enum OptionalTable<'a> {
    Absent,
    /// Not a table, which was reported.
    Invalid,
    Present(Fields<'a>),
}

impl<'a> OptionalTable<'a> {
    #[expect(
        clippy::option_option,
        reason = "the outer None means invalid, the inner one absent"
    )]
    pub(super) fn read<T>(&self, read: impl FnOnce(&Fields<'a>) -> Option<T>) -> Option<Option<T>> {
        match self {
            Self::Absent => Some(None),
            Self::Invalid => None,
            Self::Present(fields) => read(fields).map(Some),
        }
    }
}

static EMPTY: Table = Table(BTreeMap::new());

impl<'a> Fields<'a> {
    /// The table `node`. Reports it if it is not a table.
    pub(super) fn new(node: &'a Node, name: &'static str, sink: &'a Sink) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            let message = format!(
                "`{}` must be a table, not {}",
                name.trim_matches(['[', ']']),
                node.kind()
            );
            sink.push(
                Diagnostic::at(&node.place, message)
                    .help(format!("start the table with the line {name}")),
            );
            return None;
        };
        Some(Self::over(table, name, &node.place, sink))
    }

    fn over(table: &'a Table, name: &'static str, place: &'a SourceSpan, sink: &'a Sink) -> Self {
        Self {
            table,
            name,
            place,
            sink,
            known: RefCell::default(),
        }
    }

    /// The start of the table.
    pub(super) fn place(&self) -> &'a SourceSpan {
        self.place
    }

    /// The place of the value of `key`, if it exists.
    pub(super) fn place_of(&self, key: &str) -> Option<SourceSpan> {
        self.table.0.get(key).map(|entry| entry.node.place.clone())
    }

    /// The place of `key` itself, if it exists.
    pub(super) fn key_place(&self, key: &str) -> Option<&'a SourceSpan> {
        self.table.0.get(key).map(|entry| &entry.key)
    }

    /// Reports an error at `key`, or at the table if the key is missing.
    pub(super) fn report(&self, key: &str, fault: ValueError) {
        let place = fault
            .place
            .clone()
            .or_else(|| self.place_of(key))
            .unwrap_or_else(|| self.place.clone());
        let diagnostic = Diagnostic::at(&place, format!("`{key}` {}", fault.message));
        self.sink.push(match fault.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        });
    }

    /// Reports all keys that were not read as unknown.
    pub(super) fn finish(&self) {
        let known = self.known.borrow();
        for (key, entry) in &self.table.0 {
            if known.contains(&key.as_str()) {
                continue;
            }
            let help = match nearest(key, &known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("valid keys: {}", known.join(", ")),
            };
            self.sink.unknown.borrow_mut().push(UnknownKey {
                key: key.clone(),
                table: self.name,
                place: entry.key.clone(),
                value: entry.node.place.clone(),
                help,
            });
        }
        let mut tables = self.sink.tables.borrow_mut();
        // Tables of the same array have the same keys; one of them is enough.
        if !tables.iter().any(|(name, _)| *name == self.name) {
            tables.push((self.name, known.clone()));
        }
    }

    fn entry(&self, key: &'static str) -> Option<&'a TomlEntry> {
        self.known.borrow_mut().push(key);
        self.table.0.get(key)
    }

    fn read<T>(
        &self,
        key: &'static str,
        node: &Node,
        read: impl Fn(&Node) -> Result<T, Faults>,
    ) -> Option<T> {
        let faults = match read(node) {
            Ok(value) => return Some(value),
            Err(faults) => faults,
        };
        for fault in faults {
            self.report(
                key,
                if fault.place.is_some() {
                    fault
                } else {
                    fault.place(&node.place)
                },
            );
        }
        None
    }

    /// Reads a required key; `example` is for the hint.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl Fn(&Node) -> Result<T, Faults>,
    ) -> Option<T> {
        let Some(entry) = self.entry(key) else {
            self.report_missing(key, example);
            return None;
        };
        self.read(key, &entry.node, read)
    }

    /// Reports that a key is missing.
    pub(super) fn report_missing(&self, key: &str, example: &str) {
        let message = format!("missing key `{key}` in {}", self.name);
        self.sink
            .push(Diagnostic::at(self.place, message).help(format!("for example: {example}")));
    }

    /// Reads an optional key; the inner `None` means that it is absent.
    #[expect(
        clippy::option_option,
        reason = "the outer None means invalid, the inner one absent"
    )]
    pub(super) fn optional<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Node) -> Result<T, Faults>,
    ) -> Option<Option<T>> {
        match self.entry(key) {
            Some(entry) => self.read(key, &entry.node, read).map(Some),
            None => Some(None),
        }
    }

    /// Reads an optional key with a default.
    pub(super) fn optional_or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl Fn(&Node) -> Result<T, Faults>,
    ) -> Option<T> {
        self.optional(key, read)
            .map(|value| value.unwrap_or(default))
    }

    /// Reads a table that is required.
    pub(super) fn table(
        &self,
        key: &'static str,
        name: &'static str,
        example: &str,
    ) -> Option<Fields<'a>> {
        let Some(entry) = self.entry(key) else {
            let message = format!("missing table {name} in {}", self.name);
            self.sink
                .push(Diagnostic::at(self.place, message).help(format!("for example:\n{example}")));
            return None;
        };
        Fields::new(&entry.node, name, self.sink)
    }

    /// Reads an optional table, which is empty by default.
    pub(super) fn table_or_empty(
        &self,
        key: &'static str,
        name: &'static str,
    ) -> Option<Fields<'a>> {
        match self.entry(key) {
            Some(entry) => Fields::new(&entry.node, name, self.sink),
            None => Some(Fields::over(&EMPTY, name, self.place, self.sink)),
        }
    }

    /// Reads an optional table whose absence differs from an empty table.
    pub(super) fn table_if_any(&self, key: &'static str, name: &'static str) -> OptionalTable<'a> {
        let Some(entry) = self.entry(key) else {
            return OptionalTable::Absent;
        };
        match Fields::new(&entry.node, name, self.sink) {
            Some(fields) => OptionalTable::Present(fields),
            None => OptionalTable::Invalid,
        }
    }

    /// Reads an optional array of tables.
    pub(super) fn tables_if_any(
        &self,
        key: &'static str,
        name: &'static str,
        example: &str,
    ) -> Vec<Fields<'a>> {
        if self.table.0.contains_key(key) {
            return self.tables(key, name, example);
        }
        self.known.borrow_mut().push(key);
        Vec::new()
    }

    /// Reads a required array of tables; reports other items.
    pub(super) fn tables(
        &self,
        key: &'static str,
        name: &'static str,
        example: &str,
    ) -> Vec<Fields<'a>> {
        let Some(entry) = self.entry(key) else {
            let message = format!("missing {name} in {}", self.name);
            self.sink
                .push(Diagnostic::at(self.place, message).help(format!("for example:\n{example}")));
            return Vec::new();
        };
        match &entry.node.value {
            Value::Array(items) if items.is_empty() => {
                self.report(
                    key,
                    ValueError::new("must not be empty").help(format!("for example:\n{example}")),
                );
                Vec::new()
            }
            Value::Array(items) => items
                .iter()
                .filter_map(|item| Fields::new(item, name, self.sink))
                .collect(),
            _ => {
                let fault = ValueError::new(format!(
                    "must be written as {name}, not as {}",
                    entry.node.kind()
                ));
                self.report(key, fault.help(format!("for example:\n{example}")));
                Vec::new()
            }
        }
    }

    /// Reads a table whose keys the user chooses.
    pub(super) fn map<T>(
        &self,
        key: &'static str,
        check_key: impl Fn(&str) -> Result<(), ValueError>,
        read: impl Fn(&Node) -> Result<T, Faults>,
    ) -> Option<BTreeMap<String, T>> {
        let Some(entry) = self.entry(key) else {
            return Some(BTreeMap::new());
        };
        let Value::Table(table) = &entry.node.value else {
            let fault = ValueError::new(format!("must be a table, not {}", entry.node.kind()));
            self.report(
                key,
                fault.help(format!("for example: {key} = {{ NAME = \"value\" }}")),
            );
            return None;
        };
        let mut map = BTreeMap::new();
        for (name, entry) in &table.0 {
            if let Err(fault) = check_key(name) {
                self.report(key, fault.place(&entry.key));
            }
            match read(&entry.node) {
                Ok(value) => {
                    map.insert(name.clone(), value);
                }
                Err(faults) => {
                    for fault in faults {
                        let place = fault
                            .place
                            .clone()
                            .unwrap_or_else(|| entry.node.place.clone());
                        let fault = ValueError {
                            message: format!("of `{key}` {}", fault.message),
                            ..fault
                        };
                        self.report(name, fault.place(&place));
                    }
                }
            }
        }
        Some(map)
    }

    /// Reads a list. The reader may report errors in an item itself and return `None`.
    pub(super) fn each<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl Fn(&Node) -> Result<Option<T>, Faults>,
    ) -> Option<Vec<T>> {
        let Some(entry) = self.entry(key) else {
            return Some(Vec::new());
        };
        let Value::Array(items) = &entry.node.value else {
            let fault = ValueError::new(format!("must be a list, not {}", entry.node.kind()));
            self.report(key, fault.help(format!("for example: {example}")));
            return None;
        };
        let found: Vec<_> = items
            .iter()
            .map(|item| self.read(key, item, &read).flatten())
            .collect();
        found.into_iter().collect()
    }

    /// Reads a list of strings, each with its place.
    pub(super) fn list(
        &self,
        key: &'static str,
        example: &str,
        read: impl Fn(&Node) -> Result<String, Faults>,
    ) -> Option<Vec<Located<String>>> {
        let Some(entry) = self.entry(key) else {
            return Some(Vec::new());
        };
        let Value::Array(items) = &entry.node.value else {
            let fault = ValueError::new(format!("must be a list, not {}", entry.node.kind()));
            self.report(key, fault.help(format!("for example: {example}")));
            return None;
        };
        let read = |item: &Node| {
            let value = self.read(key, item, &read)?;
            Some(Located {
                value,
                place: item.place.clone(),
            })
        };
        let found: Vec<_> = items.iter().map(read).collect();
        found.into_iter().collect()
    }
}
