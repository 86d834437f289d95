//! Whose the hosts are: refuses hosts of another fleet, and names the history that deployed last.

use std::collections::BTreeMap;

use super::exit::Fail;
use super::session::Session;
use crate::core::hold::Hold;
use crate::core::names::HostId;
use crate::core::owner::{self, Owner};
use crate::engine::Preflight;
use crate::report::text::{clean, count};

/// Refuses to act where a host carries the service for another fleet.
pub(super) fn refuse_foreign(session: &Session, owners: &BTreeMap<HostId, Owner>) -> Result<(), Fail> {
    let foreign = owner::foreign(owners, &session.subject.fleet);
    let Some((host, _)) = foreign.first_key_value() else { return Ok(()) };
    let mut message = format!(
        "error: {} of {} cannot be used; nothing was touched",
        count(foreign.len(), "host"),
        session.hosts().len()
    );
    for (host, owner) in &foreign {
        message.push_str(&format!("\n  {host}: {}", belongs(session, owner)));
    }
    message.push_str(&format!("\n{}", hint(session, host)));
    Err(Fail::refused(message))
}

/// What `ship check` reports of a host of another fleet.
pub(super) fn problem(session: &Session, host: &HostId, owner: Option<&Owner>) -> Option<String> {
    let owners: BTreeMap<_, _> = owner.map(|owner| (host.clone(), owner.clone())).into_iter().collect();
    let foreign = owner::foreign(&owners, &session.subject.fleet);
    foreign.values().next().map(|owner| format!("{}; {}", belongs(session, owner), hint(session, host)))
}

/// Takes the hosts of another fleet out of what was found, so that their instances are not counted as this fleet's.
pub(super) fn set_foreign_apart(session: &Session, found: &mut Preflight) -> BTreeMap<HostId, Hold> {
    let foreign = owner::foreign(&found.owners, &session.subject.fleet);
    let holds: BTreeMap<_, _> = foreign
        .into_iter()
        .map(|(host, owner)| (host.clone(), Hold::Foreign { why: belongs(session, owner) }))
        .collect();
    found.fleet.hosts.retain(|host, _| !holds.contains_key(host));
    holds
}

fn belongs(session: &Session, owner: &Owner) -> String {
    let (fleet, who) = (clean(&owner.fleet), clean(&owner.told(session.now())));
    format!("carries the service {} of the fleet {fleet}, last deployed by {who}", session.subject.service)
}

fn hint(session: &Session, host: &HostId) -> String {
    let fleet = &session.subject.fleet;
    format!(
        "hint: give the fleet {fleet} a base_dir and ports of its own; to move the host to the fleet {fleet}, remove \
         {}/owner there",
        session.root(host)
    )
}
