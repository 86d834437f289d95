//! The control machine: the environment of a real `ship` process.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use futures::future::{BoxFuture, FutureExt as _};

use super::discovery::{self, ChosenInventory};
use super::environment::{
    DeployedState, Environment, Files, FleetConnection, FleetLayout, Operator, Reading,
};
use super::error::{Error, Internal, Refused};
use super::hosts_command::HostsCommand;
use super::last_known_good::{LastKnownGood, find_service, kept_hosts, last_known_good};
use super::logging::{self, RolloutLog};
use super::notice::Notice;
use super::prepared_artifacts::PreparedArtifacts;
use super::release::{self, ArtifactRequest, Release};
use super::state_location::{StateLocation, open_even_if_moved, open_state_of, state_dir_access};
use super::sudo_password;
use crate::artifact::Patches;
use crate::config::{
    self, HostsOutput, Inventory, Overrides, Project, Selection, Stack, StackOrder, StackOverrides,
};
use crate::core::ids::HostId;
use crate::core::policy::unattended::RunMode;
use crate::core::release::Artifact;
use crate::engine::{Clock, FleetExecutor, Interrupts, Releases, SteadyClock};
use crate::remote::{KeptConnections, SharedLinks, SudoPassword};
use crate::report::event_log::EventLog;
use crate::report::{Reporter, ReporterSetup};
use crate::store::{
    Holder, RecordStore, RolloutId, ServiceKey, Sqlite, StateDir, Store, StoreAccess, StoreHandle,
    ThreadRunner, state_dir_for, this_machine,
};
use crate::system::accounts;
use crate::system::password_prompt::PromptError;

/// Where messages and progress are shown.
pub trait Console: Send + Sync {
    /// Starts to listen for signals.
    ///
    /// # Errors
    /// If the system does not permit it.
    fn listen(&self) -> Result<Interrupts, Error>;

    fn notify(&self, notice: &Notice);

    /// Asks the user for a password, which is not shown.
    ///
    /// # Errors
    /// If there is no terminal, or the user interrupts.
    fn ask_password(&self, question: &str) -> Result<Vec<u8>, PromptError>;

    /// The reporter that shows the events of a rollout.
    fn reporter(&self, setup: ReporterSetup) -> Box<dyn Reporter>;
}

/// The machine on which `ship` runs: its files, `SQLite` database, clock and SSH.
pub struct ControlMachine {
    /// The inventory on the command line.
    inventory: Option<PathBuf>,
    /// The service of a stack; `None` for the only service of the inventory.
    service: Option<String>,
    console: Arc<dyn Console>,
    shared: Arc<SharedKnowledge>,
}

/// What the services of a stack have in common.
#[derive(Default)]
struct SharedKnowledge {
    hosts_command: HostsCommand,
    /// Whether the user knows that the hosts are those of an earlier rollout.
    has_reported_kept_hosts: AtomicBool,
    /// The password for sudo, once it is known.
    sudo_password: Mutex<Option<Arc<SudoPassword>>>,
    /// The connections to the hosts.
    links: SharedLinks,
    /// The connections that are kept for the next command, if the inventory has any.
    kept: OnceLock<Option<Arc<KeptConnections>>>,
    /// The artifacts that were read, downloaded or packed.
    artifacts: PreparedArtifacts,
}

impl ControlMachine {
    /// This machine with the inventory on the command line.
    pub fn new(inventory: Option<PathBuf>, console: Arc<dyn Console>) -> Self {
        Self {
            inventory,
            service: None,
            console,
            shared: Arc::default(),
        }
    }

