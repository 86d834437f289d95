//! A rollout from the survey of the hosts to its end, for all verbs that roll out.

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
use crate::core::ids::{Epoch, Revision};
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
    let conclusion = match Box::pin(prepare_rollout(session, goal)).await? {
        Preparation::NothingToDo(conclusion) => conclusion,
        Preparation::Ready(prepared) => Box::pin(run(session, *prepared)).await?,
    };
    session.store.release_lease()?;
    publish(session, &conclusion).await;
    Ok(conclusion)
}

/// Publishes an ended rollout.
pub(crate) async fn publish(session: &Session, conclusion: &Conclusion) {
    if let Conclusion::Ended {
        id, exit, budget, ..
    } = conclusion
    {
        let (id, exit, budget) = (*id, *exit, *budget);
        let end = RunSummary::Ended { id, exit, budget };
        after_rollout::publish(session, end).await;
    }
}

/// A rollout that may begin: the hosts and its artifact are ready.
pub(crate) struct PreparedRollout {
    pub(crate) goal: Goal,
    pub(crate) survey: Survey,
    pub(crate) interrupts: Interrupts,
    /// Its numbers in the store, if it has them already.
    pub(crate) numbers: Option<RolloutNumbers>,
}

/// The numbers of a rollout in the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RolloutNumbers {
    pub(crate) revision: Revision,
    pub(crate) id: RolloutId,
    pub(crate) epoch: Epoch,
}

pub(crate) enum Preparation {
    NothingToDo(Conclusion),
    Ready(Box<PreparedRollout>),
}

/// Surveys the hosts and gets the artifact. Makes no changes on hosts.
///
/// # Errors
/// If the rollout is refused.
pub(crate) async fn prepare_rollout(
    session: &mut Session,
    goal: Goal,
) -> Result<Preparation, Error> {
    let mut interrupts = session.env.listen()?;
    let store = session.store.clone();
    orphans::report_orphans(session)?;
    orphans::check_singleton(session)?;
    // A continued rollout keeps its own goal, whatever runs now.
    let adopt = match goal.continuation {
        Some(_) => Adopt::Ignore,
        None => Adopt::Keep,
    };
    let survey = Box::pin(survey::survey(session, &goal, adopt));
    let mut survey = prepare(&store, &mut interrupts, survey).await?;
    session.store_scale()?;
    if survey.admission.is_settled {
        goal.announce(&*session.env);
        let conclusion = nothing_to_do(session, &survey, &goal);
        return Ok(Preparation::NothingToDo(conclusion));
    }
    let recovery = Box::pin(recovery::recover(session, &mut survey, &goal));
    prepare(&store, &mut interrupts, recovery).await?;
    Ok(Preparation::Ready(Box::new(PreparedRollout {
        goal,
        survey,
        interrupts,
        numbers: None,
    })))
}

/// Records the revision of a prepared rollout, unless it continues one, and the rollout.
///
/// # Errors
/// If the store cannot be written.
pub(crate) fn allocate(
    session: &Session,
    prepared: &PreparedRollout,
) -> Result<RolloutNumbers, Error> {
    let survey = &prepared.survey;
    let revision = if let Some(revision) = survey.admission.reuse {
        revision
    } else {
        let new = new_revision(session, &prepared.goal);
        session
            .store
            .lock()
            .add_revision(&session.service_key, &new)?
    };
    let newest_epoch = survey.preflight.newest_epoch();
    let now = session.now();
    let begun =
        session
            .store
            .lock()
            .begin_rollout(&session.service_key, revision, newest_epoch, now);
    let (id, epoch) = begun?;
    Ok(RolloutNumbers {
        revision,
        id,
        epoch,
    })
}

/// Carries out a prepared rollout. Keeps the lease.
///
/// # Errors
/// If the rollout cannot start, or its journal cannot be written.
pub(crate) async fn run(
    session: &mut Session,
    prepared: PreparedRollout,
) -> Result<Conclusion, Error> {
    let mut prepared = prepared;
    let env = Arc::clone(&session.env);
    let store = session.store.clone();
    let start = Box::pin(monitor::start(session, &prepared.survey, &prepared.goal));
    let monitor = prepare(&store, &mut prepared.interrupts, start).await?;
    prepared.goal.announce(&*env);
    report_left_dirs(session, &prepared.goal);
    let numbers = match prepared.numbers {
        Some(numbers) => numbers,
        None => allocate(session, &prepared)?,
    };
    let RolloutNumbers {
        revision,
        id,
        epoch,
    } = numbers;
    let PreparedRollout {
        goal,
        survey,
        interrupts,
        ..
    } = prepared;
    // ship writes to the log until this value is dropped.
    let log = env.open_log(&session.state_dir, id);
    let events = survey.admission.first_events(revision, epoch);
    let budget = survey.admission.spec.budget;
    let engine = engine(session, survey, id, monitor, interrupts);
    let outcome = Box::pin(engine.run(id, events)).await?;
    if outcome == Outcome::Succeeded {
        prune_history(session, revision)?;
    }
    drop(log);
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
