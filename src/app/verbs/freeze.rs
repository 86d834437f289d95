//! `ship freeze` and `ship thaw`: for a while nothing new is deployed.

use std::sync::Arc;

use crate::app::environment::{Environment, Reading, StoreAccess};
use crate::app::error::{Error, Refused};
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::policy::service_state::Standing;
use crate::core::time::Time;
use crate::store::{Freeze, Request, Wish};

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
    let mut session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    let now = session.now();
    if until.is_some_and(|until| until <= now) {
        return Err(Refused::FreezeIsOver.into());
    }
    let freeze = Freeze {
        who: session.operator().to_string(),
        since: now,
        until,
        why,
    };
    session.store.set_freeze(&session.subject, &freeze)?;
    let mut stops_rollout = false;
    if session.standing()? == Standing::Running
        && let Some((rollout, _)) = session.newest()?
    {
        let request = Request {
            wish: Wish::Freeze,
            by: freeze.to_string(),
        };
        session.store.ask(rollout, &request)?;
        stops_rollout = true;
    }
    Ok(Frozen {
        service: session.subject.service,
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
    let mut session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
    let was_frozen = session.store.end_freeze(&session.subject)?;
    Ok((session.subject.service, was_frozen))
}
