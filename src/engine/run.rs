//! The loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::watch::Watch;
use super::world::{Order, Performed, Unusable, World};
use crate::core::action::Action;
use crate::core::event::{Entry, Event, Progress};
use crate::core::failure::{Failure, Outcome};
use crate::core::fleet::{Fleet, Host, Judgement, Observation, Reach};
use crate::core::health::{Change, Verdict};
use crate::core::hold::Hold;
use crate::core::names::{ActionId, HostId, InstanceId, ReleaseId, Slot};
use crate::core::plan::{Next, plan};
use crate::core::release::Definition;
use crate::core::rollout::Rollout;
use crate::core::spec::Spec;
use crate::core::status::{Marks, Scene, State, Status};
use crate::core::time::Time;
use crate::report::Reporter;
use crate::store::{Request, RolloutId, Store, StoreError, Wish};

/// How often the reporter is told that time has passed.
const TICK: Duration = Duration::from_millis(200);
/// How often the store is told that this controller lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// So long after the loop wanted to go on it knows that it slept: it goes round five times a second.
const ASLEEP: Duration = Duration::from_secs(10);
/// Log lines shown of an instance that failed.
const LOG_LINES: u32 = 15;
/// What fetching them may take.
const LOG_DEADLINE: Duration = Duration::from_secs(5);

/// Where signals arrive: the name of each.
pub type Interrupts = mpsc::UnboundedReceiver<&'static str>;

/// Why a rollout could not be carried on at all. What was recorded stays recorded.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The journal could not be written: nothing is done that is not recorded first.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The first event was not that of a rollout's start.
    #[error("a rollout begins with its start")]
    NotBegun,
}

/// One rollout under way.
pub struct Engine<W, S> {
    /// What it acts on.
    pub world: Arc<W>,
    /// Where every event goes first.
    pub store: S,
    /// Who is shown every event.
    pub reporter: Box<dyn Reporter>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where signals arrive.
    pub interrupts: Interrupts,
    /// The fleet's name.
    pub fleet_name: String,
    /// What is wanted.
    pub spec: Spec,
    /// The hosts' addresses, in the inventory's order.
    pub addresses: Vec<(HostId, String)>,
    /// Every release that may be met.
    pub definitions: BTreeMap<ReleaseId, Definition>,
    /// The fleet as the preflight saw it.
    pub fleet: Fleet,
}

/// What the tasks report back.
enum Message {
    Ended { id: ActionId, host: HostId, performed: Performed },
    Asked { slot: Slot, instance: InstanceId, restarts: u32, verdict: Verdict },
    Looked { host: HostId, orders: u64, looked: Result<Observation, Unusable> },
}

impl<W: World, S: Store> Engine<W, S> {
    /// Carries a rollout from its first events to its end. The first is its start; others may follow that say how it
    /// stands, where it goes on from an earlier one. Gives the store back for what comes after.
    ///
    /// # Errors
    /// If the journal cannot be written. The hosts are left as they are; `ship resume` goes on from there.
    pub async fn run(self, id: RolloutId, opening: Vec<Event>) -> Result<(Outcome, S), EngineError> {
        let now = self.clock.now();
        let opening: Vec<_> = opening.into_iter().map(|event| Entry { at: now, event }).collect();
        let rollout = Rollout::of(&opening).ok_or(EngineError::NotBegun)?;
        let mut run = Run::new(self, id, rollout);
        run.recorded = opening;
        run.flush()?;
        let outcome = run.until_done().await;
        run.engine.reporter.finish();
        run.tasks.shutdown().await;
        Ok((outcome?, run.engine.store))
    }
}

struct Run<W, S> {
    engine: Engine<W, S>,
    id: RolloutId,
    rollout: Rollout,
    marks: Marks,
    versions: BTreeMap<ReleaseId, String>,
    progress: Progress,
    holds: BTreeMap<HostId, Hold>,
    watch: Watch,
    /// Orders given to each host so far: a look that began before the last one is out of date.
    orders: BTreeMap<HostId, u64>,
    /// What is under way, and when it began.
    tasks: JoinSet<(Time, Message)>,
    /// What was taken in and is not durable yet.
    recorded: Vec<Entry>,
    /// Orders whose intent is not durable yet.
    intended: Vec<(ActionId, Order)>,
    heartbeat: Time,
    ticked: Time,
    /// What began before this moment is old news of a host.
    fresh_from: BTreeMap<HostId, Time>,
    interrupted_twice: bool,
}

