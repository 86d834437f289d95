//! The session of a verb: the files, the state and the history of a service.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::environment::{DeployedState, Environment, FleetConnection, Operator, Reading};
use super::error::{Error, Refused};
use super::opened_service::{OpenedService, service_state};
use crate::config::{Overrides, Project};
use crate::core::ids::{HostId, ReleaseId, Revision};
use crate::core::journal::placements::Placements;
use crate::core::policy::rollback::RollbackRefusal;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::policy::service_state::{ServiceCommand, ServiceState};
use crate::core::policy::unattended::RunMode;
use crate::core::release::{Artifact, Definition};
use crate::core::rollout::event::{Entry, RolloutStart};
use crate::core::time::Time;
use crate::engine::{Clock, Preflight};
use crate::report::Versions;
use crate::store::{
    ControlRequest, Freeze, Request, RevisionRecord, RolloutId, ServiceKey, ServiceRecords,
    StateDir, Store, StoreAccess, StoreHandle,
};

/// The files, the state and the history of a service, owned by one verb.
pub struct Session {
    pub env: Arc<dyn Environment>,
    pub project: Project,
    /// Absolute path of the inventory.
    pub inventory: PathBuf,
    pub state_dir: StateDir,
    pub service_key: ServiceKey,
    /// The state. Dropping it releases the lease.
    pub store: StoreHandle,
    /// The records of the service when the history was read.
    pub(super) records: ServiceRecords,
    /// The newest rollout at that time.
    pub(super) newest: Option<LoadedRollout>,
    /// The random id of the history in the store.
    pub(super) history_id: String,
    pub clock: Arc<dyn Clock>,
    pub history: ServiceHistory,
    /// The overrides from the command line.
    pub(super) set: Vec<String>,
    /// Definitions of releases that only the hosts keep, not the history.
    pub(super) host_definitions: BTreeMap<ReleaseId, Definition>,
    /// Archives made from the files of releases on hosts, in the directory of the artifacts.
    pub(super) recovered: BTreeMap<ReleaseId, Artifact>,
    /// An earlier observation of the hosts, which the rest of the verb uses.
    pub(super) observed_fleet: Option<ObservedFleet>,
    /// The number of instances that `ship scale` requests.
    pub(super) scale: Option<u32>,
    /// The number of instances that replaces the one in the files: the number of the rollback
    /// target, or the current one.
    pub(super) replicas: Option<u32>,
    pub(super) mode: RunMode,
}

/// A rollout as it was when the history was read.
pub(super) struct LoadedRollout {
    pub(super) journal: Vec<Entry>,
    /// The latest request to its controller.
    pub(super) request: Option<Request>,
}

/// The connections to the hosts and what was observed there.
pub struct ObservedFleet {
    pub connection: Arc<dyn FleetConnection>,
    pub preflight: Preflight,
}

impl Session {
    /// Reads the files and opens the state.
    ///
    /// # Errors
    /// If either cannot be read.
    pub fn open(
        env: &Arc<dyn Environment>,
        overrides: &Overrides,
        reading: Reading,
        access: StoreAccess,
    ) -> Result<Self, Error> {
        Self::load(OpenedService::open(env, overrides, reading, access)?)
    }

    /// Reads the files, opens the state and takes the lease. Waits up to `lock_timeout` for another
    /// process to release it.
    ///
    /// # Errors
    /// If the files or the state cannot be read, or another process still holds the lease.
    pub(crate) async fn open_locked(
        env: &Arc<dyn Environment>,
        overrides: &Overrides,
        reading: Reading,
        (run, lock_timeout): (&str, Duration),
    ) -> Result<Self, Error> {
        let mut service = OpenedService::open(env, overrides, reading, StoreAccess::Write)?;
        service.take_lease_within(run, lock_timeout).await?;
        Self::load(service)
    }

