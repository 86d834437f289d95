//! `[hosts_from]`: a command whose output lists hosts, and that output.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;

use super::diagnostic::{Diagnostic, SourceSpan, SourceText};
use super::fields::{Fields, OptionalTable, Sink};
use super::json_tree;
use super::toml_tree::{self, Node, Table, TomlEntry, Value};
use super::value::{Faults, Located, ValueError, line, located, positive_duration, quoted, string};

const TIMEOUT: Duration = Duration::from_secs(30);
const EXAMPLE: &str = "command = [\"terraform\", \"output\", \"-json\", \"ship_hosts\"]";
const EXAMPLE_OUTPUT: &str = "[{\"name\": \"web1\", \"address\": \"10.0.0.1\"}]";
const EMPTY_HELP: &str = "an empty answer is refused, because it is most likely an expired login or \
                          a wrong filter; to have no hosts from the command, remove [hosts_from]";
/// The last lines of an output that an error shows, and the limit of each.
const LINES_SHOWN: usize = 5;
const LINE_CHARS_MAX: usize = 200;

/// A command on the control machine that prints hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsFrom {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// After this time, the command is ended.
    pub timeout: Duration,
    /// The host tables that it printed, as a JSON array; `None` if its output was not read.
    pub printed: Option<serde_json::Value>,
    /// The place of the command.
    pub(super) place: SourceSpan,
}

/// The output of such a command.
#[derive(Clone)]
pub struct HostsOutput {
    source: Arc<SourceText>,
    /// The last lines of its stderr.
    stderr: String,
}

impl HostsFrom {
    /// The names of the hosts that the command printed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.printed.iter().flat_map(host_names)
    }

    /// The command line, for messages.
    pub fn shown(&self) -> String {
        let words = self.command.iter().map(String::as_str);
        quoted(&shlex::try_join(words).unwrap_or_else(|_| self.command.join(" ")))
    }

    /// The error that the command gave no hosts: `why`, and what it printed.
    pub fn failure(&self, why: &str, output: &str) -> Diagnostic {
        let message = format!("cannot get the hosts from {}: {why}", self.shown());
        with_note(Diagnostic::at(&self.place, message), "output", output)
    }
}

impl HostsOutput {
    /// What the command printed.
    pub fn printed(from: &HostsFrom, stdout: String, stderr: String) -> Self {
        let name = format!("output of {}", from.shown());
        // A byte order mark, as some programs on Windows print it.
        let text = stdout.strip_prefix('\u{feff}').map(str::to_owned);
        Self {
            source: Arc::new(SourceText::file(name, text.unwrap_or(stdout))),
            stderr,
        }
    }

    /// The hosts that an earlier command used.
    pub fn kept(name: String, hosts: &serde_json::Value) -> Self {
        Self {
            source: Arc::new(SourceText::file(name, hosts.to_string())),
            stderr: String::new(),
        }
    }

    /// The name in messages.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// The host tables, at least one; `None` if there is an error, which goes to `sink`.
    pub(super) fn host_tables(&self, from: &HostsFrom, sink: &Sink) -> Option<Vec<Node>> {
        match self.parse(from) {
            Ok(tables) => Some(tables),
            Err(diagnostic) => {
                let diagnostic = if diagnostic.is_in_text_of(&from.place) {
                    *diagnostic
                } else {
                    diagnostic.or_related(&from.place, "printed by this command")
                };
                sink.push(with_note(diagnostic, "stderr of the command", &self.stderr));
                None
            }
        }
    }

    fn parse(&self, from: &HostsFrom) -> Result<Vec<Node>, Box<Diagnostic>> {
        let text = self.source.text.trim();
        if text.is_empty() {
            let nothing = Diagnostic::at(&from.place, format!("{} printed nothing", from.shown()));
            return Err(nothing
                .help(format!("it must print its hosts: {EXAMPLE_OUTPUT}"))
                .into());
        }
        // The transport replaces invalid bytes.
        if let Some(at) = self.source.text.find(char::REPLACEMENT_CHARACTER) {
            let place = SourceSpan::new(&self.source, at..at + 1);
            return Err(Diagnostic::at(&place, "the output is not valid UTF-8 here").into());
        }
        let tables = if json_tree::is_json(text) || !is_toml(text) {
            json_tables(json_tree::parse(&self.source)?)?
        } else {
            self.toml_tables()?
        };
        if tables.is_empty() {
            let empty = Diagnostic::at(&from.place, format!("{} printed no hosts", from.shown()));
            return Err(empty.help(EMPTY_HELP).into());
        }
        Ok(tables)
    }

