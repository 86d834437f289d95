//! Orphaned instances: those on hosts that were removed from the inventory.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::notice::Notice;
use super::session::Session;
use crate::core::ids::{HostId, Slot};
use crate::core::rollout::event::Event;

/// Warns about instances on hosts that the newest rollout used but the inventory no longer lists:
/// ship no longer observes these hosts. The warning is repeated until the next rollout, which does
/// not use them.
pub(crate) fn report_orphans(session: &Session) -> Result<(), Error> {
    let listed: BTreeSet<_> = session.hosts().into_iter().collect();
    let is_orphaned = |event: &Event| matches!(event, Event::ActionStarted { action, .. } if !listed.contains(action.host()));
    if !session
        .newest_journal()?
        .is_some_and(|(_, journal)| journal.iter().any(|entry| is_orphaned(&entry.event)))
    {
        return Ok(());
    }
    let placements = session.placements(None)?;
    let versions = session.versions();
    let mut orphans: BTreeMap<&HostId, Vec<String>> = BTreeMap::new();
    for placement in placements
        .present()
        .values()
        .filter(|placement| !listed.contains(&placement.slot.host))
    {
        let Slot { host, number } = &placement.slot;
        let instance = format!("{} in slot {number}", versions.of(&placement.release));
        orphans.entry(host).or_default().push(instance);
    }
    for (host, instances) in orphans {
        session.env.notify(&Notice::OrphanedInstances {
            host: host.clone(),
            instances,
        });
    }
    Ok(())
}
