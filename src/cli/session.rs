//! What the verbs share: the project, its state, and the spec made of both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::exit::{Exit, Fail};
use super::patience::Patience;
use super::{args, lookup, night, note};
use crate::config::{self, Project, Transport};
use crate::core::ids::{HostId, ReleaseId, Revision};
use crate::core::journal::placements::Roster;
use crate::core::journal::rollout_summary::Account;
use crate::core::policy::history::{self, Past};
use crate::core::policy::service_state::{Ask, Standing};
use crate::core::release::{Definition, Driver};
use crate::core::rollout::Rollout;
use crate::core::rollout::event::{Entry, Event, Generation, RolloutStart};
use crate::core::rollout::task::past_contract;
use crate::core::rollout::verb::Verb;
use crate::core::spec::Spec;
use crate::core::spec::step::{AtGate, Step, one_first};
use crate::core::time::{Human, Time};
use crate::engine::{Clock, Hosts, Preflight, SteadyClock};
use crate::report::Versions;
use crate::store::{
    Access, Holder, Place, Request, RevisionRecord, RolloutId, Sqlite, Store, Subject, Wish,
    place_for,
};
use crate::system::accounts;

/// The project and its state.
pub(super) struct Session<S = Sqlite> {
    pub(super) project: Project,
    pub(super) inventory: PathBuf,
    pub(super) place: Place,
    pub(super) subject: Subject,
    pub(super) store: S,
    /// The random id of the history in the store.
    pub(super) history: String,
    pub(super) clock: Arc<dyn Clock>,
    /// The history, oldest first.
    pub(super) revisions: Vec<RevisionRecord>,
    /// The release that the newest rollout has rolled the fleet back to, if it has.
    rolled_back_to: Option<ReleaseId>,
    /// What the command line has set.
    pub(super) set: Vec<String>,
    /// Releases that the history does not have, as the hosts keep them.
    pub(super) on_hosts: BTreeMap<ReleaseId, Definition>,
    /// What a look at the hosts has found, for the verb that goes on.
    pub(super) found: Option<Found>,
    /// How many instances are asked for now by `ship scale`.
    pub(super) scale: Option<u32>,
    /// How many instances there are to be, whatever the files say: those of the release that is
    /// gone back to, or as many as there are.
    pub(super) replicas: Option<u32>,
    /// Whether anybody is there.
    pub(super) attendance: Attendance,
}

/// What a verb does with the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreAccess {
    /// It reads the state, which need not be writable, or be there at all.
    Read,
    /// It changes the state, and makes it where there is none.
    Write,
}

/// Who passes through the state directory: services that run as users of their own, where a local
/// host keeps its releases there.
fn passers(project: &Project) -> Access {
    let service = &project.playbook.service;
    let has_user = |host: &config::HostConfig| {
        service.user.is_some() || service.driver == Driver::Systemd || host.ssh.sudo
    };
    let passes = |host: &config::HostConfig| {
        host.transport == Transport::Local && host.base_dir.is_none() && has_user(host)
    };
    if project.inventory.hosts.iter().any(passes) {
        Access::Services
    } else {
        Access::OwnerOnly
    }
}

/// The hosts, and what a look at them has found.
pub(super) struct Found {
    pub(super) world: Arc<Hosts>,
    pub(super) preflight: Preflight,
}

/// Whether anybody is there to be asked, and what is passed over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attendance {
    /// Nobody is there.
    pub(super) unattended: bool,
    /// What would keep a deploy from beginning does not: a freeze, a window, a quarantine, a fleet
    /// that is not healthy.
    pub(super) force: bool,
}

impl<S> Session<S> {
    /// The same with another store in its place, and the store.
    fn exchange<T>(self, store: T) -> (Session<T>, S) {
        let Self {
            project,
            inventory,
            place,
            subject,
            store: old,
            history,
            clock,
            revisions,
            rolled_back_to,
            set,
            on_hosts,
            found,
            scale,
            replicas,
            attendance,
        } = self;
        let session = Session {
            project,
            inventory,
            place,
            subject,
            store,
            history,
            clock,
            revisions,
            rolled_back_to,
            set,
            on_hosts,
            found,
            scale,
            replicas,
            attendance,
        };
        (session, old)
    }

    pub(super) fn addresses(&self) -> Vec<(HostId, String)> {
        self.project
            .inventory
            .hosts
            .iter()
            .map(|host| (host.name.clone(), host.address.clone()))
            .collect()
    }
}

impl Session<()> {
    /// Takes the store back.
    pub(super) fn with_store(self, store: Sqlite) -> Session {
        self.exchange(store).0
    }
}

impl Session {
    /// Gives the store away for a while.
    pub(super) fn lend_store(self) -> (Session<()>, Sqlite) {
        self.exchange(())
    }

