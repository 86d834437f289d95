//! What a rollout may do, as the history, the fleet and the goal stand.

use std::time::Duration;

use super::error::{Error, Refused};
use super::goal::{Earlier, GoOn, Goal};
use super::session::Session;
use super::survey::Scene;
use super::unattended;
use crate::core::ids::{Epoch, Revision};
use crate::core::journal::rollout_summary::Account;
use crate::core::planner::{Next, Plan, plan};
use crate::core::policy::service_state::Standing;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event, Generation, RolloutStart, Scaling, Then};
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::task::{self, Chore, End};
use crate::core::rollout::verb::Verb;
use crate::core::rollout::{Direction, Rollout};
use crate::core::spec::Spec;
use crate::core::spec::scaling;

/// A rollout that is not recorded: to ask the planner what it would do.
pub fn tentative(session: &Session, scene: &Scene, goal: &Goal) -> Option<Rollout> {
    let epoch = scene.found.newest_epoch();
    let revision = reused(session, goal).unwrap_or_default();
    let at = session.now();
    let opening = opening(session, scene, goal, revision, Epoch(epoch.0 + 1)).into_iter();
    Rollout::of(&opening.map(|event| Entry { at, event }).collect::<Vec<_>>())
}

/// The entry of the history that the rollout is for, where it makes no new one: one that stands
/// still goes on, as does a deploy of what is not there yet. All else is an entry of its own, so
/// that each says who did what, and how it ended.
pub fn reused(session: &Session, goal: &Goal) -> Option<Revision> {
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
pub fn opening(
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
pub fn chores(session: &Session, goal: &Goal) -> Result<Vec<Chore>, Error> {
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
pub fn fallback(session: &Session, goal: &Goal) -> Result<Option<Generation>, Error> {
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

/// Refuses what is not to begin while nobody is there: too late in its window, or on a fleet that
/// is not well.
pub fn permit(session: &Session, scene: &Scene, goal: &Goal) -> Result<(), Error> {
    if goal.verb != Verb::Deploy || goal.earlier.is_some() {
        return Ok(());
    }
    unattended::permit_now(session)?;
    let Some(rollout) = tentative(session, scene, goal) else {
        return Ok(());
    };
    let decided = plan(&scene.spec, &rollout, &scene.found.fleet, session.now());
    if let Next::Finish(Outcome::Closed { why }) = decided.next {
        return Err(Error::closed(&why));
    }
    match unattended::unhealthy(session, &goal.release.id, decided.progress.available)? {
        Some(why) => Err(Refused::Unhealthy(why).into()),
        None => Ok(()),
    }
}

/// Whether the fleet is where it is to be, and the history says so.
pub fn is_settled(session: &Session, scene: &Scene, goal: &Goal) -> Result<bool, Error> {
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
