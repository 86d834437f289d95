//! The project of a user: an inventory of hosts in memory, a playbook, and several versions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ship::app::conclusion::Conclusion;
use ship::app::environment::Environment;
use ship::app::error::Error;
use ship::app::verbs::deploy::{DeployRequest, deploy};
use ship::app::verbs::status::Observer;
use ship::config::Overrides;
use ship::core::ids::HostId;
use ship::core::journal::status::Status;
use ship::core::policy::unattended::RunMode;
use ship::core::release::{Check, Driver, Readiness, Via};
use ship::core::spec::OnFailure;
use ship::core::spec::budget::Amount;
use ship::core::stack::OnStackFailure;
use ship::store::{RevisionRecord, ServiceKey};
use ship_testing::rng::SeededRng;
use tokio::time::sleep;

use super::environment::{Screen, UserFiles, VerbEnvironment};
use super::run::{RunningVerb, VerbRun};
use crate::defects::Defect;
use crate::invocation::SimulatedEnvironment;
use crate::machine::ProcessState;
use crate::on_paused_time;
use crate::operators::Disk;
use crate::process::Process;
use crate::scenario::{FaultRates, Quality, SERVICE, Scenario, service_key};
use crate::world::World;

/// The machine on which most verbs are called.
const HERE: &str = "here";
/// The deadline after which a rollout fails if its new version does not become ready.
const PROGRESS_DEADLINE: Duration = Duration::from_mins(10);

/// The qualities of the releases of a scenario, repeated [`BUILDS`] times. A build takes the next
/// release of its quality.
const QUALITIES: [Quality; 5] = [
    Quality::Good,
    Quality::Mute,
    Quality::Gated,
    Quality::Fragile,
    Quality::Needy,
];
/// The most builds of each quality in one test.
const BUILDS: usize = 8;

/// A user's directory and its simulated fleet.
pub(crate) struct SimulatedProject {
    pub(crate) world: Arc<World>,
    disk: Disk,
    files: Arc<Mutex<UserFiles>>,
    next_build: Mutex<usize>,
    service_key: ServiceKey,
}

/// Runs a test on the hosts of a scenario, and asserts that the checker finds no violation.
pub(crate) fn run_on(scenario: Scenario, replicas: u32, test: impl AsyncFnOnce(SimulatedProject)) {
    on_paused_time(async {
        let world = World::new(scenario, SeededRng::new(1), Defect::None, false);
        let (service_key, disk) = (service_key(), crate::in_memory());
        let project = SimulatedProject::new(Arc::clone(&world), replicas, service_key, disk);
        test(project).await;
        let violation = world.lock().checker.violation().map(str::to_owned);
        assert_eq!(violation, None, "an invariant is violated");
    });
}

/// Runs a test on four hosts with two slots each, with three replicas and `max_surge = 1`.
pub(crate) fn on_four_hosts(test: impl AsyncFnOnce(SimulatedProject)) {
    run_on(scenario(4, 2, [1, 0]), 3, test);
}

/// Runs a test on one host with one replica, for tests in which the number does not matter.
pub(crate) fn on_one_host(test: impl AsyncFnOnce(SimulatedProject)) {
    run_on(scenario(1, 2, [1, 0]), 1, test);
}

/// Runs a test with two instances that are replaced in place.
pub(crate) fn in_place(test: impl AsyncFnOnce(SimulatedProject)) {
    run_on(scenario(2, 1, [0, 1]), 2, test);
}

/// A scenario without faults, in which no instances run at first.
pub(crate) fn scenario(
    hosts: u32,
    slots: usize,
    [max_surge, max_unavailable]: [u32; 2],
) -> Scenario {
    Scenario {
        hosts: (1..=hosts).map(|n| HostId::from(format!("h{n}"))).collect(),
        slots: (8081..).take(slots).collect(),
        max_surge: Amount::Count(max_surge),
        max_unavailable: Amount::Count(max_unavailable),
        min_ready: Duration::ZERO,
        progress_deadline: PROGRESS_DEADLINE,
        max_failed_hosts: 0,
        on_failure: OnFailure::RollBack,
        driver: Driver::Process,
        readiness: Readiness {
            check: Check::Tcp,
            port: None,
            via: Via::Direct,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
            initial_delay: Duration::ZERO,
        },
        releases: QUALITIES.repeat(BUILDS),
        initial_instances: 0,
        calls: Vec::new(),
        store_latency: Duration::ZERO,
        linger: None,
        is_singleton: false,
        can_reload: false,
        has_zones: false,
        fault_rates: FaultRates {
            call_faults_per_mille: 0,
            fault_interval_max: None,
            disruptions: 0,
            duration: Duration::ZERO,
        },
    }
}

