//! `[[services]]`: the services of a stack, their order, and their hosts.

use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::fields::{Fields, OptionalTable, Sink};
use super::local_path::resolve_relative;
use super::names;
use super::selector::selector;
use super::toml_tree::{Node, Value};
use super::value::{Faults, Located, ValueError, choice, located, string};
use crate::core::fleet::selector::Selector;
use crate::core::stack::OnStackFailure;

const SERVICES: &str = "[[services]]";
const EXAMPLE: &str = "[[services]]\nplaybook = \"../playbooks/api.toml\"\nhosts = \"role=app\"";

/// A service of an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceEntry {
    /// The path is relative to the inventory.
    pub(super) playbook: Located<PathBuf>,
    /// `None` for every host.
    pub(super) hosts: Option<Located<Selector>>,
    /// The names of the services that roll out before this one.
    pub(super) after: Vec<Located<String>>,
}

/// What happens if a service fails; `None` without `[[services]]`.
type StackPolicy = Option<OnStackFailure>;

/// Reads `playbook` or `[[services]]`, and `[stack]`; errors go to `sink`. Returns the services that
/// are valid even after an error, and then no policy.
pub(super) fn read(
    top: &Fields<'_>,
    dir: &Path,
    sink: &Sink,
) -> (Vec<ServiceEntry>, Option<StackPolicy>) {
    let is_stack = top.key_place("services").is_some();
    let (entries, are_valid) = if is_stack {
        report_both(top, sink);
        read_tables(top, dir)
    } else {
        top.tables_if_any("services", SERVICES, EXAMPLE);
        read_single(top, dir)
    };
    let on_failure = read_stack(top, is_stack, sink);
    let policy = on_failure.filter(|_| are_valid);
    (entries, policy.map(|policy| is_stack.then_some(policy)))
}

/// Reads the short form: one `playbook`.
fn read_single(top: &Fields<'_>, dir: &Path) -> (Vec<ServiceEntry>, bool) {
    let playbook = top.required(
        "playbook",
        "playbook = \"../playbooks/testpage.toml\"",
        located(|node| resolve_relative(dir, node)),
    );
    let entry = playbook.map(|playbook| ServiceEntry {
        playbook,
        hosts: None,
        after: Vec::new(),
    });
    let is_valid = entry.is_some();
    (entry.into_iter().collect(), is_valid)
}

/// Whether an inventory has `[[services]]`.
pub(super) fn is_stack(root: &Node) -> bool {
    matches!(&root.value, Value::Table(top) if top.0.contains_key("services"))
}

/// The number of `[[services]]`, also of those with errors.
pub(super) fn count(root: &Node) -> usize {
    let Value::Table(top) = &root.value else {
        return 0;
    };
    match top.0.get("services").map(|entry| &entry.node.value) {
        Some(Value::Array(tables)) => tables.len(),
        _ => 0,
    }
}

/// Reports `playbook` beside `[[services]]`.
fn report_both(top: &Fields<'_>, sink: &Sink) {
    let one = top.optional("playbook", string);
    if let (Some(Some(_)), Some(place)) = (one, top.key_place("playbook")) {
        let message = "`playbook` and [[services]] cannot both be used";
        let help = "write the playbook into a [[services]] table of its own";
        sink.push(Diagnostic::at(place, message).help(help));
    }
}

fn read_tables(top: &Fields<'_>, dir: &Path) -> (Vec<ServiceEntry>, bool) {
    let tables = top.tables("services", SERVICES, EXAMPLE);
    let entries: Vec<_> = tables
        .iter()
        .map(|fields| {
            let playbook = fields.required(
                "playbook",
                "playbook = \"../playbooks/api.toml\"",
                located(|node| resolve_relative(dir, node)),
            );
            let hosts = fields.optional("hosts", located(selector));
            let after = fields.optional_or("after", Vec::new(), names_of_services);
            fields.finish();
            Some(ServiceEntry {
                playbook: playbook?,
                hosts: hosts?,
                after: after?,
            })
        })
        .collect();
    let are_valid = !entries.is_empty() && entries.iter().all(Option::is_some);
    (entries.into_iter().flatten().collect(), are_valid)
}

fn names_of_services(node: &Node) -> Result<Vec<Located<String>>, Faults> {
    let Value::Array(nodes) = &node.value else {
        return Err(
            ValueError::new(format!("must be a list of names, not {}", node.kind()))
                .help("for example: after = [\"api\"]")
                .into(),
        );
    };
    let name = |node: &Node| {
        let value = names::service(node)?;
        let place = node.place.clone();
        Ok(Located { value, place })
    };
    nodes.iter().map(name).collect()
}

/// Reads `[stack]`, which only a stack has.
fn read_stack(top: &Fields<'_>, is_stack: bool, sink: &Sink) -> Option<OnStackFailure> {
    let fields = match top.table_if_any("stack", "[stack]") {
        OptionalTable::Absent => return Some(OnStackFailure::default()),
        OptionalTable::Invalid => return None,
        OptionalTable::Present(fields) => fields,
    };
    if !is_stack {
        let message = "[stack] can only be used with [[services]]";
        sink.push(Diagnostic::at(fields.place(), message).help("remove it"));
    }
    let on_failure = fields.optional_or(
        "on_failure",
        OnStackFailure::default(),
        choice(&[
            ("rollback", OnStackFailure::RollBack),
            ("hold", OnStackFailure::Hold),
        ]),
    );
    fields.finish();
    on_failure
}