impl<W: World, S: Store> Run<W, S> {
    fn new(engine: Engine<W, S>, id: RolloutId, rollout: Rollout) -> Self {
        let mut watch = Watch::default();
        for (_, _, instance) in engine.fleet.instances() {
            if let Some((at, _)) = &instance.health.last {
                watch.was_asked(&instance.name, *at);
            }
        }
        let versions = engine.definitions.iter().map(|(id, definition)| (id.clone(), definition.version.clone()));
        let (versions, heartbeat) = (versions.collect(), engine.clock.now());
        Self {
            engine,
            id,
            rollout,
            marks: Marks::default(),
            versions,
            progress: Progress::default(),
            holds: BTreeMap::new(),
            watch,
            orders: BTreeMap::new(),
            tasks: JoinSet::new(),
            recorded: Vec::new(),
            intended: Vec::new(),
            heartbeat,
            ticked: heartbeat,
            fresh_from: BTreeMap::new(),
            interrupted_twice: false,
        }
    }

    async fn until_done(&mut self) -> Result<Outcome, EngineError> {
        loop {
            let now = self.engine.clock.now();
            let decided = plan(&self.engine.spec, &self.rollout, &self.engine.fleet, now);
            self.holds = decided.holds;
            if decided.progress != self.progress {
                self.progress = decided.progress;
                self.record(Event::Progress(decided.progress));
            }
            for action in decided.actions {
                self.give(action);
            }
            self.flush()?;
            let wake = match decided.next {
                Next::Finish(outcome) => return self.finish(outcome),
                Next::Quarantine(failure) => {
                    let log = self.log_of(&failure).await;
                    self.record(Event::HostQuarantined { failure, log });
                    continue;
                }
                Next::Fail(failure, then) => {
                    let log = self.log_of(&failure).await;
                    self.record(Event::RolloutFailed { failure, log, then });
                    continue;
                }
                Next::Wake(at) => Some(at),
                Next::AwaitInFlight => None,
            };
            self.wait(wake).await?;
            if self.interrupted_twice {
                return self.finish(Outcome::Interrupted);
            }
        }
    }

    // ── the one door ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes in an event. It has no effect and nobody is shown it before [`Run::flush`] has made it durable.
    fn record(&mut self, event: Event) {
        let entry = Entry { at: self.engine.clock.now(), event };
        self.rollout.apply(&entry);
        self.marks.apply(&entry);
        self.recorded.push(entry);
    }

    /// Makes what was recorded durable, all in one commit, then shows it, then lets the orders in it go out.
    fn flush(&mut self) -> Result<(), EngineError> {
        if self.recorded.is_empty() {
            return Ok(());
        }
        self.engine.store.append(self.id, &self.recorded)?;
        let status = self.status(self.engine.clock.now());
        for entry in std::mem::take(&mut self.recorded) {
            self.engine.reporter.event(&entry, &status);
        }
        for (id, order) in std::mem::take(&mut self.intended) {
            let world = Arc::clone(&self.engine.world);
            self.spawn(async move {
                let host = order.action.host().clone();
                let performed = world.perform(order).await;
                Message::Ended { id, host, performed }
            });
        }
        Ok(())
    }

