//! The inventory: where a service runs, and how its hosts are reached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::ids::HostId;

use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, Sink};
use super::names;
use super::tree::Node;
use super::value::{
    Faults, Located, ValueError, boolean, choice, line, located, number, positive_duration,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const LOOPBACK: &str = "127.0.0.1";
const EXAMPLE_BALANCER: &str = "[[balancers]]\nname = \"lb1\"\naddress = \"192.168.72.10\"";
const EXAMPLE_HOST: &str = "[[hosts]]\nname = \"web1\"\naddress = \"192.168.72.233\"";

/// A fleet and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The file, as given.
    pub path: PathBuf,
    pub fleet: String,
    /// The playbook, found from the inventory's directory.
    pub playbook: PathBuf,
    /// The hosts, in the file's order.
    pub hosts: Vec<HostConfig>,
    /// The balancers' machines, in the file's order.
    pub balancers: Vec<HostConfig>,
    /// Where the first of these is written.
    pub balancers_place: Option<SourceSpan>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Its name, unique in the fleet.
    pub name: HostId,
    /// Where its services are reached, and SSH with them. Default: the name; `127.0.0.1` for a
    /// local host.
    pub address: String,
    /// Free-form labels, for templates and selectors.
    pub labels: BTreeMap<String, String>,
    /// Whether its instances must move to other hosts.
    pub drain: bool,
    pub transport: Transport,
    /// Below which ship keeps its directories, absolute; `None` for the default. A local host's may
    /// be written as found from the inventory's directory.
    pub base_dir: Option<String>,
    /// How SSH connects, and whether `sudo` is needed.
    pub ssh: SshConfig,
}

impl Inventory {
    /// The hosts that may carry instances, in the file's order: all but the drained ones.
    pub fn carriers(&self) -> impl Iterator<Item = &HostConfig> {
        self.hosts.iter().filter(|host| !host.drain)
    }
}

/// How scripts get to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Ssh,
    /// Not at all: the host is this machine.
    Local,
}

/// How SSH connects. What is `None` is left to the user's own `ssh_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshConfig {
    /// The user to log in as.
    pub user: Option<String>,
    /// The SSH server's port.
    pub port: Option<u16>,
    /// The only private key to offer.
    pub identity_file: Option<PathBuf>,
    /// An `ssh_config` to use instead of the user's own and the system's.
    pub config: Option<PathBuf>,
    /// The file of host keys to trust instead of the user's own.
    pub known_hosts: Option<PathBuf>,
    /// How long one try to connect may take, from the first packet to the end of the login.
    pub connect_timeout: Duration,
    /// Whether scripts run as root, by `sudo -n`.
    pub sudo: bool,
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
            sudo: false,
        }
    }
}

/// Reads the inventory and reports to `sink`. The playbook's path is useful even after an error.
pub(super) fn read(
    root: &Node,
    path: &Path,
    sink: &Sink,
) -> (Option<Located<PathBuf>>, Option<Inventory>) {
    let Some(top) = Fields::new(root, "the inventory", sink) else {
        return (None, None);
    };
    let dir = path.parent().unwrap_or(Path::new(""));
    let playbook = top.required(
        "playbook",
        "playbook = \"../playbooks/testpage.toml\"",
        located(|node| beside(dir, node)),
    );
    let fleet = read_fleet_name(&top);
    let defaults = top.table_or_empty("ssh", "[ssh]").and_then(|fields| {
        let ssh = read_ssh(&fields, dir, &SshConfig::default());
        fields.finish();
        ssh
    });
    let tables = top.tables("hosts", "[[hosts]]", EXAMPLE_HOST);
    let balancer_tables = top.tables_if_any("balancers", "[[balancers]]", EXAMPLE_BALANCER);
    top.finish();
    let defaults_or_none = defaults.clone().unwrap_or_default();
    let hosts: Vec<_> = tables
        .iter()
        .map(|fields| {
            let drain = fields.or("drain", false, boolean);
            read_host(fields, dir, &defaults_or_none, drain)
        })
        .collect();
    let balancers: Vec<_> = balancer_tables
        .iter()
        .map(|fields| read_host(fields, dir, &defaults_or_none, Some(false)))
        .collect();
    refuse_twins(&tables, &hosts, sink);
    refuse_namesakes(&tables, &hosts, &balancer_tables, &balancers, sink);

    let hosts: Option<Vec<_>> = hosts.into_iter().collect();
    let balancers: Option<Vec<_>> = balancers.into_iter().collect();
    let balancers_place = balancer_tables.first().map(|fields| fields.place().clone());
    let checked = || {
        let (playbook, _) = (playbook.clone()?, defaults?);
        Some(Inventory {
            path: path.to_owned(),
            fleet: fleet?,
            playbook: playbook.value,
            hosts: hosts?,
            balancers: balancers?,
            balancers_place,
        })
    };
    (playbook.clone(), checked())
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
    let transport = fields.or(
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
                .optional(key, |node| beside(dir, node))?
                .or_else(|| default.clone()),
        )
    };
    let user = fields.optional("user", names::login);
    let port = fields.optional("port", number(1, u16::MAX));
    let identity_file = path("identity_file", &defaults.identity_file);
    let config = path("config", &defaults.config);
    let known_hosts = path("known_hosts", &defaults.known_hosts);
    let connect_timeout = fields.or(
        "connect_timeout",
        defaults.connect_timeout,
        positive_duration,
    );
    let sudo = fields.or("sudo", defaults.sudo, boolean);
    Some(SshConfig {
        user: user?.or_else(|| defaults.user.clone()),
        port: port?.or(defaults.port),
        identity_file: identity_file?,
        config: config?,
        known_hosts: known_hosts?,
        connect_timeout: connect_timeout?,
        sudo: sudo?,
    })
}

