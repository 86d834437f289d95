//! What is known before anything is touched: the hosts, and whether the goal can be reached there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::admission::{chores, fallback};
use super::adoption::{self, Adopt};
use super::environment::FleetConnection;
use super::error::{Error, Refused, Unreachable};
use super::goal::{Earlier, GoOn, Goal};
use super::notice::Notice;
use super::session::Session;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::policy::history;
use crate::core::release::Definition;
use crate::core::rollout::Rollout;
use crate::core::rollout::event::Generation;
use crate::core::spec::Spec;
use crate::engine::{Preflight, Unusable};

/// What is known before anything is touched.
pub struct Scene {
    /// What is wanted.
    pub spec: Spec,
    /// The connections.
    pub world: Arc<dyn FleetConnection>,
    /// Every release that may be met.
    pub definitions: BTreeMap<ReleaseId, Definition>,
    /// What was found.
    pub found: Preflight,
    /// Where the rollout goes back to if it fails or is aborted.
    pub fallback: Option<Generation>,
    /// The rollout before, if there was one.
    pub newest: Option<Rollout>,
}

/// Looks at every host and makes sure that the goal can be reached. Touches nothing. A look that
/// the verb has had before is good enough.
pub async fn look(session: &mut Session, goal: &Goal, adopt: Adopt) -> Result<Scene, Error> {
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
        let names: Vec<_> = strangers.iter().map(ReleaseId::short).collect();
        let names = names.into_iter().map(str::to_owned).collect();
        session.env.tell(&Notice::UnknownReleases(names));
    }
    definitions.extend(strangers.into_iter().map(|stranger| {
        let definition = Definition {
            version: stranger.short().to_owned(),
            ..release.definition.clone()
        };
        (stranger, definition)
    }));
    let spec = session.spec(&definitions, Some(&release.id))?;
    let mut world = found.world;
    session
        .update_world(&mut world, definitions.clone(), Some(release))
        .await;
    let found = if is_unasked {
        session.preflight(&world, &definitions).await
    } else {
        found.preflight
    };
    let mut scene = Scene {
        spec,
        world,
        definitions,
        found,
        fallback: None,
        newest: session.newest_rollout()?,
    };
    let checked = usable(&scene.found, &scene.spec)
        .and_then(|()| refuse_to_empty(session, &scene))
        .and_then(|()| possible(&scene, &release.id))
        .and_then(|()| complete(session, &mut scene, goal));
    match checked {
        Ok(()) => Ok(scene),
        Err(fail) => {
            scene.world.close().await;
            Err(fail)
        }
    }
}

/// Adds what the history says: the way back, and what is to be done once.
fn complete(session: &Session, scene: &mut Scene, goal: &Goal) -> Result<(), Error> {
    scene.spec.chores = chores(session, goal)?;
    scene.fallback = fallback(session, goal)?;
    let Some(back) = &scene.fallback else {
        return Ok(());
    };
    let mut amounts = session.amounts()?;
    amounts.replicas = match &goal.earlier {
        // The number that is asked for now holds in either direction.
        Some(Earlier {
            then: GoOn::Scaled(_),
            ..
        }) => amounts.replicas,
        Some(Earlier { rollout, .. }) => rollout.fallback_replicas.unwrap_or(amounts.replicas),
        None => history::replicas_back(&session.runs()?, &back.release, amounts.replicas),
    };
    let (hosts, ports) = (
        scene.spec.hosts.len(),
        scene.spec.ports_of(&back.release).len(),
    );
    scene.spec.budget_back = Some(amounts.resolve_back(hosts, ports));
    Ok(())
}

fn usable(found: &Preflight, spec: &Spec) -> Result<(), Error> {
    let refused = |noun, unusable: &BTreeMap<HostId, Unusable>, all| {
        let unusable = unusable.clone();
        Err(Unreachable {
            noun,
            unusable,
            all,
        }
        .into())
    };
    let none_is_left = !spec.hosts.is_empty()
        && spec
            .hosts
            .iter()
            .all(|host| found.unusable.contains_key(host));
    if none_is_left || u32::try_from(found.unusable.len()).unwrap_or(u32::MAX) > spec.max_failures {
        return refused("hosts", &found.unusable, found.fleet.hosts.len());
    }
    // Without a balancer's word nobody knows who gets requests.
    if !found.unusable_balancers.is_empty() {
        return refused(
            "balancers",
            &found.unusable_balancers,
            found.fleet.balancers.len(),
        );
    }
    Ok(())
}

/// Where every host is drained, one instance a host is none at all: a fleet that serves is only
/// emptied by who says so.
fn refuse_to_empty(session: &Session, scene: &Scene) -> Result<(), Error> {
    let is_emptied = scene.spec.hosts.is_empty() && scene.found.fleet.instances().next().is_some();
    if !is_emptied || session.wants_a_number() {
        return Ok(());
    }
    Err(Refused::WouldEmptyFleet.into())
}

fn possible(scene: &Scene, goal: &ReleaseId) -> Result<(), Error> {
    let Scene {
        spec, found, world, ..
    } = scene;
    if let Some((present, next, name)) = world.server_clash(spec.ports_of(goal), &found.fleet) {
        return Err(Refused::ServerClash {
            present,
            next,
            name,
        }
        .into());
    }
    let obstacles = spec.obstacles(goal, &found.fleet);
    if obstacles.is_empty() {
        return Ok(());
    }
    Err(Refused::Obstacles(obstacles).into())
}
