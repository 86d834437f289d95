//! Reads the inventory and the playbook of one of its services.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Diagnostics, SourceText};
use super::fields::Sink;
use super::hosts_from::HostsOutput;
use super::inventory::{self, Inventory};
use super::overrides::Overrides;
use super::playbook;
use super::project::{Project, tidied};
use super::secret_url::SecretUrl;
use super::service_hosts::narrowed;
use super::services::{self, ServiceEntry};
use super::toml_tree::{self, Node, Value};
use super::value::{Located, quoted};

/// The size limit of an inventory or a playbook.
pub(crate) const FILE_BYTES_MAX: usize = 4 << 20;

/// Reads the bytes of a file.
pub(super) type Reader<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// Which part of an inventory is read.
#[derive(Clone, Copy, Default)]
pub struct Selection<'a> {
    /// The output of the command of `[hosts_from]`. Without it, the project has only the hosts of
    /// the inventory itself, and what depends on the number of hosts is not checked.
    pub hosts: Option<&'a HostsOutput>,
    /// The name of the service; `None` for the only one.
    pub service: Option<&'a str>,
    /// A text that replaces the playbook of the service.
    pub playbook: Option<&'a str>,
}

/// Reads an inventory and its playbook, and applies the overrides of the command line.
///
/// # Errors
/// All errors in either file.
pub fn load(inventory: &Path, overrides: &Overrides) -> Result<Project, Diagnostics> {
    load_with(inventory, overrides, |path| std::fs::read(path))
}

/// [`load`], with the files from `read`.
///
/// # Errors
/// All errors in either file.
pub fn load_with(
    inventory: &Path,
    overrides: &Overrides,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Project, Diagnostics> {
    load_service(inventory, overrides, read, Selection::default())
}

/// [`load_with`], for one service of a stack, with the hosts from a command. Of the other playbooks,
/// only the names of their services are read.
///
/// # Errors
/// All errors in either file or in the output of the command, or an unknown service.
pub fn load_service(
    inventory: &Path,
    overrides: &Overrides,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    selection: Selection<'_>,
) -> Result<Project, Diagnostics> {
    let sink = Sink::default();
    let loaded = InventoryFile::read(inventory, &read, selection.hosts, &sink);
    let mut files = loaded.files;
    let entry = choose(&loaded.entries, inventory, selection.service, &read, &sink);
    let project = entry.and_then(|entry| {
        files.push(entry.playbook.value.display().to_string());
        let read_playbook = |path: &Path| match selection.playbook {
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => read(path),
        };
        let inventory = loaded.inventory.as_ref();
        read_service(entry, inventory, overrides, &read_playbook, &sink)
    });
    let found = sink.into_inner();
    match project {
        Some(project) if found.is_empty() => Ok(project),
        _ => Err(Diagnostics::sorted(found, &files)),
    }
}

/// The state's URL and the name of the fleet in an inventory that may have errors elsewhere; `None`
/// if the inventory names no URL, or no fleet.
pub fn shared_state(inventory: &Path) -> Option<(SecretUrl, String)> {
    let (read, sink) = (|path: &Path| std::fs::read(path), Sink::default());
    let unreadable = |why: String| Diagnostic::file(inventory.display().to_string(), why);
    let (Parsed::Whole(root) | Parsed::Broken(root)) = parsed(inventory, &read, &sink, unreadable)
    else {
        return None;
    };
    inventory::read_shared_state(&root, inventory)
}

/// An inventory that may have errors, which are in the sink.
pub(super) struct InventoryFile {
    pub(super) inventory: Option<Inventory>,
    /// The services that could be read.
    pub(super) entries: Vec<ServiceEntry>,
    /// Whether the services are in `[[services]]`.
    pub(super) is_stack: bool,
    /// Whether no service is missing in `entries`.
    pub(super) has_all_services: bool,
    /// The names of the files that were read so far, for the order of the errors.
    pub(super) files: Vec<String>,
}

impl InventoryFile {
    /// Reads an inventory; errors go to `sink`.
    pub(super) fn read(
        path: &Path,
        read: Reader<'_>,
        hosts: Option<&HostsOutput>,
        sink: &Sink,
    ) -> Self {
        let help = "name an inventory, as in `ship deploy inventory/production.toml`";
        let unreadable = |why: String| Diagnostic::file(path.display().to_string(), why).help(help);
        let (mut is_stack, mut count) = (false, 0);
        let (entries, inventory) = match parsed(path, read, sink, unreadable) {
            Parsed::Whole(root) => {
                (is_stack, count) = (services::is_stack(&root), services::count(&root));
                inventory::read(&root, path, hosts, sink)
            }
            // The incomplete tree may still name the playbooks. Other errors in it are not reported,
            // because the broken syntax may be their cause.
            Parsed::Broken(root) => {
                (is_stack, count) = (services::is_stack(&root), services::count(&root));
                let (entries, _) = inventory::read(&root, path, None, &Sink::default());
                (entries, None)
            }
            Parsed::Nothing => (Vec::new(), None),
        };
        let has_all_services = entries.len() >= count;
        sink.end_file();
        let mut files = vec![path.display().to_string()];
        files.extend(hosts.map(|hosts| hosts.name().to_owned()));
        Self {
            inventory,
            entries: entries.into_iter().map(tidy).collect(),
            has_all_services,
            is_stack,
            files,
        }
    }

    /// The errors in the order of the files.
    pub(super) fn errors(&self, found: Vec<Diagnostic>) -> Diagnostics {
        let playbooks = self.entries.iter().map(|entry| &entry.playbook.value);
        let playbooks = playbooks.map(|path| path.display().to_string());
        let files: Vec<_> = self.files.iter().cloned().chain(playbooks).collect();
        Diagnostics::sorted(found, &files)
    }
}

fn tidy(mut entry: ServiceEntry) -> ServiceEntry {
    if let Some(tidied) = tidied(&entry.playbook.value) {
        entry.playbook.value = tidied;
    }
    entry
}

/// Chooses a service by its name, or the only one.
fn choose<'a>(
    entries: &'a [ServiceEntry],
    inventory: &Path,
    service: Option<&str>,
    read: Reader<'_>,
    sink: &Sink,
) -> Option<&'a ServiceEntry> {
    let first = entries.first()?;
    let Some(service) = service else {
        if entries.len() > 1 {
            let message = "the inventory has several services, and this command needs one";
            let file = Diagnostic::file(inventory.display().to_string(), message);
            sink.push(file.help("choose one with `--service NAME`"));
            return None;
        }
        return Some(first);
    };
    let candidates: Vec<_> = entries
        .iter()
        .map(|entry| (entry, name_of(entry, read)))
        .collect();
    let is_chosen = |(_, name): &&(&ServiceEntry, Option<String>)| name.as_deref() == Some(service);
    if let Some((entry, _)) = candidates.iter().find(is_chosen) {
        return Some(entry);
    }
    // A playbook whose name cannot be read may be the one.
    let unnamed: Vec<_> = candidates
        .iter()
        .filter(|(_, name)| name.is_none())
        .collect();
    if let [(only, _)] = &unnamed[..] {
        return Some(only);
    }
    let names: Vec<_> = candidates
        .iter()
        .filter_map(|(_, name)| name.as_deref())
        .collect();
    let message = format!("the inventory has no service {}", quoted(service));
    let file = Diagnostic::file(inventory.display().to_string(), message);
    sink.push(file.help(format!("its services: {}", names.join(", "))));
    None
}