/// Refuses two hosts of one name, and two local hosts of one address, which share their ports.
fn refuse_twins(tables: &[Fields<'_>], hosts: &[Option<HostConfig>], sink: &Sink) {
    let mut seen_names: BTreeMap<&HostId, SourceSpan> = BTreeMap::new();
    let mut seen_addresses: BTreeMap<&str, SourceSpan> = BTreeMap::new();
    for (fields, host) in tables.iter().zip(hosts) {
        let Some(host) = host else { continue };
        let place = fields
            .place_of("name")
            .unwrap_or_else(|| fields.place().clone());
        if let Some(first) = seen_names.get(&host.name) {
            let message = format!("two hosts are named `{}`", host.name);
            let diagnostic = Diagnostic::at(&place, message).related(first, "the first of them");
            sink.push(diagnostic.help("give each host a name of its own"));
            continue;
        }
        seen_names.insert(&host.name, place.clone());
        if host.transport != Transport::Local {
            continue;
        }
        let place = fields.place_of("address").unwrap_or(place);
        if let Some(first) = seen_addresses.get(host.address.as_str()) {
            let message = format!(
                "two local hosts have the address {}, and with it the same ports",
                host.address
            );
            let diagnostic = Diagnostic::at(&place, message).related(first, "the first of them");
            sink.push(diagnostic.help(
                "all of 127.0.0.0/8 is this machine: give each a loopback address of its own",
            ));
        } else {
            seen_addresses.insert(&host.address, place);
        }
    }
}

/// Refuses a balancer with the name of a host or of another balancer.
fn refuse_namesakes(
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
                Diagnostic::at(&place(fields), message).related(first, "the first of them");
            sink.push(diagnostic.help("give each balancer a name of its own"));
        } else {
            seen.insert(&balancer.name, (place(fields), "two balancers are"));
        }
    }
}

/// A path as found from `dir`; `~/` is the user's home.
pub(super) fn beside(dir: &Path, node: &Node) -> Result<PathBuf, Faults> {
    let text = line(node)?;
    let Some(rest) = text.strip_prefix("~/") else {
        return Ok(dir.join(&text));
    };
    match std::env::home_dir() {
        Some(home) => Ok(home.join(rest)),
        None => Err(
            ValueError::new("begins with `~/`, but there is no home directory")
                .help("set HOME, or write the whole path")
                .into(),
        ),
    }
}

fn local_dir(dir: &Path, node: &Node) -> Result<String, Faults> {
    let path = beside(dir, node)?;
    // Scripts do not start where ship does.
    let path = std::path::absolute(&path).unwrap_or(path);
    path.into_os_string()
        .into_string()
        .map_err(|_| ValueError::new("leads to a directory whose name is not UTF-8").into())
}
