//! The control loop of a rollout.

mod saving;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::actions::{ActionTracker, EndedAction};
use super::analysis::{AnalysisRunner, AnalysisScope};
use super::clock::Clock;
use super::dispatcher::{Dispatcher, UnsentOrders};
use super::executor::{ActionResult, Executor};
use super::inbox::Inbox;
use super::messages::{Arrival, Interrupts, Message, ProbeAnswer};
use super::monitor::MonitorHandle;
use super::observer::FleetObserver;
use super::recorder::Recorder;
use super::status_source::StatusSource;
use super::store_calls::StoreCalls;
use super::tasks::TaskQueue;
use crate::core::availability::AvailabilityReport;
use crate::core::fleet::{Fleet, Observation};
use crate::core::ids::{ActionId, HostId, ReleaseId, Slot};
use crate::core::planner::wait_reason::WaitReason;
use crate::core::planner::{Next, plan};
use crate::core::redact::Redactor;
use crate::core::release::Definition;
use crate::core::rollout::event::{Event, Progress};
use crate::core::rollout::failure::{Failure, Outcome};
use crate::core::rollout::task::TaskRun;
use crate::core::spec::Spec;
use crate::core::spec::step::Step;
use crate::core::time::{Human, Time};
use crate::probe;
use crate::remote::HostUnavailable;
use crate::report::Reporter;
use crate::store::{RolloutId, StoreError, StoreHandle};

/// The interval at which the reporter updates elapsed times.
const TICK: Duration = Duration::from_millis(200);
/// The interval at which the controller renews its lease.
const LEASE_INTERVAL: Duration = Duration::from_secs(5);
/// If the loop continues this much later than planned, the process was suspended: normally the
/// loop runs five times a second.
const SUSPEND_THRESHOLD: Duration = Duration::from_secs(10);
/// The number of log lines that are shown of a failed instance.
const LOG_LINES: u32 = 15;
/// The time limit for fetching the log lines of a failed instance.
const LOG_DEADLINE: Duration = Duration::from_secs(5);

/// Why a rollout could not continue. Recorded events stay in the journal.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The journal could not be written, and the controller does nothing without a record.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The store has failed for too long, or a user did not want to wait for it.
    #[error("the state store has failed for {}: {error}", Human(*.lasted))]
    StoreLost { error: StoreError, lasted: Duration },
    /// The journal does not begin with the start of a rollout.
    #[error("the journal does not begin with the start of a rollout")]
    MissingStartEvent,
}

/// Everything that one rollout needs to run.
pub struct Engine {
    pub executor: Arc<dyn Executor>,
    /// Records every event before it takes effect.
    pub store: StoreHandle,
    pub reporter: Box<dyn Reporter>,
    pub clock: Arc<dyn Clock>,
    pub interrupts: Interrupts,
    pub fleet_name: String,
    pub spec: Spec,
    /// The hosts' addresses, in the inventory's order.
    pub addresses: Vec<(HostId, String)>,
    /// Every release that may run on a host.
    pub definitions: BTreeMap<ReleaseId, Definition>,
    /// The fleet as the preflight observed it.
    pub fleet: Fleet,
    /// The availability monitor, if there is one.
    pub monitor: Option<probe::Monitor>,
    /// Removes secrets from events, because hooks and services may print them.
    pub redactor: Redactor,
}

impl Engine {
    /// Runs a rollout to its end. The first of `initial_events` is its start. A rollout that
    /// continues an earlier one has more of them, which restore the state of that rollout.
    ///
    /// # Errors
    /// If the journal cannot be written. The hosts are left unchanged, and `ship resume` continues
    /// from there.
    pub async fn run(
        self,
        id: RolloutId,
        initial_events: Vec<Event>,
    ) -> Result<Outcome, EngineError> {
        let mut controller =
            Controller::new(self, id, initial_events).ok_or(EngineError::MissingStartEvent)?;
        controller.calls.watch_requests();
        let outcome = controller.run_until_done().await;
        controller.reporter.finish();
        controller.dispatcher.inbox().shut_down().await;
        outcome
    }
}

