//! `ship freeze` and `ship thaw`: block new deploys, and permit them again.

use std::sync::Arc;

use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Refused};
use crate::app::opened_service::OpenedService;
use crate::config::Overrides;
use crate::core::policy::service_state::ServiceState;
use crate::core::time::Time;
use crate::store::StoreAccess;
use crate::store::{ControlRequest, Freeze, Request, ServiceKey};

pub struct Frozen {
    pub service_key: ServiceKey,
    pub freeze: Freeze,
    /// Whether a running rollout stops because of the freeze.
    pub stops_rollout: bool,
}

/// Blocks new deploys until a given time or until `ship thaw`. `until` gets the time now by the
/// clock that all operators share, and returns the end of the freeze.
///
/// # Errors
/// If the time is in the past, or the state cannot be written.
pub fn freeze<E: From<Error>>(
    env: &Arc<dyn Environment>,
    until: impl FnOnce(Time) -> Result<Option<Time>, E>,
    why: String,
) -> Result<Frozen, E> {
    let overrides = Overrides::default();
    let service = OpenedService::open(env, &overrides, Reading::WithoutHosts, StoreAccess::Write)?;
    let now = service.clock.now();
    let until = until(now)?;
    if until.is_some_and(|until| until <= now) {
        return Err(Error::from(Refused::FreezeIsOver).into());
    }
    let freeze = Freeze {
        who: service.env.operator().to_string(),
        since: now,
        until,
        why,
    };
    service
        .store
        .lock()
        .set_freeze(&service.service_key, Some(&freeze))
        .map_err(Error::from)?;
    let mut stops_rollout = false;
    if service.state()? == ServiceState::Running
        && let Some(rollout) = service.newest_rollout()?
    {
        let request = Request {
            command: ControlRequest::Freeze,
            by: freeze.to_string(),
        };
        let sent = service.store.lock().send_request(rollout, &request);
        sent.map_err(Error::from)?;
        stops_rollout = true;
    }
    Ok(Frozen {
        service_key: service.service_key,
        freeze,
        stops_rollout,
    })
}

/// Ends a freeze; returns the service, and whether it was frozen.
///
/// # Errors
/// If the state cannot be written.
pub fn thaw(env: &Arc<dyn Environment>) -> Result<(ServiceKey, bool), Error> {
    let overrides = Overrides::default();
    let service = OpenedService::open(env, &overrides, Reading::WithoutHosts, StoreAccess::Write)?;
    let was_frozen = service
        .store
        .lock()
        .set_freeze(&service.service_key, None)?;
    Ok((service.service_key, was_frozen))
}