    /// This machine for one service of a stack, shown on its own console.
    #[must_use]
    pub fn for_service(&self, service: String, console: Arc<dyn Console>) -> Self {
        Self {
            inventory: self.inventory.clone(),
            service: Some(service),
            console,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Reads which services the inventory has, and their order; `None` if it has one `playbook`.
    ///
    /// # Errors
    /// If the inventory or the selection is invalid.
    pub fn read_order(&self, overrides: &StackOverrides) -> Result<Option<StackOrder>, Error> {
        let chosen = discovery::find_inventory(self.inventory.clone())?;
        let read = |path: &Path| std::fs::read(path);
        Ok(config::load_order(&chosen.path, overrides, read)?)
    }

    /// Reads the inventory of a stack with all its hosts.
    ///
    /// # Errors
    /// If a file does not exist, is not trusted, or is invalid.
    pub fn read_inventory(&self) -> Result<Inventory, Error> {
        let versions = vec!["0".to_owned()];
        let any = StackOverrides {
            versions,
            ..StackOverrides::default()
        };
        Ok(self.read_stack(&any)?.inventory)
    }

    /// Reads the inventory and the playbooks of all selected services, and checks them together.
    ///
    /// # Errors
    /// If a file does not exist, is not trusted, or is invalid.
    pub fn read_stack(&self, overrides: &StackOverrides) -> Result<Stack, Error> {
        let chosen = discovery::find_inventory(self.inventory.clone())?;
        let read = |path: &Path| std::fs::read(path);
        let alone = config::load_stack(&chosen.path, overrides, read, None)?;
        for project in &alone.projects {
            chosen.check(project)?;
            config::register_secrets(project);
        }
        let Some(from) = &alone.inventory.hosts_from else {
            return Ok(alone);
        };
        let output = self.shared.hosts_command.output(from, &chosen.path)?;
        Ok(config::load_stack(
            &chosen.path,
            overrides,
            read,
            Some(&output),
        )?)
    }

    fn selection(&self) -> Selection<'_> {
        Selection {
            service: self.service.as_deref(),
            ..Selection::default()
        }
    }

    fn remembered_password(&self) -> MutexGuard<'_, Option<Arc<SudoPassword>>> {
        let password = self.shared.sudo_password.lock();
        password.unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the user for the password for sudo.
    fn ask_sudo_password(&self, machines: &[HostId], mode: RunMode) -> Result<SudoPassword, Error> {
        let refused = |why| Refused::NoSudoPassword {
            machines: sudo_password::few(machines),
            why,
        };
        if mode.unattended {
            return Err(refused("this run is unattended").into());
        }
        let question = sudo_password::question(machines);
        let answer = self.console.ask_password(&question);
        let answer = answer.map_err(|error| match error {
            PromptError::NoTerminal => refused("there is no terminal").into(),
            PromptError::Interrupted => Error::Interrupted("SIGINT"),
            PromptError::Io(error) => Internal::NoPrompt(error).into(),
        })?;
        match String::from_utf8(answer) {
            Ok(text) if text.is_empty() => Err(refused("no password was typed").into()),
            Ok(text) => Ok(SudoPassword::new(text)),
            Err(_) => {
                let why = "the password is not valid UTF-8".to_owned();
                Err(Refused::InvalidSudoPassword(why).into())
            }
        }
    }

    /// Reads the files again, with the hosts that the command of the inventory prints. `alone` are
    /// the files without them.
    fn load_with_hosts(
        &self,
        chosen: &ChosenInventory,
        overrides: &Overrides,
        reading: Reading,
        alone: LastKnownGood,
    ) -> Result<LastKnownGood, Error> {
        let Some(from) = &alone.project.inventory.hosts_from else {
            return Ok(alone);
        };
        let service = self.service.as_deref();
        let load = |output: &HostsOutput| {
            let selection = Selection {
                hosts: Some(output),
                ..self.selection()
            };
            load_files(chosen, overrides, reading, selection)
        };
        let kept = || {
            let store = open_state_of(&chosen.path).ok()??;
            kept_hosts(&*store, &chosen.path, service)
        };
        if reading == Reading::WithoutHosts {
            let kept = kept().and_then(|kept| load(&kept.output).ok());
            return Ok(kept.unwrap_or(alone));
        }
        config::register_secrets(&alone.project);
        let output = self.shared.hosts_command.output(from, &chosen.path);
        let why = match output.map_err(Error::from).and_then(|output| load(&output)) {
            Err(Error::Files(why)) if reading == Reading::LastKnownGood => why,
            loaded => return loaded,
        };
        let Some((kept, good)) = kept().and_then(|kept| {
            let good = load(&kept.output).ok()?;
            Some((kept, good))
        }) else {
            return Err(why.into());
        };
        if !self
            .shared
            .has_reported_kept_hosts
            .swap(true, Ordering::Relaxed)
        {
            let why = why.iter().next().map(|first| first.message().to_owned());
            self.notify(&Notice::HostsOfRevision {
                revision: kept.revision,
                why: why.unwrap_or_default(),
            });
        }
        Ok(good)
    }
}

/// Reads the files, with the hosts from a command if they are known. If the playbook is invalid
/// or has no version, and `reading` permits it, uses the last known good files.
fn load_files(
    chosen: &ChosenInventory,
    overrides: &Overrides,
    reading: Reading,
    selection: Selection<'_>,
) -> Result<LastKnownGood, Error> {
    let read = |path: &Path| std::fs::read(path);
    let good = match config::load_service(&chosen.path, overrides, read, selection) {
        Ok(project) => LastKnownGood {
            project,
            as_of: None,
        },
        Err(invalid) if reading == Reading::Strict => return Err(invalid.into()),
        Err(invalid) => open_state_of(&chosen.path)
            .ok()
            .flatten()
            .and_then(|store| last_known_good(&*store, &chosen.path, overrides, read, selection))
            .ok_or(invalid)?,
    };
    chosen.check(&good.project)?;
    Ok(good)
}

impl Environment for ControlMachine {
    fn read_files(&self, overrides: &Overrides, reading: Reading) -> Result<Files, Error> {
        let chosen = discovery::find_inventory(self.inventory.clone())?;
        // The files alone come first: they are valid and trusted before a command runs.
        let alone = load_files(&chosen, overrides, reading, self.selection())?;
        let good = self.load_with_hosts(&chosen, overrides, reading, alone)?;
        if let Some(revision) = good.as_of {
            self.notify(&Notice::PlaybookOfRevision(revision));
        }
        Ok(Files {
            project: good.project,
            state_dir: state_dir_for(&chosen.path),
            inventory: chosen.path,
        })
    }

