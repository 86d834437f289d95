//! The files for verbs that only observe, stop or roll back. These verbs also work if the playbook
//! is invalid now, or valid only together with the overrides of the latest rollout.

use std::io;
use std::path::Path;

use crate::config::{self, HostsOutput, Overrides, Project, Selection};
use crate::core::ids::Revision;
use crate::core::rollout::event::RolloutStart;
use crate::store::{RevisionRecord, ServiceKey, Store};

/// The files to use if the present ones are not valid as they are.
pub struct LastKnownGood {
    pub project: Project,
    /// The revision whose playbook is used; `None` for the present playbook.
    pub as_of: Option<Revision>,
}

/// The hosts from a command that an earlier rollout used.
pub(crate) struct KeptHosts {
    pub(crate) output: HostsOutput,
    pub(crate) revision: Revision,
}

/// The hosts from a command that the newest rollout used, if any did.
pub(crate) fn kept_hosts(
    store: &dyn Store,
    inventory: &Path,
    service: Option<&str>,
) -> Option<KeptHosts> {
    let absolute = std::path::absolute(inventory).ok()?;
    let service_key = find_service(store, &absolute, service)?;
    let runs = store.service(&service_key).ok()?.runs();
    runs.iter().rev().find_map(|run| KeptHosts::of(&run.start))
}

impl KeptHosts {
    /// The hosts of a rollout.
    pub(crate) fn of(start: &RolloutStart) -> Option<Self> {
        let revision = start.target.revision;
        let name = format!("hosts of revision {revision}");
        Some(Self {
            output: HostsOutput::kept(name, start.hosts_from.as_ref()?),
            revision,
        })
    }
}

/// The service that was deployed last from an inventory, given its absolute path; with a name, only
/// that one. In a shared state, another machine may have deployed it, from another path; then it is
/// the only service of the fleet.
pub fn find_service(
    store: &dyn Store,
    inventory: &Path,
    service: Option<&str>,
) -> Option<ServiceKey> {
    let mut known = store.inventories().ok()?;
    known.retain(|known| service.is_none_or(|name| known.service_key.service == name));
    if let Some(same) = known.iter().find(|known| known.inventory == inventory) {
        return Some(same.service_key.clone());
    }
    let (_, fleet) = config::shared_state(inventory)?;
    let mut of_fleet = known
        .iter()
        .filter(|known| known.service_key.fleet == fleet);
    match (of_fleet.next(), of_fleet.next()) {
        (Some(only), None) => Some(only.service_key.clone()),
        _ => None,
    }
}

/// The present files with the version and the overrides of the newest rollout, or else with the
/// playbook of the newest revision.
pub fn last_known_good(
    store: &dyn Store,
    inventory: &Path,
    overrides: &Overrides,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    selection: Selection<'_>,
) -> Option<LastKnownGood> {
    let absolute = std::path::absolute(inventory).ok()?;
    let service_key = find_service(store, &absolute, selection.service)?;
    let records = store.service(&service_key).ok()?;
    let record = records.revisions().pop()?;
    let newest = records.runs().pop();
    let settings = newest.map(|run| run.start.set).unwrap_or_default();
    let version = overrides.version.as_ref();
    let version = version.unwrap_or(&record.definition.version).clone();
    let with = |set: Vec<String>| Overrides {
        version: Some(version.clone()),
        set,
    };
    let given_overrides = with(overrides.set.clone());
    let with_last_settings = with([settings, overrides.set.clone()].concat());
    // Prefer the present playbook to a stored copy: it may lack only a version or an override.
    for overrides in [&given_overrides, &with_last_settings] {
        if let Ok(project) = config::load_service(inventory, overrides, &read, selection) {
            let as_of = None;
            return Some(LastKnownGood { project, as_of });
        }
    }
    let old = [&given_overrides, &with_last_settings]
        .into_iter()
        .find_map(|overrides| with_playbook_of(&record, inventory, overrides, &read, selection));
    Some(LastKnownGood {
        project: old?,
        as_of: Some(record.revision),
    })
}

/// The inventory with the playbook of a revision; `None` if they are not valid together.
pub(crate) fn with_playbook_of(
    record: &RevisionRecord,
    inventory: &Path,
    overrides: &Overrides,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    selection: Selection<'_>,
) -> Option<Project> {
    let selection = Selection {
        playbook: Some(&record.playbook),
        ..selection
    };
    config::load_service(inventory, overrides, read, selection).ok()
}