/// A request to deploy a version.
pub(crate) fn version(version: &str) -> DeployRequest {
    with_settings(version, &[])
}

/// A request to deploy a version, with overrides of the playbook.
pub(crate) fn with_settings(version: &str, set: &[&str]) -> DeployRequest {
    let overrides = Overrides {
        version: Some(version.to_owned()),
        set: set.iter().map(|setting| (*setting).to_owned()).collect(),
    };
    DeployRequest {
        overrides,
        ..DeployRequest::default()
    }
}

/// The same request with `--unattended`.
pub(crate) fn unattended(request: DeployRequest) -> DeployRequest {
    let mode = RunMode {
        unattended: true,
        ..request.mode
    };
    DeployRequest { mode, ..request }
}

/// The same request with `--force`.
pub(crate) fn forced(request: DeployRequest) -> DeployRequest {
    let mode = RunMode {
        force: true,
        ..request.mode
    };
    DeployRequest { mode, ..request }
}

impl SimulatedProject {
    /// A project of one service, whose state is on this disk.
    pub(crate) fn new(
        world: Arc<World>,
        replicas: u32,
        service_key: ServiceKey,
        disk: Disk,
    ) -> Self {
        let playbook = world.scenario.file(Path::new("playbook.toml"));
        let name = format!("name = \"{}\"", service_key.service);
        let playbook = playbook.replace(&format!("name = \"{SERVICE}\""), &name);
        let files = UserFiles {
            inventory: world.scenario.file(Path::new("inventory.toml")),
            playbook: format!("{playbook}replicas = {replicas}\n"),
            builds: BTreeMap::new(),
            stack: None,
        };
        let project = Self {
            world,
            disk,
            files: Arc::new(Mutex::new(files)),
            next_build: Mutex::default(),
            service_key,
        };
        project.change_playbook("version = \"0.0\"", "version = \"0.8\"");
        for version in ["0.8", "0.9", "1.0"] {
            project.build(version, Quality::Good);
        }
        project
    }

    /// Makes it a service of a stack.
    pub(super) fn join_stack(&self, on_failure: OnStackFailure) {
        let mut files = self.files.lock().expect("no other thread panics");
        files.stack = Some(on_failure);
    }

    /// Builds or rebuilds a version as a new release.
    pub(crate) fn build(&self, version: &str, quality: Quality) {
        let mut next = self.next_build.lock().expect("no other thread panics");
        let releases = &self.world.scenario.releases;
        let build = (*next..releases.len())
            .find(|number| releases[*number] == quality)
            .expect("few builds");
        *next = build + 1;
        let mut files = self.files.lock().expect("no other thread panics");
        files.builds.insert(version.to_owned(), build);
    }

    /// Replaces a part of the playbook. Panics if the playbook does not contain it.
    pub(crate) fn change_playbook(&self, old: &str, new: &str) {
        let mut files = self.files.lock().expect("no other thread panics");
        assert!(
            files.playbook.contains(old),
            "the playbook has no {old:?}:\n{}",
            files.playbook
        );
        files.playbook = files.playbook.replace(old, new);
    }

    /// Adds a table to the playbook.
    pub(crate) fn add_table(&self, table: &str) {
        let mut files = self.files.lock().expect("no other thread panics");
        files.playbook.push_str(table);
    }

    /// Sets `drain = true` on a host. Panics if the inventory does not contain it.
    pub(crate) fn drain(&self, host: &str) {
        let mut files = self.files.lock().expect("no other thread panics");
        let name = format!("name = \"{host}\"\n");
        assert!(files.inventory.contains(&name), "no {host} is there");
        files.inventory = files
            .inventory
            .replace(&name, &format!("{name}drain = true\n"));
    }

    /// Opens the gate on which some releases depend.
    pub(crate) fn open_gate(&self) {
        self.world.lock().is_gate_open = true;
    }

    /// Closes the gate.
    pub(crate) fn close_gate(&self) {
        self.world.lock().is_gate_open = false;
    }

    /// Kills an instance without ship's knowledge.
    pub(crate) fn end_instance(&self, host: &str, number: u16) {
        let mut state = self.world.lock();
        let host = HostId::from(host);
        let record = state
            .record(&host, number)
            .expect("an instance in the slot");
        let ProcessState::Running(running) = &record.state else {
            panic!("nothing runs at {host}:{number}");
        };
        let process = running.process;
        crate::instance::end_process(&self.world, &mut state, &host, number, process, "killed");
    }

    /// The number of actions that hosts have carried out so far.
    pub(crate) fn action_count(&self) -> usize {
        self.world.lock().checker.action_count()
    }

    // ── verbs ────────────────────────────────────────────────────────────────────────────────────

