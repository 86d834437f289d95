//! `ship status`: what runs where. It looks at the hosts, takes no lock and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::app::adoption::Adopt;
use crate::app::environment::{Environment, FleetConnection, Reading, StoreAccess};
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
use crate::store::{Freeze, Holder, Request};

/// The files, the history and the connections of which a status is made, once or again and again.
pub struct Observer {
    env: Arc<dyn Environment>,
    session: Session,
    definitions: BTreeMap<ReleaseId, Definition>,
    world: Arc<dyn FleetConnection>,
}

/// The status of a service, and what the state says besides.
pub struct ServiceStatus {
    pub status: Status,
    /// The newest rollout, in a few words.
    pub account: Option<RolloutSummary>,
    /// Who carries out a rollout now.
    pub holder: Option<Holder>,
    /// What was asked of that process last, while it is at work.
    pub request: Option<Request>,
    /// Who has frozen the service, if it is frozen now.
    pub freeze: Option<Freeze>,
    /// The contract migrations that wait for a person.
    pub contracts_due: Vec<String>,
    /// Who deployed last, if that was not from here.
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
        let world = session.world(definitions.clone(), None);
        Ok(Self {
            env: Arc::clone(env),
            session,
            definitions,
            world,
        })
    }

    /// Takes in what other processes have recorded since. A new release brings a definition of its
    /// own, and may have come with other files.
    ///
    /// # Errors
    /// If the files or the state cannot be read.
    pub fn refresh(&mut self) -> Result<(), Error> {
        self.session.history = self.session.read_records()?;
        let definitions = self.session.definitions();
        if definitions.keys().eq(self.definitions.keys()) {
            return Ok(());
        }
        *self = Self::open(&self.env)?;
        Ok(())
    }

    /// Looks at the hosts.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub async fn observe(&mut self) -> Result<ServiceStatus, Error> {
        let (found, adopted) = self.session.look(&mut self.world).await?;
        self.session.take_over(&found, &adopted, Adopt::Show)?;
        self.definitions = self.session.definitions();
        let session = &self.session;
        let newest = NewestRollout::read(session)?;
        let now = session.now();
        Ok(ServiceStatus {
            status: self.status(&found, &newest, now)?,
            account: newest.account,
            holder: newest.holder,
            request: newest.request,
            freeze: session.active_freeze()?,
            contracts_due: waiting_contracts(session),
            elsewhere: session.last_elsewhere(&found.owners)?,
            now,
        })
    }

    /// What runs where, by what was found and what the newest rollout wants of it.
    fn status(
        &self,
        found: &Preflight,
        newest: &NewestRollout,
        now: Time,
    ) -> Result<Status, Error> {
        let (session, account) = (&self.session, newest.account.as_ref());
        let mut spec = spec::spec(session, &self.definitions, None)?;
        if let Some(account) = account {
            // What was asked for last, which the command line may have said and not the playbook.
            spec.budget.replicas = account.replicas;
            spec.budget.unavailable = spec.budget.unavailable.min(account.replicas);
        }
        let is_running = newest.holder.is_some();
        let versions = self
            .definitions
            .iter()
            .map(|(id, definition)| (id.clone(), definition.version.clone()))
            .collect();
        let mut holds = drained(session, &found.fleet);
        holds.extend(ownership::holds(session, found));
        let status = StatusInput {
            service: &session.subject.service,
            fleet_name: &session.subject.fleet,
            hosts: &session.addresses(),
            fleet: &found.fleet,
            versions: &versions,
            target: target(session, account, is_running).as_ref(),
            budget: spec.budget,
            min_ready: spec.min_ready,
            thresholds: &spec.thresholds,
            traffic: spec.traffic.as_ref(),
            standing: ServiceState::of(account, is_running),
            marks: &newest.marks,
            failed_hosts: account.map_or(&[], |account| &account.failed_hosts),
            holds: &holds,
            now,
        }
        .status();
        Ok(status)
    }
}

/// The newest rollout, and who carries it out.
struct NewestRollout {
    holder: Option<Holder>,
    account: Option<RolloutSummary>,
    request: Option<Request>,
    /// The actions that are pending where somebody carries it out.
    marks: PendingActions,
}

impl NewestRollout {
    fn read(session: &Session) -> Result<Self, Error> {
        // The lease first: it is given back after the end was recorded.
        let holder = session.holder()?;
        let (id, journal) = session.newest()?.unzip();
        let journal = journal.unwrap_or_default();
        let account = RolloutSummary::of(&journal);
        let mut marks = PendingActions::default();
        if holder.is_some() {
            for entry in &journal {
                marks.apply(entry);
            }
        }
        let is_open = account
            .as_ref()
            .is_some_and(|account| account.outcome.is_none());
        let request = match id {
            Some(id) if is_open && holder.is_some() => session.store.request(id)?,
            _ => None,
        };
        Ok(Self {
            holder,
            account,
            request,
            marks,
        })
    }
}

/// Why nothing is being done about the hosts that are to be drained, or are.
fn drained(session: &Session, fleet: &Fleet) -> BTreeMap<HostId, WaitReason> {
    let drained = session
        .project
        .inventory
        .hosts
        .iter()
        .filter(|host| host.drain);
    let hold = |host: &HostId| {
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
        .map(|host| (host.name.clone(), hold(&host.name)))
        .collect()
}

/// Contracts of what runs that a person is to make.
fn waiting_contracts(session: &Session) -> Vec<String> {
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

/// Where a running rollout goes; else the revision that the fleet is on.
fn target(
    session: &Session,
    account: Option<&RolloutSummary>,
    is_running: bool,
) -> Option<RevisionRef> {
    let under_way = account.filter(|account| is_running && account.outcome.is_none());
    under_way
        .map(|account| account.target.clone())
        .or_else(|| session.history.current().map(RevisionRecord::generation))
}
