//! What the verbs share: the files, the state, and the spec made of both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::environment::{
    DeployedState, Environment, FleetConnection, Operator, Reading, StoreAccess,
};
use super::error::{Error, Refused};
use super::opened_service::{OpenedService, active_freeze, holder, newest_rollout, standing};
use crate::config::{Overrides, Project};
use crate::core::ids::{HostId, ReleaseId};
use crate::core::journal::placements::Placements;
use crate::core::policy::service_history::ServiceHistory;
use crate::core::policy::service_state::{ServiceCommand, ServiceState};
use crate::core::policy::unattended::RunMode;
use crate::core::release::Definition;
use crate::core::rollout::event::{Entry, RolloutStart};
use crate::core::time::Time;
use crate::engine::{Clock, Preflight};
use crate::report::Versions;
use crate::store::{
    ControlRequest, Freeze, Holder, Request, RevisionRecord, RolloutId, ServiceKey, StateDir, Store,
};

/// The files and their state, in the hands of one verb.
pub struct Session {
    pub env: Arc<dyn Environment>,
    pub project: Project,
    /// Where the inventory lies: an absolute path.
    pub inventory: PathBuf,
    pub place: StateDir,
    pub subject: ServiceKey,
    /// The state. A lease that it holds is given back when it is dropped.
    pub store: Box<dyn Store>,
    /// The random id of the history in the store.
    pub(super) history_id: String,
    pub clock: Arc<dyn Clock>,
    /// What the state says of the service.
    pub history: ServiceHistory,
    /// What the command line has set.
    pub(super) set: Vec<String>,
    /// Releases that the history does not have, as the hosts keep them.
    pub(super) on_hosts: BTreeMap<ReleaseId, Definition>,
    /// What a look at the hosts has found, for the verb that goes on.
    pub(super) found: Option<ObservedFleet>,
    /// How many instances are asked for now by `ship scale`.
    pub(super) scale: Option<u32>,
    /// How many instances there are to be, whatever the files say: those of the release that is
    /// gone back to, or as many as there are.
    pub(super) replicas: Option<u32>,
    /// Whether anybody is there, and what is overridden.
    pub(super) mode: RunMode,
}

