//! Removes old releases.

use std::collections::BTreeSet;

use super::host_context::{HostContext, Input, LOCK_WAIT, Script, Text, WORK};
use crate::core::ids::ReleaseId;

/// Removes releases from a host. A release that a slot uses, or may use again, is not removed, and
/// the script reports a failure.
pub fn prune(context: &HostContext, releases: &BTreeSet<ReleaseId>) -> Script {
    let releases: Vec<_> = releases.iter().map(ReleaseId::as_str).collect();
    Text::changing(context, "prune")
        .set("RELEASES", releases.join(" "))
        .add(include_str!("sh/prune.sh"))
        .script(Input::default(), LOCK_WAIT + WORK * 3)
}
