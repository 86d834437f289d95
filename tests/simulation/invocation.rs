//! One run of `ship`: the real verbs in a simulated environment.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use ship::app::conclusion::Conclusion;
use ship::app::environment::{
    DeployedState, Environment, Files, FleetConnection, FleetLayout, Operator, Reading,
};
use ship::app::error::Error;
use ship::app::exit::Exit as Code;
use ship::app::last_known_good::{find_service, last_known_good};
use ship::app::notice::Notice;
use ship::app::release::{ArtifactRequest, Release};
use ship::app::verbs::abort::{AbortRequest, abort};
use ship::app::verbs::deploy::{DeployRequest, deploy};
use ship::app::verbs::history::history;
use ship::app::verbs::restart::{RestartRequest, restart};
use ship::app::verbs::resume::{ResumeRequest, resume};
use ship::app::verbs::rollback::{RollbackRequest, rollback};
use ship::app::verbs::scale::{ScaleRequest, scale};
use ship::artifact::Patches;
use ship::config::{self, Overrides, Project, Selection};
use ship::core::fleet::Fleet;
use ship::core::ids::{HostId, ReleaseId, SlotNumber};
use ship::core::journal::rollout_summary::RolloutSummary;
use ship::core::journal::status::Status;
use ship::core::policy::admission::refusal::ServerClash;
use ship::core::policy::service_state::ServiceState;
use ship::core::policy::unattended::RunMode;
use ship::core::release::Artifact;
use ship::core::rollout::event::{Entry, Event};
use ship::core::rollout::failure::Outcome;
use ship::core::time::Time;
use ship::engine::{Clock, Interrupts, Releases};
use ship::remote::{HostUnavailable, KeptConnections, SavedOutput, SudoPassword};
use ship::report::{Reporter, ReporterSetup};
use ship::script::KeptRelease;
use ship::store::{Holder, RolloutId, StateDir, Store, StoreAccess, StoreHandle, StoreRunner};

use super::defects::Defect;
use super::fake_store::{FakeStore, SimulatedRunner};
use super::fleet_connection::SimulatedFleet;
use super::operators::Disk;
use super::process::Process;
use super::scenario::{Call, release_id, service_key};
use super::world::World;

/// The path of the inventory.
pub(crate) const INVENTORY: &str = "/simulated/inventory.toml";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    NothingToDo,
    RolledBack,
    Held,
    RollbackFailed,
    Locked,
    Refused,
    Unreachable,
    Paused,
    Interrupted,
    Internal,
    /// The process was killed and has no exit code.
    Killed,
}

impl From<&Conclusion> for Exit {
    fn from(conclusion: &Conclusion) -> Self {
        match conclusion {
            Conclusion::NothingToDo { .. } | Conclusion::AlreadyCurrent(_) => Exit::NothingToDo,
            conclusion => conclusion.exit().into(),
        }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error {
            Error::NotNow(_) => Exit::Refused,
            error => error.exit().into(),
        }
    }
}

impl From<Code> for Exit {
    fn from(code: Code) -> Self {
        match code {
            Code::Done => Exit::Done,
            Code::Internal => Exit::Internal,
            Code::Refused => Exit::Refused,
            Code::RolledBack => Exit::RolledBack,
            Code::Held => Exit::Held,
            Code::RollbackFailed => Exit::RollbackFailed,
            Code::Locked => Exit::Locked,
            Code::Unreachable => Exit::Unreachable,
            Code::Paused => Exit::Paused,
            Code::Interrupted => Exit::Interrupted,
        }
    }
}

/// Runs a command of a user.
pub(crate) async fn invoke(env: SimulatedEnvironment, call: Call) -> Exit {
    let (world, number) = (Arc::clone(&env.world), env.process.number);
    let (defect, disk) = (world.defect, env.disk.clone());
    let env: Arc<dyn Environment> = Arc::new(env);
    let concluded = run(&env, call, defect).await;
    if let Ok(Conclusion::Ended { id, outcome, .. }) = &concluded
        && let Err(violation) = check_history(&env, &*disk.open(&world), *id, outcome)
    {
        world.lock().checker.add_violation(violation);
    }
    let text = match &concluded {
        Ok(conclusion) => format!("{conclusion:?}"),
        Err(error) => error.to_string(),
    };
    world.lock().log(format_args!("ship{number}"), text);
    match &concluded {
        Ok(conclusion) => conclusion.into(),
        Err(error) => error.into(),
    }
}

