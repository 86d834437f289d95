//! `ship unlock`: takes the lease away from a process that holds it, and makes the hosts refuse its
//! orders.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::app::environment::{Environment, FleetConnection, Reading, StoreAccess};
use crate::app::error::Error;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::ids::{ActionId, Epoch, HostId};
use crate::core::rollout::action::Action;
use crate::engine::{ActionOrder, ActionResult, preflight};
use crate::store::{Holder, ServiceKey};

/// A service that is locked, or not.
pub struct Lock {
    session: Session,
    /// Who holds the lease, alive or not.
    pub holder: Option<Holder>,
}

impl Lock {
    /// Reads who holds the lease.
    ///
    /// # Errors
    /// If the files or the state cannot be read.
    pub fn read(env: &Arc<dyn Environment>) -> Result<Self, Error> {
        let overrides = Overrides::default();
        let session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
        let holder = session
            .store
            .lease(&session.subject, session.clock.wall())?;
        Ok(Self { session, holder })
    }

    pub fn subject(&self) -> &ServiceKey {
        &self.session.subject
    }

    /// Takes the lease away. Gives the hosts that could not be told yet, and why: the next rollout
    /// tells them first.
    ///
    /// # Errors
    /// If the state cannot be written.
    pub async fn break_it(mut self) -> Result<Vec<(HostId, String)>, Error> {
        let session = &mut self.session;
        let world = session.world(session.definitions(), None);
        let found = preflight(
            &world,
            &session.hosts(),
            session.traffic().as_ref(),
            &session.definitions(),
            &*session.clock,
        )
        .await;
        let seen = found.newest_epoch();
        let epoch = session.store.break_lease(&session.subject, seen)?;
        let machines = [session.hosts(), session.balancers()].concat();
        let untold = claim_all(&world, machines, epoch).await;
        Ok(untold)
    }
}

/// Makes every host and every balancer's machine see the new epoch; those that could not be
/// reached, and why.
async fn claim_all(
    world: &Arc<dyn FleetConnection>,
    hosts: Vec<HostId>,
    epoch: Epoch,
) -> Vec<(HostId, String)> {
    let claims = hosts.into_iter().map(|host| {
        let world = Arc::clone(world);
        async move {
            let action = Action::Claim { host: host.clone() };
            match world
                .execute(ActionOrder {
                    id: ActionId(0),
                    action,
                    epoch,
                    instance: None,
                    progress_deadline: Duration::ZERO,
                })
                .await
            {
                ActionResult::Done(_) | ActionResult::Switched { .. } => None,
                ActionResult::Fenced { seen } => {
                    Some((host, format!("it has seen the newer epoch {seen}")))
                }
                ActionResult::Failed { error: why, .. }
                | ActionResult::BalancerLost { why, .. }
                | ActionResult::Busy { why }
                | ActionResult::Unknown { why } => Some((host, why)),
            }
        }
    });
    join_all(claims).await.into_iter().flatten().collect()
}
