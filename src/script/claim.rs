//! Taking a host over: from then on it refuses every order that is older.

use super::site::{Input, LOCK_WAIT, Script, Site, Text, WORK};

/// Makes the host refuse every order of an older epoch, such as one that a dead controller left on its way.
pub fn claim(site: &Site) -> Script {
    Text::acting(site, "claim").add(include_str!("sh/claim.sh")).script(Input::default(), LOCK_WAIT + WORK)
}