    fn status(&self, now: Time) -> Status {
        let left_behind: Vec<_> = self.rollout.quarantined.values().cloned().collect();
        Status::of(&Scene {
            service: &self.engine.spec.service,
            fleet_name: &self.engine.fleet_name,
            hosts: &self.engine.addresses,
            fleet: &self.engine.fleet,
            versions: &self.versions,
            target: Some(self.rollout.target()),
            budget: self.engine.spec.budget,
            min_ready: self.engine.spec.min_ready,
            thresholds: &self.engine.spec.thresholds,
            state: State::Running,
            marks: &self.marks,
            left_behind: &left_behind,
            holds: &self.holds,
            now,
        })
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Outcome, EngineError> {
        self.record(Event::RolloutFinished { outcome: outcome.clone() });
        self.flush()?;
        self.engine.store.end_rollout(self.id, &outcome, self.engine.clock.now())?;
        Ok(outcome)
    }

    /// The last lines of the instance that failed, if it was one.
    async fn log_of(&mut self, failure: &Failure) -> Vec<String> {
        let Some(slot) = &failure.slot else { return Vec::new() };
        let asked = self.engine.clock.now();
        let tail = self.engine.world.log_tail(slot, LOG_LINES);
        let log = tokio::time::timeout(LOG_DEADLINE, tail).await.unwrap_or_default();
        self.notice_sleep(asked + LOG_DEADLINE);
        // It may have taken a while: the next plan is made on what has arrived since.
        self.take_all();
        log
    }

    // ── orders ─────────────────────────────────────────────────────────────────────────────────────────────────────

    fn give(&mut self, action: Action) {
        let id = self.rollout.next_action_id();
        let instance = match &action {
            Action::Start { release, .. } => {
                let name = InstanceId::new(&self.engine.spec.service, release, self.rollout.epoch, id);
                Some((self.rollout.revision_of(release), name))
            }
            _ => None,
        };
        let name = instance.as_ref().map(|(_, name)| name.clone());
        self.record(Event::ActionStarted { id, action: action.clone(), instance: name });
        *self.orders.entry(action.host().clone()).or_default() += 1;
        // It goes out when the intent is durable.
        self.intended.push((id, Order { id, action, epoch: self.rollout.epoch, instance }));
    }

    fn ended(&mut self, id: ActionId, host: &HostId, performed: Performed) {
        let stops = self.stops_on(host);
        match performed {
            Performed::Done(observation) => {
                self.observed(host, observation);
                self.record(Event::ActionDone { id });
            }
            Performed::Failed { error, observation } => {
                if let Some(observation) = observation {
                    self.observed(host, observation);
                }
                self.record(Event::ActionFailed { id, error });
            }
            Performed::Fenced { seen } => {
                self.record(Event::Fenced { host: host.clone(), seen });
                self.record(Event::ActionFailed { id, error: format!("refused: the host has seen epoch {seen}") });
            }
            Performed::Unknown { why } => {
                self.record(Event::ActionUnknown { id, why: why.clone() });
                self.lost(host, why);
                self.watch.look_now(host);
            }
        }
        self.doubt(host, stops);
    }

    /// The instances on a host that were ordered to stop, and whose end nobody has seen.
    fn stops_on(&self, host: &HostId) -> Vec<(Slot, InstanceId)> {
        let in_flight = self.rollout.in_flight.values().map(|in_flight| &in_flight.action);
        let ordered = in_flight.chain(&self.rollout.unknown).filter(|action| action.host() == host);
        let stops = ordered.filter_map(|action| match action {
            Action::Stop { slot, instance, .. } => Some((slot.clone(), instance.clone())),
            _ => None,
        });
        stops.collect()
    }

    /// An instance that is still there after an order to stop it may have been told to end: what it answered before says
    /// nothing about how it is since.
    fn doubt(&mut self, host: &HostId, stops: Vec<(Slot, InstanceId)>) {
        for (slot, name) in stops {
            let Some(instance) = self.engine.fleet.instance_mut(&slot).filter(|is| is.name == name) else { continue };
            instance.health.last = None;
            self.fresh_from.insert(host.clone(), self.engine.clock.now());
            self.watch.ask_now(&name);
        }
    }

    // ── news ───────────────────────────────────────────────────────────────────────────────────────────────────────

    fn observed(&mut self, host: &HostId, observation: Observation) {
        let now = self.engine.clock.now();
        let was_lost = !self.engine.fleet.hosts.get(host).is_some_and(Host::is_reachable);
        let sickened = self.engine.fleet.observe(host, observation);
        self.watch.looked(host, self.engine.fleet.hosts.get(host), now);
        if was_lost {
            self.record(Event::HostFound { host: host.clone() });
        }
        for (slot, instance) in sickened {
            if self.is_being_stopped(&instance.name) {
                continue;
            }
            let answer = match self.engine.fleet.instance(&slot).filter(|present| present.name == instance.name) {
                Some(present) if present.is_running() => "its process was started again".to_owned(),
                Some(present) => present.process.to_string(),
                None => "it is gone".to_owned(),
            };
            let (instance, release) = (instance.name, instance.release);
            self.record(Event::InstanceNotReady { slot, instance, release, answer });
        }
    }

    fn lost(&mut self, host: &HostId, why: String) {
        let now = self.engine.clock.now();
        let was_reachable = self.engine.fleet.hosts.get(host).is_some_and(Host::is_reachable);
        self.engine.fleet.lose(host, now, why.clone());
        self.watch.looked(host, None, now);
        if was_reachable {
            self.record(Event::HostLost { host: host.clone(), why });
        }
    }

    fn asked(&mut self, slot: Slot, name: &InstanceId, restarts: u32, verdict: Verdict) {
        let now = self.engine.clock.now();
        self.watch.asked(name, now);
        let being_stopped = self.is_being_stopped(name);
        let Some(instance) = self.engine.fleet.instance_mut(&slot) else { return };
        if instance.name != *name || instance.restarts != restarts || being_stopped {
            return;
        }
        let release = instance.release.clone();
        let Some(definition) = self.engine.definitions.get(&release) else { return };
        let verdict = match instance.judge(verdict, &definition.readiness.check) {
            Judgement::Counts(verdict) => verdict,
            Judgement::LookAgain => {
                self.watch.look_before_asking(&slot.host, name);
                return;
            }
        };
        let passed = matches!(verdict, Verdict::Pass(_));
        let change = instance.health.record(verdict, now, now, &definition.readiness.thresholds());
        let was_ready = instance.health.ready_since.is_some();
        let answer = instance.health.last_answer().unwrap_or_default().to_owned();
        if passed {
            self.engine.reporter.answer(&slot, now, &answer);
        } else if was_ready {
            // It may have ended; the host knows.
            self.watch.look_now(&slot.host);
        }
        let instance = name.clone();
        match change {
            Some(Change::Ready) => self.record(Event::InstanceReady { slot, instance, release, answer }),
            Some(Change::NotReady) => self.record(Event::InstanceNotReady { slot, instance, release, answer }),
            None => {}
        }
    }

    fn is_being_stopped(&self, name: &InstanceId) -> bool {
        self.rollout
            .in_flight
            .values()
            .any(|in_flight| matches!(&in_flight.action, Action::Stop { instance, .. } if instance == name))
    }

    // ── waiting ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Sends out what is due, and waits until something happens or `wake` comes.
    async fn wait(&mut self, wake: Option<Time>) -> Result<(), EngineError> {
        let now = self.engine.clock.now();
        let next = self.send_due(now);
        let until = [wake, next, Some(self.heartbeat + HEARTBEAT), Some(now + TICK)].into_iter().flatten().min();
        let until = until.unwrap_or(now);
        let pause = until.since(now);
        let arrived = tokio::select! {
            // No dice among what is ready at the same moment: the same happenings give the same run.
            biased;
            Some(signal) = self.engine.interrupts.recv() => {
                if self.rollout.interrupted {
                    self.interrupted_twice = true;
                } else {
                    self.record(Event::Interrupted { by: signal.to_owned() });
                }
                None
            }
            Some(news) = self.tasks.join_next() => Some(news),
            () = tokio::time::sleep(pause) => None,
        };
        self.notice_sleep(until);
        if let Some(news) = arrived {
            self.take(news);
        }
        self.take_all();
        let now = self.engine.clock.now();
        if now.since(self.heartbeat) >= HEARTBEAT {
            self.engine.store.renew_lease(now)?;
            self.heartbeat = now;
        }
        if now.since(self.ticked) >= TICK {
            self.hear()?;
            let status = self.status(now);
            self.engine.reporter.tick(&status, now);
            self.ticked = now;
        }
        Ok(())
    }

    /// What another process asks of this rollout.
    fn hear(&mut self) -> Result<(), EngineError> {
        let Some(Request { wish, by }) = self.engine.store.request(self.id)? else { return Ok(()) };
        match wish {
            Wish::Pause if self.rollout.paused.is_none() => self.record(Event::Paused { by }),
            Wish::Abort if self.rollout.aborted.is_none() => self.record(Event::Aborted { by }),
            Wish::Pause | Wish::Abort => {}
        }
        Ok(())
    }

    fn send_due(&mut self, now: Time) -> Option<Time> {
        let busy: BTreeSet<_> =
            self.rollout.in_flight.values().map(|in_flight| in_flight.action.host().clone()).collect();
        let due = self.watch.due(&self.engine.fleet, &self.engine.definitions, &busy, now);
        for (slot, instance) in due.asks {
            let world = Arc::clone(&self.engine.world);
            self.spawn(async move {
                let verdict = world.ask(&slot, &instance).await;
                Message::Asked { slot, instance: instance.name, restarts: instance.restarts, verdict }
            });
        }
        for host in due.looks {
            let world = Arc::clone(&self.engine.world);
            let orders = self.orders.get(&host).copied().unwrap_or(0);
            self.spawn(async move {
                let looked = world.look(&host).await;
                Message::Looked { host, orders, looked }
            });
        }
        due.next
    }

    fn spawn(&mut self, task: impl Future<Output = Message> + Send + 'static) {
        let begun = self.engine.clock.now();
        self.tasks.spawn(async move { (begun, task.await) });
    }

    /// Whoever was to go on at `until` and does so much later has slept: its machine was suspended, or its process
    /// stopped. All that it knows is old; every host is looked at before anything is decided about it.
    fn notice_sleep(&mut self, until: Time) {
        let now = self.engine.clock.now();
        if now.since(until) < ASLEEP {
            return;
        }
        for (id, host) in &mut self.engine.fleet.hosts {
            self.fresh_from.insert(id.clone(), now);
            if host.is_reachable() {
                host.reach = Reach::NotSeen;
                self.watch.look_now(id);
            }
        }
    }

    /// Takes in all that has arrived: it is one observation to plan on, not many.
    fn take_all(&mut self) {
        while let Some(news) = self.tasks.try_join_next() {
            self.take(news);
        }
    }

    fn take(&mut self, news: Result<(Time, Message), tokio::task::JoinError>) {
        let is_old = |host: &HostId, begun: Time| self.fresh_from.get(host).is_some_and(|from| begun < *from);
        match news {
            Ok((begun, Message::Ended { id, host, performed: Performed::Done(_) | Performed::Failed { .. } }))
                if is_old(&host, begun) =>
            {
                let why = format!("{host}: ship slept when the answer came");
                self.ended(id, &host, Performed::Unknown { why });
            }
            Ok((_, Message::Ended { id, host, performed })) => self.ended(id, &host, performed),
            Ok((begun, Message::Asked { slot, instance, .. })) if is_old(&slot.host, begun) => {
                if let Some(is) = self.engine.fleet.instance_mut(&slot).filter(|is| is.name == instance) {
                    is.health.begin_anew();
                }
                self.watch.asked(&instance, begun);
                self.watch.ask_now(&instance);
            }
            Ok((_, Message::Asked { slot, instance, restarts, verdict })) => {
                self.asked(slot, &instance, restarts, verdict);
            }
            Ok((begun, Message::Looked { host, .. })) if is_old(&host, begun) => {
                self.watch.dismiss(&host);
                self.watch.look_now(&host);
            }
            Ok((_, Message::Looked { host, orders, looked })) => {
                if self.orders.get(&host).copied().unwrap_or(0) != orders {
                    // An order came in between: it brings newer news.
                    self.watch.dismiss(&host);
                    return;
                }
                match looked {
                    Ok(observation) => self.observed(&host, observation),
                    Err(unusable) => self.lost(&host, unusable.why),
                }
            }
            // A task that panicked is a bug; its order stays in flight and the deadline ends the rollout.
            Err(error) => {
                tracing::error!(%error, "a task of the engine ended abnormally");
            }
        }
    }
}
