//! Observes a host.

use super::host_context::{HostContext, Input, Script, Text, WORK};

/// Reports the state of a host: its epoch, releases, slots, other processes on its ports, and free
/// space. Takes no lock and changes nothing.
pub fn observe(site: &HostContext) -> Script {
    Text::observing(site)
        .distinguishing_units(site)
        .add(include_str!("sh/taken_ports.sh"))
        .add(include_str!("sh/identity.sh"))
        .add(include_str!("sh/observe.sh"))
        .script(Input::default(), WORK)
}
