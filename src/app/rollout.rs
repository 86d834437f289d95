//! A rollout from the survey of the hosts to its end, for all verbs that roll out.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use super::adoption::Adopt;
use super::after_rollout::{self, RunSummary};
use super::conclusion::Conclusion;
use super::error::Error;
use super::goal::Goal;
use super::notice::Notice;
use super::preparation::prepare;
use super::session::Session;
use super::survey::{self, Survey};
use super::{monitor, orphans, recovery, report_page};
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
/// If the rollout cannot start, or its journal cannot be written.
pub async fn carry_out(session: &mut Session, goal: Goal) -> Result<Conclusion, Error> {
    let env = Arc::clone(&session.env);
    let mut interrupts = env.listen()?;
    let store = session.store.clone();
    orphans::report_orphans(session)?;
    orphans::check_singleton(session)?;
    // A continued rollout keeps its own goal, whatever runs now.
    let adopt = match goal.continuation {
        Some(_) => Adopt::Ignore,
        None => Adopt::Keep,
    };
    let survey = Box::pin(survey::survey(session, &goal, adopt));
    let survey = prepare(&store, &mut interrupts, survey).await?;
    let mut log = None;
    let ended = Box::pin(begin(session, goal, survey, interrupts, &mut log)).await?;
    session.store.lock().release_lease()?;
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

/// Starts and carries out the rollout, unless there is nothing to do or it is refused.
async fn begin(
    session: &mut Session,
    goal: Goal,
    mut survey: Survey,
    mut interrupts: Interrupts,
    log: &mut Option<Box<dyn Any + Send>>,
) -> Result<Conclusion, Error> {
    let env = Arc::clone(&session.env);
    session.store_scale()?;
    if survey.admission.is_settled {
        goal.announce(&*env);
        return Ok(nothing_to_do(session, &survey, &goal));
    }
    let store = session.store.clone();
    let start = Box::pin(async {
        recovery::recover(session, &mut survey, &goal).await?;
        monitor::start(session, &survey, &goal).await
    });
    let monitor = prepare(&store, &mut interrupts, start).await?;
    goal.announce(&*env);
    report_left_dirs(session, &goal);
    let admission = &survey.admission;
    let revision = if let Some(revision) = admission.reuse {
        revision
    } else {
        let new = new_revision(session, &goal);
        session
            .store
            .lock()
            .add_revision(&session.service_key, &new)?
    };
    let newest_epoch = survey.preflight.newest_epoch();
    let now = session.now();
    let started =
        session
            .store
            .lock()
            .begin_rollout(&session.service_key, revision, newest_epoch, now);
    let (id, epoch) = started?;
    *log = Some(env.open_log(&session.state_dir, id));
    let events = admission.first_events(revision, epoch);
    let budget = admission.spec.budget;
    let engine = engine(session, survey, id, monitor, interrupts);
    let outcome = Box::pin(engine.run(id, events)).await?;
    if outcome == Outcome::Succeeded {
        prune_history(session, revision)?;
    }
    let exit = goal.exit(&outcome);
    Ok(Conclusion::Ended {
        id,
        outcome,
        exit,
        budget,
    })
}

/// Reports directories that the new release no longer shares: ship leaves their data in place.
fn report_left_dirs(session: &Session, goal: &Goal) {
    let shared = &goal.release.definition.shared_dirs;
    let before = session.history.current().map(|current| &current.definition);
    let left = before.into_iter().flat_map(|before| &before.shared_dirs);
    let is_shared = |dir: &str| shared.iter().any(|it| Path::new(dir).starts_with(it));
    let left: Vec<_> = left.filter(|dir| !is_shared(dir)).cloned().collect();
    if !left.is_empty() {
        session.env.notify(&Notice::SharedDirsLeft(left));
    }
}

fn engine(
    session: &Session,
    survey: Survey,
    id: RolloutId,
    monitor: Option<Monitor>,
    interrupts: Interrupts,
) -> Engine {
    let setup = ReporterSetup::for_terminal(
        session.hosts(),
        session.slots(&survey.definitions).into_keys().collect(),
        session.versions(),
    );
    let (addresses, redactor) = (session.addresses(), report_page::redactor(session));
    Engine {
        executor: survey.connection,
        reporter: session.env.reporter(id, setup),
        clock: Arc::clone(&session.clock),
        interrupts,
        fleet_name: session.service_key.fleet.clone(),
        spec: survey.admission.spec,
        addresses,
        definitions: survey.definitions,
        fleet: survey.preflight.fleet,
        monitor,
        redactor,
        store: session.store.clone(),
    }
}

fn nothing_to_do(session: &Session, survey: &Survey, goal: &Goal) -> Conclusion {
    Conclusion::NothingToDo {
        service_key: session.service_key.clone(),
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
        contents_sha256: goal.release.contents_sha256.clone(),
    }
}

/// Removes revisions beyond the history limit from the store. The rollout has already pruned the
/// hosts.
fn prune_history(session: &mut Session, current: Revision) -> Result<(), Error> {
    session.read_history()?;
    let limit =
        usize::try_from(session.project.playbook.rollout.history_limit).unwrap_or(usize::MAX);
    let retained = history::retained(&session.history.past(), current, limit);
    session
        .store
        .lock()
        .retain_revisions(&session.service_key, &retained)?;
    session
        .env
        .remove_unused(&session.state_dir, &**session.store.lock());
    Ok(())
}
