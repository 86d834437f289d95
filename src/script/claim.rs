//! Claims a host: from then on it refuses every older order.

use super::site::{HostContext, Input, LOCK_WAIT, Script, Text, WORK};

/// Makes the host refuse every older order: one that a dead controller left on its way, or one of
/// this rollout that was given before and has not arrived yet.
pub fn claim(site: &HostContext) -> Script {
    Text::acting(site, "claim")
        .marking(site)
        .add(include_str!("sh/claim.sh"))
        .script(Input::default(), LOCK_WAIT + WORK)
}
