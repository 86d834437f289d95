//! A rollout from the first look at the hosts to the last word: what `deploy` and `rollback` have
//! in common.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::adopt::{self, Adopt};
use super::exit::{Exit, Fail};
use super::releases::{self, Release};
use super::session::{Session, who};
use super::trace::{self, Recording};
use super::{aftermath, gone, loss, night, note, pages, signals};
use crate::core::ids::{Epoch, HostId, ReleaseId, Revision};
use crate::core::journal::rollout_summary::Account;
use crate::core::planner::{Next, Plan, plan};
use crate::core::policy::history;
use crate::core::policy::service_state::Standing;
use crate::core::release::Definition;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event, Generation, RolloutStart, Scaling, Then};
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::task::{self, Chore, End};
use crate::core::rollout::verb::Verb;
use crate::core::rollout::{Direction, Rollout};
use crate::core::spec::Spec;
use crate::core::spec::scaling;
use crate::engine::{Engine, FleetExecutor, Preflight};
use crate::remote::HostUnavailable;
use crate::report::record::Recorded;
use crate::report::{self, Output, Setup};
use crate::store::{NewRevision, Store};

/// What is wanted.
pub(super) struct Goal {
    pub(super) release: Release,
    pub(super) verb: Verb,
    pub(super) cause: String,
    /// The playbook's text, for the history.
    pub(super) playbook: String,
    /// The rollout that it goes on with, if it is one.
    pub(super) earlier: Option<Earlier>,
    /// What is said once nothing can refuse it any more: `deployment "api" scaled`.
    pub(super) announcement: Option<String>,
}

impl Goal {
    /// Says what can no longer be refused.
    pub(super) fn announce(&self) {
        self.announcement.iter().for_each(|text| note(text));
    }

    /// What the caller is told of a rollout that ended so: to go back is no failure where it was
    /// asked for.
    fn exit(&self, outcome: &Outcome) -> Exit {
        match &self.earlier {
            Some(Earlier {
                then: GoOn::Back(_),
                ..
            }) if *outcome == Outcome::RolledBack => Exit::Done,
            Some(Earlier {
                then: GoOn::Back(_),
                ..
            }) => Exit::of(Verb::Rollback, outcome),
            _ => Exit::of(self.verb, outcome),
        }
    }
}

/// A rollout that stands still and is to go on.
pub(super) struct Earlier {
    /// How it stood, as its journal tells.
    pub(super) rollout: Rollout,
    /// What happens to it now.
    pub(super) then: GoOn,
}

/// How a rollout goes on.
pub(super) enum GoOn {
    /// In its direction.
    Onward,
    /// From its step to the next, because this person asks for it; through all steps if `full`.
    Promoted {
        /// Who.
        by: String,
        /// Whether through all steps that are left.
        full: bool,
    },
    /// Back, because this person asks for it.
    Back(String),
    /// Only in numbers: it stands afterwards as it does now.
    Scaled(Outcome),
}

/// How it went.
pub(super) enum Ended {
    /// All was in place already.
    NothingToDo,
    /// The rollout has ended so.
    As(Outcome),
}

impl Ended {
    /// What the caller of a verb is told.
    pub(super) fn exit(&self, verb: Verb) -> Exit {
        match self {
            Ended::NothingToDo => Exit::Done,
            Ended::As(outcome) => Exit::of(verb, outcome),
        }
    }
}

/// What is known before anything is touched.
pub(super) struct Scene {
    pub(super) spec: Spec,
    pub(super) world: Arc<FleetExecutor>,
    pub(super) definitions: BTreeMap<ReleaseId, Definition>,
    pub(super) found: Preflight,
    /// Where the rollout goes back to if it fails or is aborted.
    fallback: Option<Generation>,
    /// The rollout before, if there was one.
    newest: Option<Rollout>,
}

