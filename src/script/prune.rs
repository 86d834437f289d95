//! Removing old releases.

use std::collections::BTreeSet;

use super::site::{HostContext, Input, LOCK_WAIT, Script, Text, WORK};
use crate::core::ids::ReleaseId;

/// Removes releases from a host. One that a slot runs, or may have to run again, is kept, and the
/// script says that it failed.
pub fn prune(site: &HostContext, releases: &BTreeSet<ReleaseId>) -> Script {
    let releases: Vec<_> = releases.iter().map(ReleaseId::as_str).collect();
    Text::acting(site, "prune")
        .set("RELEASES", releases.join(" "))
        .add(include_str!("sh/prune.sh"))
        .script(Input::default(), LOCK_WAIT + WORK * 3)
}
