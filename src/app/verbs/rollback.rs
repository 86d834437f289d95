//! `ship rollback`: rolls back to a proven revision.

use std::sync::Arc;
use std::time::Duration;

use crate::app::adoption::Adopt;
use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Refused};
use crate::app::goal::Goal;
use crate::app::notice::Accepted;
use crate::app::opened_service::OpenedService;
use crate::app::rollout;
use crate::app::session::Session;
use crate::app::verbs::plan::{self, DeployPlan};
use crate::config::Overrides;
use crate::core::ids::Revision;
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::rollback::{
    choose_target, is_present, repeated_rollback, replicas_of_rollback,
};
use crate::core::policy::service_state::ServiceCommand;
use crate::core::rollout::verb::Verb;
use crate::report::LocalClock;
use crate::store::StoreAccess;

#[derive(Clone, Debug, Default)]
pub struct RollbackRequest {
    /// The target; by default the latest proven revision of another release.
    pub to_revision: Option<Revision>,
    /// Overrides from the command line.
    pub set: Vec<String>,
    pub reason: Option<String>,
    /// How long to wait for the lease.
    pub lock_timeout: Duration,
}

/// Rolls the fleet back.
///
/// # Errors
/// Why there was no rollout, or it did not end.
pub async fn rollback(
    env: &Arc<dyn Environment>,
    request: RollbackRequest,
) -> Result<Conclusion, Error> {
    let mut service = open(env, &request, StoreAccess::Write)?;
    service
        .take_lease_within("rollback", request.lock_timeout)
        .await?;
    let mut session = Session::load(service)?;
    match choose(&mut session, &request).await? {
        RollbackChoice::Rollback(goal) => Ok(rollout::carry_out(&mut session, *goal)
            .await?
            .with_exit_of(Verb::Rollback)),
        RollbackChoice::AlreadyCurrent(revision) => Ok(Conclusion::AlreadyCurrent(revision)),
    }
}

/// Simulates a rollback. Makes no changes.
///
/// # Errors
/// Why the rollback would be refused.
pub async fn preview(
    env: &Arc<dyn Environment>,
    request: RollbackRequest,
) -> Result<Result<DeployPlan, Conclusion>, Error> {
    let mut session = Session::load(open(env, &request, StoreAccess::Read)?)?;
    session.observed_fleet = Some(Box::pin(session.adopt(Adopt::Show)).await?);
    match goal(&mut session, &request)? {
        RollbackChoice::Rollback(goal) => {
            goal.announce(&**env);
            plan::preview_of(session, *goal).await.map(Ok)
        }
        RollbackChoice::AlreadyCurrent(revision) => Ok(Err(Conclusion::AlreadyCurrent(revision))),
    }
}

/// Reads the hosts and chooses the goal. The lease must be held.
///
/// # Errors
/// Why the rollback is refused.
pub(crate) async fn choose(
    session: &mut Session,
    request: &RollbackRequest,
) -> Result<RollbackChoice, Error> {
    session.adopt_from_hosts().await?;
    session.permit(ServiceCommand::Rollback)?;
    goal(session, request)
}

/// Reads the files and opens the state.
///
/// # Errors
/// If either cannot be read.
pub(crate) fn open(
    env: &Arc<dyn Environment>,
    request: &RollbackRequest,
    access: StoreAccess,
) -> Result<OpenedService, Error> {
    let overrides = Overrides {
        version: None,
        set: request.set.clone(),
    };
    OpenedService::open(env, &overrides, Reading::LastKnownGood, access)
}

/// What a rollback does.
pub(crate) enum RollbackChoice {
    Rollback(Box<Goal>),
    /// The fleet runs this revision already.
    AlreadyCurrent(Revision),
}

fn goal(session: &mut Session, request: &RollbackRequest) -> Result<RollbackChoice, Error> {
    if request.to_revision.is_none() {
        check_repeated_rollback(session)?;
    }
    let target = choose_target(&session.history, request.to_revision)?.clone();
    if is_present(&session.history, &target) {
        let revision = request.to_revision.unwrap_or(target.revision);
        return Ok(RollbackChoice::AlreadyCurrent(revision));
    }
    let reason = request.reason.clone().unwrap_or_else(|| {
        if request.to_revision.is_none() && target.is_unfinished_rollback() {
            target.reason.clone()
        } else {
            format!("rollback to revision {}", target.revision)
        }
    });
    let accepted = choose_replicas(session, &target);
    let verb = Verb::Rollback;
    let goal = Goal::for_revision(session, &target, verb, reason, accepted);
    Ok(RollbackChoice::Rollback(Box::new(goal)))
}

/// Chooses the number of instances, unless the command line sets it.
fn choose_replicas(session: &mut Session, target: &RevisionRecord) -> Option<Accepted> {
    if session.has_replicas_override() {
        return None;
    }
    // Prefer the number of the latest rollout: the playbook may have the one of a failed deploy.
    let now = match session.last_replicas() {
        Some(last) => last,
        None => session.amounts().replicas,
    };
    let wanted = replicas_of_rollback(&session.history, target, now)?;
    session.set_replicas(wanted.replicas);
    wanted.note.map(|note| Accepted::Rollback { note })
}

/// Refuses a rollback without a revision if ship or a user has just rolled back.
fn check_repeated_rollback(session: &Session) -> Result<(), Error> {
    let Some(repeated) = repeated_rollback(&session.history) else {
        return Ok(());
    };
    let newest = repeated.newest;
    let journal = match session.records()?.newest_rollout_of(newest.revision) {
        Some(rollout) => session.store.lock().journal(rollout)?,
        None => Vec::new(),
    };
    let failure = RolloutSummary::of(&journal).and_then(|summary| summary.failure);
    let at = LocalClock::local().day_and_time(newest.ended.unwrap_or(newest.began));
    let message = repeated.message(failure.as_ref(), &at);
    Err(Refused::RolledBackAlready(message).into())
}