async fn run(env: &Arc<dyn Environment>, call: Call, defect: Defect) -> Result<Conclusion, Error> {
    let missing = u32::from(defect == Defect::FewerReplicas);
    let number = |replicas: u32| {
        let replicas = replicas.saturating_sub(missing);
        vec![format!("rollout.replicas={replicas}")]
    };
    match call {
        Call::Deploy { release, replicas } => {
            let overrides = Overrides {
                version: Some(format!("0.{release}")),
                set: number(replicas),
            };
            let request = DeployRequest {
                overrides,
                ..DeployRequest::default()
            };
            deploy(env, request).await
        }
        Call::Rollback { replicas } => {
            let request = RollbackRequest {
                set: number(replicas),
                ..RollbackRequest::default()
            };
            rollback(env, request).await
        }
        Call::Restart { replicas } => {
            let request = RestartRequest {
                set: number(replicas),
                ..RestartRequest::default()
            };
            restart(env, request).await
        }
        Call::Scale { replicas } => {
            scale(
                env,
                ScaleRequest {
                    replicas,
                    ..ScaleRequest::default()
                },
            )
            .await
        }
        Call::Resume => resume(env, ResumeRequest::default()).await,
        Call::Abort => abort(env, AbortRequest::default()).await,
    }
}

/// Checks that `ship history` shows how a rollout has ended. A process that has lost its lease is
/// not checked: its outcome does not count.
fn check_history(
    env: &Arc<dyn Environment>,
    store: &dyn Store,
    id: RolloutId,
    outcome: &Outcome,
) -> Result<(), String> {
    if matches!(outcome, Outcome::Fenced { .. }) {
        return Ok(());
    }
    let records = store
        .service(&service_key())
        .map_err(|why| why.to_string())?;
    let rollouts = records.rollouts();
    let rollout = rollouts.iter().find(|rollout| rollout.id == id);
    let revision = rollout.map(|rollout| rollout.revision);
    let rows = history(env).map_err(|why| why.to_string())?;
    let row = rows.iter().find(|row| Some(row.revision) == revision);
    match row.map(|row| row.outcome.as_str()) {
        Some(shown) if shown == outcome.word() || shown == "adopted" => Ok(()),
        shown => Err(format!(
            "the history shows {shown:?} for a rollout that ended as {}",
            outcome.word()
        )),
    }
}

/// The state of the service when no controller runs.
pub(crate) fn service_state(store: &dyn Store) -> ServiceState {
    let records = store.service(&service_key()).ok();
    let newest = records.and_then(|records| records.newest_rollout());
    let journal = newest.and_then(|newest| store.journal(newest).ok());
    let summary = journal.and_then(|journal| RolloutSummary::of(&journal));
    ServiceState::of(summary.as_ref(), false)
}

/// The environment of one simulated process.
pub(crate) struct SimulatedEnvironment {
    pub(crate) world: Arc<World>,
    pub(crate) process: Arc<Process>,
    pub(crate) disk: Disk,
}

impl SimulatedEnvironment {
    fn runner(&self) -> Arc<dyn StoreRunner> {
        Arc::new(SimulatedRunner {
            world: Arc::clone(&self.world),
        })
    }
}

impl Environment for SimulatedEnvironment {
    fn read_files(&self, overrides: &Overrides, reading: Reading) -> Result<Files, Error> {
        let inventory = PathBuf::from(INVENTORY);
        let scenario = self.world.defect.apply(&self.world.scenario);
        let read = |path: &Path| Ok(scenario.file(path).into_bytes());
        let project = match (config::load_with(&inventory, overrides, read), reading) {
            (Err(wrong), Reading::LastKnownGood | Reading::WithoutHosts) => {
                let store = self.disk.open(&self.world);
                match last_known_good(&*store, &inventory, overrides, read, Selection::default()) {
                    Some(good) => good.project,
                    None => return Err(wrong.into()),
                }
            }
            (read, _) => read?,
        };
        Ok(Files {
            project,
            inventory,
            state_dir: StateDir {
                dir: PathBuf::from("/simulated/.ship"),
            },
        })
    }

    fn open_store(&self, _: &Files, _: StoreAccess) -> Result<StoreHandle, Error> {
        let store = FakeStore {
            inner: Some(self.disk.open(&self.world)),
            world: Arc::clone(&self.world),
            process: Arc::clone(&self.process),
            delayed: Vec::new(),
            rollback_replicas: None,
            unanswered: None,
        };
        Ok(StoreHandle::new(Box::new(store), self.runner()))
    }

