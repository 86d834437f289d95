//! Users and their machines: they call `ship`, and its processes are killed, suspended, interrupted
//! and compete with each other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ship::core::ids::{Epoch, ReleaseId};
use ship::core::policy::service_state::ServiceState;
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::verb::Verb;
use ship::core::spec::OnFailure;
use ship::engine::Clock;
use ship::store::{
    ControlRequest, Database, Holder, NewRevision, RecordStore, Request, Sqlite, StateDir, Store,
    StoreAccess,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::faults;
use super::invocation::{self, Exit, SimulatedEnvironment};
use super::memory_database::{MemoryDatabase, MemoryRecords};
use super::process::{Process, ProcessEnd, Trap};
use super::scenario::{Call, Quality, release_id, service_key};
use super::world::World;

/// The time limit of a call without random faults.
const CALL_DEADLINE: Duration = Duration::from_mins(10);
/// How often a call is made before users give up.
const TRIES_MAX: u32 = 5;
/// The machine of most calls.
const HERE: &str = "here";

/// Where the store is kept.
#[derive(Clone)]
pub(crate) enum Disk {
    Memory(Arc<Mutex<MemoryRecords>>),
    Sqlite(StateDir),
}

/// The users of one scenario.
pub(crate) struct Operators {
    pub(crate) world: Arc<World>,
    pub(crate) disk: Disk,
    disruptions: Mutex<u32>,
}

/// What happens to a process of `ship`.
#[derive(Clone, Copy, Debug)]
enum Disruption {
    Kill,
    Suspend {
        duration: Duration,
        has_rival: bool,
    },
    Interrupt {
        again_after: Option<Duration>,
    },
    Request(ControlRequest),
    /// Another user calls `ship` at the same time.
    Rival,
}

/// A running process.
struct SpawnedProcess {
    process: Arc<Process>,
    end: JoinHandle<Exit>,
}

impl Disk {
    /// Opens the store; its time is that of the simulated world.
    pub(crate) fn open(&self, world: &Arc<World>) -> Box<dyn Store> {
        let clock = Arc::clone(world) as Arc<dyn Clock>;
        let database: Box<dyn Database> = match self {
            Disk::Memory(records) => Box::new(MemoryDatabase {
                records: Arc::clone(records),
                clock,
            }),
            Disk::Sqlite(place) => {
                let database = Sqlite::open(place).expect("a database in a directory of its own");
                Box::new(database.with_clock(move || clock.wall()))
            }
        };
        let store = RecordStore::open(database, StoreAccess::Write);
        let store = store.expect("no one else opens the store");
        // Runs must be reproducible.
        Box::new(store.with_random(|| 0))
    }
}

impl Operators {
    pub(crate) fn new(world: Arc<World>, disk: Disk) -> Self {
        let disruptions = Mutex::new(world.scenario.fault_rates.disruptions);
        Self {
            world,
            disk,
            disruptions,
        }
    }

    /// Runs the scenario to its end.
    pub(crate) async fn run(&self) {
        self.record_first_release();
        let fault_injection = tokio::spawn(faults::inject(Arc::clone(&self.world)));
        let faults_end_at = self.world.lock().now + self.world.scenario.fault_rates.duration;
        for call in &self.world.scenario.calls {
            self.call_until_done(*call).await;
        }
        let last = *self
            .world
            .scenario
            .calls
            .last()
            .expect("every scenario has a call");
        while self.world.lock().now < faults_end_at && self.world.lock().rng.chance(600) {
            self.pause(1000..=10_000).await;
            self.call_until_done(last).await;
        }
        fault_injection.abort();
        faults::end_all(&self.world);
        sleep(faults::RECOVERY).await;
        self.check_settled(last).await;
    }

    /// Adds the history of a fleet on which instances run already.
    fn record_first_release(&self) {
        if self.world.scenario.initial_instances == 0 {
            return;
        }
        let mut store = self.disk.open(&self.world);
        let new = NewRevision {
            release: release_id(0),
            definition: self.world.scenario.definition(0),
            playbook: String::new(),
            who: "anna@here".into(),
            reason: "because".into(),
            verb: Verb::Deploy,
            contents_sha256: None,
        };
        let now = self.world.lock().now;
        let holder = Holder::this_process("anna", HERE, "deploy");
        store
            .acquire_lease(&service_key(), holder, None)
            .expect("no faults yet");
        let revision = store
            .add_revision(&service_key(), &new)
            .expect("no faults yet");
        let (rollout, _) = store
            .begin_rollout(&service_key(), revision, Epoch(0), now)
            .expect("no faults yet");
        store
            .end_rollout(rollout, &Outcome::Succeeded, true, now)
            .expect("no faults yet");
    }

    fn pick(&self, calls: &[Call]) -> Call {
        *self.world.lock().rng.pick(calls)
    }

    async fn pause(&self, range: std::ops::RangeInclusive<u64>) {
        let time = self.world.lock().rng.millis(range);
        sleep(time).await;
    }

    // ── with random faults ───────────────────────────────────────────────────────────────────────

    /// Makes a call until it completes.
    async fn call_until_done(&self, call: Call) {
        let mut next = call;
        for _ in 0..TRIES_MAX {
            let exit = self.attempt(next).await;
            next = match exit {
                Exit::Done
                | Exit::NothingToDo
                | Exit::RolledBack
                | Exit::Held
                | Exit::RollbackFailed => return,
                Exit::Locked | Exit::Unreachable => next,
                Exit::Paused => self.pick(&[Call::Resume, Call::Resume, Call::Abort]),
                Exit::Refused
                    if invocation::service_state(&*self.disk.open(&self.world))
                        == ServiceState::Paused =>
                {
                    Call::Resume
                }
                Exit::Refused => call,
                Exit::Interrupted | Exit::Internal | Exit::Killed => {
                    self.pick(&[call, call, Call::Resume, Call::Resume, Call::Abort])
                }
            };
            self.pause(200..=15_000).await;
        }
    }

    /// Makes a call and disrupts its process.
    async fn attempt(&self, call: Call) -> Exit {
        let trap = self.draw_trap();
        let disruption = if trap.is_some() {
            None
        } else {
            self.draw_disruption()
        };
        let spawned = self.spawn(call, HERE.into(), trap);
        let process = Arc::clone(&spawned.process);
        let (ending, end) = oneshot::channel::<()>();
        let disrupts = async {
            if let Some((at, disruption)) = disruption
                && timeout(at, end).await.is_err()
            {
                self.disrupt(call, &process, disruption).await;
            }
        };
        let ends = async {
            let exit = self.wait_for(spawned).await;
            drop(ending);
            exit
        };
        let (exit, ()) = futures::join!(ends, disrupts);
        exit
    }

    fn take_disruption(&self) -> bool {
        let mut disruptions = self.disruptions.lock().expect("the lock is not poisoned");
        let any = *disruptions > 0 && self.world.lock().rng.chance(850);
        *disruptions -= u32::from(any);
        any
    }

    fn draw_trap(&self) -> Option<Trap> {
        if !self.world.lock().rng.chance(600) || !self.take_disruption() {
            return None;
        }
        let mut state = self.world.lock();
        let (write, action) = (state.rng.count(1..=40), state.rng.count(1..=12));
        let (probe, duration) = (state.rng.count(1..=60), state.rng.millis(1000..=60_000));
        Some(*state.rng.pick(&[
            Trap::KilledBeforeWrite(write),
            Trap::KilledAfterWrite(write),
            Trap::DiskFullAt(write),
            Trap::AnswerLostAt(write),
            Trap::StoreDownAt(write, duration),
            Trap::KilledAfterAction(action),
            Trap::KilledAfterAction(action),
            Trap::SuspendedAfterAction(action, duration),
            Trap::SuspendedAfterProbe(probe, duration),
            Trap::SuspendedAfterProbe(probe, duration),
        ]))
    }

    fn draw_disruption(&self) -> Option<(Duration, Disruption)> {
        if !self.take_disruption() {
            return None;
        }
        let mut state = self.world.lock();
        let at = state.rng.millis(20..=15_000);
        let disruption = match state.rng.below(9) {
            0 | 1 => Disruption::Kill,
            2 | 3 => Disruption::Suspend {
                duration: state.rng.millis(1000..=60_000),
                has_rival: state.rng.chance(600),
            },
            4 => Disruption::Interrupt {
                again_after: state.rng.chance(300).then(|| Duration::from_millis(700)),
            },
            5 => Disruption::Rival,
            6 => Disruption::Request(ControlRequest::Abort),
            _ => Disruption::Request(ControlRequest::Pause),
        };
        Some((at, disruption))
    }

    async fn disrupt(&self, call: Call, process: &Process, disruption: Disruption) {
        self.log(process, &format!("{disruption:?}"));
        match disruption {
            Disruption::Kill => {
                self.count("a controller is killed while it waits");
                process.kill();
            }
            Disruption::Suspend {
                duration,
                has_rival,
            } => {
                self.count("a controller is suspended and resumes");
                process.suspend();
                let resumes = async {
                    sleep(duration).await;
                    process.resume(self.world.now());
                    self.log(process, "resumes");
                };
                let rival = async {
                    if has_rival {
                        self.run_rival(call).await;
                    }
                };
                futures::join!(resumes, rival);
            }
            Disruption::Interrupt { again_after } => {
                process.interrupt();
                if let Some(after) = again_after {
                    sleep(after).await;
                    self.count("a controller is interrupted twice");
                    process.interrupt();
                }
            }
            Disruption::Request(request) => self.send_request(request),
            Disruption::Rival => self.run_rival(call).await,
        }
    }

    /// Sends a request to pause or abort the rollout, from another process.
    fn send_request(&self, request: ControlRequest) {
        let mut store = self.disk.open(&self.world);
        let records = store.service(&service_key());
        let Some(rollout) = records.ok().and_then(|records| records.newest_rollout()) else {
            return;
        };
        // The rollout may have ended; then the request has no effect.
        drop(store.send_request(
            rollout,
            &Request {
                command: request,
                by: "bert@there".into(),
            },
        ));
    }

    /// Calls `ship` from another machine, and again while the service is locked.
    async fn run_rival(&self, call: Call) {
        let machine = format!("desk{}", self.world.lock().next_number());
        let call = match self.world.lock().rng.below(3) {
            0 => Call::Deploy {
                release: 0,
                replicas: call.replicas().unwrap_or(1),
            },
            1 if call.replicas().is_some() => call,
            _ => Call::Resume,
        };
        for _ in 0..4 {
            self.pause(100..=12_000).await;
            let spawned = self.spawn(call, machine.clone(), None);
            match self.wait_for(spawned).await {
                Exit::Locked => self.count("a second controller is locked out"),
                _ => return self.count("a second controller gets the lease"),
            }
        }
    }

    // ── processes ────────────────────────────────────────────────────────────────────────────────

    fn spawn(&self, call: Call, machine: String, trap: Option<Trap>) -> SpawnedProcess {
        let scenario = &self.world.scenario;
        let number = {
            let mut state = self.world.lock();
            let number = u32::try_from(state.next_number()).expect("few processes");
            state.checker.on_controller_started(
                number,
                scenario.min_ready,
                scenario.readiness.clone(),
            );
            state.log(
                format_args!("ship{number}"),
                format_args!("{call:?} from {machine}, {trap:?}"),
            );
            number
        };
        let process = Arc::new(Process::new(number, machine));
        if let Some(trap) = trap {
            process.set_trap(trap);
        }
        let env = SimulatedEnvironment {
            world: Arc::clone(&self.world),
            process: Arc::clone(&process),
            disk: self.disk.clone(),
        };
        let rollout_runs = Arc::clone(&process);
        let end = tokio::task::spawn_local(async move {
            let invoked = Box::pin(invocation::invoke(env, call));
            rollout_runs.run(invoked).await
        });
        process.set_abort(end.abort_handle());
        SpawnedProcess { process, end }
    }

    async fn wait_for(&self, spawned: SpawnedProcess) -> Exit {
        let exit = match ProcessEnd::from(spawned.end.await) {
            ProcessEnd::Exited(exit) => exit,
            ProcessEnd::Killed => Exit::Killed,
            ProcessEnd::Panicked => {
                self.add_violation("ship panics".into());
                Exit::Killed
            }
        };
        self.log(&spawned.process, &format!("ends: {exit:?}"));
        self.world
            .lock()
            .checker
            .on_controller_exited(spawned.process.number);
        exit
    }

    fn log(&self, process: &Process, what: &str) {
        self.world
            .lock()
            .log(format_args!("ship{}", process.number), what);
    }

    fn count(&self, what: &'static str) {
        self.world.lock().count(what);
    }

    fn add_violation(&self, what: String) {
        self.world.lock().checker.add_violation(what);
    }

    // ── without random faults ────────────────────────────────────────────────────────────────────

    /// Without faults, the last call must succeed or roll back, whatever has happened before, and a
    /// good release must repair the service.
    async fn check_settled(&self, last: Call) {
        if invocation::service_state(&*self.disk.open(&self.world)) == ServiceState::Paused {
            self.count("a paused rollout resumes without faults");
            self.call_without_faults(Call::Resume).await;
        }
        let replicas = last.replicas().expect("the last call is a deploy");
        let mut releases = self
            .world
            .scenario
            .calls
            .iter()
            .filter_map(|call| match call {
                Call::Deploy { release, .. } => Some(*release),
                _ => None,
            });
        let release = releases.next_back().unwrap_or(0);
        let quality = self.world.scenario.releases[release];
        let goal = Call::Deploy { release, replicas };
        let rollback_target = self.rollback_target(release);
        let exit = self.call_without_faults(goal).await;
        let must_roll_back = |_: &ReleaseId| {
            quality.is_bad() && self.world.scenario.on_failure == OnFailure::RollBack
        };
        match (exit, &rollback_target) {
            (Exit::Done | Exit::NothingToDo, _) if quality.is_good() => {
                self.check_running(&release_id(release), replicas);
            }
            (Exit::Done | Exit::NothingToDo, _) => {}
            (Exit::RolledBack, Some(back)) if !quality.is_good() => {
                if self.world.scenario.quality(back).is_good() {
                    self.check_running(back, self.rollback_replicas(replicas));
                }
            }
            (Exit::Held | Exit::RollbackFailed, Some(back))
                if must_roll_back(back) && self.world.scenario.quality(back).is_good() =>
            {
                self.add_violation(format!(
                    "without faults, a {quality:?} release was not rolled back: {exit:?}"
                ));
            }
            (Exit::Held | Exit::RollbackFailed, _) if !quality.is_good() => {}
            _ => self.add_violation(format!(
                "without faults, the deploy of a {quality:?} release ended as {exit:?}"
            )),
        }
        if release == 0 && quality == Quality::Good {
            return self.check_stable(goal).await;
        }
        let rescue = Call::Deploy {
            release: 0,
            replicas,
        };
        let exit = self.call_without_faults(rescue).await;
        if !matches!(exit, Exit::Done | Exit::NothingToDo) {
            self.add_violation(format!(
                "without faults, the deploy of a good release ended as {exit:?}"
            ));
        }
        self.check_running(&release_id(0), replicas);
        self.check_stable(rescue).await;
    }

    /// The newest proven release in the history other than this one.
    fn rollback_target(&self, from: usize) -> Option<ReleaseId> {
        let records = self.disk.open(&self.world).service(&service_key());
        let revisions = records.expect("no faults any more").revisions();
        let from = release_id(from);
        let proven = revisions
            .into_iter()
            .rev()
            .find(|record| record.proven && record.release != from);
        proven.map(|record| record.release)
    }

    /// The number of instances to which the newest rollout rolls back.
    fn rollback_replicas(&self, default: u32) -> u32 {
        let records = self.disk.open(&self.world).service(&service_key());
        let rollout_runs = records.expect("no faults any more").runs();
        let newest = rollout_runs
            .last()
            .and_then(|run| run.start.rollback_replicas);
        newest.unwrap_or(default)
    }

    async fn call_without_faults(&self, call: Call) -> Exit {
        for _ in 0..TRIES_MAX {
            let spawned = self.spawn(call, HERE.into(), None);
            let Ok(exit) = timeout(CALL_DEADLINE, self.wait_for(spawned)).await else {
                self.add_violation(format!(
                    "without faults, {call:?} did not end within {} s",
                    CALL_DEADLINE.as_secs()
                ));
                return Exit::Killed;
            };
            if exit != Exit::Locked {
                return exit;
            }
            // A dead process may hold the lease until it expires.
            sleep(Duration::from_secs(10)).await;
        }
        Exit::Locked
    }

    fn check_running(&self, release: &ReleaseId, replicas: u32) {
        let mut state = self.world.lock();
        let running: Vec<_> = state
            .checker
            .running_instances()
            .map(|(name, of, serves)| (name.clone(), of.clone(), serves))
            .collect();
        let serving = running
            .iter()
            .filter(|(_, of, serves)| of == release && *serves)
            .count();
        if serving != replicas as usize || running.len() != serving {
            state.checker.add_violation(format!(
                "without faults, {serving} of {replicas} instances of the expected release serve, and {} \
                 instances run",
                running.len()
            ));
        }
    }

    /// The same call must find nothing to do, and no rollout may be unfinished.
    async fn check_stable(&self, call: Call) {
        let actions = self.world.lock().checker.action_count();
        let exit = self.call_without_faults(call).await;
        if exit != Exit::NothingToDo || self.world.lock().checker.action_count() != actions {
            self.add_violation(format!(
                "without faults, the same call again ended as {exit:?}"
            ));
        }
        // Every dead-man switch would have fired by now.
        sleep(self.world.scenario.progress_deadline * 2).await;
        if let Call::Deploy { release, replicas } = call {
            self.check_running(&release_id(release), replicas);
        }
        if !self.world.lock().checker.newest_is_finished() {
            self.add_violation("without faults, a rollout is unfinished".into());
        }
    }
}