/// The hosts, and what a look at them has found.
pub struct ObservedFleet {
    pub world: Arc<dyn FleetConnection>,
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
        Self::of(OpenedService::open(env, overrides, reading, access)?)
    }

    /// Reads the files, opens the state and takes the lease.
    ///
    /// # Errors
    /// If the files or the state cannot be read, or somebody else holds the lease.
    pub(crate) fn open_locked(
        env: &Arc<dyn Environment>,
        overrides: &Overrides,
        reading: Reading,
        run: &str,
    ) -> Result<Self, Error> {
        let mut service = OpenedService::open(env, overrides, reading, StoreAccess::Write)?;
        service.take_lease(run)?;
        Self::of(service)
    }

    /// Reads the history of a service. One whose lease is to be taken has it by then: before that,
    /// somebody else may change the history.
    pub(crate) fn of(service: OpenedService) -> Result<Self, Error> {
        let OpenedService {
            env,
            project,
            inventory,
            place,
            subject,
            store,
            clock,
            set,
        } = service;
        let history_id = store.history_id()?;
        let mut session = Self {
            env,
            project,
            inventory,
            place,
            subject,
            store,
            history_id,
            clock,
            history: ServiceHistory::default(),
            set,
            on_hosts: BTreeMap::new(),
            found: None,
            scale: None,
            replicas: None,
            mode: RunMode::default(),
        };
        session.read_history()?;
        Ok(session)
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

    pub fn operator(&self) -> Operator {
        self.env.operator()
    }

    /// Reads the history anew.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn read_history(&mut self) -> Result<(), Error> {
        let journal = self.store.newest_journal(&self.subject)?;
        let journal = journal.map(|(_, journal)| journal).unwrap_or_default();
        self.history = self.read_records()?.with_newest(&journal);
        Ok(())
    }

    /// The history but for the newest rollout, whose journal is long.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub(crate) fn read_records(&self) -> Result<ServiceHistory, Error> {
        let subject = &self.subject;
        Ok(ServiceHistory {
            revisions: self.store.revisions(subject)?,
            runs: self.store.runs(subject)?,
            migrations_made: self.store.migrations_made(subject)?,
            contracted: self.store.contracted(subject)?,
            ..ServiceHistory::default()
        })
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// The freeze that holds now, if one does.
    pub(crate) fn active_freeze(&self) -> Result<Option<Freeze>, Error> {
        active_freeze(&*self.store, &self.subject, self.now())
    }

    /// The newest rollout, if there was one.
    pub(crate) fn newest_rollout(&self) -> Result<Option<RolloutId>, Error> {
        newest_rollout(&*self.store, &self.subject)
    }

    /// The newest rollout's journal, if there was one.
    pub(crate) fn newest(&self) -> Result<Option<(RolloutId, Vec<Entry>)>, Error> {
        Ok(self.store.newest_journal(&self.subject)?)
    }

    /// Who runs where by what the journals tell: of all rollouts, or of those before one.
    pub(crate) fn roster(&self, before: Option<RolloutId>) -> Result<Placements, Error> {
        let mut roster = Placements::default();
        for rollout in self
            .store
            .rollouts(&self.subject)?
            .into_iter()
            .take_while(|rollout| Some(rollout.id) != before)
        {
            self.store
                .journal(rollout.id)?
                .iter()
                .for_each(|entry| roster.apply(entry));
        }
        Ok(roster)
    }

    /// Who carries out a rollout now, if anybody alive does.
    pub(crate) fn holder(&self) -> Result<Option<Holder>, Error> {
        holder(&*self.env, &*self.store, &self.subject)
    }

    /// Whether anybody alive carries out a rollout.
    pub(crate) fn is_carried_out(&self) -> Result<bool, Error> {
        Ok(self.holder()?.is_some())
    }

    /// How the service stands.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn standing(&self) -> Result<ServiceState, Error> {
        standing(&*self.env, &*self.store, &self.subject)
    }

    /// Refuses a verb that does nothing as the service stands. The lease must be held: nobody else
    /// is at work.
    ///
    /// # Errors
    /// Why the verb does nothing.
    pub fn permit(&self, ask: ServiceCommand) -> Result<ServiceState, Error> {
        let standing = self.history.state();
        match standing.refusal(ask, &self.subject.service) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(standing),
        }
    }

    /// Asks something of the process that carries out a rollout.
    pub(crate) fn ask(&mut self, rollout: RolloutId, command: ControlRequest) -> Result<(), Error> {
        let by = self.operator().to_string();
        Ok(self.store.send_request(rollout, &Request { command, by })?)
    }

    /// The revision that the fleet is on.
    pub(crate) fn current_record(&self) -> Result<&RevisionRecord, Error> {
        self.history
            .current()
            .ok_or_else(|| Refused::NothingDeployed.into())
    }

    /// What the newest rollout was begun with, whatever the files lack now that the command line
    /// gave then.
    ///
    /// # Errors
    /// If the files or the state cannot be read.
    pub fn begun(env: &Arc<dyn Environment>) -> Result<Begun, Error> {
        if let Some(DeployedState { subject, store }) = env.open_known()? {
            return Begun::read(&**env, &*store, &subject);
        }
        let any = Overrides {
            version: Some("0".to_owned()),
            set: Vec::new(),
        };
        let session = Self::open(env, &any, Reading::LastKnownGood, StoreAccess::Read)?;
        Begun::read(&**env, &*session.store, &session.subject)
    }

    /// Every release of the history, and those that only the hosts know.
    pub fn definitions(&self) -> BTreeMap<ReleaseId, Definition> {
        let own = self
            .history
            .revisions
            .iter()
            .map(|record| (record.release.clone(), record.definition.clone()));
        self.on_hosts.clone().into_iter().chain(own).collect()
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

/// What the newest rollout was begun with, and how the service stands.
pub struct Begun {
    start: Option<RolloutStart>,
    pub standing: ServiceState,
}

impl Begun {
    fn read(env: &dyn Environment, store: &dyn Store, subject: &ServiceKey) -> Result<Self, Error> {
        Ok(Self {
            start: store.runs(subject)?.pop().map(|run| run.start),
            standing: standing(env, store, subject)?,
        })
    }

    /// Its version; some version where there is none, as the files need not name one.
    pub fn version(&self) -> String {
        self.start
            .as_ref()
            .map_or_else(|| "0".to_owned(), |start| start.target.version.clone())
    }

    /// The settings of its command line, if they matter.
    pub fn set_if(&self, matters: bool) -> impl Iterator<Item = String> {
        self.start
            .iter()
            .filter(move |_| matters)
            .flat_map(|start| start.set.clone())
    }
}
