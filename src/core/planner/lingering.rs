//! Lingering instances: those that were asked to stop, may finish their work, and keep their slots
//! in the meantime.

use crate::core::fleet::lingering::Lingering;
use crate::core::ids::{Slot, SlotNumber};
use crate::core::planner::host_count::HostCount;
use crate::core::planner::situation::Situation;

/// The lingering instance of a host whose time is over first.
pub(super) fn first_to_end(host: &HostCount<'_>) -> Option<(SlotNumber, Lingering)> {
    let instances = host.instances.iter();
    let lingering =
        instances.filter_map(|counted| Some((counted.number, counted.instance.lingers()?)));
    lingering.min_by_key(|(_, lingering)| lingering.ends_by)
}

/// The lingering instance of the fleet whose time is over first.
pub(super) fn first_in_fleet(s: &Situation<'_>) -> Option<(Slot, Lingering)> {
    let hosts = s.census.hosts.iter();
    let lingering = hosts.filter_map(|host| {
        let (number, lingering) = first_to_end(host)?;
        let slot = Slot {
            host: host.id.clone(),
            number,
        };
        Some((slot, lingering))
    });
    lingering.min_by_key(|(_, lingering)| lingering.ends_by)
}