/// Looks at every host and makes sure that the goal can be reached. Touches nothing. A look that
/// the verb has had before is good enough.
pub(super) async fn look(session: &mut Session, goal: &Goal, adopt: Adopt) -> Result<Scene, Fail> {
    let release = &goal.release;
    let found = match session.found.take() {
        Some(found) => found,
        None => Box::pin(session.adopt(adopt)).await?,
    };
    let running = adopt::running(&found.preflight);
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
        note(&format!(
            "note: neither the history nor the hosts tell how {} is to be probed; it is probed as \
             the new version is",
            names.join(", ")
        ));
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
    session.update_world(&mut world, definitions.clone(), Some(release));
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
    checked.map(|()| scene)
}

/// Adds what the history says: the way back, and what is to be done once.
fn complete(session: &Session, scene: &mut Scene, goal: &Goal) -> Result<(), Fail> {
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

fn usable(found: &Preflight, spec: &Spec) -> Result<(), Fail> {
    let refused = |noun: &str, unusable: &BTreeMap<HostId, HostUnavailable>, all: usize| {
        let mut message = format!(
            "error: {} of {all} {noun} cannot be used; nothing was touched",
            unusable.len()
        );
        for (host, unusable) in unusable {
            message.push_str(&labelled(host, &unusable.why));
        }
        Err(Fail::new(Exit::Unreachable, message))
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

/// A line of an error about a host, without the host's name twice.
pub(super) fn labelled(host: &HostId, why: &str) -> String {
    format!("\n  {host}: {}", host.unnamed(why).replace('\n', "\n    "))
}

/// Where every host is drained, one instance a host is none at all: a fleet that serves is only
/// emptied by who says so.
fn refuse_to_empty(session: &Session, scene: &Scene) -> Result<(), Fail> {
    let is_emptied = scene.spec.hosts.is_empty() && scene.found.fleet.instances().next().is_some();
    if !is_emptied || session.wants_a_number() {
        return Ok(());
    }
    Err(Fail::refused(
        "error: every host of the inventory is drained, so no instance could run anywhere; \
         nothing was touched\nhint: add a \
         host first, or stop the service with `ship scale --replicas 0`",
    ))
}

fn possible(scene: &Scene, goal: &ReleaseId) -> Result<(), Fail> {
    let Scene {
        spec, found, world, ..
    } = scene;
    if let Some((present, next, name)) = world.server_clash(spec.ports_of(goal), &found.fleet) {
        return Err(Fail::refused(format!(
            "error: {present}, where an instance runs, and {next} would be one server, `{name}`, \
             at the balancers; nothing \
             was touched\nhint: give each slot a server of its own, as in server = \"{{{{ host \
             }}}}-{{{{ port }}}}\""
        )));
    }
    let obstacles = spec.obstacles(goal, &found.fleet);
    if obstacles.is_empty() {
        return Ok(());
    }
    let head = "error: this rollout cannot work; nothing was touched".to_owned();
    let lines: Vec<_> = [head]
        .into_iter()
        .chain(obstacles.iter().map(|obstacle| format!("  {obstacle}")))
        .collect();
    Err(Fail::refused(lines.join("\n")))
}

/// A rollout that is not recorded: to ask the planner what it would do.
pub(super) fn tentative(session: &Session, scene: &Scene, goal: &Goal) -> Option<Rollout> {
    let epoch = scene.found.newest_epoch();
    let revision = reused(session, goal).unwrap_or_default();
    let at = session.now();
    let opening = opening(session, scene, goal, revision, Epoch(epoch.0 + 1)).into_iter();
    Rollout::of(&opening.map(|event| Entry { at, event }).collect::<Vec<_>>())
}

/// The entry of the history that the rollout is for, where it makes no new one: one that stands
/// still goes on, as does a deploy of what is not there yet. All else is an entry of its own, so
/// that each says who did what, and how it ended.
fn reused(session: &Session, goal: &Goal) -> Option<Revision> {
    if let Some(earlier) = &goal.earlier {
        return Some(earlier.rollout.goal.revision);
    }
    let current = session.current().filter(|current| {
        let is_same = current.verb == Verb::Deploy && current.release == goal.release.id;
        goal.verb == Verb::Deploy && is_same && current.outcome != Some(Outcome::Succeeded)
    });
    current.map(|current| current.revision)
}

/// The first events of the rollout: its start, and where it goes on from an earlier one, how that
/// stood.
fn opening(
    session: &Session,
    scene: &Scene,
    goal: &Goal,
    revision: Revision,
    epoch: Epoch,
) -> Vec<Event> {
    let earlier = goal.earlier.as_ref();
    let fallback = scene.fallback.clone();
    let (budget, budget_back) = (scene.spec.budget, scene.spec.budget_back);
    let target = Generation {
        revision,
        release: goal.release.id.clone(),
        version: goal.release.definition.version.clone(),
    };
    let start = Event::RolloutStarted(RolloutStart {
        verb: goal.verb,
        service: session.subject.service.clone(),
        fleet: session.subject.fleet.clone(),
        // What was proven before something else that may run was proven is not beyond doubt.
        is_proven: earlier.map_or_else(
            || fallback.is_none() && session.is_proven(&goal.release.id),
            |earlier| earlier.rollout.is_proven,
        ),
        scaling: earlier
            .and_then(|earlier| scaling(scene, &target, fallback.as_ref(), &earlier.then)),
        target,
        fallback,
        replicas: budget.replicas,
        fallback_replicas: budget_back
            .map(|back| back.replicas)
            .filter(|back| *back != budget.replicas),
        epoch,
        set: session.set.clone(),
    });
    let turn = earlier.and_then(
        |earlier| match (&earlier.then, &earlier.rollout.direction) {
            (_, Direction::Back(failure)) => Some(Event::RolloutFailed {
                failure: failure.clone(),
                log: Vec::new(),
                then: Then::RollBack,
            }),
            (GoOn::Back(by), _) => Some(Event::Aborted { by: by.clone() }),
            // It was aborted, and its controller died before it could turn.
            (_, Direction::Forward) => earlier
                .rollout
                .aborted
                .clone()
                .map(|by| Event::Aborted { by }),
            (_, Direction::Held { .. }) => None,
        },
    );
    let done = done_before(scene, goal, revision);
    let steps = earlier
        .into_iter()
        .flat_map(|earlier| steps(scene, earlier));
    let lost = scene
        .found
        .unusable
        .iter()
        .map(|(host, unusable)| Event::HostQuarantined {
            failure: Failure {
                kind: FailureKind::HostLost,
                host: Some(host.clone()),
                slot: None,
                detail: unusable.why.clone(),
                waited: Duration::ZERO,
            },
            log: Vec::new(),
        });
    [start]
        .into_iter()
        .chain(turn)
        .chain(done)
        .chain(steps)
        .chain(lost)
        .collect()
}

/// What the rollout does once.
fn chores(session: &Session, goal: &Goal) -> Result<Vec<Chore>, Fail> {
    let made = session.store.migrations_made(&session.subject)?;
    Ok(match goal.verb {
        Verb::Contract => task::contracts(&goal.release.definition, &made),
        Verb::Adopt | Verb::Deploy | Verb::Rollback | Verb::Restart | Verb::Scale => {
            task::chores(&goal.release.definition, &made)
        }
    })
}

/// What was done once already by the rollout that this one goes on with, whether it says so or does
/// the same again.
fn done_before(scene: &Scene, goal: &Goal, revision: Revision) -> Vec<Event> {
    let same = |rollout: &Rollout| rollout.goal.revision == revision && rollout.verb == goal.verb;
    let was_cut_off =
        |rollout: &Rollout| Standing::of_outcome(rollout.outcome.as_ref()) == Standing::CutOff;
    let again = || {
        scene
            .newest
            .as_ref()
            .filter(|rollout| same(rollout) && was_cut_off(rollout))
    };
    let Some(rollout) = goal
        .earlier
        .as_ref()
        .map(|earlier| &earlier.rollout)
        .or_else(again)
    else {
        return Vec::new();
    };
    let is_done = |begun: &task::Standing| matches!(begun.end, Some(End::Done | End::DoneBefore));
    let done = rollout.chores.iter().filter(|(_, begun)| is_done(begun));
    done.map(|(chore, _)| {
        let (chore, end, took) = (chore.clone(), End::DoneBefore, Duration::ZERO);
        Event::ChoreEnded {
            chore,
            end,
            migration: None,
            took,
            output: Vec::new(),
        }
    })
    .collect()
}

/// The steps that a rollout had passed when it stood still, and whether it may go on from the
/// present one.
fn steps(scene: &Scene, earlier: &Earlier) -> Vec<Event> {
    let Rollout {
        steps_passed,
        promoted,
        ..
    } = earlier.rollout;
    let of = scene.spec.step_count();
    let again = |full| Event::Promoted {
        by: "the rollout that it goes on with".to_owned(),
        full,
    };
    let passed = match steps_passed {
        0 => None,
        // Through all, by a person.
        u32::MAX => Some(again(true)),
        step => Some(Event::StepPassed { step, of }),
    };
    let said = match &earlier.then {
        GoOn::Promoted { by, full } => Some(Event::Promoted {
            by: by.clone(),
            full: *full,
        }),
        _ => promoted.then(|| again(false)),
    };
    passed.into_iter().chain(said).collect()
}

/// Where a rollout goes back to: a deploy to the revision that was proven healthy last, unless that
/// is what is deployed, a rollback to where it came from, and none to what a contract has left
/// behind.
fn fallback(session: &Session, goal: &Goal) -> Result<Option<Generation>, Fail> {
    let back = match (&goal.earlier, goal.verb) {
        (Some(earlier), _) => earlier.rollout.fallback.clone(),
        (None, Verb::Deploy) => session.fallback(&goal.release.id)?.map(Session::generation),
        (None, Verb::Rollback) => {
            let present = session
                .current()
                .filter(|current| current.release != goal.release.id);
            let present = present.filter(|current| session.is_proven(&current.release));
            present.map(Session::generation)
        }
        (None, Verb::Adopt | Verb::Restart | Verb::Scale | Verb::Contract) => None,
    };
    match back
        .as_ref()
        .and_then(|back| session.revision(back.revision))
    {
        Some(record) if session.past_contract(record)?.is_some() => Ok(None),
        _ => Ok(back),
    }
}

fn scaling(
    scene: &Scene,
    target: &Generation,
    fallback: Option<&Generation>,
    then: &GoOn,
) -> Option<Scaling> {
    let GoOn::Scaled(outcome) = then else {
        return None;
    };
    // Of two equal parts that which was proven is the safer one.
    let known: Vec<_> = [fallback, Some(target)]
        .into_iter()
        .flatten()
        .map(|generation| &generation.release)
        .collect();
    let shares = scaling::shares(
        &scene.found.fleet,
        &known,
        &target.release,
        scene.spec.budget.replicas,
    );
    Some(Scaling {
        shares,
        then: Box::new(outcome.clone()),
    })
}

/// Brings the fleet to the goal.
pub(super) async fn carry_out(
    mut session: Session,
    goal: Goal,
    output: Output,
) -> Result<Ended, Fail> {
    let interrupts = signals::listen()?;
    gone::tell(&session)?;
    // What another rollout was going to do is not decided by what runs now.
    let adopt = if goal.earlier.is_some() {
        Adopt::Ignore
    } else {
        Adopt::Keep
    };
    let scene = Box::pin(look(&mut session, &goal, adopt)).await?;
    session.keep_scale()?;
    if is_settled(&session, &scene, &goal)? {
        goal.announce();
        say_nothing_to_do(&session, &scene, &goal, output);
        session.store.release_lease()?;
        return Ok(Ended::NothingToDo);
    }
    night_permits(&session, &scene, &goal)?;
    let loss = loss::begin(&session, &scene, &goal).await?;
    goal.announce();
    let revision = match reused(&session, &goal) {
        Some(revision) => revision,
        None => session
            .store
            .add_revision(&session.subject, &new_revision(&goal))?,
    };
    let seen = scene.found.newest_epoch();
    let (id, epoch) =
        session
            .store
            .begin_rollout(&session.subject, revision, seen, session.now())?;
    let _recording = Recording::begin(&session.place, id);
    let opening = opening(&session, &scene, &goal, revision, epoch);
    let setup = Setup::here(
        session.hosts(),
        session.ports(&scene.definitions),
        session.versions(),
    );
    let budget = scene.spec.budget;
    let veil = pages::veil(&session);
    let (session, mut store) = session.lend_store();
    let engine = Engine {
        executor: scene.world,
        store: &mut store,
        reporter: Box::new(Recorded::new(
            report::reporter(output, setup.clone()),
            setup,
        )),
        clock: Arc::clone(&session.clock),
        interrupts,
        fleet_name: session.subject.fleet.clone(),
        spec: scene.spec,
        addresses: session.addresses(),
        definitions: scene.definitions,
        fleet: scene.found.fleet,
        loss,
        veil,
    };
    let outcome = Box::pin(engine.run(id, opening)).await?;
    let mut session = session.with_store(store);
    if outcome == Outcome::Succeeded {
        trim(&mut session, revision)?;
    }
    session.store.release_lease()?;
    let exit = goal.exit(&outcome);
    Box::pin(aftermath::tell(
        &session,
        aftermath::Told::Ended { id, exit, budget },
    ))
    .await;
    Ok(Ended::As(outcome))
}

/// Refuses what is not to begin while nobody is there: too late in its window, or on a fleet that
/// is not well.
fn night_permits(session: &Session, scene: &Scene, goal: &Goal) -> Result<(), Fail> {
    if goal.verb != Verb::Deploy || goal.earlier.is_some() {
        return Ok(());
    }
    night::permit_now(session)?;
    let Some(rollout) = tentative(session, scene, goal) else {
        return Ok(());
    };
    let decided = plan(&scene.spec, &rollout, &scene.found.fleet, session.now());
    if let Next::Finish(Outcome::Closed { why }) = decided.next {
        return Err(night::closed(&why));
    }
    match night::unhealthy(session, &goal.release.id, decided.progress.available)? {
        Some(why) => Err(Fail::refused(format!("error: {why}; nothing was touched"))),
        None => Ok(()),
    }
}

/// Whether the fleet is where it is to be, and the history says so.
fn is_settled(session: &Session, scene: &Scene, goal: &Goal) -> Result<bool, Fail> {
    let recorded = session.current().is_some_and(|current| {
        current.release == goal.release.id && current.outcome == Some(Outcome::Succeeded)
    });
    let decided = tentative(session, scene, goal).map(|mut rollout| {
        // Where nothing is to be brought in, there is no step to stop at.
        let event = Event::Promoted {
            by: String::new(),
            full: true,
        };
        rollout.apply(&Entry {
            at: session.now(),
            event,
        });
        // What is done once is done by a rollout, and makes none.
        let spec = Spec {
            chores: Vec::new(),
            ..scene.spec.clone()
        };
        plan(&spec, &rollout, &scene.found.fleet, session.now())
    });
    let complete = decided.is_some_and(|Plan { actions, next, .. }| {
        // What is left to do then is to tidy up; before that a plan has orders of these kinds too,
        // and others to come.
        let tidies =
            |action: &Action| matches!(action, Action::Claim { .. } | Action::Prune { .. });
        next == Next::Finish(Outcome::Succeeded)
            || next == Next::AwaitInFlight && actions.iter().all(tidies)
    });
    let makes_nothing_new =
        goal.earlier.is_none() && !matches!(goal.verb, Verb::Restart | Verb::Contract);
    let newest = session
        .newest()?
        .and_then(|(_, journal)| Account::of(&journal));
    let owes_nothing = newest.is_none_or(|account| account.left_behind.is_empty());
    Ok(makes_nothing_new && owes_nothing && recorded && complete)
}

fn say_nothing_to_do(session: &Session, scene: &Scene, goal: &Goal, output: Output) {
    let version = &goal.release.definition.version;
    let revision = session
        .current()
        .map_or(Revision(0), |current| current.revision);
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
            "nothing to do: {service} {version} (revision {revision}) is available on {replicas} \
             of {replicas}"
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
    session.read_history()?;
    let limit =
        usize::try_from(session.project.playbook.rollout.history_limit).unwrap_or(usize::MAX);
    let retained = history::retained(&session.past(), current, limit);
    session
        .store
        .retain_revisions(&session.subject, &retained)?;
    releases::forget_unused(session);
    trace::forget_gone(session);
    Ok(())
}