    /// Reads the files and opens the state.
    pub(super) fn open(
        inventory: args::InventoryArg,
        overrides: &config::Overrides,
    ) -> Result<Self, Fail> {
        Self::open_with(inventory, overrides, StoreAccess::Write)
    }

    /// Reads the files and opens the state, to read it or to change it.
    pub(super) fn open_with(
        inventory: args::InventoryArg,
        overrides: &config::Overrides,
        access: StoreAccess,
    ) -> Result<Self, Fail> {
        let chosen = lookup::inventory(inventory.inventory)?;
        let project = chosen.load(overrides)?;
        Self::of(project, chosen.path, overrides, access)
    }

    /// Opens the state of a project.
    pub(super) fn of(
        project: Project,
        inventory: PathBuf,
        overrides: &config::Overrides,
        access: StoreAccess,
    ) -> Result<Self, Fail> {
        config::withhold(&project);
        let place = place_for(&inventory);
        let subject = Subject {
            fleet: project.inventory.fleet.clone(),
            service: project.playbook.service.name.clone(),
        };
        let store = match access {
            StoreAccess::Read => Sqlite::open_to_read(&place)?,
            StoreAccess::Write => Sqlite::open_for(&place, passers(&project))?,
        };
        let history = store.history_id()?;
        let inventory = std::path::absolute(&inventory).unwrap_or(inventory);
        let (set, clock) = (overrides.set.clone(), Arc::new(SteadyClock));
        let mut session = Self {
            project,
            inventory,
            place,
            subject,
            store,
            history,
            clock,
            revisions: Vec::new(),
            rolled_back_to: None,
            set,
            on_hosts: BTreeMap::new(),
            found: None,
            scale: None,
            replicas: None,
            attendance: Attendance::default(),
        };
        session.read_history()?;
        Ok(session)
    }