/// Plans, records and dispatches until the planner reports that the rollout has finished.
struct Controller {
    store: StoreHandle,
    calls: StoreCalls,
    /// The orders whose start is being saved.
    saving: UnsentOrders,
    /// When the last save was started.
    save_started: Time,
    /// The number of actions and tasks that were sent and have not ended.
    sent: usize,
    reporter: Box<dyn Reporter>,
    clock: Arc<dyn Clock>,
    interrupts: Interrupts,
    spec: Spec,
    recorder: Recorder,
    observer: FleetObserver,
    actions: ActionTracker,
    tasks: TaskQueue,
    analyses: AnalysisRunner,
    monitor: MonitorHandle,
    dispatcher: Dispatcher,
    status: StatusSource,
    progress: Progress,
    lease_renewed: Time,
    last_tick: Time,
    interrupted_twice: bool,
}

impl Controller {
    fn new(engine: Engine, id: RolloutId, initial_events: Vec<Event>) -> Option<Self> {
        let Engine {
            executor,
            store,
            reporter,
            clock,
            interrupts,
            fleet_name,
            spec,
            addresses,
            definitions,
            fleet,
            monitor,
            redactor,
        } = engine;
        let recorder = Recorder::begin(id, initial_events, redactor, Arc::clone(&clock))?;
        let versions = definitions
            .iter()
            .map(|(id, definition)| (id.clone(), definition.version.clone()));
        let status = StatusSource {
            fleet_name,
            addresses,
            versions: versions.collect(),
            wait_reasons: BTreeMap::new(),
        };
        let now = clock.now();
        Some(Self {
            calls: StoreCalls::new(store.clone(), id),
            store,
            saving: UnsentOrders::default(),
            save_started: now,
            sent: 0,
            reporter,
            interrupts,
            spec,
            recorder,
            observer: FleetObserver::new(fleet, definitions),
            actions: ActionTracker::default(),
            tasks: TaskQueue::default(),
            analyses: AnalysisRunner::default(),
            monitor: MonitorHandle::new(monitor),
            dispatcher: Dispatcher::new(executor, Inbox::new(Arc::clone(&clock))),
            status,
            progress: Progress::default(),
            lease_renewed: now,
            last_tick: now,
            interrupted_twice: false,
            clock,
        })
    }

    async fn run_until_done(&mut self) -> Result<Outcome, EngineError> {
        loop {
            let next = self.plan();
            self.start_save();
            if self.calls.is_saving() {
                self.wait_while_saving().await?;
                continue;
            }
            let wake = match next {
                Next::Wake(at) => Some(at),
                Next::AwaitInFlight => None,
                Next::Finish(_) if self.flush_monitor().await => continue,
                Next::Finish(outcome) => return self.finish(outcome).await,
                next => {
                    self.decide(next).await;
                    continue;
                }
            };
            self.wait(wake).await?;
            if self.interrupted_twice {
                self.record_monitor();
                return self.finish(Outcome::Interrupted).await;
            }
        }
    }

    /// Makes a plan for the current state and records its actions; returns what to do next.
    fn plan(&mut self) -> Next {
        let fleet = self.observer.fleet();
        let decided = plan(&self.spec, self.recorder.rollout(), fleet, self.clock.now());
        self.record_awaited_slots(&decided.wait_reasons);
        self.status.wait_reasons = decided.wait_reasons;
        for host in &decided.hosts_to_observe {
            self.observer.observe_host_now(host);
        }
        if decided.progress != self.progress {
            self.progress = decided.progress;
            self.recorder.record(Event::Progress(decided.progress));
        }
        for action in decided.actions {
            self.actions.begin(action, &self.spec, &mut self.recorder);
        }
        decided.next
    }

