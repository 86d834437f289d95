//! The inventory: the hosts of a fleet, and how to reach them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::ids::HostId;
use crate::core::stack::OnStackFailure;

use super::diagnostic::{Diagnostic, SourceSpan};
use super::escalation::{Escalation, escalation};
use super::fields::{Fields, Sink};
use super::hosts_from::{self, HostsFrom, HostsOutput};
use super::local_path::resolve_relative;
use super::names;
use super::secret_url::SecretUrl;
use super::services::{self, ServiceEntry};
use super::state;
use super::toml_tree::Node;
use super::value::{
    Faults, ValueError, boolean, choice, duration, line, number, positive_duration,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const LOOPBACK: &str = "127.0.0.1";
const HOSTS: &str = "[[hosts]]";
const EXAMPLE_BALANCER: &str = "[[balancers]]\nname = \"lb1\"\naddress = \"192.168.72.10\"";
const EXAMPLE_HOST: &str = "[[hosts]]\nname = \"web1\"\naddress = \"192.168.72.233\"";

/// A fleet and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The file, as given.
    pub path: PathBuf,
    pub fleet: String,
    /// The playbook; its path is relative to the inventory.
    pub playbook: PathBuf,
    /// The hosts, in the order of the file, then those of `[hosts_from]`.
    pub hosts: Vec<HostConfig>,
    /// The command that prints further hosts; `None` without `[hosts_from]`.
    pub hosts_from: Option<HostsFrom>,
    /// The machines of the balancers, in the order of the file.
    pub balancers: Vec<HostConfig>,
    /// The place of the first balancer.
    pub balancers_place: Option<SourceSpan>,
    /// The database that keeps the state; `None` for the file in the state directory.
    pub state: Option<SecretUrl>,
    /// What happens if a service of the stack fails; `None` for an inventory with one `playbook`.
    pub stack: Option<OnStackFailure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Unique in the fleet.
    pub name: HostId,
    /// The address for SSH and for the service. Default: the name; `127.0.0.1` for a local host.
    pub address: String,
    /// Free-form labels for templates.
    pub labels: BTreeMap<String, String>,
    /// Whether the instances move to other hosts.
    pub drain: bool,
    pub transport: Transport,
    /// Absolute path of the directory for the files of ship; `None` for the default. In the file,
    /// the path of a local host may be relative to the inventory.
    pub base_dir: Option<String>,
    pub ssh: SshConfig,
}

impl Inventory {
    /// The hosts and balancers.
    pub fn machines(&self) -> impl Iterator<Item = &HostConfig> {
        self.hosts.iter().chain(&self.balancers)
    }

    /// How scripts become root on a host or balancer.
    pub fn escalation_of(&self, machine: &HostId) -> Escalation {
        let found = self.machines().find(|known| known.name == *machine);
        found.map_or(Escalation::None, |found| found.ssh.escalation)
    }

    /// The hosts and balancers on which sudo needs the password of this command.
    pub fn machines_with_sudo_password(&self) -> Vec<HostId> {
        self.machines()
            .filter(|machine| machine.ssh.escalation == Escalation::SudoPassword)
            .map(|machine| machine.name.clone())
            .collect()
    }

    /// The hosts that may run instances, in the order of the file: all without `drain`.
    pub fn schedulable_hosts(&self) -> impl Iterator<Item = &HostConfig> {
        self.hosts.iter().filter(|host| !host.drain)
    }

    /// Whether all hosts are known, also those of `[hosts_from]`.
    pub fn has_all_hosts(&self) -> bool {
        let from = self.hosts_from.as_ref();
        from.is_none_or(|from| from.printed.is_some())
    }

    /// Whether the command of `[hosts_from]` printed a host of the inventory.
    pub fn is_from_command(&self, host: &HostConfig) -> bool {
        let from = self.hosts_from.as_ref();
        from.is_some_and(|from| from.names().any(|name| *name == *host.name.as_str()))
    }
}

/// How ship runs scripts on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Ssh,
    /// The host is this machine.
    Local,
}

/// SSH settings. For `None`, the user's `ssh_config` applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshConfig {
    pub user: Option<String>,
    pub port: Option<u16>,
    /// The only private key to offer.
    pub identity_file: Option<PathBuf>,
    /// An `ssh_config` that replaces those of the user and the system.
    pub config: Option<PathBuf>,
    /// A file of host keys that replaces the one of the user.
    pub known_hosts: Option<PathBuf>,
    /// Time limit of one attempt to connect, including the login.
    pub connect_timeout: Duration,
    /// How long connections stay open for the next command; zero closes them with the command.
    pub persist: Duration,
    /// How scripts get the rights of root.
    pub escalation: Escalation,
}

