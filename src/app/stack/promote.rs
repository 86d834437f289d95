//! `ship promote` for a stack: continues the rollouts that wait at a step.

use std::time::Duration;

use super::conclusion::StackConclusion;
use super::continuation::resume_with;
use super::services::{StackServices, is_rolling_out, of_service};
use crate::app::error::Error;
use crate::app::notice::Accepted;
use crate::app::verbs::promote::{PromoteRequest, Promotion, promote as promote_service};
use crate::app::verbs::resume::ResumeRequest;

/// What a promotion has done.
pub enum StackPromotion {
    /// The requests were sent to the process that carries out the deployment.
    Requested(Vec<Accepted>),
    /// The deployment was stopped, and this process has continued it.
    Concluded(StackConclusion),
}

/// Promotes the rollouts that wait at a step: in their process, or in this one if it has ended.
///
/// # Errors
/// If none waits, or the deployment cannot be continued.
pub async fn promote(
    stack: &StackServices,
    request: PromoteRequest,
) -> Result<StackPromotion, Error> {
    let running: Result<Vec<_>, _> = stack.services.iter().map(is_rolling_out).collect();
    if !running?.contains(&true) {
        let resume = ResumeRequest {
            set: request.set.clone(),
            unattended: request.unattended,
            lock_timeout: Duration::ZERO,
        };
        let resumed = Box::pin(resume_with(stack, resume, Some(request))).await?;
        return Ok(StackPromotion::Concluded(resumed));
    }
    let mut accepted = Vec::new();
    let mut refused = None;
    for service in &stack.services {
        match Box::pin(promote_service(&service.env, request.clone())).await {
            Ok(Promotion::Requested(request)) => accepted.push(request),
            Ok(Promotion::Concluded(_)) => {}
            Err(error) => refused = Some(of_service(&service.name)(error)),
        }
    }
    match refused {
        Some(error) if accepted.is_empty() => Err(error),
        _ => Ok(StackPromotion::Requested(accepted)),
    }
}