    fn open_store(&self, files: &Files, access: StoreAccess) -> Result<StoreHandle, Error> {
        let location = StateLocation::of(files)?;
        let store = location.open_store(access)?;
        if let (StateLocation::Shared(_), StoreAccess::Write) = (&location, access) {
            remember_inventory(files);
        }
        Ok(StoreHandle::new(Box::new(store), Arc::new(ThreadRunner)))
    }

    fn open_deployed_state(&self) -> Result<Option<DeployedState>, Error> {
        let chosen = discovery::find_inventory(self.inventory.clone())?;
        let Some(store) = open_state_of(&chosen.path)? else {
            return Ok(None);
        };
        let inventory = std::path::absolute(&chosen.path).unwrap_or(chosen.path);
        let known = find_service(&*store, &inventory, self.service.as_deref());
        Ok(known.map(|service_key| DeployedState {
            service_key,
            store: StoreHandle::new(store, Arc::new(ThreadRunner)),
        }))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SteadyClock)
    }

    fn operator(&self) -> Operator {
        let named = ["SUDO_USER", "USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok());
        let user = named.filter(|name| !name.is_empty()).unwrap_or_else(|| {
            // The environment has none, as under `env -i`.
            let uid = accounts::effective_uid();
            accounts::user_name(uid).unwrap_or_else(|| format!("uid{uid}"))
        });
        Operator {
            user,
            host: accounts::host_name(),
        }
    }

    fn machine(&self) -> String {
        this_machine()
    }

    fn lease_holder(&self, run: &str) -> Holder {
        let Operator { user, host } = self.operator();
        Holder::this_process(&user, &host, run)
    }

    fn sudo_password(
        &self,
        machines: &[HostId],
        mode: RunMode,
    ) -> Result<Arc<SudoPassword>, Error> {
        let mut known = self.remembered_password();
        if let Some(known) = known.as_ref() {
            return Ok(Arc::clone(known));
        }
        let password = match sudo_password::from_environment()? {
            Some(password) => password,
            None => self.ask_sudo_password(machines, mode)?,
        };
        Ok(Arc::clone(known.insert(Arc::new(password))))
    }

    fn known_sudo_password(&self) -> Option<Arc<SudoPassword>> {
        let remembered = self.remembered_password().clone();
        remembered.or_else(|| sudo_password::from_environment().ok()?.map(Arc::new))
    }

    fn kept_connections(&self, inventory: &Path) -> Option<Arc<KeptConnections>> {
        let open = || match KeptConnections::of(inventory) {
            Ok(kept) => Some(Arc::new(kept)),
            Err(why) => {
                self.notify(&Notice::ConnectionsNotKept(why.to_string()));
                None
            }
        };
        self.shared.kept.get_or_init(open).clone()
    }

    fn connect(&self, layout: FleetLayout, releases: Releases) -> Arc<dyn FleetConnection> {
        Arc::new(executor(layout, releases, &self.shared.links))
    }

    fn patches(&self) -> Patches {
        self.shared.artifacts.patches()
    }

    fn prepare_release<'a>(
        &'a self,
        project: &'a Project,
        state_dir: &'a StateDir,
        held: Option<&'a Artifact>,
    ) -> BoxFuture<'a, Result<Release, Error>> {
        Release::prepare(project, state_dir, &self.shared.artifacts, held).boxed()
    }

    fn fetch_artifact<'a>(
        &'a self,
        request: ArtifactRequest<'a>,
    ) -> BoxFuture<'a, Result<(), String>> {
        release::fetch_artifact(request).boxed()
    }

    fn listen(&self) -> Result<Interrupts, Error> {
        self.console.listen()
    }

    fn notify(&self, notice: &Notice) {
        self.console.notify(notice);
    }

    fn reporter(&self, rollout: RolloutId, setup: ReporterSetup) -> Box<dyn Reporter> {
        let shown = self.console.reporter(setup.clone());
        Box::new(EventLog::new(shown, rollout.0, setup))
    }

    fn open_log(&self, state_dir: &StateDir, rollout: RolloutId) -> Box<dyn Any + Send> {
        Box::new(RolloutLog::begin(self, state_dir, rollout))
    }

    fn publishes(&self) -> bool {
        true
    }

    fn remove_unused(&self, state_dir: &StateDir, store: &dyn Store) {
        // The state directory also serves inventories whose state is in its own database.
        let Ok(own) = open_even_if_moved(state_dir) else {
            return;
        };
        let stores: Vec<&dyn Store> = own.iter().map(|own| &**own).chain([store]).collect();
        release::remove_unused_artifacts(state_dir, &stores);
        logging::remove_unused_logs(state_dir, &stores);
    }
}

