//! The ports of a unit, and where they stand in its command and environment.

use std::collections::BTreeSet;

use crate::core::existing_unit::ExistingUnit;
use crate::core::ids::Port;

/// The ports on which a unit listens.
#[derive(Debug)]
pub(super) struct UnitPorts {
    /// The port of the slot is the first one.
    pub(super) all: Vec<Port>,
    /// The ports that the command or the environment names.
    pub(super) named: BTreeSet<Port>,
    /// Whether only the host itself can connect to the first port.
    pub(super) is_loopback: bool,
}

impl UnitPorts {
    /// Finds the ports. `texts` are the words of the command, and the values of the environment.
    ///
    /// Where the sockets of the processes cannot be seen, a port counts that something on the host
    /// listens on and that a text names.
    pub(super) fn find(unit: &ExistingUnit, texts: &[&str]) -> Self {
        let place = |port: Port| texts.iter().position(|text| names_port(text, port));
        let own = unit.listeners.iter().filter(|listener| {
            listener.is_own || unit.hides_sockets && place(listener.port).is_some()
        });
        let own: Vec<_> = own.collect();
        let mut all: Vec<Port> = own.iter().map(|listener| listener.port).collect();
        all.dedup();
        all.sort_by_key(|port| (place(*port).unwrap_or(usize::MAX), *port));
        let named = all.iter().filter(|port| place(**port).is_some());
        let named = named.copied().collect();
        let is_loopback = all.first().is_some_and(|first| {
            let mut listeners = own.iter().filter(|listener| listener.port == *first);
            listeners.all(|listener| listener.is_loopback)
        });
        Self {
            all,
            named,
            is_loopback,
        }
    }

    /// The template of a port.
    pub(super) fn template(&self, port: Port) -> String {
        match &self.all[..] {
            [first, ..] if *first == port => "{{ port }}".to_owned(),
            _ => format!("{{{{ ports.{} }}}}", self.name(port)),
        }
    }

    /// The name of a port in a service with several.
    fn name(&self, port: Port) -> String {
        if self.all.first() == Some(&port) {
            "main".to_owned()
        } else {
            format!("p{port}")
        }
    }

    /// The value of `ports`: one slot.
    pub(super) fn value(&self) -> String {
        match &self.all[..] {
            [port] => format!("[{port}]"),
            all => {
                let ports = all
                    .iter()
                    .map(|port| format!("{} = {port}", self.name(*port)));
                format!("[{{ {} }}]", ports.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Splits a text at the ports that it names: each piece is a text, or a port.
    pub(super) fn split<'a>(&self, text: &'a str) -> Vec<PortPiece<'a>> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((at, port)) = self.first_in(text, rest) {
            let digits = port.to_string().len();
            if at > 0 {
                pieces.push(PortPiece::Text(rest.get(..at).unwrap_or_default()));
            }
            pieces.push(PortPiece::Port(port));
            rest = rest.get(at + digits..).unwrap_or_default();
        }
        if !rest.is_empty() {
            pieces.push(PortPiece::Text(rest));
        }
        pieces
    }

    /// The first port in the rest of a text, and its place there.
    fn first_in(&self, text: &str, rest: &str) -> Option<(usize, Port)> {
        let skipped = text.len() - rest.len();
        let places = self.all.iter().flat_map(|port| {
            let places = port_places(text, *port).into_iter();
            places.filter_map(|at| Some((at.checked_sub(skipped)?, *port)))
        });
        places.min()
    }
}

/// A part of a text with ports.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PortPiece<'a> {
    Text(&'a str),
    Port(Port),
}

fn names_port(text: &str, port: Port) -> bool {
    !port_places(text, port).is_empty()
}

/// Where a text names a port: as a word, as the value of an option, or after a host.
fn port_places(text: &str, port: Port) -> Vec<usize> {
    let digits = port.to_string();
    let is_named = |at: &usize| {
        let before = text.get(..*at).and_then(|text| text.chars().next_back());
        let after = text.get(*at + digits.len()..);
        let after = after.and_then(|text| text.chars().next());
        before.is_none_or(|c| matches!(c, ':' | '=' | ' ' | ','))
            && after.is_none_or(|c| matches!(c, '/' | ' ' | ','))
    };
    let places = text.match_indices(&digits).map(|(at, _)| at);
    places.filter(is_named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::existing_unit::UnitListener;

    fn unit(listeners: &[(Port, bool)]) -> ExistingUnit {
        let listener = |(port, is_own): &(Port, bool)| UnitListener {
            port: *port,
            is_loopback: false,
            is_own: *is_own,
        };
        ExistingUnit {
            listeners: listeners.iter().map(listener).collect(),
            hides_sockets: listeners.iter().any(|(_, is_own)| !is_own),
            ..ExistingUnit::default()
        }
    }

    #[test]
    fn port_is_named_as_a_word_or_after_a_host() {
        for text in [
            "8000",
            "--port=8000",
            "0.0.0.0:8000",
            ":8000",
            "http://x:8000/a",
        ] {
            assert!(names_port(text, 8000), "{text}");
        }
        for text in ["18000", "80001", "a8000", "8000.log", "/x/8000", "1.8000"] {
            assert!(!names_port(text, 8000), "{text}");
        }
    }

    #[test]
    fn ports_of_the_command_come_first_and_have_names() {
        let found = unit(&[(9000, true), (9001, true), (9002, true)]);
        let ports = UnitPorts::find(&found, &["--admin", "9001", "--bind=:9000"]);
        assert_eq!(
            ports.value(),
            "[{ main = 9001, p9000 = 9000, p9002 = 9002 }]"
        );
        assert_eq!(ports.named, BTreeSet::from([9000, 9001]));
        assert_eq!(ports.template(9001), "{{ port }}");
        assert_eq!(ports.template(9000), "{{ ports.p9000 }}");
        assert_eq!(
            ports.split("a:9000,b:9001/x"),
            [
                PortPiece::Text("a:"),
                PortPiece::Port(9000),
                PortPiece::Text(",b:"),
                PortPiece::Port(9001),
                PortPiece::Text("/x"),
            ]
        );
    }

    #[test]
    fn hidden_ports_count_if_the_command_names_them() {
        let ports = UnitPorts::find(&unit(&[(22, false), (9000, false)]), &[":9000"]);
        assert_eq!(ports.all, [9000]);
        let ports = UnitPorts::find(&unit(&[(22, false)]), &["serve"]);
        assert_eq!(ports.all, [0; 0]);
    }
}
