//! The loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::analysis::Analyses;
use super::chore::{Attempted, Task};
use super::clock::Clock;
use super::watch::Watch;
use super::world::{Order, Performed, Unusable, World};
use crate::core::analysis::measurement::Measurement;
use crate::core::fleet::health::Verdict;
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::View;
use crate::core::fleet::{Fleet, Observation};
use crate::core::ids::{ActionId, HostId, InstanceId, ReleaseId, Slot};
use crate::core::journal::pending_actions::PendingActions;
use crate::core::journal::status::Status;
use crate::core::journal::status_input::StatusInput;
use crate::core::planner::wait_reason::WaitReason;
use crate::core::planner::{Next, plan};
use crate::core::policy::service_state::Standing;
use crate::core::redact::Veil;
use crate::core::release::Definition;
use crate::core::release::migration::MigrationKind;
use crate::core::rollout::Rollout;
use crate::core::rollout::action::Action;
use crate::core::rollout::event::{Entry, Event, Progress};
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::spec::Spec;
use crate::core::spec::step::Step;
use crate::core::time::Time;
use crate::probe;
use crate::report::Reporter;
use crate::store::{Request, RolloutId, Store, StoreError, Wish};

/// How often the reporter is told that time has passed.
const TICK: Duration = Duration::from_millis(200);
/// How often the store is told that this controller lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// So long after the loop wanted to go on it knows that it slept: it goes round five times a
/// second.
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
    /// Who asks the service all the while, if anybody does.
    pub loss: Option<probe::Asker>,
    /// What is in no event: secrets, which hooks and services may print.
    pub veil: Veil,
}

/// What the tasks report back.
pub(super) enum Message {
    Ended {
        id: ActionId,
        host: HostId,
        performed: Performed,
    },
    Asked {
        slot: Slot,
        instance: InstanceId,
        restarts: u32,
        verdict: Verdict,
    },
    Measured {
        analysis: String,
        measurement: Measurement,
    },
    ChoreEnded {
        chore: String,
        migration: Option<(MigrationKind, String)>,
        attempted: Attempted,
    },
    Looked {
        host: HostId,
        orders: u64,
        looked: Result<Observation, Unusable>,
    },
    Viewed {
        balancer: HostId,
        orders: u64,
        viewed: Result<View, Unusable>,
    },
}

