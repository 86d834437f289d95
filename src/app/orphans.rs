//! Hosts that have left the inventory, and what was left running on them.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::notice::Notice;
use super::session::Session;
use crate::core::ids::HostId;
use crate::core::rollout::event::Event;

/// Tells of instances on hosts that the newest rollout knew and the inventory no longer lists:
/// nobody looks at them any more. The rollout that follows does not know these hosts, so that it is
/// told until one is made, and not every night.
pub(crate) fn tell(session: &Session) -> Result<(), Error> {
    let listed: BTreeSet<_> = session.hosts().into_iter().collect();
    let is_gone = |event: &Event| matches!(event, Event::ActionStarted { action, .. } if !listed.contains(action.host()));
    if !session
        .newest()?
        .is_some_and(|(_, journal)| journal.iter().any(|entry| is_gone(&entry.event)))
    {
        return Ok(());
    }
    let roster = session.roster(None)?;
    let versions = session.versions();
    let mut left: BTreeMap<&HostId, Vec<String>> = BTreeMap::new();
    for post in roster
        .present()
        .values()
        .filter(|post| !listed.contains(&post.slot.host))
    {
        let what = format!("{} on port {}", versions.of(&post.release), post.slot.port);
        left.entry(&post.slot.host).or_default().push(what);
    }
    for (host, what) in left {
        session.env.tell(&Notice::OrphanedInstances {
            host: host.clone(),
            instances: what,
        });
    }
    Ok(())
}
