//! Claims a host, which then rejects older actions.

use super::host_context::{HostContext, Input, LOCK_WAIT, Script, Text, WORK};

/// Makes the host reject every older action: the actions of a dead controller, and earlier actions
/// of this rollout that have not arrived yet.
pub fn claim(context: &HostContext) -> Script {
    Text::changing(context, "claim")
        .marking_proven(context)
        .add(include_str!("sh/claim.sh"))
        .script(Input::default(), LOCK_WAIT + WORK)
}
