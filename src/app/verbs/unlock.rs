//! `ship unlock`: breaks the lease and makes the hosts reject commands of its holder.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::app::environment::{Environment, FleetConnection, Reading};
use crate::app::error::Error;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::ids::{ActionId, Epoch, HostId};
use crate::core::rollout::action::Action;
use crate::engine::{ActionOrder, ActionResult, preflight};
use crate::store::StoreAccess;
use crate::store::{Holder, ServiceKey};

/// The lease of a service.
pub struct Lock {
    session: Session,
    /// The holder of the lease, alive or not.
    pub holder: Option<Holder>,
}

impl Lock {
    /// Reads the holder of the lease.
    ///
    /// # Errors
    /// If the files or the state cannot be read.
    pub fn read(env: &Arc<dyn Environment>) -> Result<Self, Error> {
        let overrides = Overrides::default();
        let session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Write)?;
        let holder = session.records()?.lease;
        Ok(Self { session, holder })
    }

    pub fn service_key(&self) -> &ServiceKey {
        &self.session.service_key
    }

    /// Breaks the lease. Returns the hosts that could not be notified, and why; the next rollout
    /// notifies them first.
    ///
    /// # Errors
    /// If the state cannot be written.
    pub async fn break_lease(mut self) -> Result<Vec<(HostId, String)>, Error> {
        let session = &mut self.session;
        let connection = session.connect(session.definitions(), None)?;
        let found = preflight(
            &connection,
            &session.hosts(),
            session.traffic().as_ref(),
            &session.definitions(),
            &*session.clock,
        )
        .await;
        session.check_sudo_password()?;
        let seen = found.newest_epoch();
        let epoch = session
            .store
            .lock()
            .break_lease(&session.service_key, seen)?;
        let machines = [session.hosts(), session.balancers()].concat();
        Ok(claim_all(&connection, machines, epoch).await)
    }
}

/// Sends the new epoch to every host and balancer; returns those that could not be notified, and
/// why.
async fn claim_all(
    connection: &Arc<dyn FleetConnection>,
    hosts: Vec<HostId>,
    epoch: Epoch,
) -> Vec<(HostId, String)> {
    let claims = hosts.into_iter().map(|host| {
        let connection = Arc::clone(connection);
        async move {
            let action = Action::Claim { host: host.clone() };
            match connection
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
