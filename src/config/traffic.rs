//! `[traffic]`: the balancers, and how ship controls which instances receive requests.

use std::time::Duration;

use super::check;
use super::command::command;
use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, Sink};
use super::inventory::Inventory;
use super::names;
use super::toml_tree::Node;
use super::value::{Faults, ValueError, choice, line, number, positive_duration};
use crate::config::service::ServiceConfig;
use crate::config::templates::Templates;

const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The default template of a server's name.
pub(super) const SERVER: &str = "{{ host }}-{{ port }}";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficConfig {
    pub driver: TrafficDriver,
    /// The name of the port that gets the requests; `None` for the first.
    pub port: Option<String>,
    /// The time limit for the open requests of an instance.
    pub drain_timeout: Duration,
}

/// A kind of balancer, and its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrafficDriver {
    /// `HAProxy`, controlled through its runtime API.
    Haproxy(HaproxyConfig),
    /// nginx, controlled by a file that it includes and a reload.
    Nginx(NginxConfig),
    /// Each host's own packet filter.
    Nftables(NftablesConfig),
    /// Any other balancer, controlled by the user's own commands.
    Command(CommandConfig),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaproxyConfig {
    /// The runtime API, as seen from the balancer.
    pub socket: AdminSocket,
    /// The backend with the servers of the service.
    pub backend: String,
    /// The template for the name of a slot's server.
    pub server: String,
    pub servers: Servers,
    /// Options of the servers that ship adds, besides the check, in the syntax of `HAProxy`.
    pub server_options: String,
}

/// The address of a runtime API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminSocket {
    /// A unix socket, by its absolute path.
    Path(String),
    Port {
        address: String,
        port: u16,
    },
}

/// Who maintains the servers of a balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// The user: the configuration has a server for each slot.
    Static,
    /// ship, which adds a server when its slot is first used.
    Dynamic,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NginxConfig {
    /// The file on the balancer with the servers of the upstream, which ship owns.
    pub include: String,
    pub upstream: String,
    /// The command that tests the configuration.
    pub test: Vec<String>,
    /// The command that reloads the configuration.
    pub reload: Vec<String>,
}

/// How each host switches its own public port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NftablesConfig {
    /// The port that clients connect to.
    pub port: u16,
}

/// The user's own commands, which run on the balancer. Each word is a template for the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandConfig {
    /// The command that lets new requests reach a slot.
    pub admit: Vec<String>,
    /// The command that stops new requests to a slot.
    pub drain: Vec<String>,
    /// The command that prints the number of open requests.
    pub remaining: Vec<String>,
    /// The command that ends open connections; without it, they end with the instance.
    pub cut: Option<Vec<String>>,
}

impl TrafficDriver {
    /// Whether each host is its own balancer.
    pub fn is_on_hosts(&self) -> bool {
        matches!(self, Self::Nftables(_))
    }

    /// Whether the balancer supports weights.
    pub fn has_weights(&self) -> bool {
        matches!(self, Self::Haproxy(_) | Self::Nginx(_))
    }

    /// The template for the name of a slot's server, if the driver uses names.
    pub fn server(&self) -> Option<&str> {
        match self {
            Self::Haproxy(haproxy) => Some(&haproxy.server),
            Self::Nginx(_) | Self::Nftables(_) | Self::Command(_) => None,
        }
    }

    /// The name in the playbook.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Haproxy(_) => "haproxy",
            Self::Nginx(_) => "nginx",
            Self::Nftables(_) => "nftables",
            Self::Command(_) => "command",
        }
    }
}

#[derive(Clone, Copy)]
enum DriverName {
    Haproxy,
    Nginx,
    Nftables,
    Command,
}

/// The places of the keys that are checked against the inventory.
#[derive(Default)]
pub(super) struct TrafficPlaces {
    pub(super) driver: Option<SourceSpan>,
    pub(super) server: Option<SourceSpan>,
    pub(super) port: Option<SourceSpan>,
    /// The templates of the commands.
    pub(super) templates: Vec<SourceSpan>,
}

/// Reads `[traffic]`. The default name of the backend or upstream is the name of the service.
pub(super) fn read(
    fields: &Fields<'_>,
    service: Option<&ServiceConfig>,
    templates: &mut Templates,
    sink: &Sink,
) -> (TrafficPlaces, Option<TrafficConfig>) {
    let word = fields.required(
        "driver",
        "driver = \"haproxy\"",
        choice(&[
            ("haproxy", DriverName::Haproxy),
            ("nginx", DriverName::Nginx),
            ("nftables", DriverName::Nftables),
            ("command", DriverName::Command),
        ]),
    );
    let drain_timeout = fields.optional_or("drain_timeout", DRAIN_TIMEOUT, positive_duration);
    // Without a driver, the valid keys are not known.
    let Some(word) = word else {
        return (TrafficPlaces::default(), None);
    };
    let port = match word {
        DriverName::Haproxy | DriverName::Nginx | DriverName::Command => {
            check::read_port(fields, service.map(|service| &service.slots))
        }
        DriverName::Nftables => Some(None),
    };
    // A missing name of the service is reported elsewhere.
    let service = service.map_or("service", |service| &service.name);
    let driver = match word {
        DriverName::Haproxy => {
            read_haproxy(fields, service, templates, sink).map(TrafficDriver::Haproxy)
        }
        DriverName::Nginx => read_nginx(fields, service).map(TrafficDriver::Nginx),
        DriverName::Nftables => {
            let port = fields.required("port", "port = 80", number(1, u16::MAX));
            port.map(|port| TrafficDriver::Nftables(NftablesConfig { port }))
        }
        DriverName::Command => read_command(fields, templates).map(TrafficDriver::Command),
    };
    fields.finish();
    let places = TrafficPlaces {
        driver: fields.place_of("driver"),
        server: fields.place_of("server"),
        port: fields.place_of("port"),
        templates: ["admit", "drain", "remaining", "cut"]
            .iter()
            .filter_map(|key| fields.place_of(key))
            .collect(),
    };
    let config = || {
        Some(TrafficConfig {
            driver: driver?,
            port: port?,
            drain_timeout: drain_timeout?,
        })
    };
    (places, config())
}

