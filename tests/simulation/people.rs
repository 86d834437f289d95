//! The people and their machines: they call `ship`, and its processes are killed, stopped,
//! interrupted and rivalled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ship::core::ids::{Epoch, ReleaseId};
use ship::core::policy::service_state::ServiceState;
use ship::core::rollout::failure::Outcome;
use ship::core::rollout::verb::Verb;
use ship::core::spec::OnFailure;
use ship::store::{ControlRequest, NewRevision, Request, Sqlite, StateDir, Store};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::invocation::{self, Exit, Simulated};
use super::ledger::{Memory, Tables};
use super::process::{Killed, Process, Trap};
use super::scene::{Call, Quality, release_id, subject};
use super::sim::Sim;
use super::weather;

/// What a call may take in a calm world.
const PATIENCE: Duration = Duration::from_mins(10);
/// How often a call is repeated before people give up.
const MOST_TRIES: u32 = 5;
/// The machine that calls are mostly made from.
const HERE: &str = "here";

/// Where the state is kept.
#[derive(Clone)]
pub(crate) enum Disk {
    Memory(Arc<Mutex<Tables>>),
    Sqlite(StateDir),
}

/// The people.
pub(crate) struct People {
    pub(crate) sim: Arc<Sim>,
    pub(crate) disk: Disk,
    fates: Mutex<u32>,
}

/// What happens to a process of `ship`.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Killed,
    Stopped { lasts: Duration, rivalled: bool },
    Interrupted { again: Option<Duration> },
    Asked(ControlRequest),
    Rivalled,
}

/// A process, and its end.
struct Launched {
    process: Arc<Process>,
    end: JoinHandle<Exit>,
}

impl Disk {
    pub(crate) fn open(&self) -> Box<dyn Store> {
        match self {
            Disk::Memory(tables) => Box::new(Memory::open(tables)),
            Disk::Sqlite(place) => {
                Box::new(Sqlite::open(place).expect("a database in a directory of its own"))
            }
        }
    }
}

impl People {
    pub(crate) fn new(sim: Arc<Sim>, disk: Disk) -> Self {
        let fates = Mutex::new(sim.scene.hostility.fates);
        Self { sim, disk, fates }
    }

    /// Lives the story of the scene to its end.
    pub(crate) async fn live(&self) {
        self.remember_the_first_release();
        let weather = tokio::spawn(weather::make(Arc::clone(&self.sim)));
        let calm_at = self.sim.lock().now + self.sim.scene.hostility.lasts;
        for call in &self.sim.scene.calls {
            self.insist(*call).await;
        }
        let last = *self.sim.scene.calls.last().expect("every scene has a call");
        while self.sim.lock().now < calm_at && self.sim.lock().dice.chance(600) {
            self.pause(1000..=10_000).await;
            self.insist(last).await;
        }
        weather.abort();
        weather::calm(&self.sim);
        sleep(weather::RECOVERY).await;
        self.settle(last).await;
    }

    /// The history of a fleet on which something runs.
    fn remember_the_first_release(&self) {
        if self.sim.scene.running_at_first == 0 {
            return;
        }
        let mut store = self.disk.open();
        let new = NewRevision {
            release: release_id(0),
            definition: self.sim.scene.definition(0),
            playbook: String::new(),
            who: "anna@here".into(),
            reason: "because".into(),
            verb: Verb::Deploy,
        };
        let now = self.sim.lock().now;
        let revision = store
            .add_revision(&subject(), &new)
            .expect("nothing fails yet");
        let (rollout, _) = store
            .begin_rollout(&subject(), revision, Epoch(0), now)
            .expect("nothing fails yet");
        store
            .end_rollout(rollout, &Outcome::Succeeded, true, now)
            .expect("nothing fails yet");
    }

    fn pick(&self, calls: &[Call]) -> Call {
        *self.sim.lock().dice.pick(calls)
    }

    async fn pause(&self, range: std::ops::RangeInclusive<u64>) {
        let time = self.sim.lock().dice.millis(range);
        sleep(time).await;
    }

    // ── in a hostile world ───────────────────────────────────────────────────────────────────────

