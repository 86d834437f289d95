//! A rollout from the first look at the hosts to its end: what all verbs that make one have in
//! common.

use std::any::Any;
use std::sync::Arc;

use super::adoption::Adopt;
use super::after_rollout::{self, RunSummary};
use super::conclusion::Conclusion;
use super::error::Error;
use super::goal::Goal;
use super::session::Session;
use super::survey::{self, Survey};
use super::{monitor, orphans, page};
use crate::core::ids::Revision;
use crate::core::policy::history;
use crate::core::rollout::failure::Outcome;
use crate::engine::{Engine, Interrupts};
use crate::probe::Monitor;
use crate::report::ReporterSetup;
use crate::store::{NewRevision, RolloutId};

/// Brings the fleet to the goal.
///
/// # Errors
/// If it cannot begin, or its journal cannot be written.
pub async fn carry_out(session: &mut Session, goal: Goal) -> Result<Conclusion, Error> {
    let env = Arc::clone(&session.env);
    let interrupts = env.listen()?;
    orphans::tell(session)?;
    // What another rollout was going to do is not decided by what runs now.
    let adopt = match goal.continuation {
        Some(_) => Adopt::Ignore,
        None => Adopt::Keep,
    };
    let survey = Box::pin(survey::look(session, &goal, adopt)).await?;
    let mut log = None;
    let ended = Box::pin(begin(session, goal, survey, interrupts, &mut log)).await?;
    session.store.release_lease()?;
    if let Conclusion::Ended {
        id, exit, budget, ..
    } = &ended
    {
        let (id, exit, budget) = (*id, *exit, *budget);
        let end = RunSummary::Ended { id, exit, budget };
        after_rollout::publish(session, end).await;
    }
    Ok(ended)
}

/// Makes the rollout, unless nothing is to be done, or something refuses it.
async fn begin(
    session: &mut Session,
    goal: Goal,
    survey: Survey,
    interrupts: Interrupts,
    log: &mut Option<Box<dyn Any + Send>>,
) -> Result<Conclusion, Error> {
    let env = Arc::clone(&session.env);
    session.keep_scale()?;
    let admission = &survey.admission;
    if admission.is_settled {
        goal.announce(&*env);
        return Ok(nothing_to_do(session, &survey, &goal));
    }
    let monitor = monitor::begin(session, &survey, &goal).await?;
    goal.announce(&*env);
    let revision = if let Some(revision) = admission.reuse {
        revision
    } else {
        let new = new_revision(session, &goal);
        session.store.add_revision(&session.subject, &new)?
    };
    let seen = survey.found.newest_epoch();
    let now = session.now();
    let begun = session
        .store
        .begin_rollout(&session.subject, revision, seen, now);
    let (id, epoch) = begun?;
    *log = Some(env.open_log(&session.place, id));
    let opening = admission.opening(revision, epoch);
    let budget = admission.spec.budget;
    let engine = engine(session, survey, id, monitor, interrupts);
    let outcome = Box::pin(engine.run(id, opening)).await?;
    if outcome == Outcome::Succeeded {
        trim(session, revision)?;
    }
    let exit = goal.exit(&outcome);
    Ok(Conclusion::Ended {
        id,
        outcome,
        exit,
        budget,
    })
}

fn engine(
    session: &mut Session,
    survey: Survey,
    id: RolloutId,
    monitor: Option<Monitor>,
    interrupts: Interrupts,
) -> Engine<'_> {
    let setup = ReporterSetup::here(
        session.hosts(),
        session.ports(&survey.definitions),
        session.versions(),
    );
    let (addresses, veil) = (session.addresses(), page::veil(session));
    Engine {
        executor: survey.world,
        reporter: session.env.reporter(id, setup),
        clock: Arc::clone(&session.clock),
        interrupts,
        fleet_name: session.subject.fleet.clone(),
        spec: survey.admission.spec,
        addresses,
        definitions: survey.definitions,
        fleet: survey.found.fleet,
        monitor,
        redactor: veil,
        store: &mut *session.store,
    }
}

fn nothing_to_do(session: &Session, survey: &Survey, goal: &Goal) -> Conclusion {
    Conclusion::NothingToDo {
        subject: session.subject.clone(),
        at: session.now(),
        version: goal.release.definition.version.clone(),
        revision: session
            .history
            .current()
            .map_or(Revision(0), |current| current.revision),
        replicas: survey.admission.spec.budget.replicas,
    }
}

fn new_revision(session: &Session, goal: &Goal) -> NewRevision {
    NewRevision {
        release: goal.release.id.clone(),
        definition: goal.release.definition.clone(),
        playbook: goal.playbook.clone(),
        who: session.operator().to_string(),
        reason: goal.reason.clone(),
        verb: goal.verb,
    }
}

/// Forgets what the history's limit leaves out, here as the rollout did on the hosts.
fn trim(session: &mut Session, current: Revision) -> Result<(), Error> {
    session.read_history()?;
    let limit =
        usize::try_from(session.project.playbook.rollout.history_limit).unwrap_or(usize::MAX);
    let retained = history::retained(&session.history.past(), current, limit);
    session
        .store
        .retain_revisions(&session.subject, &retained)?;
    session.env.remove_unused(&session.place, &*session.store);
    Ok(())
}
