//! What is known before anything is touched: the hosts, and what the policy permits there.

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

/// What is known before anything is touched.
pub struct Survey {
    pub world: Arc<dyn FleetConnection>,
    /// Every release that may be met.
    pub definitions: BTreeMap<ReleaseId, Definition>,
    pub found: Preflight,
    pub admission: Admission,
}

/// Looks at every host and makes sure that the goal can be reached. Touches nothing. A look that
/// the verb has had before is good enough.
pub(crate) async fn look(
    session: &mut Session,
    goal: &Goal,
    adopt: Adopt,
) -> Result<Survey, Error> {
    let release = &goal.release;
    let found = match session.found.take() {
        Some(found) => found,
        None => Box::pin(session.adopt(adopt)).await?,
    };
    let running = adoption::running(&found.preflight);
    let known = session.definitions();
    let is_unasked = running.iter().any(|release| !known.contains_key(release));
    let mut definitions = known;
    definitions.insert(release.id.clone(), release.definition.clone());
    let strangers: Vec<_> = running
        .into_iter()
        .filter(|release| !definitions.contains_key(release))
        .collect();
    if !strangers.is_empty() {
        // Probed in some way they may count as available, or they could never be replaced.
        let names = strangers.iter().map(|id| id.short().to_owned()).collect();
        session.env.tell(&Notice::UnknownReleases(names));
    }
    definitions.extend(strangers.into_iter().map(|stranger| {
        let definition = Definition {
            version: stranger.short().to_owned(),
            ..release.definition.clone()
        };
        (stranger, definition)
    }));
    let mut world = found.world;
    session.update_world(&mut world, definitions.clone(), Some(release));
    let found = if is_unasked {
        session.preflight(&world, &definitions).await
    } else {
        found.preflight
    };
    let admission = decide(session, goal, &definitions, &*world, &found, adopt)?;
    Ok(Survey {
        world,
        definitions,
        found,
        admission,
    })
}

fn decide(
    session: &Session,
    goal: &Goal,
    definitions: &BTreeMap<ReleaseId, Definition>,
    world: &dyn FleetConnection,
    found: &Preflight,
    adopt: Adopt,
) -> Result<Admission, Error> {
    let spec = spec::spec(session, definitions, Some(&goal.release.id))?;
    let ports = spec.ports_of(&goal.release.id);
    let whys = |unusable: &BTreeMap<HostId, HostUnavailable>| {
        unusable
            .iter()
            .map(|(host, unusable)| (host.clone(), unusable.why.clone()))
            .collect()
    };
    let input = AdmissionInput {
        service: &session.subject.service,
        fleet_name: &session.subject.fleet,
        history: &session.history,
        server_clash: world.server_clash(ports, &found.fleet),
        spec,
        amounts: session.amounts()?,
        are_replicas_set: session.wants_a_number(),
        fleet: &found.fleet,
        unusable_hosts: whys(&found.unusable),
        unusable_balancers: whys(&found.unusable_balancers),
        freeze: session.active_freeze()?.map(|freeze| freeze.to_string()),
        now: session.now(),
    };
    let request = goal.request(session);
    Ok(match adopt {
        Adopt::Keep | Adopt::Ignore => admit(&request, &input)?,
        Adopt::Show => assess(&request, &input)?,
    })
}
