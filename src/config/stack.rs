//! A stack: all services of an inventory, with the checks between them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::diagnostic::{Diagnostic, Diagnostics, SourceSpan};
use super::fields::Sink;
use super::hosts_from::HostsOutput;
use super::inventory::Inventory;
use super::load::{InventoryFile, Reader, name_of, read_service};
use super::overrides::{Overrides, version_place};
use super::project::Project;
use super::services::ServiceEntry;
use super::value::quoted;
use crate::core::ids::{HostId, Port};
use crate::core::stack::OnStackFailure;

/// The selected services of a stack, and their order.
#[derive(Clone, Debug)]
pub struct StackOrder {
    /// The name of the fleet.
    pub fleet: String,
    /// In the order of the rollout: each after the services that it names in `after`.
    pub services: Vec<StackService>,
    pub on_failure: OnStackFailure,
}

/// A service of a stack.
#[derive(Clone, Debug)]
pub struct StackService {
    pub name: String,
    /// All selected services that roll out before this one, also those with another one between.
    pub after: BTreeSet<String>,
}

/// A valid inventory with the files of its selected services.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The inventory with all hosts.
    pub inventory: Inventory,
    /// The files of the selected services, in the order of the inventory.
    pub projects: Vec<Project>,
}

/// What the command line sets for the services of a stack.
#[derive(Clone, Debug, Default)]
pub struct StackOverrides {
    /// The names of the selected services; empty for all.
    pub services: Vec<String>,
    /// The values of `--version`: `V` for every selected service, `api=V` for one.
    pub versions: Vec<String>,
    /// The values of `--set`, for every selected service.
    pub set: Vec<String>,
}

impl StackOverrides {
    /// Whether a service is selected.
    pub fn selects(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|name| name == service)
    }

    /// The overrides of one service. A version for one service wins over one for all.
    pub fn of(&self, service: &str) -> Overrides {
        let own = self.versions.iter().rev().find_map(|text| {
            let (name, version) = text.split_once('=')?;
            (name == service).then_some(version)
        });
        let common = || self.versions.iter().rev().find(|text| !text.contains('='));
        let version = own.map(str::to_owned).or_else(|| common().cloned());
        Overrides {
            version,
            set: self.set.clone(),
        }
    }

    /// Reports names that the stack does not have, and versions of services that are not selected.
    /// Names that may be those of services that cannot be read are not reported.
    fn check(&self, names: &[&str], are_all_known: bool, sink: &Sink) {
        let known = || format!("the services of the inventory: {}", names.join(", "));
        for service in &self.services {
            if !names.contains(&service.as_str()) && are_all_known {
                let text = format!("--service {service}");
                let place = SourceSpan::on_command_line(&text, "--service ".len());
                let message = format!("the inventory has no service {}", quoted(service));
                sink.push(Diagnostic::at(&place, message).help(known()));
            }
        }
        let of_one = self.versions.iter().filter_map(|text| {
            let (name, _) = text.split_once('=')?;
            Some((text, name))
        });
        for (text, name) in of_one {
            let is_unknown = !names.contains(&name);
            let (message, help) = if is_unknown && !are_all_known {
                continue;
            } else if is_unknown {
                let message = format!("the inventory has no service {}", quoted(name));
                (message, known())
            } else if !self.selects(name) {
                let message = format!(
                    "a version for service {}, which is not selected",
                    quoted(name)
                );
                (
                    message,
                    format!("add `--service {name}`, or leave out its version"),
                )
            } else {
                continue;
            };
            sink.push(Diagnostic::at(&version_place(text), message).help(help));
        }
    }
}

