//! Orphaned instances: those on hosts that were removed from the inventory.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Error, Refused};
use super::notice::Notice;
use super::session::Session;
use crate::core::ids::{HostId, Slot};
use crate::core::rollout::event::Event;

/// Warns about instances on hosts that the newest rollout used but the inventory no longer lists:
/// ship no longer observes these hosts. The warning is repeated until the next rollout, which does
/// not use them.
pub(crate) fn report_orphans(session: &Session) -> Result<(), Error> {
    for (host, instances) in orphans(session)? {
        session
            .env
            .notify(&Notice::OrphanedInstances { host, instances });
    }
    Ok(())
}

/// Refuses a rollout of a singleton while an instance may run on a host that ship no longer
/// observes.
pub(crate) fn check_singleton(session: &Session) -> Result<(), Error> {
    if !session.project.playbook.service.is_singleton || session.mode.force {
        return Ok(());
    }
    match orphans(session)?.into_keys().next() {
        Some(host) => Err(Refused::SingletonElsewhere { host }.into()),
        None => Ok(()),
    }
}

/// The instances on hosts that the newest rollout used but the inventory no longer lists, for
/// messages.
fn orphans(session: &Session) -> Result<BTreeMap<HostId, Vec<String>>, Error> {
    let listed: BTreeSet<_> = session.hosts().into_iter().collect();
    let is_orphaned = |event: &Event| matches!(event, Event::ActionStarted { action, .. } if !listed.contains(action.host()));
    let mut orphans: BTreeMap<HostId, Vec<String>> = BTreeMap::new();
    if !session
        .newest_journal()?
        .is_some_and(|(_, journal)| journal.iter().any(|entry| is_orphaned(&entry.event)))
    {
        return Ok(orphans);
    }
    let placements = session.placements(None)?;
    let versions = session.versions();
    for placement in placements
        .present()
        .values()
        .filter(|placement| !listed.contains(&placement.slot.host))
    {
        let Slot { host, number } = &placement.slot;
        let instance = format!("{} in slot {number}", versions.of(&placement.release));
        orphans.entry(host.clone()).or_default().push(instance);
    }
    Ok(orphans)
}