    /// Records the slots for which hosts have begun to wait because an instance lingers there.
    fn record_awaited_slots(&mut self, reasons: &BTreeMap<HostId, WaitReason>) {
        for (host, reason) in reasons {
            let (number, until) = match reason {
                WaitReason::WaitsForLingering { number, until } => (*number, *until),
                _ => continue,
            };
            if self.status.wait_reasons.get(host) != Some(reason) {
                let host = host.clone();
                let slot = Slot { host, number };
                self.recorder.record(Event::SlotAwaited { slot, until });
            }
        }
    }

    /// Records a decision of the planner, after which the controller plans again.
    async fn decide(&mut self, next: Next) {
        match next {
            Next::FailHost(failure) => {
                let log = self.log_of(&failure).await;
                self.recorder.record(Event::HostFailed { failure, log });
            }
            Next::StepReached(Step { soak, pause, .. }, instances) => {
                let (step, of) = self.step();
                self.recorder.record(Event::StepReached {
                    step,
                    of,
                    instances,
                    soak,
                    pause,
                });
            }
            Next::StepPassed => {
                let (step, of) = self.step();
                self.recorder.record(Event::StepPassed { step, of });
            }
            Next::Run(task) => self.begin_task(&task).await,
            Next::Fail(failure, then) => {
                let log = self.log_of(&failure).await;
                self.recorder
                    .record(Event::RolloutFailed { failure, log, then });
            }
            Next::Finish(_) | Next::Wake(_) | Next::AwaitInFlight => {}
        }
    }

    /// Begins a task. A task that runs after the rollout begins only once the outcome is final.
    async fn begin_task(&mut self, run: &TaskRun) {
        if run.outcome.is_some() && self.flush_monitor().await {
            return;
        }
        let target = self.recorder.rollout().goal.release.clone();
        self.tasks.begin(
            run,
            &self.spec.tasks,
            self.observer.definition(&target),
            &self.status.fleet_name,
            &mut self.recorder,
        );
    }

    /// The current step, counted from 1, and the number of steps.
    fn step(&self) -> (u32, u32) {
        let passed = self.recorder.rollout().step.passed;
        (passed.saturating_add(1), self.spec.step_count())
    }

    /// The output of a failed task, or the last log lines of a failed instance.
    async fn log_of(&mut self, failure: &Failure) -> Vec<String> {
        if failure.kind.is_task_failure() {
            return self.tasks.take_output();
        }
        let Some(slot) = &failure.slot else {
            return Vec::new();
        };
        let requested = self.clock.now();
        let tail = self
            .dispatcher
            .executor()
            .tail_log(slot, failure.kind, LOG_LINES);
        let log = tokio::time::timeout(LOG_DEADLINE, tail)
            .await
            .unwrap_or_default();
        self.detect_suspend(requested + LOG_DEADLINE);
        // Fetching the log takes up to 5 seconds. The next plan needs the messages that have
        // arrived in the meantime.
        self.drain_inbox();
        log
    }

    // ── dispatch ─────────────────────────────────────────────────────────────────────────────────

    /// Sends the observations and probes that are due; returns when the next one is.
    fn send_polls(&mut self, now: Time) -> Option<Time> {
        let (traffic, rollout) = (self.spec.traffic.as_ref(), self.recorder.rollout());
        let due = self.observer.take_due(traffic, rollout, now);
        let next = due.next;
        self.dispatcher.send_polls(due, &self.actions);
        next
    }

    /// Starts the measurements that are due; returns when the next one is.
    fn send_measurements(&mut self, now: Time) -> Option<Time> {
        let scope = AnalysisScope::new(&self.spec, &self.recorder, &self.observer);
        let due = self.analyses.take_due(scope, now);
        let compared = due.compared.into_iter();
        let events: Vec<_> = compared
            .map(|(name, measurement)| scope.measured_event(&name, measurement))
            .collect();
        for event in events {
            self.recorder.record(event);
        }
        self.dispatcher.send_measurements(due.started);
        due.next
    }

