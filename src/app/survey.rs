//! The survey before a rollout: observes the hosts and checks what the policy permits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adoption::{self, Adopt};
use super::environment::FleetConnection;
use super::error::Error;
use super::goal::Goal;
use super::notice::Notice;
use super::session::Session;
use super::spec;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::policy::admission::request::AdmissionInput;
use crate::core::policy::admission::{Admission, admit, assess};
use crate::core::release::Definition;
use crate::engine::Preflight;
use crate::remote::HostUnavailable;

/// The result of a survey.
pub struct Survey {
    pub connection: Arc<dyn FleetConnection>,
    /// Every release that may run on a host.
    pub definitions: BTreeMap<ReleaseId, Definition>,
    pub preflight: Preflight,
    pub admission: Admission,
}

/// Observes every host and checks that the goal can be reached. Makes no changes. Uses an earlier
/// observation of the verb if there is one.
pub(crate) async fn survey(
    session: &mut Session,
    goal: &Goal,
    adopt: Adopt,
) -> Result<Survey, Error> {
    let release = &goal.release;
    let found = match session.observed_fleet.take() {
        Some(found) => found,
        None => Box::pin(session.adopt(adopt)).await?,
    };
    let running = adoption::running(&found.preflight);
    let known = session.definitions();
    let has_unknown = running.iter().any(|release| !known.contains_key(release));
    let mut definitions = known;
    definitions.insert(release.id.clone(), release.definition.clone());
    let unknown_releases: Vec<_> = running
        .into_iter()
        .filter(|release| !definitions.contains_key(release))
        .collect();
    if !unknown_releases.is_empty() {
        // An unknown release needs some readiness check: an instance that never counts as available
        // could never be replaced.
        let names = unknown_releases
            .iter()
            .map(|id| id.short().to_owned())
            .collect();
        session.env.notify(&Notice::UnknownReleases(names));
    }
    definitions.extend(unknown_releases.into_iter().map(|unknown| {
        let definition = Definition {
            version: unknown.short().to_owned(),
            ..release.definition.clone()
        };
        (unknown, definition)
    }));
    let mut connection = found.connection;
    session.update_connection(&mut connection, definitions.clone(), Some(release))?;
    let preflight = if has_unknown {
        session.preflight(&connection, &definitions).await?
    } else {
        found.preflight
    };
    let admission = decide(session, goal, &definitions, &*connection, &preflight, adopt)?;
    Ok(Survey {
        connection,
        definitions,
        preflight,
        admission,
    })
}

fn decide(
    session: &Session,
    goal: &Goal,
    definitions: &BTreeMap<ReleaseId, Definition>,
    connection: &dyn FleetConnection,
    preflight: &Preflight,
    adopt: Adopt,
) -> Result<Admission, Error> {
    let spec = spec::spec(session, definitions, Some(&goal.release.id))?;
    let slots = spec.slots_of(&goal.release.id);
    let reasons = |unusable: &BTreeMap<HostId, HostUnavailable>| {
        unusable
            .iter()
            .map(|(host, unusable)| (host.clone(), unusable.why.clone()))
            .collect()
    };
    let input = AdmissionInput {
        service: &session.service_key.service,
        fleet_name: &session.service_key.fleet,
        history: &session.history,
        server_clash: connection.server_clash(slots, &preflight.fleet),
        spec,
        amounts: session.amounts(),
        are_replicas_set: session.has_explicit_replicas(),
        fleet: &preflight.fleet,
        unusable_hosts: reasons(&preflight.unusable),
        unusable_balancers: reasons(&preflight.unusable_balancers),
        freeze: session.active_freeze()?.map(|freeze| freeze.to_string()),
        now: session.now(),
    };
    let request = goal.request(session);
    Ok(match adopt {
        Adopt::Keep | Adopt::Ignore => admit(&request, &input)?,
        Adopt::Show => assess(&request, &input)?,
    })
}