    /// Reads the history of a service. A verb that needs the lease must take it before, because
    /// until then another process may change the history.
    pub(crate) fn load(service: OpenedService) -> Result<Self, Error> {
        let records = service.records()?;
        service.report_unshared_history(&records);
        let OpenedService {
            env,
            project,
            inventory,
            state_dir,
            service_key,
            store,
            clock,
            set,
        } = service;
        let history_id = store.lock().history_id();
        let mut session = Self {
            env,
            project,
            inventory,
            state_dir,
            service_key,
            store,
            records: ServiceRecords::default(),
            newest: None,
            history_id,
            clock,
            history: ServiceHistory::default(),
            set,
            host_definitions: BTreeMap::new(),
            recovered: BTreeMap::new(),
            observed_fleet: None,
            scale: None,
            replicas: None,
            mode: RunMode::default(),
        };
        session.set_history(records)?;
        Ok(session)
    }

    /// Continues as a part of a deployment, which holds the lease.
    pub(crate) fn join_deployment(&mut self, env: &Arc<dyn Environment>) {
        self.env = Arc::clone(env);
        self.store = self.store.lend_lease();
    }

    /// A revision whose rollout may not have begun.
    pub(crate) fn planned_record(&self, revision: Revision) -> Result<RevisionRecord, Error> {
        let planned = self.records.planned(revision);
        planned.ok_or_else(|| RollbackRefusal::UnknownRevision(revision).into())
    }

    /// The hosts' addresses, in the inventory's order.
    pub fn addresses(&self) -> Vec<(HostId, String)> {
        self.project
            .inventory
            .hosts
            .iter()
            .map(|host| (host.name.clone(), host.address.clone()))
            .collect()
    }

    /// The hosts that the command of `[hosts_from]` printed.
    pub(crate) fn hosts_from(&self) -> Option<&serde_json::Value> {
        let from = self.project.inventory.hosts_from.as_ref()?;
        from.printed.as_ref()
    }

    pub fn operator(&self) -> Operator {
        self.env.operator()
    }

