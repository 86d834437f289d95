//! Starts the availability monitor before a rollout makes any change.

use std::sync::Arc;

use super::error::{Error, Internal, Refused};
use super::goal::Goal;
use super::session::Session;
use super::survey::Survey;
use crate::core::rollout::verb::Verb;
use crate::probe::Monitor;

/// Requests that may fail although instances are ready, before ship rejects the URL.
const ATTEMPTS: u64 = 3;

/// Starts the monitor, if one is configured. Refuses a new rollout if instances are ready but the
/// URL does not respond, because then it is not the URL of the service.
pub(crate) async fn start(
    session: &Session,
    survey: &Survey,
    goal: &Goal,
) -> Result<Option<Monitor>, Error> {
    // A service with 0 replicas is not expected to respond.
    let config = session
        .project
        .playbook
        .monitor
        .clone()
        .filter(|_| survey.admission.spec.budget.replicas > 0);
    let Some(config) = config else {
        return Ok(None);
    };
    let known = survey
        .definitions
        .values()
        .map(|definition| definition.version.clone())
        .collect();
    let (url, clock) = (config.url.clone(), Arc::clone(&session.clock));
    let monitor = Monitor::start(config, known, Arc::new(move || clock.now())).map_err(|why| {
        Internal::NoMonitor {
            url: url.clone(),
            why,
        }
    })?;
    let ready = survey
        .preflight
        .fleet
        .instances()
        .filter(|(.., instance)| instance.health.ready_since.is_some())
        .count();
    // Other rollouts do not require a response, because they may be what repairs the service.
    let is_new = goal.continuation.is_none() && matches!(goal.verb, Verb::Deploy | Verb::Restart);
    if is_new && ready > 0 {
        monitor
            .wait_for_first_success(ATTEMPTS)
            .await
            .map_err(|why| Refused::MonitorFails {
                ready,
                attempts: ATTEMPTS,
                url,
                why,
            })?;
    }
    Ok(Some(monitor))
}