impl Default for SshConfig {
    fn default() -> Self {
        Self {
            user: None,
            port: None,
            identity_file: None,
            config: None,
            known_hosts: None,
            connect_timeout: CONNECT_TIMEOUT,
            persist: Duration::ZERO,
            escalation: Escalation::None,
        }
    }
}

/// Reads the inventory, with the playbook of its first service; errors go to `sink`. Returns the
/// services that are valid even after an error.
pub(super) fn read(
    root: &Node,
    path: &Path,
    output: Option<&HostsOutput>,
    sink: &Sink,
) -> (Vec<ServiceEntry>, Option<Inventory>) {
    let Some(top) = Fields::new(root, "the inventory", sink) else {
        return (Vec::new(), None);
    };
    let dir = path.parent().unwrap_or(Path::new(""));
    let (entries, stack) = services::read(&top, dir, sink);
    let fleet = read_fleet_name(&top);
    let defaults = top.table_or_empty("ssh", "[ssh]").and_then(|fields| {
        let ssh = read_ssh(&fields, dir, &SshConfig::default());
        fields.finish();
        ssh
    });
    let state = state::read(&top, dir, sink);
    let hosts_from = hosts_from::read(&top);
    let mut tables = match &hosts_from {
        Some(None) => top.tables("hosts", HOSTS, EXAMPLE_HOST),
        _ => top.tables_if_any("hosts", HOSTS, EXAMPLE_HOST),
    };
    let balancer_tables = top.tables_if_any("balancers", "[[balancers]]", EXAMPLE_BALANCER);
    top.finish();
    let printed = match (&hosts_from, output) {
        (Some(Some(from)), Some(output)) => output.host_tables(from, sink),
        _ => None,
    };
    let printed_tables = printed.iter().flatten();
    tables.extend(printed_tables.filter_map(|node| Fields::new(node, HOSTS, sink)));
    let defaults_or_none = defaults.clone().unwrap_or_default();
    let hosts: Vec<_> = tables
        .iter()
        .map(|fields| {
            let drain = fields.optional_or("drain", false, boolean);
            read_host(fields, dir, &defaults_or_none, drain)
        })
        .collect();
    let balancers: Vec<_> = balancer_tables
        .iter()
        .map(|fields| read_host(fields, dir, &defaults_or_none, Some(false)))
        .collect();
    check_duplicate_hosts(&tables, &hosts, sink);
    check_duplicate_balancers(&tables, &hosts, &balancer_tables, &balancers, sink);

    let hosts: Option<Vec<_>> = hosts.into_iter().collect();
    let balancers: Option<Vec<_>> = balancers.into_iter().collect();
    let balancers_place = balancer_tables.first().map(|fields| fields.place().clone());
    let checked = || {
        let (stack, _) = (stack?, defaults?);
        Some(Inventory {
            path: path.to_owned(),
            fleet: fleet?,
            playbook: entries.first()?.playbook.value.clone(),
            hosts: hosts?,
            hosts_from: hosts_from?.map(|from| HostsFrom {
                printed: printed.as_deref().map(hosts_from::to_json),
                ..from
            }),
            balancers: balancers?,
            balancers_place,
            state: state.ok()?,
            stack,
        })
    };
    let inventory = checked();
    (entries, inventory)
}

/// Reads only the state's URL and the name of the fleet.
pub(super) fn read_shared_state(root: &Node, path: &Path) -> Option<(SecretUrl, String)> {
    let sink = Sink::default();
    let top = Fields::new(root, "the inventory", &sink)?;
    let dir = path.parent().unwrap_or(Path::new(""));
    Some((state::read(&top, dir, &sink).ok()??, read_fleet_name(&top)?))
}

fn read_fleet_name(top: &Fields<'_>) -> Option<String> {
    let fields = top.table("fleet", "[fleet]", "[fleet]\nname = \"production\"")?;
    let name = fields.required("name", "name = \"production\"", names::fleet);
    fields.finish();
    name
}

fn read_host(
    fields: &Fields<'_>,
    dir: &Path,
    defaults: &SshConfig,
    drain: Option<bool>,
) -> Option<HostConfig> {
    let name = fields.required("name", "name = \"web1\"", names::host);
    let address = fields.optional("address", names::address);
    let labels = fields.map("labels", |key| names::LABEL.check(key), line);
    let transport = fields.optional_or(
        "transport",
        Transport::Ssh,
        choice(&[("ssh", Transport::Ssh), ("local", Transport::Local)]),
    );
    let base_dir = match transport {
        Some(Transport::Local) => fields.optional("base_dir", |node| local_dir(dir, node)),
        _ => fields.optional("base_dir", names::remote_dir),
    };
    let ssh = read_ssh(fields, dir, defaults);
    fields.finish();

    let (name, transport) = (name?, transport?);
    let address = address?.unwrap_or_else(|| match transport {
        Transport::Ssh => name.clone(),
        Transport::Local => LOOPBACK.to_owned(),
    });
    Some(HostConfig {
        name: name.into(),
        address,
        labels: labels?,
        drain: drain?,
        transport,
        base_dir: base_dir?,
        ssh: ssh?,
    })
}