    // ── waiting ──────────────────────────────────────────────────────────────────────────────────

    /// Sends the polls and measurements that are due, then waits for a message, a signal, the store
    /// or the time `wake`.
    async fn wait(&mut self, wake: Option<Time>) -> Result<(), EngineError> {
        let now = self.clock.now();
        let polled = self.send_polls(now);
        let measured = self.send_measurements(now);
        let until = [wake, polled, measured]
            .into_iter()
            .flatten()
            .fold(now + TICK, Time::min);
        self.wait_until(until).await
    }

    async fn wait_until(&mut self, until: Time) -> Result<(), EngineError> {
        let now = self.clock.now();
        let until = until.min(self.lease_renewed + LEASE_INTERVAL);
        let mut answer = None;
        let arrived = tokio::select! {
            // Without `biased`, tokio picks randomly among the branches that are ready. Simulations
            // must be reproducible.
            biased;
            Some(signal) = self.interrupts.recv() => {
                self.interrupt(signal);
                None
            }
            answered = self.calls.next() => {
                answer = Some(answered);
                None
            }
            Some(arrival) = self.dispatcher.inbox().next() => Some(arrival),
            () = tokio::time::sleep(until.since(now)) => None,
        };
        self.detect_suspend(until);
        if let Some(answer) = answer {
            self.answered(answer)?;
        }
        if let Some(arrival) = arrived {
            self.receive(arrival);
        }
        self.drain_inbox();
        let now = self.clock.now();
        if now.since(self.lease_renewed) >= LEASE_INTERVAL {
            self.calls.start_renewal();
            self.lease_renewed = now;
        }
        if now.since(self.last_tick) >= TICK {
            self.tick(now);
        }
        Ok(())
    }

    fn tick(&mut self, now: Time) {
        self.calls.poll_requests(now);
        self.poll_monitor();
        self.last_tick = now;
        if self.calls.is_saving() && self.calls.failure().is_none() {
            // The wait reasons are those of the last plan, and the next follows in a moment.
            return;
        }
        let fleet = self.observer.fleet();
        let status = self.status.status(&self.spec, &self.recorder, fleet, now);
        self.reporter.tick(&status, now);
    }

    fn interrupt(&mut self, signal: &str) {
        if self.recorder.rollout().requests.interrupted {
            self.interrupted_twice = true;
        } else {
            self.recorder.record(Event::Interrupted {
                by: signal.to_owned(),
            });
        }
    }

    /// Detects that the machine or this process was suspended: the loop continues much later than
    /// `until`. Every earlier observation is invalidated.
    fn detect_suspend(&mut self, until: Time) {
        let now = self.clock.now();
        let slept = now.since(until);
        if slept >= SUSPEND_THRESHOLD {
            self.recorder.record(Event::ControllerResumed { slept });
            self.analyses.invalidate(now);
            self.observer.invalidate_all(now);
        }
    }

    // ── the availability monitor ─────────────────────────────────────────────────────────────────

    /// Records the report as soon as more requests have failed than allowed, and only once.
    fn poll_monitor(&mut self) {
        if self.recorder.rollout().evidence.availability.is_none()
            && let Some(report) = self.monitor.breach()
        {
            self.recorder.record(Event::AvailabilityReported(report));
        }
    }

    /// Records the availability monitor's report so far.
    fn record_monitor(&mut self) {
        if let Some(report) = self.monitor.report() {
            self.recorder.record(Event::AvailabilityReported(report));
        }
    }

    /// Waits for the responses to the last requests before the rollout ends. Returns whether the
    /// limit of failed requests is now exceeded; the monitor then resumes and the controller plans
    /// again.
    async fn flush_monitor(&mut self) -> bool {
        if !self.monitor.is_on() {
            return false;
        }
        let signal = self.monitor.settle(&mut self.interrupts).await;
        let was_breached = self.is_breached();
        self.record_monitor();
        if was_breached || !self.is_breached() {
            return false;
        }
        if let Some(signal) = signal {
            self.interrupt(signal);
        }
        self.monitor.resume();
        true
    }