fn read_haproxy(
    fields: &Fields<'_>,
    service: &str,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<HaproxyConfig> {
    let socket = fields.required("socket", "socket = \"/run/haproxy/admin.sock\"", socket);
    let backend = fields.optional_or("backend", service.to_owned(), names::proxy);
    let server = fields.optional_or("server", SERVER.to_owned(), line);
    let servers = fields.optional_or(
        "servers",
        Servers::Static,
        choice(&[("static", Servers::Static), ("dynamic", Servers::Dynamic)]),
    );
    let server_options = fields.optional_or("server_options", String::new(), names::server_options);
    if let (Some(Servers::Static), Some(place)) = (servers, fields.key_place("server_options")) {
        let fault = Diagnostic::at(
            place,
            "`server_options` only applies to servers that ship adds",
        );
        sink.push(fault.help("leave it out, or write servers = \"dynamic\""));
    }
    templates.extend(fields.place_of("server"), server.as_slice());
    let (socket, server_options) = (socket?, server_options?);
    Some(HaproxyConfig {
        socket,
        backend: backend?,
        server: server?,
        servers: servers?,
        server_options,
    })
}

fn read_nginx(fields: &Fields<'_>, service: &str) -> Option<NginxConfig> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let include = fields.required(
        "include",
        "include = \"/etc/nginx/ship/testpage.conf\"",
        names::remote_file,
    );
    let upstream = fields.optional_or("upstream", service.to_owned(), names::proxy);
    let test = fields.optional_or("test", words("nginx -t"), command);
    let reload = fields.optional_or("reload", words("nginx -s reload"), command);
    Some(NginxConfig {
        include: include?,
        upstream: upstream?,
        test: test?,
        reload: reload?,
    })
}

fn read_command(fields: &Fields<'_>, templates: &mut Templates) -> Option<CommandConfig> {
    let example = |key: &str| {
        format!("{key} = \"/usr/local/bin/balancer {key} {{{{ host }}}}:{{{{ port }}}}\"")
    };
    let admit = fields.required("admit", &example("admit"), command);
    let drain = fields.required("drain", &example("drain"), command);
    let remaining = fields.required("remaining", &example("remaining"), command);
    let cut = fields.optional("cut", command);
    for (key, words) in [
        ("admit", &admit),
        ("drain", &drain),
        ("remaining", &remaining),
    ] {
        templates.extend(fields.place_of(key), words.as_deref().unwrap_or_default());
    }
    templates.extend(
        fields.place_of("cut"),
        cut.as_ref().and_then(Option::as_deref).unwrap_or_default(),
    );
    Some(CommandConfig {
        admit: admit?,
        drain: drain?,
        remaining: remaining?,
        cut: cut?,
    })
}

/// `/run/haproxy/admin.sock`, or `127.0.0.1:9999`.
fn socket(node: &Node) -> Result<AdminSocket, Faults> {
    const HELP: &str = "write it as in the `stats socket` line of haproxy.cfg, for example \
                        \"/run/haproxy/admin.sock\" or \"127.0.0.1:9999\"";
    let text = line(node)?;
    if text.starts_with('/') {
        return names::remote_file(node).map(AdminSocket::Path);
    }
    let wrong =
        || ValueError::new("must be the path of a socket, or an address with a port").help(HELP);
    let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port
        .parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(wrong)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if names::ADDRESS.check(address).is_err() {
        return Err(wrong().into());
    }
    Ok(AdminSocket::Port {
        address: address.to_owned(),
        port,
    })
}

/// Reports a driver and `[[balancers]]` that do not fit together.
pub(super) fn check_balancers(
    config: Option<&TrafficConfig>,
    places: &TrafficPlaces,
    inventory: &Inventory,
    sink: &Sink,
) {
    let report = |place: &Option<SourceSpan>, message: &str, help: &str| {
        if let Some(place) = place {
            sink.push(Diagnostic::at(place, message).help(help));
        }
    };
    match (config, inventory.balancers.is_empty()) {
        (None, false) => report(
            &inventory.balancers_place,
            "the inventory has balancers, but the playbook has no [traffic]",
            "add [traffic] to the playbook, for example with driver = \"haproxy\", or leave out \
             [[balancers]]",
        ),
        (Some(config), false) if config.driver.is_on_hosts() => report(
            &inventory.balancers_place,
            "the inventory has balancers, but with this driver each host is its own balancer",
            "leave out [[balancers]], or use another driver in [traffic]",
        ),
        (Some(config), true) if !config.driver.is_on_hosts() => report(
            &places.driver,
            "the inventory has no balancers",
            "add them to the inventory:\n[[balancers]]\nname = \"lb1\"\naddress = \
             \"192.168.72.10\"",
        ),
        _ => {}
    }
}
