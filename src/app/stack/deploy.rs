//! `ship deploy` for a stack.

use std::time::Duration;

use super::conclusion::StackConclusion;
use super::continuation::abort;
use super::controller::{NewDeployment, carry_out_new};
use super::preparation::{ServiceGoal, prepare};
use super::services::{StackServices, of_service};
use crate::app::error::{Error, Refused};
use crate::app::verbs::deploy::{Decision, DeployRequest, OpenedDeploy};
use crate::config::StackOverrides;
use crate::core::policy::unattended::RunMode;
use crate::core::rollout::verb::Verb;

#[derive(Clone, Debug, Default)]
pub struct StackDeployRequest {
    pub overrides: StackOverrides,
    pub reason: Option<String>,
    pub mode: RunMode,
    /// How long to wait for each lease.
    pub lock_timeout: Duration,
}

/// Rolls out the services of a stack, each after those that it names in `after`. If one fails, the
/// others roll back.
///
/// # Errors
/// Why no instance was changed.
pub async fn deploy(
    stack: &StackServices,
    request: StackDeployRequest,
) -> Result<StackConclusion, Error> {
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
    take_leases(stack, &mut opened).await?;
    let mut goals = Vec::new();
    let mut unfinished = None;
    for (service, opened) in stack.services.iter().zip(opened) {
        let (session, decision) = opened.decide().await.map_err(of_service(&service.name))?;
        let goal = match decision {
            Decision::RollOut(goal) => ServiceGoal::RollOut(goal),
            Decision::Skip(conclusion) => ServiceGoal::Unchanged(conclusion),
            Decision::RollBack(_) => {
                unfinished = Some(service);
                break;
            }
        };
        goals.push((session, goal));
    }
    if let Some(service) = unfinished {
        // The leases are taken again for the unfinished deployment.
        drop(goals);
        return Box::pin(undo_unfinished(stack, &service.name)).await;
    }
    let reason = request.reason.unwrap_or_else(|| "deploy".to_owned());
    let ready = Box::pin(prepare(&stack.services, goals)).await?;
    let new = NewDeployment {
        fleet: stack.fleet.clone(),
        verb: Verb::Deploy,
        reason,
        on_failure: stack.on_failure,
    };
    Box::pin(carry_out_new(new, ready)).await
}

/// Takes the leases in the order of the names, so that two commands never wait for each other.
async fn take_leases(stack: &StackServices, opened: &mut [OpenedDeploy]) -> Result<(), Error> {
    let mut named: Vec<_> = stack.services.iter().zip(opened).collect();
    named.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    for (service, opened) in named {
        opened
            .take_lease()
            .await
            .map_err(of_service(&service.name))?;
    }
    Ok(())
}

/// Undoes the unfinished deployment, as `[unattended] on_interrupted` of a service requests.
async fn undo_unfinished(stack: &StackServices, service: &str) -> Result<StackConclusion, Error> {
    match abort(stack).await {
        Err(Error::Refused(Refused::NotPermitted(_))) => {
            let why = format!(
                "the last rollout of service `{service}` is not finished, and it is not part of an \
                 unfinished deployment\nhint: continue it with `ship resume --service {service}`, or undo \
                 it with `ship abort --service {service}`"
            );
            Err(Refused::NotPermitted(why).into())
        }
        undone => undone,
    }
}
