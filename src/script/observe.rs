//! Observes a host.

use super::site::{HostContext, Input, Script, Text, WORK};

/// Reports what is on a host: its epoch, its releases, what is in its slots, the strangers on its
/// ports, the free space. Takes no lock and changes nothing.
pub fn observe(site: &HostContext) -> Script {
    Text::looking(site)
        .telling_units(site)
        .add(include_str!("sh/taken.sh"))
        .add(include_str!("sh/identity.sh"))
        .add(include_str!("sh/observe.sh"))
        .script(Input::default(), WORK)
}