/// Reads which services an inventory has, and their order; `None` if it has one `playbook`. Of the
/// playbooks, only the names of the services are read.
///
/// # Errors
/// All errors in the inventory and in the selection.
pub fn load_order(
    inventory: &Path,
    overrides: &StackOverrides,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Option<StackOrder>, Diagnostics> {
    let sink = Sink::default();
    let file = InventoryFile::read(inventory, &read, None, &sink);
    if !file.is_stack && overrides.services.is_empty() {
        // The verb reports errors in the inventory.
        return Ok(None);
    }
    let draft = StackDraft::new(&file, overrides, &read);
    draft.check_selection(&sink);
    let found = sink.into_inner();
    match &file.inventory {
        Some(_) if found.is_empty() && !file.is_stack => Ok(None),
        Some(inventory) if found.is_empty() => Ok(Some(draft.order(inventory))),
        _ => Err(file.errors(found)),
    }
}

/// Reads an inventory and the playbooks of its selected services, and checks them together.
///
/// # Errors
/// All errors in the files and in the command line, and between the services.
pub fn load_stack(
    inventory: &Path,
    overrides: &StackOverrides,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    hosts: Option<&HostsOutput>,
) -> Result<Stack, Diagnostics> {
    let sink = Sink::default();
    let file = InventoryFile::read(inventory, &read, hosts, &sink);
    let draft = StackDraft::new(&file, overrides, &read);
    draft.check_selection(&sink);
    let projects = draft.read_services(&sink);
    draft.check_ports(&projects, &sink);
    let found = sink.into_inner();
    match &file.inventory {
        Some(inventory) if found.is_empty() => Ok(Stack {
            inventory: inventory.clone(),
            projects: draft.selected(projects),
        }),
        _ => Err(file.errors(found)),
    }
}

/// The services before they are checked.
struct StackDraft<'a> {
    inventory: Option<&'a Inventory>,
    overrides: &'a StackOverrides,
    read: Reader<'a>,
    has_all_services: bool,
    /// Each service with its name, if that can be read.
    services: Vec<(&'a ServiceEntry, Option<String>)>,
}

impl<'a> StackDraft<'a> {
    fn new(file: &'a InventoryFile, overrides: &'a StackOverrides, read: Reader<'a>) -> Self {
        let named = file
            .entries
            .iter()
            .map(|entry| (entry, name_of(entry, read)));
        Self {
            inventory: file.inventory.as_ref(),
            overrides,
            read,
            has_all_services: file.has_all_services,
            services: named.collect(),
        }
    }

    fn named(&self) -> impl Iterator<Item = (&'a ServiceEntry, &str)> {
        let services = self.services.iter();
        services.filter_map(|(entry, name)| Some((*entry, name.as_deref()?)))
    }

    /// Whether the name of every service could be read. A name that seems to be missing may
    /// otherwise be in a table or a playbook with errors.
    fn are_all_known(&self) -> bool {
        self.has_all_services && self.services.iter().all(|(_, name)| name.is_some())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.named().map(|(_, name)| name)
    }

    /// Runs the checks for which only the names of the services are needed.
    fn check_selection(&self, sink: &Sink) {
        let names: Vec<_> = self.names().collect();
        self.overrides.check(&names, self.are_all_known(), sink);
        self.check_names(sink);
        self.check_order(sink);
    }

    /// Reports services with the same name.
    fn check_names(&self, sink: &Sink) {
        let mut seen: BTreeMap<&str, &SourceSpan> = BTreeMap::new();
        for (entry, name) in self.named() {
            let place = &entry.playbook.place;
            if let Some(first) = seen.get(name) {
                let message = format!("two services are named {}", quoted(name));
                let diagnostic = Diagnostic::at(place, message).related(first, "first used here");
                sink.push(diagnostic.help("give each service a unique `name` in its playbook"));
            } else {
                seen.insert(name, place);
            }
        }
    }

    /// Reports names in `after` that do not exist, and cycles.
    fn check_order(&self, sink: &Sink) {
        let names: BTreeSet<&str> = self.names().collect();
        let are_all_known = self.are_all_known();
        let direct = self.direct();
        for (entry, name) in self.named() {
            for before in &entry.after {
                let message = if before.value == name {
                    format!("service {} cannot come after itself", quoted(name))
                } else if !names.contains(before.value.as_str()) && are_all_known {
                    format!("the inventory has no service {}", quoted(&before.value))
                } else if closure(&direct, &before.value).contains(name) {
                    format!(
                        "service {} comes after {}, which comes after it: the order is a cycle",
                        quoted(name),
                        quoted(&before.value)
                    )
                } else {
                    continue;
                };
                let known: Vec<_> = names.iter().copied().collect();
                let help = if before.value == name {
                    "remove it from `after`".to_owned()
                } else if message.ends_with("cycle") {
                    "remove one of the names in `after`".to_owned()
                } else {
                    format!("the services of the inventory: {}", known.join(", "))
                };
                sink.push(Diagnostic::at(&before.place, message).help(help));
            }
        }
    }

    /// The names in `after` of each service.
    fn direct(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let after =
            |entry: &'a ServiceEntry| entry.after.iter().map(|it| it.value.as_str()).collect();
        self.named()
            .map(|(entry, name)| (name, after(entry)))
            .collect()
    }

    /// The files of each service, in the order of the inventory. Of a service that is not selected,
    /// errors are not reported.
    fn read_services(&self, sink: &Sink) -> Vec<Option<Project>> {
        let read = |(entry, name): &(&ServiceEntry, Option<String>)| {
            let mut overrides = self.overrides.of(name.as_deref().unwrap_or_default());
            if self.is_selected(name.as_deref()) {
                return read_service(entry, self.inventory, &overrides, self.read, sink);
            }
            overrides.version.get_or_insert_with(|| "0".to_owned());
            read_service(
                entry,
                self.inventory,
                &overrides,
                self.read,
                &Sink::default(),
            )
        };
        self.services.iter().map(read).collect()
    }

    /// Reports two services with the same port on the same host.
    fn check_ports(&self, projects: &[Option<Project>], sink: &Sink) {
        let mut owners: BTreeMap<(&HostId, Port), &ServiceEntry> = BTreeMap::new();
        for ((entry, name), project) in self.services.iter().zip(projects) {
            let (Some(name), Some(project)) = (name, project) else {
                continue;
            };
            let clash = ports(project).find_map(|(host, port)| {
                let other = *owners.get(&(host, port))?;
                Some((host, port, other))
            });
            if let Some((host, port, other)) = clash {
                let message = format!(
                    "service {} uses port {port} of {host}, as another service does",
                    quoted(name)
                );
                let diagnostic = Diagnostic::at(&entry.playbook.place, message);
                let diagnostic = diagnostic.related(&other.playbook.place, "used by this service");
                sink.push(diagnostic.help("give the services different ports, or different hosts"));
                continue;
            }
            owners.extend(ports(project).map(|key| (key, *entry)));
        }
    }

    fn is_selected(&self, name: Option<&str>) -> bool {
        name.is_none_or(|name| self.overrides.selects(name))
    }

    fn selected(&self, projects: Vec<Option<Project>>) -> Vec<Project> {
        let named = self.services.iter().zip(projects);
        let selected = named.filter(|((_, name), _)| self.is_selected(name.as_deref()));
        selected.filter_map(|(_, project)| project).collect()
    }

    fn order(&self, inventory: &Inventory) -> StackOrder {
        let direct = self.direct();
        let service = |name: &str| {
            let before = closure(&direct, name).into_iter();
            let before = before.filter(|name| self.overrides.selects(name));
            StackService {
                name: name.to_owned(),
                after: before.map(str::to_owned).collect(),
            }
        };
        let selected = self.names().filter(|name| self.overrides.selects(name));
        let mut services: Vec<_> = selected.map(service).collect();
        // A service has more services before it than each of these has.
        services.sort_by_key(|service| service.after.len());
        StackOrder {
            fleet: inventory.fleet.clone(),
            services,
            on_failure: inventory.stack.unwrap_or_default(),
        }
    }
}

/// All services before `name`, directly or through others; also itself, in a cycle.
fn closure<'a>(direct: &BTreeMap<&str, BTreeSet<&'a str>>, name: &str) -> BTreeSet<&'a str> {
    let of = |name: &str| direct.get(name).into_iter().flatten().copied();
    let mut all = BTreeSet::new();
    let mut open: Vec<_> = of(name).collect();
    while let Some(before) = open.pop() {
        if all.insert(before) {
            open.extend(of(before));
        }
    }
    all
}

/// The ports of a service on each of its hosts.
fn ports(project: &Project) -> impl Iterator<Item = (&HostId, Port)> {
    let slots = project.playbook.service.slots.by_number();
    let ports: Vec<_> = slots.into_values().flatten().collect();
    let hosts = project.inventory.hosts.iter();
    hosts.flat_map(move |host| {
        ports
            .clone()
            .into_iter()
            .map(move |port| (&host.name, port))
    })
}
