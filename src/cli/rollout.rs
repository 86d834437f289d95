//! A rollout from the first look at the hosts to the last word: what `deploy` and `rollback` have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exit::{Exit, Fail};
use super::releases::{self, Release};
use super::session::{Session, who};
use super::{note, signals};
use crate::core::event::{Entry, Event, Generation, Verb};
use crate::core::failure::Outcome;
use crate::core::history;
use crate::core::names::{Epoch, HostId, ReleaseId, Revision};
use crate::core::plan::{Next, Plan, plan};
use crate::core::release::Definition;
use crate::core::rollout::Rollout;
use crate::core::spec::Spec;
use crate::engine::{Engine, Hosts, Preflight, preflight};
use crate::report::{self, Output, Setup};
use crate::store::{NewRevision, RevisionRecord, Store};

/// What is wanted.
pub(super) struct Goal {
    pub(super) release: Release,
    pub(super) verb: Verb,
    pub(super) cause: String,
    /// The playbook's text, for the history.
    pub(super) playbook: String,
}

/// What is known before anything is touched.
pub(super) struct Scene {
    pub(super) spec: Spec,
    pub(super) world: Arc<Hosts>,
    pub(super) definitions: BTreeMap<ReleaseId, Definition>,
    pub(super) found: Preflight,
}

/// Looks at every host and makes sure that the goal can be reached. Touches nothing.
pub(super) async fn look(session: &Session, release: &Release) -> Result<Scene, Fail> {
    let mut definitions = session.definitions();
    definitions.insert(release.id.clone(), release.definition.clone());
    let spec = session.spec(&definitions, Some(&release.id))?;
    let world = session.world(definitions.clone(), release.secrets.as_ref());
    let found = preflight(&world, &spec.hosts, &definitions, &*session.clock).await;
    if let Err(fail) = usable(&found).and_then(|()| possible(&spec, &found)) {
        world.close().await;
        return Err(fail);
    }
    Ok(Scene { spec, world, definitions, found })
}

fn usable(found: &Preflight) -> Result<(), Fail> {
    if found.unusable.is_empty() {
        return Ok(());
    }
    let (bad, all) = (found.unusable.len(), found.fleet.hosts.len());
    let mut message = format!("error: {bad} of {all} hosts cannot be used; nothing was touched");
    for (host, unusable) in &found.unusable {
        message.push_str(&labelled(host, &unusable.why));
    }
    Err(Fail::new(Exit::Unreachable, message))
}

fn labelled(host: &HostId, why: &str) -> String {
    let name = host.as_str();
    let why = why.strip_prefix(name).map_or(why, |rest| rest.trim_start_matches(':').trim_start());
    format!("\n  {name}: {}", why.replace('\n', "\n    "))
}

fn possible(spec: &Spec, found: &Preflight) -> Result<(), Fail> {
    let obstacles = spec.obstacles(&found.fleet);
    if obstacles.is_empty() {
        return Ok(());
    }
    let head = "error: this rollout cannot work; nothing was touched".to_owned();
    let lines: Vec<_> = [head].into_iter().chain(obstacles.iter().map(|obstacle| format!("  {obstacle}"))).collect();
    Err(Fail::refused(lines.join("\n")))
}

/// A rollout that is not recorded: to ask the planner what it would do.
pub(super) fn tentative(session: &Session, scene: &Scene, goal: &Goal) -> Option<Rollout> {
    let epoch = scene.found.fleet.hosts.values().map(|host| host.epoch).max().unwrap_or_default();
    let revision = reused(session, goal).map_or(Revision(0), |record| record.revision);
    let event = started(session, scene, goal, revision, Epoch(epoch.0 + 1));
    Rollout::begin(&Entry { at: session.now(), event })
}

/// A deploy of what the fleet is on already makes no new revision: it repairs, scales or goes on.
fn reused<'a>(session: &'a Session, goal: &Goal) -> Option<&'a RevisionRecord> {
    session.current().filter(|current| goal.verb == Verb::Deploy && current.release == goal.release.id)
}

fn started(session: &Session, scene: &Scene, goal: &Goal, revision: Revision, epoch: Epoch) -> Event {
    let past = session.past();
    // What was proven is not to blame for a sick machine: a repair does not go back.
    let is_repair = reused(session, goal).is_some_and(|current| current.proven);
    let fallback = history::fallback(&past, &goal.release.id)
        .filter(|_| goal.verb == Verb::Deploy && !is_repair)
        .and_then(|back| session.revision(back.revision))
        .map(|record| Generation {
            revision: record.revision,
            release: record.release.clone(),
            version: record.definition.version.clone(),
        });
    Event::RolloutStarted {
        verb: goal.verb,
        service: session.subject.service.clone(),
        fleet: session.subject.fleet.clone(),
        target: Generation {
            revision,
            release: goal.release.id.clone(),
            version: goal.release.definition.version.clone(),
        },
        fallback,
        replicas: scene.spec.budget.replicas,
        epoch,
    }
}

