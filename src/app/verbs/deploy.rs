//! `ship deploy`: rolls out a version.

use std::sync::Arc;
use std::time::Duration;

use crate::app::after_rollout::{self, RunSummary};
use crate::app::conclusion::Conclusion;
use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Refused};
use crate::app::exit::Exit;
use crate::app::goal::Goal;
use crate::app::notice::Notice;
use crate::app::opened_service::OpenedService;
use crate::app::release::Release;
use crate::app::session::{Session, history_of};
use crate::app::sudo_password::sudo_password;
use crate::app::{channels, rollout, unattended};
use crate::config::Overrides;
use crate::core::policy::continuation::{Continuation, stopped_rollout};
use crate::core::policy::rollback::check_contracts;
use crate::core::policy::service_state::ServiceCommand;
use crate::core::policy::unattended::{Resolution, RunMode};
use crate::core::rollout::verb::Verb;
use crate::store::StoreAccess;

#[derive(Clone, Debug, Default)]
pub struct DeployRequest {
    pub overrides: Overrides,
    pub reason: Option<String>,
    pub mode: RunMode,
    /// How long to wait for the lease.
    pub lock_timeout: Duration,
}

/// Rolls out a version. An unattended deploy sends notifications even if it is refused.
///
/// # Errors
/// Why there was no rollout, or it did not end.
pub async fn deploy(
    env: &Arc<dyn Environment>,
    request: DeployRequest,
) -> Result<Conclusion, Error> {
    let (overrides, mode) = (request.overrides.clone(), request.mode);
    let concluded = Box::pin(conclude(env, request)).await;
    if mode.unattended {
        Box::pin(publish(env, &overrides, &concluded)).await;
    }
    concluded
}

async fn conclude(env: &Arc<dyn Environment>, request: DeployRequest) -> Result<Conclusion, Error> {
    let mut opened = OpenedDeploy::open(env, request).await?;
    opened.take_lease().await?;
    let (mut session, decision) = opened.decide().await?;
    match decision {
        Decision::RollOut(goal) => Ok(rollout::carry_out(&mut session, *goal)
            .await?
            .with_exit_of(Verb::Deploy)),
        Decision::Skip(conclusion) => Ok(conclusion),
        Decision::RollBack(continuation) => roll_back_unfinished(&mut session, continuation).await,
    }
}

/// A deploy whose files and artifact are ready.
pub(crate) struct OpenedDeploy {
    pub(crate) service: OpenedService,
    release: Release,
    reason: Option<String>,
    request: DeployRequest,
}

/// What a deploy does, according to the history.
pub(crate) enum Decision {
    RollOut(Box<Goal>),
    /// An unattended deploy does nothing.
    Skip(Conclusion),
    /// An unattended deploy rolls back an unfinished rollout first.
    RollBack(Continuation),
}

impl OpenedDeploy {
    /// Reads the files, opens the state, and gets the artifact.
    ///
    /// # Errors
    /// If something is invalid or not available, or no deploy is permitted now.
    pub(crate) async fn open(
        env: &Arc<dyn Environment>,
        mut request: DeployRequest,
    ) -> Result<Self, Error> {
        let overrides = std::mem::take(&mut request.overrides);
        let resolved = channels::resolve(env, overrides).await?;
        let service = OpenedService::open(
            env,
            &resolved.overrides,
            Reading::Strict,
            StoreAccess::Write,
        )?;
        unattended::permit_now(&service, request.mode)?;
        sudo_password(&**env, &service.project.inventory, request.mode)?;
        let held = history_of(&service.records()?).expected_artifact().cloned();
        let release = env
            .prepare_release(&service.project, &service.state_dir, held.as_ref())
            .await?;
        let reason = request.reason.take().or_else(|| resolved.reason());
        Ok(Self {
            service,
            release,
            reason,
            request,
        })
    }

    /// Takes the lease.
    ///
    /// # Errors
    /// If another process holds it.
    async fn take_lease(&mut self) -> Result<(), Error> {
        let wait = self.request.lock_timeout;
        let (service, run) = self.lease();
        service.take_lease_within(&run, wait).await
    }