    /// Makes a call until it comes to an end of its own.
    async fn insist(&self, call: Call) {
        let mut next = call;
        for _ in 0..MOST_TRIES {
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
                    if invocation::standing(&*self.disk.open()) == ServiceState::Paused =>
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

    /// Makes a call, and lets its process meet its fate.
    async fn attempt(&self, call: Call) -> Exit {
        let trap = self.draw_trap();
        let fate = if trap.is_some() {
            None
        } else {
            self.draw_fate()
        };
        let launched = self.launch(call, HERE.into(), trap);
        let process = Arc::clone(&launched.process);
        let (ending, end) = oneshot::channel::<()>();
        let meets = async {
            if let Some((at, fate)) = fate
                && timeout(at, end).await.is_err()
            {
                self.meet(call, &process, fate).await;
            }
        };
        let ends = async {
            let exit = self.end_of(launched).await;
            drop(ending);
            exit
        };
        let (exit, ()) = futures::join!(ends, meets);
        exit
    }

    fn spend_fate(&self) -> bool {
        let mut fates = self.fates.lock().expect("nobody panics with the fates");
        let any = *fates > 0 && self.sim.lock().dice.chance(850);
        *fates -= u32::from(any);
        any
    }

    fn draw_trap(&self) -> Option<Trap> {
        if !self.sim.lock().dice.chance(600) || !self.spend_fate() {
            return None;
        }
        let mut state = self.sim.lock();
        let (write, order) = (state.dice.count(1..=40), state.dice.count(1..=12));
        let (question, lasts) = (state.dice.count(1..=60), state.dice.millis(1000..=60_000));
        Some(*state.dice.pick(&[
            Trap::KilledBeforeWrite(write),
            Trap::KilledAfterWrite(write),
            Trap::DiskFullAt(write),
            Trap::KilledAfterOrder(order),
            Trap::KilledAfterOrder(order),
            Trap::StoppedAfterOrder(order, lasts),
            Trap::StoppedAfterQuestion(question, lasts),
            Trap::StoppedAfterQuestion(question, lasts),
        ]))
    }

    fn draw_fate(&self) -> Option<(Duration, Fate)> {
        if !self.spend_fate() {
            return None;
        }
        let mut state = self.sim.lock();
        let at = state.dice.millis(20..=15_000);
        let fate = match state.dice.below(9) {
            0 | 1 => Fate::Killed,
            2 | 3 => Fate::Stopped {
                lasts: state.dice.millis(1000..=60_000),
                rivalled: state.dice.chance(600),
            },
            4 => Fate::Interrupted {
                again: state.dice.chance(300).then(|| Duration::from_millis(700)),
            },
            5 => Fate::Rivalled,
            6 => Fate::Asked(ControlRequest::Abort),
            _ => Fate::Asked(ControlRequest::Pause),
        };
        Some((at, fate))
    }

    async fn meet(&self, call: Call, process: &Process, fate: Fate) {
        self.tell(process, &format!("{fate:?}"));
        match fate {
            Fate::Killed => {
                self.count("a controller is killed while it waits");
                process.kill();
            }
            Fate::Stopped { lasts, rivalled } => {
                self.count("a controller is stopped and goes on");
                process.stop();
                let goes_on = async {
                    sleep(lasts).await;
                    process.go_on();
                    self.tell(process, "goes on");
                };
                let rivals = async {
                    if rivalled {
                        self.rival(call).await;
                    }
                };
                futures::join!(goes_on, rivals);
            }
            Fate::Interrupted { again } => {
                process.interrupt();
                if let Some(after) = again {
                    sleep(after).await;
                    self.count("a controller is interrupted twice");
                    process.interrupt();
                }
            }
            Fate::Asked(wish) => self.ask(wish),
            Fate::Rivalled => self.rival(call).await,
        }
    }

    /// Somebody asks, from a process of their own, that the rollout pauses or goes back.
    fn ask(&self, wish: ControlRequest) {
        let mut store = self.disk.open();
        let Ok(Some((rollout, _))) = store.newest_journal(&subject()) else {
            return;
        };
        // It may have ended already: then nobody hears it.
        drop(store.send_request(
            rollout,
            &Request {
                command: wish,
                by: "bert@there".into(),
            },
        ));
    }

    /// Somebody else calls `ship` from a machine of their own, and tries again as long as it is
    /// locked.
    async fn rival(&self, call: Call) {
        let machine = format!("desk{}", self.sim.lock().number());
        let call = match self.sim.lock().dice.below(3) {
            0 => Call::Deploy {
                release: 0,
                replicas: call.replicas().unwrap_or(1),
            },
            1 if call.replicas().is_some() => call,
            _ => Call::Resume,
        };
        for _ in 0..4 {
            self.pause(100..=12_000).await;
            let launched = self.launch(call, machine.clone(), None);
            match self.end_of(launched).await {
                Exit::Locked => self.count("a second controller is locked out"),
                _ => return self.count("a second controller gets its turn"),
            }
        }
    }

    // ── processes ────────────────────────────────────────────────────────────────────────────────

    fn launch(&self, call: Call, machine: String, trap: Option<Trap>) -> Launched {
        let scene = &self.sim.scene;
        let number = {
            let mut state = self.sim.lock();
            let number = u32::try_from(state.number()).expect("few processes");
            state
                .judge
                .begin(number, scene.min_ready, scene.readiness.clone());
            state.tell(
                format_args!("ship{number}"),
                format_args!("{call:?} from {machine}, {trap:?}"),
            );
            number
        };
        let (process, interrupts) = Process::new(number, machine);
        let process = Arc::new(process);
        if let Some(trap) = trap {
            process.set_trap(trap);
        }
        let env = Simulated {
            sim: Arc::clone(&self.sim),
            process: Arc::clone(&process),
            disk: self.disk.clone(),
            interrupts: Mutex::new(Some(interrupts)),
        };
        let runs = Arc::clone(&process);
        let end = tokio::task::spawn_local(async move {
            let invoked = Box::pin(invocation::invoke(env, call));
            runs.run(invoked).await
        });
        process.set_abort(end.abort_handle());
        Launched { process, end }
    }

    async fn end_of(&self, launched: Launched) -> Exit {
        let exit = match launched.end.await {
            Ok(exit) => exit,
            Err(error) if error.is_cancelled() => Exit::Killed,
            Err(error) => {
                if error.into_panic().downcast_ref::<Killed>().is_none() {
                    self.sim.lock().judge.object("ship panics".into());
                }
                Exit::Killed
            }
        };
        self.tell(&launched.process, &format!("ends: {exit:?}"));
        self.sim.lock().judge.gone(launched.process.number);
        exit
    }

    fn tell(&self, process: &Process, what: &str) {
        self.sim
            .lock()
            .tell(format_args!("ship{}", process.number), what);
    }

    fn count(&self, what: &'static str) {
        self.sim.lock().count(what);
    }

    fn object(&self, what: String) {
        self.sim.lock().judge.object(what);
    }

    // ── in a calm world ──────────────────────────────────────────────────────────────────────────

    /// Whatever has happened: in a calm world the last call is carried out or comes back, and a
    /// good release helps.
    async fn settle(&self, last: Call) {
        if invocation::standing(&*self.disk.open()) == ServiceState::Paused {
            self.count("a paused rollout goes on in a calm world");
            self.call_in_peace(Call::Resume).await;
        }
        let replicas = last.replicas().expect("nobody begins with what goes on");
        let mut releases = self.sim.scene.calls.iter().filter_map(|call| match call {
            Call::Deploy { release, .. } => Some(*release),
            _ => None,
        });
        let release = releases.next_back().unwrap_or(0);
        let quality = self.sim.scene.releases[release];
        let goal = Call::Deploy { release, replicas };
        let fallback = self.way_back(release);
        let exit = self.call_in_peace(goal).await;
        let came_back =
            |_: &ReleaseId| quality.is_bad() && self.sim.scene.on_failure == OnFailure::RollBack;
        match (exit, &fallback) {
            (Exit::Done | Exit::NothingToDo, _) if quality.is_good() => {
                self.must_run(&release_id(release), replicas);
            }
            (Exit::Done | Exit::NothingToDo, _) => {}
            (Exit::RolledBack, Some(back)) if !quality.is_good() => {
                if self.sim.scene.quality(back).is_good() {
                    self.must_run(back, self.replicas_back(replicas));
                }
            }
            (Exit::Held | Exit::RollbackFailed, Some(back))
                if came_back(back) && self.sim.scene.quality(back).is_good() =>
            {
                self.object(format!(
                    "in a calm world a release that {quality:?} is not rolled back: {exit:?}"
                ));
            }
            (Exit::Held | Exit::RollbackFailed, _) if !quality.is_good() => {}
            _ => self.object(format!(
                "in a calm world the deploy of a release that is {quality:?} ends: {exit:?}"
            )),
        }
        if release == 0 && quality == Quality::Good {
            return self.must_stay(goal).await;
        }
        let rescue = Call::Deploy {
            release: 0,
            replicas,
        };
        let exit = self.call_in_peace(rescue).await;
        if !matches!(exit, Exit::Done | Exit::NothingToDo) {
            self.object(format!(
                "in a calm world the deploy of a good release ends: {exit:?}"
            ));
        }
        self.must_run(&release_id(0), replicas);
        self.must_stay(rescue).await;
    }

    /// The newest proven release but one, as the history has it.
    fn way_back(&self, from: usize) -> Option<ReleaseId> {
        let revisions = self
            .disk
            .open()
            .revisions(&subject())
            .expect("nothing fails any more");
        let from = release_id(from);
        let proven = revisions
            .into_iter()
            .rev()
            .find(|record| record.proven && record.release != from);
        proven.map(|record| record.release)
    }

    /// How many instances the newest rollout went back to, if it was asked for so many.
    fn replicas_back(&self, asked_for: u32) -> u32 {
        let runs = self.disk.open().runs(&subject());
        let runs = runs.expect("nothing fails any more");
        let newest = runs.last().and_then(|run| run.start.fallback_replicas);
        newest.unwrap_or(asked_for)
    }

    async fn call_in_peace(&self, call: Call) -> Exit {
        for _ in 0..MOST_TRIES {
            let launched = self.launch(call, HERE.into(), None);
            let Ok(exit) = timeout(PATIENCE, self.end_of(launched)).await else {
                self.object(format!(
                    "in a calm world {call:?} does not end within {} s",
                    PATIENCE.as_secs()
                ));
                return Exit::Killed;
            };
            if exit != Exit::Locked {
                return exit;
            }
            // Somebody who is gone may hold the lease until it expires.
            sleep(Duration::from_secs(10)).await;
        }
        Exit::Locked
    }

    fn must_run(&self, release: &ReleaseId, replicas: u32) {
        let mut state = self.sim.lock();
        let running: Vec<_> = state
            .judge
            .running()
            .map(|(name, of, serves)| (name.clone(), of.clone(), serves))
            .collect();
        let right = running
            .iter()
            .filter(|(_, of, serves)| of == release && *serves)
            .count();
        if right != replicas as usize || running.len() != right {
            state.judge.object(format!(
                "in a calm world {right} of {replicas} instances of the wanted release serve, and \
                 {} run in all",
                running.len()
            ));
        }
    }

    /// What is settled stays: the same call finds nothing to do, and nothing is left open.
    async fn must_stay(&self, call: Call) {
        let orders = self.sim.lock().judge.orders();
        let exit = self.call_in_peace(call).await;
        if exit != Exit::NothingToDo || self.sim.lock().judge.orders() != orders {
            self.object(format!(
                "in a calm world the same call again ends: {exit:?}"
            ));
        }
        // Whatever a host was told to do by itself has had its time.
        sleep(self.sim.scene.progress_deadline * 2).await;
        if let Call::Deploy { release, replicas } = call {
            self.must_run(&release_id(release), replicas);
        }
        if !self.sim.lock().judge.newest_is_finished() {
            self.object("in a calm world a rollout is left without its end".into());
        }
    }
}
