//! Zones: parts of a fleet that may fail together, such as racks or data centres.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::ids::HostId;

/// The zone of each host. Without zones, the whole fleet is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones(BTreeMap<HostId, String>);

impl Zones {
    /// Builds the zones from the value of each host's label.
    pub fn new(zone_of: impl IntoIterator<Item = (HostId, String)>) -> Self {
        Self(zone_of.into_iter().collect())
    }

    /// The zone of a host; empty without zones.
    pub fn of(&self, host: &HostId) -> &str {
        self.0.get(host).map_or("", String::as_str)
    }

    /// Whether there are at least two zones.
    pub fn are_several(&self) -> bool {
        let mut values = self.0.values();
        let first = values.next();
        values.any(|zone| Some(zone) != first)
    }

    /// The names of the zones, in alphabetical order.
    pub fn names(&self) -> BTreeSet<&str> {
        self.0.values().map(String::as_str).collect()
    }
}