fn read_ssh(fields: &Fields<'_>, dir: &Path, defaults: &SshConfig) -> Option<SshConfig> {
    let path = |key, default: &Option<PathBuf>| {
        Some(
            fields
                .optional(key, |node| resolve_relative(dir, node))?
                .or_else(|| default.clone()),
        )
    };
    let user = fields.optional("user", names::login);
    let port = fields.optional("port", number(1, u16::MAX));
    let identity_file = path("identity_file", &defaults.identity_file);
    let config = path("config", &defaults.config);
    let known_hosts = path("known_hosts", &defaults.known_hosts);
    let connect_timeout = fields.optional_or(
        "connect_timeout",
        defaults.connect_timeout,
        positive_duration,
    );
    let persist = fields.optional_or("persist", defaults.persist, duration);
    let escalation = fields.optional_or("sudo", defaults.escalation, escalation);
    Some(SshConfig {
        user: user?.or_else(|| defaults.user.clone()),
        port: port?.or(defaults.port),
        identity_file: identity_file?,
        config: config?,
        known_hosts: known_hosts?,
        connect_timeout: connect_timeout?,
        persist: persist?,
        escalation: escalation?,
    })
}

/// Reports hosts with the same name, and local hosts with the same address, which would share
/// ports.
fn check_duplicate_hosts(tables: &[Fields<'_>], hosts: &[Option<HostConfig>], sink: &Sink) {
    let mut seen_names: BTreeMap<&HostId, SourceSpan> = BTreeMap::new();
    let mut seen_addresses: BTreeMap<&str, SourceSpan> = BTreeMap::new();
    for (fields, host) in tables.iter().zip(hosts) {
        let Some(host) = host else { continue };
        let place = fields
            .place_of("name")
            .unwrap_or_else(|| fields.place().clone());
        if let Some(first) = seen_names.get(&host.name) {
            let message = format!("two hosts are named `{}`", host.name);
            let diagnostic = Diagnostic::at(&place, message).related(first, "first used here");
            sink.push(diagnostic.help("give each host a unique name"));
            continue;
        }
        seen_names.insert(&host.name, place.clone());
        if host.transport != Transport::Local {
            continue;
        }
        let place = fields.place_of("address").unwrap_or(place);
        if let Some(first) = seen_addresses.get(host.address.as_str()) {
            let message = format!(
                "two local hosts have the address {} and would share its ports",
                host.address
            );
            let diagnostic = Diagnostic::at(&place, message).related(first, "first used here");
            sink.push(
                diagnostic.help("give each local host its own loopback address, from 127.0.0.0/8"),
            );
        } else {
            seen_addresses.insert(&host.address, place);
        }
    }
}

/// Reports balancers with the name of a host or of another balancer.
fn check_duplicate_balancers(
    host_tables: &[Fields<'_>],
    hosts: &[Option<HostConfig>],
    balancer_tables: &[Fields<'_>],
    balancers: &[Option<HostConfig>],
    sink: &Sink,
) {
    let place = |fields: &Fields<'_>| {
        fields
            .place_of("name")
            .unwrap_or_else(|| fields.place().clone())
    };
    let hosts = host_tables
        .iter()
        .zip(hosts)
        .map(|(fields, host)| (fields, host, "a host and a balancer are"));
    let mut seen: BTreeMap<&HostId, (SourceSpan, &str)> = BTreeMap::new();
    for (fields, host, noun) in hosts {
        if let Some(host) = host {
            seen.entry(&host.name)
                .or_insert_with(|| (place(fields), noun));
        }
    }
    for (fields, balancer) in balancer_tables.iter().zip(balancers) {
        let Some(balancer) = balancer else { continue };
        if let Some((first, noun)) = seen.get(&balancer.name) {
            let message = format!("{noun} named `{}`", balancer.name);
            let diagnostic =
                Diagnostic::at(&place(fields), message).related(first, "first used here");
            sink.push(diagnostic.help("give each balancer a unique name"));
        } else {
            seen.insert(&balancer.name, (place(fields), "two balancers are"));
        }
    }
}

fn local_dir(dir: &Path, node: &Node) -> Result<String, Faults> {
    let path = resolve_relative(dir, node)?;
    // Scripts run in another directory than ship.
    let path = std::path::absolute(&path).unwrap_or(path);
    path.into_os_string()
        .into_string()
        .map_err(|_| ValueError::new("must be a path in UTF-8").into())
}
