//! The text of an inventory, for every kind of test host.

use std::fmt::Write as _;

const HOSTS: &str = "[[hosts]]\n";

/// An inventory whose hosts have these values of the label `zone`, one for each host.
pub fn with_zones(inventory: &str, zones: &[&str]) -> String {
    let mut parts = inventory.split(HOSTS);
    let top = parts.next().expect("the text before the hosts");
    let label = |(host, zone)| format!("{HOSTS}labels = {{ zone = \"{zone}\" }}\n{host}");
    top.to_owned() + &parts.zip(zones).map(label).collect::<String>()
}

pub struct Inventory(String);

impl Inventory {
    /// An inventory without hosts.
    pub fn new(playbook: &str, fleet: &str) -> Self {
        Self(format!(
            "playbook = \"{playbook}\"\n\n[fleet]\nname = \"{fleet}\"\n"
        ))
    }

    /// Adds lines to `[ssh]`.
    #[must_use]
    pub fn ssh(mut self, lines: &str) -> Self {
        write!(self.0, "\n[ssh]\n{lines}").expect("memory");
        self
    }

    /// Adds an entry to `[[hosts]]` or `[[balancers]]`, with additional lines.
    #[must_use]
    pub fn machine(mut self, table: &str, name: &str, address: &str, lines: &str) -> Self {
        write!(
            self.0,
            "\n[[{table}]]\nname = \"{name}\"\naddress = \"{address}\"\n{lines}"
        )
        .expect("memory");
        self
    }

    /// Adds a host that is this machine.
    #[must_use]
    pub fn local_host(self, name: &str, address: &str) -> Self {
        self.machine("hosts", name, address, "transport = \"local\"\n")
    }

    pub fn text(self) -> String {
        self.0
    }
}