    fn open_deployed_state(&self) -> Result<Option<DeployedState>, Error> {
        let store = self.disk.open(&self.world);
        let known = find_service(&*store, Path::new(INVENTORY), None);
        Ok(known.map(|service_key| DeployedState {
            service_key,
            store: StoreHandle::new(store, self.runner()),
        }))
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.world) as Arc<dyn Clock>
    }

    fn operator(&self) -> Operator {
        Operator {
            user: "anna".into(),
            host: self.process.machine.clone(),
        }
    }

    fn machine(&self) -> String {
        self.process.machine.clone()
    }

    fn lease_holder(&self, run: &str) -> Holder {
        let now = self.world.now();
        Holder {
            owner: "anna".into(),
            host: self.process.machine.clone(),
            machine: self.process.machine.clone(),
            pid: u32::MAX,
            pid_started: u64::from(self.process.number),
            run: run.to_owned(),
            since: now,
            heartbeat: now,
            now,
            token: format!("token of ship{}", self.process.number),
        }
    }

    fn sudo_password(&self, _: &[HostId], _: RunMode) -> Result<Arc<SudoPassword>, Error> {
        Ok(Arc::new(SudoPassword::new("simulated".to_owned())))
    }

    fn known_sudo_password(&self) -> Option<Arc<SudoPassword>> {
        None
    }

    fn kept_connections(&self, _: &Path) -> Option<Arc<KeptConnections>> {
        None
    }

    fn connect(&self, _: FleetLayout, _: Releases) -> Arc<dyn FleetConnection> {
        Arc::new(SimulatedFleet {
            world: Arc::clone(&self.world),
            process: Arc::clone(&self.process),
        })
    }

    fn patches(&self) -> Patches {
        Patches::default()
    }

    fn prepare_release<'a>(
        &'a self,
        project: &'a Project,
        _: &'a StateDir,
        _: Option<&'a Artifact>,
    ) -> BoxFuture<'a, Result<Release, Error>> {
        let version = &project.playbook.version;
        let release = version
            .strip_prefix("0.")
            .and_then(|number| number.parse().ok())
            .expect("only releases of the scenario are deployed");
        let prepared = Release {
            id: release_id(release),
            definition: self.world.scenario.definition(release),
            secrets: None,
            unpacked_bytes: 0,
            contents_sha256: None,
            pulled_from: None,
        };
        async { Ok(prepared) }.boxed()
    }

    fn fetch_artifact<'a>(&'a self, _: ArtifactRequest<'a>) -> BoxFuture<'a, Result<(), String>> {
        async { Ok(()) }.boxed()
    }

    fn listen(&self) -> Result<Interrupts, Error> {
        Ok(self.process.listen())
    }

    fn notify(&self, notice: &Notice) {
        let mut state = self.world.lock();
        state.log(format_args!("ship{}", self.process.number), notice);
    }

    fn reporter(&self, id: RolloutId, _: ReporterSetup) -> Box<dyn Reporter> {
        Box::new(StatusObserver {
            world: Arc::clone(&self.world),
            number: self.process.number,
            id,
        })
    }

    fn open_log(&self, _: &StateDir, _: RolloutId) -> Box<dyn Any + Send> {
        Box::new(())
    }

    fn publishes(&self) -> bool {
        false
    }

    fn remove_unused(&self, _: &StateDir, _: &dyn Store) {}
}

impl FleetConnection for SimulatedFleet {
    fn update_releases(&mut self, _: Releases) {}

    fn kept_releases<'a>(&'a self, _: &'a HostId) -> BoxFuture<'a, Vec<KeptRelease>> {
        async { Vec::new() }.boxed()
    }

    fn save_release<'a>(
        &'a self,
        _: &'a HostId,
        _: &'a ReleaseId,
        _: u64,
        _: &'a mut SavedOutput,
    ) -> BoxFuture<'a, Result<(), HostUnavailable>> {
        unreachable!("every artifact is available")
    }

    fn server_clash(&self, _: &[SlotNumber], _: &Fleet) -> Option<ServerClash> {
        None
    }
}

/// Reports to the checker what a user sees.
struct StatusObserver {
    world: Arc<World>,
    number: u32,
    id: RolloutId,
}

impl Reporter for StatusObserver {
    fn event(&mut self, entry: &Entry, status: &Status) {
        let mut state = self.world.lock();
        state.count_event(&entry.event);
        state.log(format_args!("ship{}", self.number), EventLine(&entry.event));
        let now = state.now;
        state
            .checker
            .on_status_shown(self.number, self.id.0, status, now);
    }

    fn tick(&mut self, status: &Status, now: Time) {
        self.world
            .lock()
            .checker
            .on_status_shown(self.number, self.id.0, status, now);
    }
}

/// The common part of all digests of the scenario.
const DIGEST_TAIL: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// An event on one line, without the common part of digests.
struct EventLine<'a>(&'a Event);

impl std::fmt::Display for EventLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = serde_json::to_string(self.0).map_err(|_| std::fmt::Error)?;
        f.write_str(&line.replace(DIGEST_TAIL, ""))
    }
}
