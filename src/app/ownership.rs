//! Ownership of hosts: refuses hosts of another fleet and machines that are listed twice.

use std::collections::BTreeMap;

use super::error::{Error, Refused};
use super::session::Session;
use crate::core::fleet::identity::{DuplicateHost, Identity, duplicate_hosts};
use crate::core::fleet::owner::{self, Owner};
use crate::core::ids::HostId;
use crate::core::planner::wait_reason::WaitReason;
use crate::engine::Preflight;
use crate::report::text::clean;

/// Refuses a fleet in which a host runs the service for another fleet, or two hosts are one
/// machine.
pub(crate) fn permit(
    session: &Session,
    owners: &BTreeMap<HostId, Owner>,
    identities: &BTreeMap<HostId, Identity>,
) -> Result<(), Error> {
    let problems = problems(session, owners, identities);
    if problems.is_empty() {
        return Ok(());
    }
    let problems = problems
        .into_iter()
        .map(|(host, Problem { why, hint })| (host, (why, hint)))
        .collect();
    let all = session.hosts().len();
    Err(Refused::Misplaced { problems, all }.into())
}

/// Why a host is unusable, and what to do about it.
pub struct Problem {
    pub why: String,
    pub hint: String,
}

/// The hosts that run the service for another fleet, and those that are the same machine as another
/// host of the inventory.
pub fn problems(
    session: &Session,
    owners: &BTreeMap<HostId, Owner>,
    identities: &BTreeMap<HostId, Identity>,
) -> BTreeMap<HostId, Problem> {
    let duplicates = duplicate_hosts(
        &session.addresses(),
        identities,
        session.project.playbook.service.driver,
    );
    let duplicates = duplicates
        .into_iter()
        .map(|duplicate| (duplicate.host.clone(), duplicate_host(session, &duplicate)));
    let foreign = owner::foreign(owners, &session.service_key.fleet);
    let foreign = foreign
        .into_iter()
        .map(|(host, owner)| (host.clone(), foreign_host(session, host, owner)));
    duplicates.chain(foreign).collect()
}

fn foreign_host(session: &Session, host: &HostId, owner: &Owner) -> Problem {
    let (service, fleet) = (&session.service_key.service, &session.service_key.fleet);
    let (other, who) = (clean(&owner.fleet), clean(&owner.describe(session.now())));
    let record = format!("{}/owner", session.root(host));
    Problem {
        why: format!("runs service `{service}` for fleet `{other}`, last deployed by {who}"),
        hint: format!(
            "give fleet `{fleet}` its own base_dir and ports; to move the host to fleet `{fleet}`, \
             remove {record} there"
        ),
    }
}

fn duplicate_host(session: &Session, duplicate: &DuplicateHost) -> Problem {
    let DuplicateHost {
        host,
        first,
        shares_directory,
    } = duplicate;
    let root = session.root(host);
    let (shared, hint) = if *shares_directory {
        (
            format!("both store the service in {root}"),
            "list each machine once",
        )
    } else {
        let hint = "list each machine once; with the process driver, one machine can be several \
                    hosts, each with its own base_dir and loopback address";
        ("both use the same ports".to_owned(), hint)
    };
    Problem {
        why: format!("is the same machine as {first}: {shared}"),
        hint: hint.to_owned(),
    }
}

/// The problems as wait reasons.
pub fn wait_reasons(session: &Session, found: &Preflight) -> BTreeMap<HostId, WaitReason> {
    let problems = problems(session, &found.owners, &found.identities);
    problems
        .into_iter()
        .map(|(host, Problem { why, .. })| (host, WaitReason::NotCounted { why }))
        .collect()
}