/// Brings the fleet to the goal.
pub(super) async fn carry_out(mut session: Session, goal: Goal, output: Output) -> Result<Exit, Fail> {
    let interrupts = signals::listen()?;
    let scene = look(&session, &goal.release).await?;
    if is_settled(&session, &scene, &goal) {
        say_nothing_to_do(&session, &scene, &goal, output);
        scene.world.close().await;
        session.store.release_lease()?;
        return Ok(Exit::Done);
    }
    let revision = match reused(&session, &goal) {
        Some(record) => record.revision,
        None => session.store.add_revision(&session.subject, &new_revision(&goal))?,
    };
    let seen = scene.found.fleet.hosts.values().map(|host| host.epoch).max().unwrap_or_default();
    let (id, epoch) = session.store.begin_rollout(&session.subject, revision, seen, session.now())?;
    let event = started(&session, &scene, &goal, revision, epoch);
    let setup = Setup::here(scene.spec.hosts.clone(), scene.spec.ports.clone(), session.versions());
    let Session { project, inventory, place, subject, store, clock, revisions } = session;
    let engine = Engine {
        world: Arc::clone(&scene.world),
        store,
        reporter: report::reporter(output, setup),
        clock: Arc::clone(&clock),
        interrupts,
        fleet_name: subject.fleet.clone(),
        spec: scene.spec,
        addresses: project.inventory.hosts.iter().map(|host| (host.name.clone(), host.address.clone())).collect(),
        definitions: scene.definitions,
        fleet: scene.found.fleet,
    };
    let ended = engine.run(id, event).await;
    scene.world.close().await;
    let (outcome, store) = ended?;
    let mut session = Session { project, inventory, place, subject, store, clock, revisions };
    if outcome == Outcome::Succeeded {
        trim(&mut session, revision)?;
    }
    session.store.release_lease()?;
    Ok(Exit::of(goal.verb, &outcome))
}

/// Whether the fleet is where it is to be, and the history says so.
fn is_settled(session: &Session, scene: &Scene, goal: &Goal) -> bool {
    let recorded = session
        .current()
        .is_some_and(|current| current.release == goal.release.id && current.outcome == Some(Outcome::Succeeded));
    let decided =
        tentative(session, scene, goal).map(|rollout| plan(&scene.spec, &rollout, &scene.found.fleet, session.now()));
    let complete = decided.is_some_and(|Plan { actions, next, .. }| {
        next == Next::Finish(Outcome::Succeeded)
            || !actions.is_empty()
                && actions.iter().all(|action| matches!(action, crate::core::action::Action::Prune { .. }))
    });
    recorded && complete
}

fn say_nothing_to_do(session: &Session, scene: &Scene, goal: &Goal, output: Output) {
    let version = &goal.release.definition.version;
    let revision = session.current().map_or(Revision(0), |current| current.revision);
    let replicas = scene.spec.budget.replicas;
    let service = &session.subject.service;
    if output == Output::Json {
        let event = serde_json::json!({
            "event": "nothing_to_do", "at": session.now(), "service": service, "fleet": session.subject.fleet,
            "version": version, "revision": revision, "replicas": replicas,
        });
        drop(super::print(&format!("{event}\n")));
    } else {
        note(&format!(
            "nothing to do: {service} {version} (revision {revision}) is available on {replicas} of {replicas}"
        ));
    }
}

fn new_revision(goal: &Goal) -> NewRevision {
    let (user, host) = who();
    NewRevision {
        release: goal.release.id.clone(),
        definition: goal.release.definition.clone(),
        playbook: goal.playbook.clone(),
        who: format!("{user}@{host}"),
        cause: goal.cause.clone(),
        verb: goal.verb,
    }
}

/// Forgets what the history's limit leaves out, here as the rollout did on the hosts.
fn trim(session: &mut Session, current: Revision) -> Result<(), Fail> {
    session.revisions = session.store.revisions(&session.subject)?;
    let limit = usize::try_from(session.project.playbook.rollout.history_limit).unwrap_or(usize::MAX);
    let retained = history::retained(&session.past(), current, limit);
    session.store.retain_revisions(&session.subject, &retained)?;
    releases::forget_unused(session);
    Ok(())
}
