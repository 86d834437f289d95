//! Observes a host.

use super::host_context::{HostContext, Input, Script, Text, WORK};

/// Reports the state of a host: its epoch, releases, slots, other processes on its ports, and free
/// space. Takes no lock and changes nothing.
pub fn observe(context: &HostContext) -> Script {
    Text::observing(context)
        .distinguishing_units(context)
        .add(include_str!("sh/taken_ports.sh"))
        .refusing_unsafe()
        .add(include_str!("sh/identity.sh"))
        .add("observe_identity")
        .finishing()
        .script(Input::default(), WORK)
}
