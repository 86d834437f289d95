//! `ship status`: observes the hosts. It takes no lock and makes no changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::adoption::Adopt;
use crate::app::environment::{Environment, FleetConnection, Reading};
use crate::app::error::Error;
use crate::app::session::Session;
use crate::app::{ownership, spec};
use crate::config::Overrides;
use crate::core::fleet::Fleet;
use crate::core::fleet::owner::Owner;
use crate::core::ids::{HostId, ReleaseId};
use crate::core::journal::pending_actions::PendingActions;
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::journal::status::Status;
use crate::core::journal::status_input::StatusInput;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_state::ServiceState;
use crate::core::release::Definition;
use crate::core::rollout::event::RevisionRef;
use crate::core::time::Time;
use crate::engine::Preflight;
use crate::store::{Freeze, Holder, Request, StoreAccess};

/// Observes the fleet, once or repeatedly.
pub struct Observer {
    env: Arc<dyn Environment>,
    session: Session,
    definitions: BTreeMap<ReleaseId, Definition>,
    connection: Arc<dyn FleetConnection>,
}

/// The status of a service.
pub struct ServiceStatus {
    pub status: Status,
    /// The newest rollout.
    pub summary: Option<RolloutSummary>,
    /// The controller that carries out a rollout now.
    pub holder: Option<Holder>,
    /// The latest request to that controller.
    pub request: Option<Request>,
    /// The freeze in effect now.
    pub freeze: Option<Freeze>,
    /// The contract migrations that wait for `ship migrate`.
    pub contracts_due: Vec<String>,
    /// Who deployed last, if it was not from here.
    pub elsewhere: Option<Owner>,
    pub now: Time,
}

impl Observer {
    /// Reads the files and opens the state.
    ///
    /// # Errors
    /// If either cannot be read.
    pub fn open(env: &Arc<dyn Environment>) -> Result<Self, Error> {
        let overrides = Overrides::default();
        let session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Read)?;
        let definitions = session.definitions();
        let connection = session.connect(definitions.clone(), None)?;
        Ok(Self {
            env: Arc::clone(env),
            session,
            definitions,
            connection,
        })
    }

    /// Reads what other processes have recorded since. If there is a new release, reads the files
    /// again, because they may have changed with it.
    ///
    /// # Errors
    /// If the files or the state cannot be read.
    pub fn refresh(&mut self) -> Result<(), Error> {
        self.session.read_history()?;
        let definitions = self.session.definitions();
        if definitions.keys().eq(self.definitions.keys()) {
            return Ok(());
        }
        *self = Self::open(&self.env)?;
        Ok(())
    }

    /// Observes the hosts.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub async fn observe(&mut self) -> Result<ServiceStatus, Error> {
        let (found, adopted) = self.session.observe(&mut self.connection).await?;
        self.session
            .record_adoptions(&found, &adopted, Adopt::Show)?;
        self.definitions = self.session.definitions();
        let session = &self.session;
        let newest = NewestRollout::of(session);
        let now = session.now();
        Ok(ServiceStatus {
            status: self.status(&found, &newest, now)?,
            summary: newest.summary,
            holder: newest.holder,
            request: newest.request,
            freeze: session.records.active_freeze().cloned(),
            contracts_due: pending_contracts(session),
            elsewhere: session.latest_deploy_elsewhere(&found.owners),
            now,
        })
    }

    /// The status according to the observation and the newest rollout.
    fn status(
        &self,
        found: &Preflight,
        newest: &NewestRollout,
        now: Time,
    ) -> Result<Status, Error> {
        let (session, summary) = (&self.session, newest.summary.as_ref());
        let mut spec = spec::spec(session, &self.definitions, None)?;
        if let Some(summary) = summary {
            // The number of the latest rollout, which may come from the command line.
            spec.budget.replicas = summary.replicas;
            spec.budget.unavailable = spec.budget.unavailable.min(summary.replicas);
        }
        let is_running = newest.holder.is_some();
        let versions = self
            .definitions
            .iter()
            .map(|(id, definition)| (id.clone(), definition.version.clone()))
            .collect();
        let mut holds = drain_reasons(session, &found.fleet);
        holds.extend(ownership::wait_reasons(session, found));
        let status = StatusInput {
            service: &session.service_key.service,
            fleet_name: &session.service_key.fleet,
            hosts: &session.addresses(),
            fleet: &found.fleet,
            versions: &versions,
            target: target(session, summary, is_running).as_ref(),
            budget: spec.budget,
            min_ready: spec.min_ready,
            thresholds: &spec.thresholds,
            without_ports: &spec.without_ports,
            traffic: spec.traffic.as_ref(),
            service_state: ServiceState::of(summary, is_running),
            pending: &newest.pending,
            failed_hosts: summary.map_or(&[], |summary| &summary.failed_hosts),
            holds: &holds,
            now,
        }
        .status();
        Ok(status)
    }
}

/// The newest rollout and its controller.
struct NewestRollout {
    holder: Option<Holder>,
    summary: Option<RolloutSummary>,
    request: Option<Request>,
    /// The actions that the controller is carrying out.
    pending: PendingActions,
}

impl NewestRollout {
    fn of(session: &Session) -> Self {
        let holder = session.records.holder(&session.env.machine()).cloned();
        let newest = session.newest.as_ref();
        let summary = newest.and_then(|newest| RolloutSummary::of(&newest.journal));
        let mut pending = PendingActions::default();
        if holder.is_some() {
            for entry in newest.iter().flat_map(|newest| &newest.journal) {
                pending.apply(entry);
            }
        }
        let is_open = summary
            .as_ref()
            .is_some_and(|summary| summary.outcome.is_none());
        let request = newest.and_then(|newest| newest.request.clone());
        let request = request.filter(|_| is_open && holder.is_some());
        Self {
            holder,
            summary,
            request,
            pending,
        }
    }
}

/// The wait reasons of hosts with `drain = true`.
fn drain_reasons(session: &Session, fleet: &Fleet) -> BTreeMap<HostId, WaitReason> {
    let drained = session
        .project
        .inventory
        .hosts
        .iter()
        .filter(|host| host.drain);
    let reason = |host: &HostId| {
        let is_empty = fleet
            .hosts
            .get(host)
            .is_none_or(|seen| seen.instances().next().is_none());
        if is_empty {
            WaitReason::Drained
        } else {
            WaitReason::ToDrain
        }
    };
    drained
        .map(|host| (host.name.clone(), reason(&host.name)))
        .collect()
}

/// The pending contract migrations of the current revision.
fn pending_contracts(session: &Session) -> Vec<String> {
    let history = &session.history;
    let proven = history
        .current()
        .filter(|current| history.is_proven(&current.release));
    let due = proven.map(|current| history.contracts_due(&current.definition));
    due.unwrap_or_default()
        .into_iter()
        .map(|task| task.name)
        .collect()
}

/// The target of a running rollout, else the current revision of the fleet.
fn target(
    session: &Session,
    summary: Option<&RolloutSummary>,
    is_running: bool,
) -> Option<RevisionRef> {
    let under_way = summary.filter(|summary| is_running && summary.outcome.is_none());
    under_way
        .map(|summary| summary.target.clone())
        .or_else(|| session.history.current().map(RevisionRecord::revision_ref))
}
