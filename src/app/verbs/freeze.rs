//! `ship freeze` and `ship thaw`: for a while nothing new is deployed.

use std::sync::Arc;

use crate::app::environment::{Environment, Reading, StoreAccess};
use crate::app::error::{Error, Refused};
use crate::app::opened_service::OpenedService;
use crate::config::Overrides;
use crate::core::policy::service_state::ServiceState;
use crate::core::time::Time;
use crate::store::{ControlRequest, Freeze, Request};

pub struct Frozen {
    pub service: String,
    /// Who, since when, until when, why.
    pub freeze: Freeze,
    /// Whether a rollout is under way that stops because of it.
    pub stops_rollout: bool,
}

/// Lets nothing new be deployed, until a moment or until `ship thaw`.
///
/// # Errors
/// If the moment has passed, or the state cannot be written.
pub fn freeze(
    env: &Arc<dyn Environment>,
    until: Option<Time>,
    why: String,
) -> Result<Frozen, Error> {
    let overrides = Overrides::default();
    let mut service =
        OpenedService::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    let now = service.clock.now();
    if until.is_some_and(|until| until <= now) {
        return Err(Refused::FreezeIsOver.into());
    }
    let freeze = Freeze {
        who: service.env.operator().to_string(),
        since: now,
        until,
        why,
    };
    service.store.set_freeze(&service.subject, &freeze)?;
    let mut stops_rollout = false;
    if service.standing()? == ServiceState::Running
        && let Some(rollout) = service.newest_rollout()?
    {
        let request = Request {
            command: ControlRequest::Freeze,
            by: freeze.to_string(),
        };
        service.store.send_request(rollout, &request)?;
        stops_rollout = true;
    }
    Ok(Frozen {
        service: service.subject.service,
        freeze,
        stops_rollout,
    })
}

/// Ends a freeze; gives the service, and whether it was frozen.
///
/// # Errors
/// If the state cannot be written.
pub fn thaw(env: &Arc<dyn Environment>) -> Result<(String, bool), Error> {
    let overrides = Overrides::default();
    let mut service =
        OpenedService::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    let was_frozen = service.store.end_freeze(&service.subject)?;
    Ok((service.subject.service, was_frozen))
}