    /// The service whose lease is needed, and the command for which it is taken.
    pub(crate) fn lease(&mut self) -> (&mut OpenedService, String) {
        let run = format!("deploy {}", self.release.definition.version);
        (&mut self.service, run)
    }

    /// Reads the history and decides what to do.
    ///
    /// # Errors
    /// Why the deploy is refused.
    pub(crate) async fn decide(self) -> Result<(Session, Decision), Error> {
        let (release, mode) = (self.release, self.request.mode);
        let version = release.definition.version.clone();
        let mut session = Session::load(self.service)?;
        session.mode = mode;
        session.adopt_from_hosts().await?;
        session.permit(ServiceCommand::Deploy)?;
        check_past_contract(&session, &release)?;
        let resolution = if mode.unattended {
            unattended::resolve(&session, &release.id)?
        } else {
            Resolution::Go
        };
        let decision = match resolution {
            Resolution::Go => Decision::RollOut(Box::new(goal(&session, release, self.reason))),
            Resolution::Skip { why } => Decision::Skip(Conclusion::Skipped {
                at: session.now(),
                service_key: session.service_key.clone(),
                version,
                why,
            }),
            Resolution::Refuse { why } => return Err(Refused::NotPermitted(why).into()),
            Resolution::ResumeRollback => Decision::RollBack(Continuation::Resume),
            Resolution::Abort => Decision::RollBack(Continuation::RollBack {
                by: "[unattended] on_interrupted = \"abort\"".to_owned(),
            }),
        };
        Ok((session, decision))
    }
}

/// Rolls back an unfinished rollout.
async fn roll_back_unfinished(
    session: &mut Session,
    continuation: Continuation,
) -> Result<Conclusion, Error> {
    let (rollout, _) = stopped_rollout(&session.history)?;
    let (verb, version) = (rollout.verb, rollout.goal.version.clone());
    session.env.notify(&Notice::Unfinished { verb, version });
    let goal = Goal::for_stopped_rollout(session, continuation, None)?;
    Ok(rollout::carry_out(session, goal).await?.with_exit_of(verb))
}

/// Refuses to deploy an older release to which a rollback would be refused, because a contract
/// migration has run since.
fn check_past_contract(session: &Session, release: &Release) -> Result<(), Error> {
    match session.history.newest_of(&release.id) {
        Some(record) if !session.mode.force => Ok(check_contracts(&session.history, record)?),
        _ => Ok(()),
    }
}

/// The goal of a deploy of a release.
pub fn goal(session: &Session, release: Release, reason: Option<String>) -> Goal {
    let playbook = std::fs::read_to_string(&session.project.playbook.path).unwrap_or_default();
    let reason = reason.unwrap_or_else(|| format!("deploy {}", release.definition.version));
    Goal {
        release,
        verb: Verb::Deploy,
        reason,
        playbook,
        continuation: None,
        accepted: None,
    }
}

/// Publishes a run without a rollout. If the files are invalid, the recipients are not known.
async fn publish(
    env: &Arc<dyn Environment>,
    overrides: &Overrides,
    concluded: &Result<Conclusion, Error>,
) {
    let end = match concluded {
        Ok(Conclusion::NothingToDo { version, .. }) => RunSummary::Skipped {
            version: version.clone(),
            exit: Exit::Done,
            why: "it is already deployed".to_owned(),
        },
        Ok(Conclusion::Skipped { version, why, .. }) => RunSummary::Skipped {
            version: version.clone(),
            exit: Exit::Done,
            why: why.clone(),
        },
        Ok(_) => return,
        Err(error) => RunSummary::Refused {
            version: None,
            exit: error.exit(),
            message: error.to_string(),
        },
    };
    let session = Session::open(env, overrides, Reading::Strict, StoreAccess::Write);
    if let Ok(session) = session {
        after_rollout::publish(&session, end).await;
    }
}
