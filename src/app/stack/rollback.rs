//! `ship rollback` for a stack: undoes deployments.

use std::sync::Arc;
use std::time::Duration;

use super::conclusion::StackConclusion;
use super::controller::{NewDeployment, carry_out_new};
use super::preparation::{ServiceGoal, prepare};
use super::services::{
    StackServiceEnv, StackServices, deployments, deployments_of, of_service, take_leases,
};
use crate::app::conclusion::Conclusion;
use crate::app::error::{Error, Refused};
use crate::app::opened_service::OpenedService;
use crate::app::session::Session;
use crate::app::verbs::plan::DeployPlan;
use crate::app::verbs::rollback::{RollbackChoice, RollbackRequest, choose, open, preview};
use crate::core::ids::Revision;
use crate::core::rollout::verb::Verb;
use crate::core::stack::{DeploymentNumber, OnStackFailure, rollback_targets};
use crate::store::StoreAccess;

#[derive(Clone, Debug, Default)]
pub struct StackRollbackRequest {
    /// The deployment whose revisions run afterwards; by default the one before the last.
    pub to_deployment: Option<DeploymentNumber>,
    /// Overrides from the command line.
    pub set: Vec<String>,
    pub reason: Option<String>,
    /// How long to wait for each lease.
    pub lock_timeout: Duration,
}

impl StackRollbackRequest {
    /// The request for one service.
    fn of_service(&self, target: Revision, reason: Option<String>) -> RollbackRequest {
        RollbackRequest {
            to_revision: Some(target),
            set: self.set.clone(),
            reason,
            lock_timeout: self.lock_timeout,
        }
    }
}

/// Takes every service that the last deployment changed back to its earlier revision, in the reverse
/// order.
///
/// # Errors
/// Why no instance was changed.
pub async fn rollback(
    stack: &StackServices,
    request: StackRollbackRequest,
) -> Result<StackConclusion, Error> {
    let any = RollbackRequest::default();
    let mut opened = Vec::new();
    for service in &stack.services {
        let opened_service = open(&service.env, &any, StoreAccess::Write);
        opened.push((service, opened_service.map_err(of_service(&service.name))?));
    }
    let leases = opened.iter_mut();
    let leases = leases.map(|(_, opened)| (opened, "rollback".to_owned()));
    take_leases(leases.collect(), request.lock_timeout).await?;
    let names: Vec<_> = stack.services.iter().map(|it| it.name.as_str()).collect();
    let deployments = match opened.first() {
        Some((_, first)) => deployments_of(first, &names)?,
        None => Vec::new(),
    };
    let targets = rollback_targets(&deployments, request.to_deployment);
    let targets = targets.map_err(|refusal| Refused::NotPermitted(refusal.to_string()))?;
    let reason = request
        .reason
        .clone()
        .unwrap_or_else(|| targets.reason.clone());
    let mut goals = Vec::new();
    let reversed = reversed(stack);
    for (service, opened) in opened {
        let target = targets.services.get(&service.name);
        goals.push(goal(service, opened, target, &request, &reason).await?);
    }
    let ready = Box::pin(prepare(&reversed, goals)).await?;
    let new = NewDeployment {
        verb: Verb::Rollback,
        reason,
        on_failure: OnStackFailure::Hold,
    };
    Box::pin(carry_out_new(stack, new, ready)).await
}

/// Simulates a rollback of each service that it would change, in the order of the rollouts. Makes no
/// changes.
///
/// # Errors
/// Why the rollback would be refused.
pub async fn preview_rollback(
    stack: &StackServices,
    request: StackRollbackRequest,
) -> Result<Vec<DeployPlan>, Error> {
    let targets = rollback_targets(&deployments(stack)?, request.to_deployment);
    let targets = targets.map_err(|refusal| Refused::NotPermitted(refusal.to_string()))?;
    let mut plans = Vec::new();
    for service in stack.services.iter().rev() {
        let Some(target) = targets.services.get(&service.name) else {
            continue;
        };
        let request = request.of_service(*target, request.reason.clone());
        let planned = Box::pin(preview(&service.env, request)).await;
        plans.extend(planned.map_err(of_service(&service.name))?.ok());
    }
    Ok(plans)
}

async fn goal(
    service: &StackServiceEnv,
    opened: OpenedService,
    target: Option<&Revision>,
    request: &StackRollbackRequest,
    reason: &str,
) -> Result<(Session, ServiceGoal), Error> {
    let mut session = Session::load(opened)?;
    let current = session.history.current().map(|current| current.revision);
    let Some(target) = target else {
        let unchanged = Conclusion::AlreadyCurrent(current.unwrap_or_default());
        return Ok((session, ServiceGoal::Unchanged(unchanged)));
    };
    if session.history.revision(*target).is_none() {
        let why = format!(
            "service `{}` has no revision {target} in its history\nhint: use a later deployment; `ship \
             history` lists them",
            service.name
        );
        return Err(Refused::NotPermitted(why).into());
    }
    let request = request.of_service(*target, Some(reason.to_owned()));
    let chosen = choose(&mut session, &request).await;
    let goal = match chosen.map_err(of_service(&service.name))? {
        RollbackChoice::Rollback(goal) => ServiceGoal::RollOut(goal),
        RollbackChoice::AlreadyCurrent(revision) => {
            ServiceGoal::Unchanged(Conclusion::AlreadyCurrent(revision))
        }
    };
    Ok((session, goal))
}

/// The services with the reverse order, which keeps their position.
fn reversed(stack: &StackServices) -> Vec<StackServiceEnv> {
    let dependents = |name: &String| {
        let all = stack.services.iter();
        let dependents = all.filter(|other| other.after.contains(name));
        dependents.map(|other| other.name.clone()).collect()
    };
    stack
        .services
        .iter()
        .map(|service| StackServiceEnv {
            name: service.name.clone(),
            after: dependents(&service.name),
            env: Arc::clone(&service.env),
        })
        .collect()
}