    fn toml_tables(&self) -> Result<Vec<Node>, Box<Diagnostic>> {
        let (root, errors) = toml_tree::parse(&self.source);
        if let Some(error) = errors.into_iter().next() {
            let help = format!("the command must print a JSON array or TOML: {EXAMPLE_OUTPUT}");
            return Err(error.help(help).into());
        }
        let Value::Table(Table(mut entries)) = root.value else {
            return Ok(Vec::new());
        };
        let hosts = entries.remove("hosts");
        if let Some((name, entry)) = entries.into_iter().next() {
            let message = format!("unknown key {} in the output", quoted(&name));
            let help = "print only [[hosts]] tables; the other tables belong in the inventory";
            return Err(Diagnostic::at(&entry.key, message).help(help).into());
        }
        match hosts.map(|entry| entry.node) {
            None => Ok(Vec::new()),
            Some(Node {
                value: Value::Array(items),
                ..
            }) => items.into_iter().map(checked_table).collect(),
            Some(other) => {
                let message = format!(
                    "`hosts` must be written as [[hosts]], not as {}",
                    other.kind()
                );
                Err(Diagnostic::at(&other.place, message).into())
            }
        }
    }
}

/// Reads `[hosts_from]`; errors go to `sink`. The outer `None` means an error.
#[expect(
    clippy::option_option,
    reason = "the outer None means invalid, the inner one absent"
)]
pub(super) fn read(top: &Fields<'_>) -> Option<Option<HostsFrom>> {
    match top.table_if_any("hosts_from", "[hosts_from]") {
        OptionalTable::Absent => Some(None),
        OptionalTable::Invalid => None,
        OptionalTable::Present(fields) => {
            let command = fields.required("command", EXAMPLE, located(words));
            let timeout = fields.optional_or("timeout", TIMEOUT, positive_duration);
            fields.finish();
            let Located { value, place } = command?;
            Some(Some(HostsFrom {
                command: value,
                timeout: timeout?,
                printed: None,
                place,
            }))
        }
    }
}

fn words(node: &Node) -> Result<Vec<String>, Faults> {
    let Value::Array(items) = &node.value else {
        let fault = ValueError::new(format!("must be a list of words, not {}", node.kind()));
        return Err(fault.help(format!("for example: {EXAMPLE}")).into());
    };
    let Some((program, arguments)) = items.split_first() else {
        let fault = ValueError::new("must not be empty");
        return Err(fault.help(format!("for example: {EXAMPLE}")).into());
    };
    let arguments = arguments.iter().map(string);
    std::iter::once(line(program)).chain(arguments).collect()
}

/// Whether a text that is not JSON is meant to be TOML.
fn is_toml(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest
            .trim_start_matches('[')
            .trim_start()
            .starts_with(|first: char| first.is_ascii_alphabetic() || first == '_'),
        None => !text.starts_with('{'),
    }
}

fn json_tables(root: Node) -> Result<Vec<Node>, Box<Diagnostic>> {
    let tables: Vec<_> = match root.value {
        Value::Array(items) => items.into_iter().map(checked_table).collect(),
        Value::Table(table) => {
            check_map(&root.place, &table)?;
            table.0.into_iter().map(named_table).collect()
        }
        _ => {
            let message = format!("the output must be a list of hosts, not {}", root.kind());
            let help = format!("for example: {EXAMPLE_OUTPUT}");
            Err(Diagnostic::at(&root.place, message).help(help).into())
        }
    }?;
    Ok(tables.into_iter().map(simplified).collect())
}

fn checked_table(node: Node) -> Result<Node, Box<Diagnostic>> {
    if matches!(node.value, Value::Table(_)) {
        return Ok(node);
    }
    let message = format!("a host must be a table, not {}", node.kind());
    let diagnostic = Diagnostic::at(&node.place, message);
    Err(diagnostic
        .help(format!("for example: {EXAMPLE_OUTPUT}"))
        .into())
}