    /// The environment of a process.
    pub(super) fn environment(
        &self,
        machine: &str,
    ) -> (Arc<Process>, Screen, Arc<dyn Environment>) {
        let number = {
            let mut state = self.world.lock();
            let number = u32::try_from(state.next_number()).expect("few processes");
            let scenario = &self.world.scenario;
            let readiness = scenario.readiness.clone();
            state
                .checker
                .on_controller_started(number, scenario.min_ready, readiness);
            number
        };
        let process = Arc::new(Process::new(number, machine.to_owned()));
        let screen = Screen::default();
        let env = VerbEnvironment {
            simulated: SimulatedEnvironment {
                world: Arc::clone(&self.world),
                process: Arc::clone(&process),
                disk: self.disk.clone(),
            },
            files: Arc::clone(&self.files),
            screen: screen.clone(),
        };
        (process, screen, Arc::new(env))
    }

    /// Calls a verb.
    pub(crate) async fn call<T>(
        &self,
        verb: impl AsyncFnOnce(&Arc<dyn Environment>) -> Result<T, Error>,
    ) -> VerbRun<T> {
        let (process, screen, env) = self.environment(HERE);
        let result = Box::pin(verb(&env)).await;
        self.world
            .lock()
            .checker
            .on_controller_exited(process.number);
        VerbRun::new(result, screen.text())
    }

    /// Starts a verb on its own machine. On the same machine, the next process would see at once
    /// that this process has exited.
    pub(crate) fn start<F>(&self, verb: F) -> RunningVerb
    where
        F: AsyncFnOnce(&Arc<dyn Environment>) -> Result<Conclusion, Error> + 'static,
    {
        let machine = format!("desk{}", self.world.lock().next_number());
        let (process, screen, env) = self.environment(&machine);
        let (world, runs) = (Arc::clone(&self.world), Arc::clone(&process));
        let end = tokio::task::spawn_local(async move {
            let result = runs.run(Box::pin(verb(&env))).await;
            world.lock().checker.on_controller_exited(runs.number);
            result
        });
        process.set_abort(end.abort_handle());
        RunningVerb {
            world: Arc::clone(&self.world),
            process,
            screen,
            end,
        }
    }

    /// Deploys.
    pub(crate) async fn deploy(&self, request: DeployRequest) -> VerbRun<Conclusion> {
        self.call(async |env| deploy(env, request).await).await
    }

    /// Deploys a version, and asserts that the rollout succeeds.
    #[track_caller]
    pub(crate) fn deploy_version(&self, wanted: &str) -> impl Future<Output = VerbRun<Conclusion>> {
        let request = version(wanted);
        async { self.deploy(request).await.succeeds() }
    }

    /// Starts to deploy a version, and waits until it has started an instance.
    pub(crate) async fn start_deploy(&self, request: DeployRequest) -> RunningVerb {
        let version = request.overrides.version.clone().expect("a version");
        let running = self.start(async |env| deploy(env, request).await);
        running.await_words(&format!("started   {version}")).await;
        running
    }

    // ── observations ─────────────────────────────────────────────────────────────────────────────

    /// The output of `ship status`.
    pub(crate) async fn status(&self) -> Status {
        let observed = self.call(async |env| Observer::open(env)?.observe().await);
        observed.await.value().status
    }

    /// The slot and version of each instance: `h1:8081 0.8`.
    pub(crate) async fn running(&self) -> Vec<String> {
        let status = self.status().await;
        let rows = status.instances.iter();
        rows.map(|row| format!("{}:{} {}", row.host, row.slot, row.version))
            .collect()
    }

    /// The version of each instance, in the order of the hosts.
    pub(crate) async fn versions(&self) -> Vec<String> {
        let status = self.status().await;
        let rows = status.instances.into_iter();
        rows.map(|row| row.version).collect()
    }

    /// Every revision, oldest first.
    pub(crate) fn revisions(&self) -> Vec<RevisionRecord> {
        let store = self.disk.open(&self.world);
        let records = store.service(&self.service_key).expect("a store in memory");
        records.revisions()
    }

    /// The number, version and outcome of every revision, newest first.
    pub(crate) fn history(&self) -> Vec<String> {
        let row = |record: RevisionRecord| {
            let outcome = record.outcome.map_or("running", |outcome| outcome.word());
            format!(
                "{} {} {outcome}",
                record.revision, record.definition.version
            )
        };
        self.revisions().into_iter().rev().map(row).collect()
    }

    /// The overrides of the newest rollout.
    pub(crate) fn newest_settings(&self) -> Vec<String> {
        let store = self.disk.open(&self.world);
        let records = store.service(&self.service_key).expect("a store in memory");
        let newest = records.runs().pop();
        newest.map_or_else(Vec::new, |run| run.start.set)
    }

    /// Waits in simulated time.
    pub(crate) async fn wait(&self, time: Duration) {
        sleep(time).await;
    }
}
