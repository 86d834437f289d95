//! The environment of a verb in the simulation, with files and a screen in memory.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anstream::StripStream;
use futures::future::{BoxFuture, FutureExt as _};
use ship::app::environment::{
    DeployedState, Environment, Files, FleetConnection, FleetLayout, Operator, Reading,
};
use ship::app::error::Error;
use ship::app::last_known_good::last_known_good;
use ship::app::notice::Notice;
use ship::app::release::{ArtifactRequest, Release};
use ship::artifact::Patches;
use ship::config::{self, Overrides, Project, Selection};
use ship::core::ids::HostId;
use ship::core::policy::unattended::RunMode;
use ship::core::release::Artifact;
use ship::core::stack::OnStackFailure;
use ship::engine::{Clock, Interrupts, Releases};
use ship::remote::{KeptConnections, SudoPassword};
use ship::report::{Plain, Reporter, ReporterSetup};
use ship::store::{Holder, RolloutId, StateDir, Store, StoreAccess, StoreHandle};

use crate::invocation::{INVENTORY, SimulatedEnvironment};
use crate::scenario::release_id;

/// The files of a user, and the builds of each version.
#[derive(Clone)]
pub(crate) struct UserFiles {
    pub(crate) inventory: String,
    pub(crate) playbook: String,
    /// The newest build of each version: the number of its release in the scenario.
    pub(crate) builds: BTreeMap<String, usize>,
    /// `on_failure` of the stack, if the inventory is one.
    pub(crate) stack: Option<OnStackFailure>,
}

/// The output that a user sees while a verb runs.
#[derive(Clone, Default)]
pub(crate) struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().expect("no other thread panics");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shown = self.0.lock().expect("no other thread panics");
        shown.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The environment of one verb.
pub(crate) struct VerbEnvironment {
    pub(crate) simulated: SimulatedEnvironment,
    pub(crate) files: Arc<Mutex<UserFiles>>,
    pub(crate) screen: Screen,
}

impl VerbEnvironment {
    fn files(&self) -> UserFiles {
        self.files.lock().expect("no other thread panics").clone()
    }
}

impl Environment for VerbEnvironment {
    fn read_files(&self, overrides: &Overrides, reading: Reading) -> Result<Files, Error> {
        let inventory = PathBuf::from(INVENTORY);
        let files = self.files();
        let read = |path: &Path| {
            let text = if path == inventory {
                &files.inventory
            } else {
                &files.playbook
            };
            Ok(text.clone().into_bytes())
        };
        let mut project = match (config::load_with(&inventory, overrides, read), reading) {
            (Err(wrong), Reading::LastKnownGood | Reading::WithoutHosts) => {
                let store = self.simulated.disk.open(&self.simulated.world);
                match last_known_good(&*store, &inventory, overrides, read, Selection::default()) {
                    Some(good) => good.project,
                    None => return Err(wrong.into()),
                }
            }
            (read, _) => read?,
        };
        project.inventory.stack = files.stack;
        let dir = inventory.with_file_name(".ship");
        Ok(Files {
            project,
            inventory,
            state_dir: StateDir { dir },
        })
    }

    fn open_store(&self, files: &Files, access: StoreAccess) -> Result<StoreHandle, Error> {
        self.simulated.open_store(files, access)
    }

    fn open_deployed_state(&self) -> Result<Option<DeployedState>, Error> {
        self.simulated.open_deployed_state()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.simulated.clock()
    }

    fn operator(&self) -> Operator {
        self.simulated.operator()
    }

    fn machine(&self) -> String {
        self.simulated.machine()
    }

    fn lease_holder(&self, run: &str) -> Holder {
        self.simulated.lease_holder(run)
    }

    fn sudo_password(
        &self,
        machines: &[HostId],
        mode: RunMode,
    ) -> Result<Arc<SudoPassword>, Error> {
        self.simulated.sudo_password(machines, mode)
    }

    fn known_sudo_password(&self) -> Option<Arc<SudoPassword>> {
        self.simulated.known_sudo_password()
    }

    fn kept_connections(&self, inventory: &Path) -> Option<Arc<KeptConnections>> {
        self.simulated.kept_connections(inventory)
    }

    fn connect(&self, layout: FleetLayout, releases: Releases) -> Arc<dyn FleetConnection> {
        self.simulated.connect(layout, releases)
    }

    fn patches(&self) -> Patches {
        self.simulated.patches()
    }

    fn prepare_release<'a>(
        &'a self,
        project: &'a Project,
        _: &'a StateDir,
        _: Option<&'a Artifact>,
    ) -> BoxFuture<'a, Result<Release, Error>> {
        let version = project.playbook.version.clone();
        let build = self.files().builds[&version];
        let mut definition = self.simulated.world.scenario.definition(build);
        definition.version = version;
        let prepared = Release {
            id: release_id(build),
            definition,
            secrets: None,
            unpacked_bytes: 0,
            contents_sha256: None,
            pulled_from: None,
        };
        async { Ok(prepared) }.boxed()
    }

    fn fetch_artifact<'a>(
        &'a self,
        request: ArtifactRequest<'a>,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.simulated.fetch_artifact(request)
    }

    fn listen(&self) -> Result<Interrupts, Error> {
        self.simulated.listen()
    }

    fn notify(&self, notice: &Notice) {
        // Writing to memory does not fail.
        drop(writeln!(self.screen.clone(), "{notice}"));
    }

    fn reporter(&self, _: RolloutId, setup: ReporterSetup) -> Box<dyn Reporter> {
        // As on a terminal without colours.
        let screen: Box<dyn Write + Send> = Box::new(self.screen.clone());
        let screen = StripStream::new(screen);
        Box::new(Plain::new(screen, setup))
    }

    fn open_log(&self, place: &StateDir, rollout: RolloutId) -> Box<dyn Any + Send> {
        self.simulated.open_log(place, rollout)
    }

    fn publishes(&self) -> bool {
        false
    }

    fn remove_unused(&self, _: &StateDir, _: &dyn Store) {}
}