/// Refuses an object that does not have a host for each key.
fn check_map(place: &SourceSpan, table: &Table) -> Result<(), Box<Diagnostic>> {
    let wrong = |help: &str| {
        let message = "the output is an object whose values are not all hosts";
        Err(Diagnostic::at(place, message).help(help).into())
    };
    let inner = |entry: &TomlEntry| match &entry.node.value {
        Value::Table(Table(inner)) => {
            Some(inner.contains_key("value") && inner.contains_key("type"))
        }
        _ => None,
    };
    let values: Option<Vec<bool>> = table.0.values().map(inner).collect();
    match values {
        None if table.0.contains_key("value") => {
            wrong("print the list itself, for example with `jq .value`")
        }
        None => wrong(&format!(
            "print a list, for example {EXAMPLE_OUTPUT}, or an object with the hosts by name"
        )),
        Some(values) if values.contains(&true) => wrong(
            "these are all outputs of Terraform; name one, as in `terraform output -json ship_hosts`",
        ),
        Some(_) => Ok(()),
    }
}

/// The table of a host whose name is its key in an object.
fn named_table(
    (name, TomlEntry { key, mut node }): (String, TomlEntry),
) -> Result<Node, Box<Diagnostic>> {
    if let Value::Table(Table(entries)) = &mut node.value {
        match entries.get("name").map(|entry| &entry.node) {
            Some(Node {
                value: Value::String(other),
                place,
            }) if *other != name => {
                let message = format!("the host {} has the name {}", quoted(&name), quoted(other));
                let diagnostic = Diagnostic::at(place, message).related(&key, "its key");
                return Err(diagnostic.help("leave out `name`, or print a list").into());
            }
            _ => {}
        }
        let is_named = entries
            .get("name")
            .is_some_and(|entry| !matches!(entry.node.value, Value::Null));
        if !is_named {
            let entry = TomlEntry {
                key: key.clone(),
                node: Node {
                    place: key,
                    value: Value::String(name),
                },
            };
            entries.insert("name".to_owned(), entry);
        }
    }
    Ok(node)
}

/// The host without keys that are null, as Terraform prints those that are not set, and with
/// labels as text: tags of a cloud are numbers in some tools and text in others.
fn simplified(mut host: Node) -> Node {
    if let Value::Table(Table(entries)) = &mut host.value {
        entries.retain(|_, entry| !matches!(entry.node.value, Value::Null));
        if let Some(labels) = entries.get_mut("labels")
            && let Value::Table(Table(labels)) = &mut labels.node.value
        {
            labels.retain(|_, entry| !matches!(entry.node.value, Value::Null));
            for entry in labels.values_mut() {
                if matches!(entry.node.value, Value::Integer(_) | Value::Boolean(_)) {
                    entry.node.value = Value::String(entry.node.place.text().to_owned());
                }
            }
        }
    }
    host
}

/// The names in host tables.
pub fn host_names(tables: &serde_json::Value) -> impl Iterator<Item = &str> {
    let tables = tables.as_array().into_iter().flatten();
    tables.filter_map(|table| table.get("name")?.as_str())
}

/// The host tables as a JSON array, without places.
pub(super) fn to_json(tables: &[Node]) -> serde_json::Value {
    tables.iter().map(json).collect()
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => i64::try_from(*number).ok().into(),
        Value::Boolean(yes) => (*yes).into(),
        Value::Array(items) => to_json(items),
        Value::Table(Table(entries)) => {
            let entries = entries
                .iter()
                .map(|(name, entry)| (name.clone(), json(&entry.node)));
            entries.collect::<Map<_, _>>().into()
        }
        // No key of a host has such a value.
        Value::Float | Value::Datetime | Value::Null => serde_json::Value::Null,
    }
}

/// Adds the last lines of an output, if there are any.
fn with_note(diagnostic: Diagnostic, what: &str, output: &str) -> Diagnostic {
    let lines: Vec<String> = output
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .map(|line| line.chars().take(LINE_CHARS_MAX).collect())
        .collect();
    if lines.is_empty() {
        return diagnostic;
    }
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    let first = if shown.len() < lines.len() {
        "last lines of the "
    } else {
        ""
    };
    diagnostic.note(format!("{first}{what}:\n{}", shown.join("\n")))
}