    /// Reads the history again.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn read_history(&mut self) -> Result<(), Error> {
        let records = self.records()?;
        self.set_history(records)
    }

    fn set_history(&mut self, records: ServiceRecords) -> Result<(), Error> {
        self.newest = match records.newest_rollout() {
            Some(id) => {
                let (journal, request) = self.store.lock().journal_and_request(id)?;
                Some(LoadedRollout { journal, request })
            }
            None => None,
        };
        let newest = self.newest.as_ref();
        let journal = newest.map_or(&[][..], |newest| &newest.journal);
        self.history = history_of(&records).with_newest(journal);
        self.records = records;
        Ok(())
    }

    /// All records of the service except its journals.
    pub(crate) fn records(&self) -> Result<ServiceRecords, Error> {
        Ok(self.store.lock().service(&self.service_key)?)
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The freeze in effect now.
    pub(crate) fn active_freeze(&self) -> Result<Option<Freeze>, Error> {
        Ok(self.records()?.active_freeze().cloned())
    }

    pub(crate) fn newest_rollout(&self) -> Result<Option<RolloutId>, Error> {
        Ok(self.records()?.newest_rollout())
    }

    /// The newest rollout and its journal.
    pub(crate) fn newest_journal(&self) -> Result<Option<(RolloutId, Vec<Entry>)>, Error> {
        let Some(newest) = self.newest_rollout()? else {
            return Ok(None);
        };
        Ok(Some((newest, self.store.lock().journal(newest)?)))
    }

    /// The placements according to the journals of all rollouts, or of those before one.
    pub(crate) fn placements(&self, before: Option<RolloutId>) -> Result<Placements, Error> {
        let rollouts = self.records()?.rollouts().into_iter();
        let earlier: Vec<_> = rollouts
            .map(|rollout| rollout.id)
            .take_while(|id| Some(*id) != before)
            .collect();
        let journals = self.store.lock().journals(&earlier)?;
        Ok(Placements::of(journals.iter().flatten()))
    }

    /// # Errors
    /// If the state cannot be read.
    pub fn state(&self) -> Result<ServiceState, Error> {
        service_state(&*self.env, &**self.store.lock(), &self.service_key)
    }

    /// Refuses a command that the state of the service does not permit. The lease must be held, so
    /// that the state cannot change.
    ///
    /// # Errors
    /// Why the command is not permitted.
    pub fn permit(&self, command: ServiceCommand) -> Result<ServiceState, Error> {
        let state = self.history.state();
        match state.refusal(command, &self.service_key.service) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(state),
        }
    }

    /// Sends a request to the controller of a rollout.
    pub(crate) fn send_request(
        &mut self,
        rollout: RolloutId,
        command: ControlRequest,
    ) -> Result<(), Error> {
        let by = self.operator().to_string();
        Ok(self
            .store
            .lock()
            .send_request(rollout, &Request { command, by })?)
    }

    /// The current revision of the fleet.
    pub(crate) fn current_record(&self) -> Result<&RevisionRecord, Error> {
        self.history
            .current()
            .ok_or_else(|| Refused::NothingDeployed.into())
    }

    /// Reads how the newest rollout was started, even if the files are valid only together with the
    /// overrides that it was started with.
    ///
    /// # Errors
    /// If the files or the state cannot be read.
    pub fn last_start(env: &Arc<dyn Environment>) -> Result<LastStart, Error> {
        if let Some(DeployedState { service_key, store }) = env.open_deployed_state()? {
            return LastStart::read(&**env, &**store.lock(), &service_key);
        }
        let any = Overrides::any_version();
        let session = Self::open(env, &any, Reading::LastKnownGood, StoreAccess::Read)?;
        LastStart::read(&**env, &**session.store.lock(), &session.service_key)
    }

    /// The releases of the history, and those that only the hosts keep.
    pub fn definitions(&self) -> BTreeMap<ReleaseId, Definition> {
        let own = self
            .history
            .revisions
            .iter()
            .map(|record| (record.release.clone(), record.definition.clone()));
        self.host_definitions
            .clone()
            .into_iter()
            .chain(own)
            .collect()
    }

    pub fn versions(&self) -> Versions {
        let versions = self
            .definitions()
            .into_iter()
            .map(|(release, definition)| (release, definition.version));
        Versions::new(versions.collect())
    }

    pub fn hosts(&self) -> Vec<HostId> {
        self.project
            .inventory
            .hosts
            .iter()
            .map(|host| host.name.clone())
            .collect()
    }
}

/// The history without the newest journal.
pub(crate) fn history_of(records: &ServiceRecords) -> ServiceHistory {
    ServiceHistory {
        revisions: records.revisions(),
        runs: records.runs(),
        applied_migrations: records.applied_migrations(),
        contracted: records.contracted(),
        ..ServiceHistory::default()
    }
}

/// How the newest rollout was started, and the present state of the service.
pub struct LastStart {
    start: Option<RolloutStart>,
    pub state: ServiceState,
}

impl LastStart {
    fn read(
        env: &dyn Environment,
        store: &dyn Store,
        service_key: &ServiceKey,
    ) -> Result<Self, Error> {
        Ok(Self {
            start: store
                .service(service_key)?
                .runs()
                .pop()
                .map(|run| run.start),
            state: service_state(env, store, service_key)?,
        })
    }

    /// The version of the rollout. Without a rollout, a placeholder, because the files need not
    /// name a version.
    pub fn version(&self) -> String {
        self.start
            .as_ref()
            .map_or_else(|| "0".to_owned(), |start| start.target.version.clone())
    }

    /// The overrides of the rollout's command line if `include`, else none.
    pub fn overrides_if(&self, include: bool) -> impl Iterator<Item = String> {
        self.start
            .iter()
            .filter(move |_| include)
            .flat_map(|start| start.set.clone())
    }
}