impl<W: World, S: Store> Engine<W, S> {
    /// Carries a rollout from its first events to its end. The first is its start; others may
    /// follow that say how it stands, where it goes on from an earlier one. Gives the store back
    /// for what comes after.
    ///
    /// # Errors
    /// If the journal cannot be written. The hosts are left as they are; `ship resume` goes on from
    /// there.
    pub async fn run(
        self,
        id: RolloutId,
        opening: Vec<Event>,
    ) -> Result<(Outcome, S), EngineError> {
        let now = self.clock.now();
        let hidden = |mut event: Event| {
            event.hide(&self.veil);
            Entry { at: now, event }
        };
        let opening: Vec<_> = opening.into_iter().map(hidden).collect();
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

pub(super) struct Run<W, S> {
    pub(super) engine: Engine<W, S>,
    id: RolloutId,
    pub(super) rollout: Rollout,
    marks: PendingActions,
    versions: BTreeMap<ReleaseId, String>,
    progress: Progress,
    holds: BTreeMap<HostId, WaitReason>,
    pub(super) watch: Watch,
    pub(super) analyses: Analyses,
    /// Orders given to each host or balancer so far: a look that began before the last one is out
    /// of date.
    pub(super) orders: BTreeMap<HostId, u64>,
    /// The same, of the balancers of each order under way, when it was given.
    given: BTreeMap<ActionId, Vec<u64>>,
    /// What is under way, and when it began.
    pub(super) tasks: JoinSet<(Time, Message)>,
    /// What was taken in and is not durable yet.
    recorded: Vec<Entry>,
    /// Orders whose intent is not durable yet.
    intended: Vec<(ActionId, Order)>,
    /// What is done once, and its intent is not durable yet.
    pub(super) intended_chore: Option<Task>,
    /// What the last one of these printed at last.
    pub(super) chore_output: Vec<String>,
    heartbeat: Time,
    ticked: Time,
    /// What began before this moment is old news of a host.
    pub(super) fresh_from: BTreeMap<HostId, Time>,
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
        let versions = engine
            .definitions
            .iter()
            .map(|(id, definition)| (id.clone(), definition.version.clone()));
        let (versions, heartbeat) = (versions.collect(), engine.clock.now());
        Self {
            engine,
            id,
            rollout,
            marks: PendingActions::default(),
            versions,
            progress: Progress::default(),
            holds: BTreeMap::new(),
            watch,
            analyses: Analyses::default(),
            orders: BTreeMap::new(),
            given: BTreeMap::new(),
            tasks: JoinSet::new(),
            recorded: Vec::new(),
            intended: Vec::new(),
            intended_chore: None,
            chore_output: Vec::new(),
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
            for host in &decided.looks {
                self.watch.look_now(host);
            }
            if decided.progress != self.progress {
                self.progress = decided.progress;
                self.record(Event::Progress(decided.progress));
            }
            for action in decided.actions {
                self.give(action);
            }
            self.flush()?;
            let wake = match decided.next {
                Next::Finish(_) if self.hears_of_loss_at_last().await => continue,
                Next::Finish(outcome) => return self.finish(outcome),
                Next::Quarantine(failure) => {
                    let log = self.log_of(&failure).await;
                    self.record(Event::HostQuarantined { failure, log });
                    continue;
                }
                Next::StepReached(Step { soak, pause, .. }, instances) => {
                    let (step, of) = self.step();
                    self.record(Event::StepReached {
                        step,
                        of,
                        instances,
                        soak,
                        pause,
                    });
                    continue;
                }
                Next::StepPassed => {
                    let (step, of) = self.step();
                    self.record(Event::StepPassed { step, of });
                    continue;
                }
                // What is done at the end is done when it is certain which end that is.
                Next::Run(errand)
                    if errand.outcome.is_some() && self.hears_of_loss_at_last().await =>
                {
                    continue;
                }
                Next::Run(errand) => {
                    self.begin_chore(&errand);
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
                self.record_loss();
                return self.finish(Outcome::Interrupted);
            }
        }
    }

    /// The present step's number, from 1, and how many there are.
    fn step(&self) -> (u32, u32) {
        (
            self.rollout.step.passed.saturating_add(1),
            self.engine.spec.step_count(),
        )
    }

    // ── the one door ─────────────────────────────────────────────────────────────────────────────

    /// Takes in an event. It has no effect and nobody is shown it before [`Run::flush`] has made it
    /// durable.
    pub(super) fn record(&mut self, mut event: Event) {
        event.hide(&self.engine.veil);
        let entry = Entry {
            at: self.engine.clock.now(),
            event,
        };
        self.rollout.apply(&entry);
        self.marks.apply(&entry);
        self.recorded.push(entry);
    }

    /// Makes what was recorded durable, all in one commit, then shows it, then lets the orders in
    /// it go out.
    fn flush(&mut self) -> Result<(), EngineError> {
        if self.recorded.is_empty() {
            return Ok(());
        }
        self.engine.store.append(self.id, &self.recorded)?;
        let status = self.status(self.engine.clock.now());
        for entry in std::mem::take(&mut self.recorded) {
            self.engine.reporter.event(&entry, &status);
        }
        self.send_chore();
        for (id, order) in std::mem::take(&mut self.intended) {
            let world = Arc::clone(&self.engine.world);
            self.spawn(async move {
                let host = order.action.host().clone();
                let performed = world.perform(order).await;
                Message::Ended {
                    id,
                    host,
                    performed,
                }
            });
        }
        Ok(())
    }

    fn status(&self, now: Time) -> Status {
        let left_behind: Vec<_> = self
            .rollout
            .attempt
            .failed_hosts
            .values()
            .cloned()
            .collect();
        StatusInput {
            service: &self.engine.spec.service,
            fleet_name: &self.engine.fleet_name,
            hosts: &self.engine.addresses,
            fleet: &self.engine.fleet,
            versions: &self.versions,
            target: Some(self.rollout.target()),
            budget: self.engine.spec.budget_for(&self.rollout),
            min_ready: self.engine.spec.min_ready,
            thresholds: &self.engine.spec.thresholds,
            traffic: self.engine.spec.traffic.as_ref(),
            standing: Standing::Running,
            marks: &self.marks,
            left_behind: &left_behind,
            holds: &self.holds,
            now,
        }
        .status()
    }

    fn finish(&mut self, outcome: Outcome) -> Result<Outcome, EngineError> {
        let outcome = outcome.hidden(&self.engine.veil);
        self.record(Event::RolloutFinished {
            outcome: outcome.clone(),
        });
        self.flush()?;
        let proven = outcome == Outcome::Succeeded && self.progress.updated_available > 0;
        self.engine
            .store
            .end_rollout(self.id, &outcome, proven, self.engine.clock.now())?;
        Ok(outcome)
    }

    /// The last lines of the instance that failed, if it was one.
    async fn log_of(&mut self, failure: &Failure) -> Vec<String> {
        if failure.kind.is_of_a_chore() {
            return std::mem::take(&mut self.chore_output);
        }
        let Some(slot) = &failure.slot else {
            return Vec::new();
        };
        let asked = self.engine.clock.now();
        let tail = self.engine.world.log_tail(slot, LOG_LINES);
        let log = tokio::time::timeout(LOG_DEADLINE, tail)
            .await
            .unwrap_or_default();
        self.notice_sleep(asked + LOG_DEADLINE);
        // It may have taken a while: the next plan is made on what has arrived since.
        self.take_all();
        log
    }

    // ── orders ───────────────────────────────────────────────────────────────────────────────────

    fn give(&mut self, action: Action) {
        let id = self.rollout.next_action_id();
        let instance = match &action {
            Action::Start { release, .. } => {
                let name =
                    InstanceId::new(&self.engine.spec.service, release, self.rollout.epoch, id);
                Some((self.rollout.revision_of(release), name))
            }
            _ => None,
        };
        let name = instance.as_ref().map(|(_, name)| name.clone());
        self.record(Event::ActionStarted {
            id,
            action: action.clone(),
            instance: name,
        });
        self.outdate(&action);
        self.given.insert(id, self.counts(&action));
        // It goes out when the intent is durable.
        let (epoch, progress_deadline) = (self.rollout.epoch, self.engine.spec.progress_deadline);
        self.intended.push((
            id,
            Order {
                id,
                action,
                epoch,
                instance,
                progress_deadline,
            },
        ));
    }

    /// Looks that began before this order are out of date.
    fn outdate(&mut self, action: &Action) {
        *self.orders.entry(action.host().clone()).or_default() += 1;
        self.outdate_balancers(action);
    }

    /// How many orders the balancers of an action have had so far.
    fn counts(&self, action: &Action) -> Vec<u64> {
        let Some((traffic, slot)) = self.engine.spec.traffic.as_ref().zip(action.slot()) else {
            return Vec::new();
        };
        traffic
            .balancers_of(slot)
            .iter()
            .map(|balancer| self.orders.get(balancer).copied().unwrap_or(0))
            .collect()
    }

    fn outdate_balancers(&mut self, action: &Action) {
        let Some((traffic, slot)) = self.engine.spec.traffic.as_ref().zip(action.slot()) else {
            return;
        };
        for balancer in traffic
            .balancers_of(slot)
            .iter()
            .filter(|balancer| *balancer != action.host())
        {
            *self.orders.entry(balancer.clone()).or_default() += 1;
        }
    }

    /// The order that was given at `begun` has ended.
    pub(super) fn ended(
        &mut self,
        id: ActionId,
        host: &HostId,
        mut performed: Performed,
        begun: Time,
    ) {
        let stops = self.stops_on(host);
        let action = self
            .rollout
            .orders
            .in_flight
            .get(&id)
            .map(|in_flight| in_flight.action.clone());
        // What was ordered of a balancer meanwhile may have come after this order's own look at it.
        let given = self.given.remove(&id).unwrap_or_default();
        let is_newest = action
            .as_ref()
            .is_some_and(|action| self.counts(action) == given);
        // What the balancers said while it was under way may be of before.
        if let Some(action) = &action {
            self.outdate_balancers(action);
        }
        let hooks = performed.take_hooks();
        self.record_hooks(id, action.as_ref(), hooks);
        match performed {
            Performed::Done(observation) => {
                self.observed(host, observation, begun);
                self.record(Event::ActionDone { id });
            }
            Performed::Failed { error, observation } => {
                if let Some(observation) = observation {
                    self.observed(host, observation, begun);
                }
                self.record(Event::ActionFailed { id, error });
            }
            Performed::Fenced { seen } => {
                self.record(Event::Fenced {
                    host: host.clone(),
                    seen,
                });
                self.record(Event::ActionFailed {
                    id,
                    error: format!("refused: the host has seen epoch {seen}"),
                });
            }
            Performed::Switched {
                views,
                receipt,
                observation,
            } => {
                if let Some(observation) = observation {
                    self.observed(host, observation, begun);
                }
                for (balancer, view) in views {
                    let slot = action
                        .as_ref()
                        .and_then(Action::slot)
                        .filter(|_| !is_newest);
                    let view = slot.map_or_else(
                        || view.clone(),
                        |slot| self.engine.fleet.viewed_in(&balancer, slot, &view),
                    );
                    self.viewed(&balancer, Ok(view));
                }
                if let (Some(receipt), Some(Action::Drain { slot, instance, .. })) =
                    (receipt, action)
                {
                    self.record(Event::Drained {
                        slot,
                        instance,
                        receipt,
                    });
                }
                self.record(Event::ActionDone { id });
            }
            Performed::BalancerLost { balancer, why } => {
                self.record(Event::ActionUnknown {
                    id,
                    why: why.clone(),
                });
                self.viewed(&balancer, Err(Unusable { why }));
            }
            Performed::Busy { why } => {
                self.record(Event::ActionUnknown { id, why });
                self.watch.look_now(host);
            }
            Performed::Unknown { why } => {
                self.record(Event::ActionUnknown {
                    id,
                    why: why.clone(),
                });
                self.lost(host, why);
                self.watch.look_now(host);
            }
        }
        self.doubt(host, stops);
    }

    /// The instances on a host that were ordered to stop, and whose end nobody has seen.
    fn stops_on(&self, host: &HostId) -> Vec<(Slot, InstanceId)> {
        let in_flight = self
            .rollout
            .orders
            .in_flight
            .values()
            .map(|in_flight| &in_flight.action);
        let ordered = in_flight
            .chain(&self.rollout.orders.unknown)
            .filter(|action| action.host() == host);
        let stops = ordered.filter_map(|action| match action {
            Action::Stop { slot, instance, .. } => Some((slot.clone(), instance.clone())),
            _ => None,
        });
        stops.collect()
    }

    /// An instance that is still there after an order to stop it may have been told to end: what it
    /// answered before says nothing about how it is since.
    fn doubt(&mut self, host: &HostId, stops: Vec<(Slot, InstanceId)>) {
        for (slot, name) in stops {
            let Some(instance) = self
                .engine
                .fleet
                .instance_mut(&slot)
                .filter(|is| is.name == name)
            else {
                continue;
            };
            instance.health.last = None;
            self.fresh_from
                .insert(host.clone(), self.engine.clock.now());
            self.watch.ask_now(&name);
        }
    }

    // ── waiting ──────────────────────────────────────────────────────────────────────────────────

    /// Sends out what is due, and waits until something happens or `wake` comes.
    async fn wait(&mut self, wake: Option<Time>) -> Result<(), EngineError> {
        let now = self.engine.clock.now();
        let next = self.send_due(now);
        let measured = self.measure_due(now);
        let until = [
            wake,
            next,
            measured,
            Some(self.heartbeat + HEARTBEAT),
            Some(now + TICK),
        ]
        .into_iter()
        .flatten()
        .min();
        let until = until.unwrap_or(now);
        let pause = until.since(now);
        let arrived = tokio::select! {
            // No dice among what is ready at the same moment: the same happenings give the same
            // run.
            biased;
            Some(signal) = self.engine.interrupts.recv() => {
                self.interrupt(signal);
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
            self.engine.store.renew_lease(self.engine.clock.wall())?;
            self.heartbeat = now;
        }
        if now.since(self.ticked) >= TICK {
            self.hear()?;
            self.hear_of_loss();
            let status = self.status(now);
            self.engine.reporter.tick(&status, now);
            self.ticked = now;
        }
        Ok(())
    }

    pub(super) fn interrupt(&mut self, signal: &str) {
        if self.rollout.requests.interrupted {
            self.interrupted_twice = true;
        } else {
            self.record(Event::Interrupted {
                by: signal.to_owned(),
            });
        }
    }

    /// What another process asks of this rollout.
    fn hear(&mut self) -> Result<(), EngineError> {
        let Some(Request { wish, by }) = self.engine.store.request(self.id)? else {
            return Ok(());
        };
        match wish {
            Wish::Pause if self.rollout.requests.paused.is_none() => {
                self.record(Event::Paused { by });
            }
            Wish::Abort if self.rollout.requests.aborted.is_none() => {
                self.record(Event::Aborted { by });
            }
            Wish::Freeze if self.rollout.requests.frozen.is_none() => {
                self.record(Event::Frozen {
                    freeze: format!("frozen by {by}"),
                });
            }
            Wish::Promote { step } if step == self.step().0 && !self.rollout.step.promoted => {
                self.record(Event::Promoted { by, full: false });
            }
            Wish::PromoteFully if self.rollout.step.passed < u32::MAX => {
                self.record(Event::Promoted { by, full: true });
            }
            Wish::Pause
            | Wish::Abort
            | Wish::Freeze
            | Wish::Promote { .. }
            | Wish::PromoteFully => {}
        }
        Ok(())
    }

    fn send_due(&mut self, now: Time) -> Option<Time> {
        let busy: BTreeSet<_> = self
            .rollout
            .orders
            .in_flight
            .values()
            .map(|in_flight| in_flight.action.host().clone())
            .collect();
        let due = self.watch.due(
            &self.engine.fleet,
            &self.engine.definitions,
            self.engine.spec.traffic.as_ref(),
            &busy,
            now,
        );
        for (slot, instance) in due.asks {
            let world = Arc::clone(&self.engine.world);
            self.spawn(async move {
                let verdict = world.ask(&slot, &instance).await;
                Message::Asked {
                    slot,
                    instance: instance.name,
                    restarts: instance.restarts,
                    verdict,
                }
            });
        }
        for host in due.looks {
            let world = Arc::clone(&self.engine.world);
            let orders = self.orders.get(&host).copied().unwrap_or(0);
            self.spawn(async move {
                let looked = world.look(&host).await;
                Message::Looked {
                    host,
                    orders,
                    looked,
                }
            });
        }
        for balancer in due.views {
            let world = Arc::clone(&self.engine.world);
            let orders = self.orders.get(&balancer).copied().unwrap_or(0);
            self.spawn(async move {
                let viewed = world.view(&balancer).await;
                Message::Viewed {
                    balancer,
                    orders,
                    viewed,
                }
            });
        }
        due.next
    }

    pub(super) fn spawn(&mut self, task: impl Future<Output = Message> + Send + 'static) {
        let begun = self.engine.clock.now();
        self.tasks.spawn(async move { (begun, task.await) });
    }

    /// Whoever was to go on at `until` and does so much later has slept: its machine was suspended,
    /// or its process stopped. All that it knows is old; every host is looked at before anything is
    /// decided about it.
    fn notice_sleep(&mut self, until: Time) {
        let now = self.engine.clock.now();
        let slept = now.since(until);
        if slept < ASLEEP {
            return;
        }
        self.record(Event::Woke { slept });
        self.analyses.woke(now);
        for (id, host) in &mut self.engine.fleet.hosts {
            self.fresh_from.insert(id.clone(), now);
            if host.is_reachable() {
                host.reach = Reach::NotSeen;
                self.watch.look_now(id);
            }
        }
        for (id, balancer) in &mut self.engine.fleet.balancers {
            self.fresh_from.insert(id.clone(), now);
            if balancer.is_reachable() {
                balancer.reach = Reach::NotSeen;
                self.watch.view_now(id);
            }
        }
    }
}
