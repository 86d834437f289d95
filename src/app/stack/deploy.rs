//! `ship deploy` for a stack.

use std::time::Duration;

use super::conclusion::StackConclusion;
use super::continuation::{abort, resume, unfinished_deployment};
use super::controller::{NewDeployment, carry_out_new};
use super::notification::publish_run;
use super::preparation::{ServiceGoal, prepare};
use super::services::{StackServices, of_service, take_leases};
use crate::app::after_rollout::RunSummary;
use crate::app::conclusion::Conclusion;
use crate::app::error::{Error, Refused};
use crate::app::exit::Exit;
use crate::app::verbs::abort::AbortRequest;
use crate::app::verbs::deploy::{Decision, DeployRequest, OpenedDeploy};
use crate::app::verbs::resume::ResumeRequest;
use crate::config::StackOverrides;
use crate::core::policy::unattended::RunMode;
use crate::core::rollout::verb::Verb;
use crate::core::stack::{StackResolution, resolve_unfinished};

#[derive(Clone, Debug, Default)]
pub struct StackDeployRequest {
    pub overrides: StackOverrides,
    pub reason: Option<String>,
    pub mode: RunMode,
    /// How long to wait for each lease.
    pub lock_timeout: Duration,
}

/// Rolls out the services of a stack, each after those that it names in `after`. If one fails, the
/// others roll back. An unattended deploy first finishes or undoes an unfinished deployment, and
/// sends notifications even if it is refused.
///
/// # Errors
/// Why no instance was changed.
pub async fn deploy(
    stack: &StackServices,
    request: StackDeployRequest,
) -> Result<StackConclusion, Error> {
    let (overrides, mode) = (request.overrides.clone(), request.mode);
    let concluded = Box::pin(conclude(stack, request)).await;
    if let Some(end) = run_without_deployment(&concluded).filter(|_| mode.unattended) {
        Box::pin(publish_run(stack, &overrides, &end)).await;
    }
    concluded
}

/// The summary of a run that made no deployment.
fn run_without_deployment(concluded: &Result<StackConclusion, Error>) -> Option<RunSummary> {
    let conclusion = match concluded {
        Ok(conclusion) if conclusion.deployment.is_some() => return None,
        Ok(conclusion) => conclusion,
        Err(error) => {
            return Some(RunSummary::Refused {
                version: None,
                exit: error.exit(),
                message: error.to_string(),
            });
        }
    };
    let why = conclusion.unchanged.iter().find_map(|it| match it {
        Conclusion::Skipped { version, why, .. } => Some((version.clone(), why.clone())),
        _ => None,
    });
    let already = || {
        let versions = conclusion.unchanged.iter().find_map(|it| match it {
            Conclusion::NothingToDo { version, .. } => Some(version.clone()),
            _ => None,
        });
        let why = "every service is already deployed".to_owned();
        (versions.unwrap_or_default(), why)
    };
    let (version, why) = why.unwrap_or_else(already);
    Some(RunSummary::Skipped {
        version,
        exit: conclusion.exit,
        why,
    })
}

async fn conclude(
    stack: &StackServices,
    request: StackDeployRequest,
) -> Result<StackConclusion, Error> {
    let opened = open(stack, &request).await?;
    match resolve(&opened, request.mode)? {
        StackResolution::Go => Box::pin(begin(stack, request, opened)).await,
        StackResolution::Refuse { why, is_temporary } if is_temporary => Err(Error::NotNow(why)),
        StackResolution::Refuse { why, .. } => Err(Refused::NotPermitted(why).into()),
        // The leases are taken again for the unfinished deployment.
        StackResolution::Abort => {
            drop(opened);
            Box::pin(abort(stack, AbortRequest::default())).await
        }
        StackResolution::Resume => {
            drop(opened);
            Box::pin(resume(stack, resume_request(&request))).await
        }
        StackResolution::ResumeThenGo => {
            drop(opened);
            let resumed = Box::pin(resume(stack, resume_request(&request))).await?;
            if resumed.exit != Exit::Done {
                return Ok(resumed);
            }
            let opened = open(stack, &request).await?;
            Box::pin(begin(stack, request, opened)).await
        }
    }
}

fn resume_request(request: &StackDeployRequest) -> ResumeRequest {
    ResumeRequest {
        set: Vec::new(),
        unattended: request.mode.unattended,
        lock_timeout: request.lock_timeout,
    }
}

/// Reads the files of all services, gets their artifacts, and takes their leases.
async fn open(
    stack: &StackServices,
    request: &StackDeployRequest,
) -> Result<Vec<OpenedDeploy>, Error> {
    let mut opened = Vec::new();
    for service in &stack.services {
        let request = DeployRequest {
            overrides: request.overrides.of(&service.name),
            reason: request.reason.clone(),
            mode: request.mode,
            lock_timeout: request.lock_timeout,
        };
        let deploy = OpenedDeploy::open(&service.env, request).await;
        opened.push(deploy.map_err(of_service(&service.name))?);
    }
    let leases = opened.iter_mut().map(OpenedDeploy::lease).collect();
    take_leases(leases, request.lock_timeout).await?;
    Ok(opened)
}

/// What to do with an unfinished deployment.
fn resolve(opened: &[OpenedDeploy], mode: RunMode) -> Result<StackResolution, Error> {
    let services: Vec<_> = opened.iter().map(|opened| &opened.service).collect();
    let unfinished = unfinished_deployment(&services)?;
    let policies = services.iter();
    let policies = policies.map(|it| it.project.playbook.unattended.on_interrupted);
    let policies: Vec<_> = policies.collect();
    Ok(resolve_unfinished(unfinished.as_ref(), mode, &policies))
}

/// Begins a new deployment.
async fn begin(
    stack: &StackServices,
    request: StackDeployRequest,
    opened: Vec<OpenedDeploy>,
) -> Result<StackConclusion, Error> {
    let mut goals = Vec::new();
    for (service, opened) in stack.services.iter().zip(opened) {
        let (session, decision) = opened.decide().await.map_err(of_service(&service.name))?;
        let goal = match decision {
            Decision::RollOut(goal) => ServiceGoal::RollOut(goal),
            Decision::Skip(conclusion) => ServiceGoal::Unchanged(conclusion),
            Decision::RollBack(_) => return Err(unfinished_rollout(&service.name)),
        };
        goals.push((session, goal));
    }
    let ready = Box::pin(prepare(&stack.services, goals)).await?;
    let new = NewDeployment {
        verb: Verb::Deploy,
        reason: request.reason.unwrap_or_else(|| "deploy".to_owned()),
        on_failure: stack.on_failure,
    };
    Box::pin(carry_out_new(stack, new, ready)).await
}

/// A rollout of one service that belongs to no unfinished deployment.
fn unfinished_rollout(service: &str) -> Error {
    let why = format!(
        "the last rollout of service `{service}` is not finished\nhint: continue it with `ship resume \
         --service {service}`, or undo it with `ship abort --service {service}`"
    );
    Refused::NotPermitted(why).into()
}
