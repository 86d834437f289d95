//! `--version` and `--set`: overrides of the playbook from the command line.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, SourceSpan, SourceText};
use super::toml_tree::{self, Node, Table, TomlEntry, Value};

/// Overrides of the playbook from the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--version`, which overrides `version`.
    pub version: Option<String>,
    /// `--set`, each as `rollout.max_surge=2`: a value in TOML, or else plain text. If a key is set
    /// twice, the last value applies.
    pub set: Vec<String>,
}

impl Overrides {
    /// A placeholder for the version, for verbs that need none: the files need not name one.
    pub fn any_version() -> Self {
        Self {
            version: Some("0".to_owned()),
            set: Vec::new(),
        }
    }

    /// Writes the values into the tree of the playbook.
    pub(super) fn apply(&self, root: &mut Node, found: &mut Vec<Diagnostic>) {
        let assignments = self.set.iter().map(|text| assignment(text));
        let version = self
            .version
            .iter()
            .map(|version| Ok(version_assignment(version)));
        for assignment in assignments.chain(version) {
            match assignment.and_then(|(path, node)| put(root, &path, node)) {
                Ok(()) => {}
                Err(diagnostic) => found.push(*diagnostic),
            }
        }
    }
}

/// One part of a path such as `rollout.max_surge`, and its place.
type KeyStep = (String, SourceSpan);
type Applied<T> = Result<T, Box<Diagnostic>>;

fn command_line(text: String) -> Arc<SourceText> {
    Arc::new(SourceText::command_line(text))
}

/// The place of the value of `--version`.
pub(super) fn version_place(version: &str) -> SourceSpan {
    const OPTION: &str = "--version ";
    SourceSpan::on_command_line(&format!("{OPTION}{version}"), OPTION.len())
}

fn version_assignment(version: &str) -> (Vec<KeyStep>, Node) {
    let place = version_place(version);
    let node = Node {
        place: place.clone(),
        value: Value::String(version.to_owned()),
    };
    (vec![("version".to_owned(), place)], node)
}

fn assignment(text: &str) -> Applied<(Vec<KeyStep>, Node)> {
    const OPTION: &str = "--set ";
    let source = command_line(format!("{OPTION}{text}"));
    let all = SourceSpan::new(&source, OPTION.len()..source.text.len());
    let wrong = |message: &str| {
        let help = "write KEY=VALUE, for example: --set rollout.max_surge=2";
        Box::new(Diagnostic::at(&all, message).help(help))
    };
    let (path, value) = text
        .split_once('=')
        .ok_or_else(|| wrong("this override has no `=`"))?;
    let mut at = OPTION.len();
    let mut steps = Vec::new();
    for step in path.split('.') {
        let place = SourceSpan::new(&source, at..at + step.len());
        if !is_bare_key(step) {
            return Err(wrong("the text before `=` is not a key of a playbook"));
        }
        steps.push((step.to_owned(), place));
        at += step.len() + 1;
    }
    let node = toml_value(text, &source, &steps).unwrap_or_else(|| Node {
        place: SourceSpan::new(&source, source.text.len() - value.len()..source.text.len()),
        value: Value::String(value.to_owned()),
    });
    Ok((steps, node))
}

fn is_bare_key(step: &str) -> bool {
    !step.is_empty()
        && step
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Parses `rollout.max_surge=2` as a line of TOML. Blanks in place of the option keep the columns.
fn toml_value(text: &str, source: &Arc<SourceText>, steps: &[KeyStep]) -> Option<Node> {
    if text.contains(['\n', '\r']) {
        return None;
    }
    let padded = " ".repeat(source.text.len() - text.len()) + text;
    let (root, errors) = toml_tree::parse_as(source, &padded);
    let node = steps
        .iter()
        .try_fold(root, |node, (step, _)| match node.value {
            Value::Table(mut table) => table.0.remove(step).map(|entry| entry.node),
            _ => None,
        })?;
    // Text that TOML reads as a comment belongs to the value here.
    (errors.is_empty() && text.trim_end().ends_with(node.place.text())).then_some(node)
}

fn put(root: &mut Node, path: &[KeyStep], value: Node) -> Applied<()> {
    let Some(((name, place), parents)) = path.split_last() else {
        return Ok(());
    };
    let mut here = root;
    for (step, at) in parents {
        let Value::Table(table) = &mut here.value else {
            return Err(not_a_table(place));
        };
        let entry = table.0.entry(step.clone()).or_insert_with(|| TomlEntry {
            key: at.clone(),
            node: Node {
                place: at.clone(),
                value: Value::Table(Table::default()),
            },
        });
        here = &mut entry.node;
    }
    let Value::Table(table) = &mut here.value else {
        return Err(not_a_table(place));
    };
    table.0.insert(
        name.clone(),
        TomlEntry {
            key: place.clone(),
            node: value,
        },
    );
    Ok(())
}

fn not_a_table(place: &SourceSpan) -> Box<Diagnostic> {
    let message = format!("cannot set `{}`: its parent is not a table", place.text());
    Box::new(Diagnostic::at(place, message).help("for example: --set rollout.max_surge=2"))
}