/// The name of the service in a playbook that may have errors.
pub(super) fn name_of(entry: &ServiceEntry, read: Reader<'_>) -> Option<String> {
    let bytes = read(&entry.playbook.value).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (root, _) = toml_tree::parse(&Arc::new(SourceText::file(String::new(), text)));
    let Value::Table(top) = &root.value else {
        return None;
    };
    let Value::Table(service) = &top.0.get("service")?.node.value else {
        return None;
    };
    service.0.get("name")?.node.text().map(str::to_owned)
}

/// Reads the playbook of a service and checks it against the inventory; errors go to `sink`.
pub(super) fn read_service(
    entry: &ServiceEntry,
    inventory: Option<&Inventory>,
    overrides: &Overrides,
    read: Reader<'_>,
    sink: &Sink,
) -> Option<Project> {
    let inventory = inventory.map(|inventory| narrowed(entry, inventory, sink));
    let draft = read_playbook(&entry.playbook, overrides, read, sink);
    // Without hosts, every check of amounts would only repeat that error.
    let complete = inventory
        .as_ref()
        .filter(|it| it.has_all_hosts() && (!it.hosts.is_empty() || entry.hosts.is_none()));
    let playbook = draft.and_then(|draft| draft.checked_against(complete, sink));
    sink.end_file();
    Some(Project {
        inventory: inventory?,
        playbook: playbook?,
    })
}

fn read_playbook(
    path: &Located<PathBuf>,
    overrides: &Overrides,
    read: Reader<'_>,
    sink: &Sink,
) -> Option<playbook::PlaybookDraft> {
    let help = "the path is relative to the inventory";
    let unreadable = |why: String| Diagnostic::at(&path.place, why).help(help);
    let Parsed::Whole(mut root) = parsed(&path.value, read, sink, unreadable) else {
        return None;
    };
    let mut found = Vec::new();
    overrides.apply(&mut root, &mut found);
    sink.extend(found);
    playbook::read(&root, &path.value, sink)
}

enum Parsed {
    Whole(Node),
    /// The tree is incomplete.
    Broken(Node),
    Nothing,
}

/// Parses a file. `unreadable` builds the diagnostic if the file cannot be read.
fn parsed(
    path: &Path,
    read: Reader<'_>,
    sink: &Sink,
    unreadable: impl Fn(String) -> Diagnostic,
) -> Parsed {
    let shown = path.display().to_string();
    let bytes = match read(path) {
        Ok(bytes) if bytes.len() > FILE_BYTES_MAX => {
            sink.push(unreadable(format!(
                "{shown} is larger than {} MiB",
                FILE_BYTES_MAX >> 20
            )));
            return Parsed::Nothing;
        }
        Ok(bytes) => bytes,
        Err(why) => {
            sink.push(unreadable(format!("cannot read {shown}: {why}")));
            return Parsed::Nothing;
        }
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let (line, column) = position(error.as_bytes(), error.utf8_error().valid_up_to());
            let diagnostic =
                Diagnostic::line(shown, line, column, "the file is not valid UTF-8 here");
            sink.push(diagnostic.help("save it as UTF-8"));
            return Parsed::Nothing;
        }
    };
    let (root, errors) = toml_tree::parse(&Arc::new(SourceText::file(shown, text)));
    if errors.is_empty() {
        return Parsed::Whole(root);
    }
    sink.extend(errors);
    Parsed::Broken(root)
}

/// Line and column of a byte, both counted from 1.
fn position(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or(bytes));
    let line = before.rsplit('\n').next().unwrap_or_default();
    (1 + before.matches('\n').count(), 1 + line.chars().count())
}