    fn is_breached(&self) -> bool {
        let report = self.recorder.rollout().evidence.availability.as_ref();
        report.is_some_and(AvailabilityReport::is_breached)
    }

    // ── messages ─────────────────────────────────────────────────────────────────────────────────

    /// Handles every message that has arrived, so that one plan considers them all.
    fn drain_inbox(&mut self) {
        while let Some(arrival) = self.dispatcher.inbox().try_next() {
            self.receive(arrival);
        }
    }

    fn receive(&mut self, Arrival { begun, message }: Arrival) {
        match message {
            Message::ActionEnded { id, host, result } => {
                self.sent = self.sent.saturating_sub(1);
                self.action_ended(id, host, result, begun);
            }
            Message::Probed(answer) if self.observer.is_stale_probe(&answer, begun) => {
                self.observer.dismiss_probe(&answer, begun);
            }
            Message::Probed(answer) => self.probed(answer, begun),
            Message::TaskEnded(ended) => {
                self.sent = self.sent.saturating_sub(1);
                self.tasks.end(ended, begun, &mut self.recorder);
            }
            Message::Measured {
                analysis,
                measurement,
            } => {
                let scope = AnalysisScope::new(&self.spec, &self.recorder, &self.observer);
                if self.analyses.end(&analysis, begun, scope) {
                    let event = scope.measured_event(&analysis, measurement);
                    self.recorder.record(event);
                }
            }
            Message::HostObserved {
                host,
                orders,
                observed,
            } => {
                let is_stale = self.observer.is_stale(&host, begun);
                // An action that was sent in between reports a newer state.
                if is_stale || self.actions.order_count(&host) != orders {
                    self.observer.dismiss_host(&host, is_stale);
                } else {
                    self.host_observed(&host, observed, begun);
                }
            }
            Message::BalancerObserved {
                balancer,
                orders,
                observed,
            } => {
                // An action that was sent in between, or a later observation, reports a newer
                // state.
                let is_outdated = self.actions.order_count(&balancer) != orders;
                if is_outdated || self.observer.is_stale(&balancer, begun) {
                    self.observer.dismiss_balancer(&balancer);
                } else {
                    self.observer
                        .balancer_observed(&balancer, observed, &mut self.recorder);
                }
            }
            Message::Panicked => {}
        }
    }

    fn action_ended(&mut self, id: ActionId, host: HostId, result: ActionResult, begun: Time) {
        let result = if self.observer.is_stale(&host, begun) {
            result.after_suspend(&host)
        } else {
            result
        };
        let ended = EndedAction {
            id,
            host,
            result,
            begun,
        };
        self.actions
            .end(ended, &self.spec, &mut self.observer, &mut self.recorder);
    }

    fn host_observed(
        &mut self,
        host: &HostId,
        observed: Result<Observation, HostUnavailable>,
        begun: Time,
    ) {
        let recorder = &mut self.recorder;
        match observed {
            Ok(seen) => self.observer.host_observed(host, seen, begun, recorder),
            Err(HostUnavailable { why }) => self.observer.host_lost(host, why, recorder),
        }
    }

    fn probed(&mut self, answer: ProbeAnswer, begun: Time) {
        let (slot, now) = (answer.slot.clone(), self.clock.now());
        let rollout = self.recorder.rollout();
        let outcome = self.observer.probed(answer, begun, rollout, now);
        if let Some(text) = outcome.shown {
            self.reporter.answer(&slot, now, &text);
        }
        if let Some(sample) = outcome.sample {
            let scope = AnalysisScope::new(&self.spec, &self.recorder, &self.observer);
            self.analyses.take_sample(&sample, scope);
        }
        if let Some(event) = outcome.event {
            self.recorder.record(event);
        }
    }
}
