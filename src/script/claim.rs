//! Claims a host, which then rejects older actions.

use super::host_context::{HostContext, Input, LOCK_WAIT, Script, Text, WORK};

/// Makes the host reject every older action: one that a dead controller has sent, or an earlier one
/// of this rollout that has not arrived yet.
pub fn claim(site: &HostContext) -> Script {
    Text::changing(site, "claim")
        .marking_proven(site)
        .add(include_str!("sh/claim.sh"))
        .script(Input::default(), LOCK_WAIT + WORK)
}