    /// Reads the history anew.
    pub(super) fn read_history(&mut self) -> Result<(), Fail> {
        self.revisions = self.store.revisions(&self.subject)?;
        self.rolled_back_to = history::rolled_back_to(&self.runs()?).cloned();
        Ok(())
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Takes the lease: from here on this process alone changes the fleet.
    pub(super) fn lock(&mut self, run: &str) -> Result<(), Fail> {
        let (user, host) = who();
        let holder = Holder::this_process(&user, &host, run, self.clock.wall());
        // A ship that is called by another's hook goes on under its lease.
        let token = std::env::var(config::LEASE).ok();
        self.store
            .acquire_lease(&self.subject, holder, token.as_deref())?;
        self.store.remember(&self.subject, &self.inventory)?;
        // Another may have changed the history before the lease was had.
        self.read_history()?;
        Ok(())
    }

    /// Takes the lease, and waits for it so long where somebody else has it.
    pub(super) async fn lock_within(&mut self, run: &str, wait: Duration) -> Result<(), Fail> {
        let mut patience = Patience::new(wait);
        loop {
            match self.lock(run) {
                Err(fail) if fail.exit == Exit::Locked && patience.is_left() => {
                    if patience.is_new() {
                        note(&format!(
                            "{}; waiting for up to {}",
                            fail.message.trim_start_matches("error: "),
                            Human(wait)
                        ));
                    }
                    patience.pause().await;
                }
                locked => return locked,
            }
        }
    }

    /// The newest rollout's journal, if there was one.
    pub(super) fn newest(&self) -> Result<Option<(RolloutId, Vec<Entry>)>, Fail> {
        Ok(self.store.newest_journal(&self.subject)?)
    }

    /// Who runs where by what the journals tell: of all rollouts, or of those before one.
    pub(super) fn roster(&self, before: Option<RolloutId>) -> Result<Roster, Fail> {
        let mut roster = Roster::default();
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

    /// The newest rollout, if there was one.
    pub(super) fn newest_rollout(&self) -> Result<Option<Rollout>, Fail> {
        Ok(self
            .newest()?
            .and_then(|(_, journal)| Rollout::of(&journal)))
    }

    /// Who carries out a rollout now, if anybody alive does.
    pub(super) fn holder(&self) -> Result<Option<Holder>, Fail> {
        Ok(self
            .store
            .holder(&self.subject, &who().1, self.clock.wall())?)
    }

    /// Whether anybody alive carries out a rollout.
    pub(super) fn is_carried_out(&self) -> Result<bool, Fail> {
        Ok(self.holder()?.is_some())
    }

    /// How the service stands.
    pub(super) fn standing(&self) -> Result<Standing, Fail> {
        // The lease first: it is given back after the end was recorded.
        let is_carried_out = self.is_carried_out()?;
        let newest = self
            .newest()?
            .and_then(|(_, journal)| Account::of(&journal));
        Ok(Standing::of(newest.as_ref(), is_carried_out))
    }

    /// Refuses a verb that does nothing as the service stands. The lease must be held: nobody else
    /// is at work.
    pub(super) fn permit(&self, ask: Ask) -> Result<Standing, Fail> {
        let newest = self
            .newest()?
            .and_then(|(_, journal)| Account::of(&journal));
        let standing = Standing::of(newest.as_ref(), false);
        match standing.refusal(ask, &self.subject.service) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(standing),
        }
    }

    /// Asks something of the process that carries out a rollout.
    pub(super) fn ask(&mut self, rollout: RolloutId, wish: Wish) -> Result<(), Fail> {
        let (user, host) = who();
        Ok(self.store.ask(
            rollout,
            &Request {
                wish,
                by: format!("{user}@{host}"),
            },
        )?)
    }

    /// The revision that the fleet is on.
    pub(super) fn current_record(&self) -> Result<&RevisionRecord, Fail> {
        self.current().ok_or_else(Self::nothing_deployed)
    }

    pub(super) fn nothing_deployed() -> Fail {
        Fail::refused("error: nothing was deployed yet; `ship deploy` comes first")
    }

    /// What the newest rollout was begun with, whatever the files lack now that the command line
    /// gave then.
    pub(super) fn begun(inventory: &args::InventoryArg) -> Result<Begun, Fail> {
        let any = config::Overrides {
            version: Some("0".to_owned()),
            set: Vec::new(),
        };
        let session = Self::recall(inventory.clone(), &any, StoreAccess::Read)?;
        let journal = session
            .newest()?
            .map(|(_, journal)| journal)
            .unwrap_or_default();
        let start = journal.first().and_then(|entry| match &entry.event {
            Event::RolloutStarted(start) => Some(start.clone()),
            _ => None,
        });
        Ok(Begun {
            start,
            standing: session.standing()?,
        })
    }

    /// Nobody is there to be asked.
    pub(super) fn is_unattended(&mut self, unattended: bool) {
        self.attendance.unattended = unattended;
    }

    /// A revision as a rollout refers to it.
    pub(super) fn generation(record: &RevisionRecord) -> Generation {
        Generation {
            revision: record.revision,
            release: record.release.clone(),
            version: record.definition.version.clone(),
        }
    }

    /// Where a failed deploy of `release` goes back to.
    pub(super) fn fallback(&self, release: &ReleaseId) -> Result<Option<&RevisionRecord>, Fail> {
        let past = self.past_that_may_run()?;
        Ok(history::fallback(&past, release).and_then(|back| self.revision(back.revision)))
    }

    /// Where a bare `ship rollback` from `release` goes.
    pub(super) fn rollback_target(
        &self,
        release: &ReleaseId,
    ) -> Result<Option<&RevisionRecord>, Fail> {
        let past = self.past_that_may_run()?;
        Ok(history::rollback_target(&past, release).and_then(|back| self.revision(back.revision)))
    }

    /// The history without what a contract has left behind.
    fn past_that_may_run(&self) -> Result<Vec<Past>, Fail> {
        let made = self.store.contracted(&self.subject)?;
        let may_run = |past: &Past| {
            let record = self.revision(past.revision);
            record.is_some_and(|record| {
                past_contract(&record.definition, Some(record.revision), &made).is_none()
            })
        };
        Ok(self.past().into_iter().filter(may_run).collect())
    }

    /// Whether a release was proven healthy, by whichever revision.
    pub(super) fn is_proven(&self, release: &ReleaseId) -> bool {
        history::is_proven(&self.past(), release)
    }

    /// Why a revision must not run any more, if a contract has left it behind.
    pub(super) fn past_contract(&self, record: &RevisionRecord) -> Result<Option<String>, Fail> {
        let made = self.store.contracted(&self.subject)?;
        Ok(past_contract(
            &record.definition,
            Some(record.revision),
            &made,
        ))
    }

    pub(super) fn past(&self) -> Vec<Past> {
        self.revisions
            .iter()
            .map(|record| Past {
                revision: record.revision,
                release: record.release.clone(),
                verb: record.verb,
                proven: record.proven,
            })
            .collect()
    }

    /// The revision that the fleet is on, or was left on its way to: the newest that was not rolled
    /// back, and where the newest rollout was, the newest of the release that it went back to.
    pub(super) fn current(&self) -> Option<&RevisionRecord> {
        use crate::core::rollout::failure::Outcome;
        let mut left = self
            .revisions
            .iter()
            .rev()
            .filter(|record| record.outcome != Some(Outcome::RolledBack));
        match &self.rolled_back_to {
            Some(release) => left.find(|record| record.release == *release),
            None => left.next(),
        }
    }

    pub(super) fn revision(&self, number: Revision) -> Option<&RevisionRecord> {
        self.revisions
            .iter()
            .find(|record| record.revision == number)
    }

    /// Every release of the history, and those that only the hosts know.
    pub(super) fn definitions(&self) -> BTreeMap<ReleaseId, Definition> {
        let own = self
            .revisions
            .iter()
            .map(|record| (record.release.clone(), record.definition.clone()));
        self.on_hosts.clone().into_iter().chain(own).collect()
    }

    pub(super) fn versions(&self) -> Versions {
        let versions = self
            .definitions()
            .into_iter()
            .map(|(release, definition)| (release, definition.version));
        Versions::new(versions.collect())
    }

    pub(super) fn hosts(&self) -> Vec<HostId> {
        self.project
            .inventory
            .hosts
            .iter()
            .map(|host| host.name.clone())
            .collect()
    }

    /// What is wanted of the fleet, and of its hosts once the goal is reached. The files were
    /// checked, so it can be had.
    pub(super) fn spec(
        &self,
        definitions: &BTreeMap<ReleaseId, Definition>,
        goal: Option<&ReleaseId>,
    ) -> Result<Spec, Fail> {
        let playbook = &self.project.playbook;
        let rollout = &playbook.rollout;
        let hosts: Vec<_> = self
            .project
            .inventory
            .carriers()
            .map(|host| host.name.clone())
            .collect();
        let release_ports: BTreeMap<_, _> = definitions
            .iter()
            .filter(|(_, definition)| !definition.ports.is_empty())
            .map(|(release, definition)| (release.clone(), definition.ports.clone()))
            .collect();
        let ports = goal
            .and_then(|goal| release_ports.get(goal))
            .unwrap_or(&playbook.service.ports);
        let budget = self
            .amounts()?
            .resolve(hosts.len(), ports.len())
            .map_err(|impossible| Fail::refused(format!("error: {impossible}")))?;
        let mut past = self.past();
        let limit = usize::try_from(rollout.history_limit).unwrap_or(usize::MAX);
        let mut newest = past
            .iter()
            .map(|entry| entry.revision)
            .max()
            .unwrap_or_default();
        if let Some(goal) =
            goal.filter(|goal| past.last().is_none_or(|last| last.release != **goal))
        {
            newest = Revision(newest.0 + 1);
            past.push(Past {
                revision: newest,
                release: goal.clone(),
                verb: Verb::Deploy,
                proven: true,
            });
        }
        let retained = history::retained(&past, newest, limit);
        Ok(Spec {
            service: playbook.service.name.clone(),
            hosts,
            ports: playbook.service.ports.clone(),
            release_ports,
            budget,
            budget_back: None,
            min_ready: rollout.min_ready,
            progress_deadline: rollout.progress_deadline,
            max_failures: rollout.max_failures,
            on_failure: rollout.on_failure,
            thresholds: definitions
                .iter()
                .map(|(release, definition)| (release.clone(), definition.readiness.thresholds()))
                .collect(),
            waits: definitions
                .iter()
                .map(|(release, definition)| (release.clone(), definition.waits()))
                .collect(),
            steps: self.steps(budget.replicas),
            hours: night::hours(self),
            chores: Vec::new(),
            analyses: playbook.analyses.clone(),
            at_gate: if self.attendance.unattended {
                playbook.unattended.gate
            } else {
                AtGate::Wait
            },
            traffic: self.traffic(),
            keep: history::kept_releases(&past, &retained),
        })
    }

    fn steps(&self, replicas: u32) -> Vec<Step> {
        let playbook = &self.project.playbook;
        if self.attendance.unattended {
            one_first(&playbook.rollout.steps, playbook.unattended.soak, replicas)
        } else {
            playbook.rollout.steps.clone()
        }
    }
}

/// What the newest rollout was begun with, and how the service stands.
pub(super) struct Begun {
    start: Option<RolloutStart>,
    pub(super) standing: Standing,
}

impl Begun {
    /// Its version; some version where there is none, as the files need not name one.
    pub(super) fn version(&self) -> String {
        self.start
            .as_ref()
            .map_or_else(|| "0".to_owned(), |start| start.target.version.clone())
    }

    /// The settings of its command line, if they matter.
    pub(super) fn set_if(&self, matters: bool) -> impl Iterator<Item = String> {
        self.start
            .iter()
            .filter(move |_| matters)
            .flat_map(|start| start.set.clone())
    }
}

/// This user and this machine.
pub(super) fn who() -> (String, String) {
    let named = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let user = named.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        // The environment says none, as under `env -i`.
        let uid = accounts::caller();
        accounts::name_of(uid).unwrap_or_else(|| format!("uid{uid}"))
    });
    (user, accounts::host_name())
}