/// Records in the state directory from which inventory this machine uses a shared state, so that
/// later commands find the inventory.
pub(crate) fn remember_inventory(files: &Files) {
    let service_key = ServiceKey {
        fleet: files.project.inventory.fleet.clone(),
        service: files.project.playbook.service.name.clone(),
    };
    let inventory = std::path::absolute(&files.inventory);
    let remembered = Sqlite::open_for(&files.state_dir, state_dir_access(&files.project))
        .and_then(|own| RecordStore::open_even_if_moved(Box::new(own), StoreAccess::Write))
        .and_then(|mut own| match inventory {
            Ok(inventory) => own.record_inventory(&service_key, &inventory),
            Err(_) => Ok(()),
        });
    if let Err(error) = remembered {
        // The user must then name the inventory.
        tracing::debug!(%error, "the inventory was not recorded");
    }
}

/// An executor for the hosts, over SSH or on this machine. ship connects to a host when it first
/// needs the host.
pub(crate) fn executor(
    layout: FleetLayout,
    releases: Releases,
    links: &SharedLinks,
) -> FleetExecutor {
    let FleetLayout {
        sites,
        owner,
        balancing,
        control,
        clock,
    } = layout;
    FleetExecutor::new(sites, releases, owner, clock, balancing, control, links)
}
