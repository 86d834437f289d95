//! The hosts as one controller reaches them: over a network that delays, loses and interrupts
//! calls.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use ship::core::analysis::Analysis;
use ship::core::analysis::measurement::Measurement;
use ship::core::fleet::health::Verdict;
use ship::core::fleet::traffic::BalancerState;
use ship::core::fleet::{Instance, Observation};
use ship::core::ids::{HostId, Slot};
use ship::core::rollout::action::Action;
use ship::core::rollout::failure::FailureKind;
use ship::core::rollout::task;
use ship::engine::{ActionOrder, ActionResult, Clock, Executor, TaskOrder, TaskResult};
use ship::remote::HostUnavailable;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::defects::Defect;
use super::machine::{Answers, ProcessState};
use super::process::{Process, Trap};
use super::script::{self, ScriptEnd, ScriptOutput};
use super::world::{State, World};

/// How long a controller waits for the result of an action.
const ACTION_DEADLINE: Duration = Duration::from_secs(20);

/// The connection of one controller to the hosts.
pub(crate) struct SimulatedFleet {
    pub(crate) world: Arc<World>,
    pub(crate) process: Arc<Process>,
}

/// How an action and its reply travel.
struct Delivery {
    request_delay: Duration,
    reply_delay: Duration,
    /// Whether the action never arrives.
    is_lost: bool,
    /// Whether the action arrives and its reply does not.
    loses_reply: bool,
}

impl Delivery {
    fn draw(world: &World, state: &mut State) -> Self {
        let per_mille = world.scenario.fault_rates.call_faults_per_mille;
        let mut delivery = Self {
            request_delay: state.rng.millis(1..=60),
            reply_delay: state.rng.millis(1..=60),
            is_lost: state.draw_fault(per_mille),
            loses_reply: state.draw_fault(per_mille),
        };
        if delivery.is_lost {
            state.count("an action is lost");
        } else if delivery.loses_reply {
            state.count("the reply to an action is lost");
        }
        let is_slow = state.draw_fault(per_mille);
        let is_late = !is_slow && state.draw_fault(per_mille);
        if is_slow {
            delivery.request_delay = state.rng.millis(1000..=10_000);
            state.count("an action is slow");
        } else if is_late {
            delivery.request_delay = state.rng.millis(10_000..=60_000);
            state.count("an action arrives late");
        }
        delivery
    }
}

impl SimulatedFleet {
    /// Calls a host and runs `read` there.
    async fn call_host<T>(
        &self,
        host: &HostId,
        read: impl FnOnce(&mut State) -> T,
    ) -> Result<T, HostUnavailable> {
        let unreachable = |why: &str| HostUnavailable {
            why: format!("{host}: {why}"),
        };
        let (request_delay, reply_delay, fails) = {
            let mut state = self.world.lock();
            let per_mille = self.world.scenario.fault_rates.call_faults_per_mille;
            let slow = state.draw_fault(per_mille);
            let request_delay = state.rng.millis(if slow { 500..=8000 } else { 1..=60 });
            (
                request_delay,
                state.rng.millis(1..=60),
                state.draw_fault(per_mille),
            )
        };
        sleep(request_delay).await;
        if fails || !self.world.lock().is_reachable(host) {
            let delay = self.world.lock().rng.millis(100..=5000);
            sleep(delay).await;
            return Err(unreachable("no route to the host"));
        }
        let result = read(&mut self.world.lock());
        sleep(reply_delay).await;
        if !self.world.lock().is_reachable(host) {
            sleep(Duration::from_secs(5)).await;
            return Err(unreachable("the connection was interrupted"));
        }
        Ok(result)
    }

    async fn observe(&self, host: &HostId) -> Result<Observation, HostUnavailable> {
        self.process.until_running().await;
        let actions = self.process.actions_to(host);
        let observed = self
            .call_host(host, |state| {
                let now = state.now;
                (now, state.machine(host).observation())
            })
            .await;
        self.process.until_running().await;
        let mut state = self.world.lock();
        // The controller ignores an observation that is older than its newest action.
        let is_read = self.process.actions_to(host) == actions;
        match observed {
            Ok((at, mut observation)) => {
                if is_read {
                    state
                        .checker
                        .on_host_observed(self.process.number, host, at, &observation);
                }
                self.distort(&mut observation);
                Ok(observation)
            }
            Err(unreachable) => {
                if is_read {
                    state.checker.on_host_unreachable(self.process.number, host);
                }
                state.count("an observation fails");
                Err(unreachable)
            }
        }
    }

    /// Applies defects to what the controller reads.
    fn distort(&self, observation: &mut Observation) {
        if self.world.defect == Defect::ClaimsSkipped {
            observation.epoch = observation.epoch.max(self.process.epoch());
        }
    }

    // ── actions ──────────────────────────────────────────────────────────────────────────────────

    async fn send_action(&self, order: ActionOrder) -> ActionResult {
        let host = order.action.host().clone();
        if self.world.defect == Defect::ClaimsSkipped
            && matches!(order.action, Action::Claim { .. })
        {
            return match self.observe(&host).await {
                Ok(observation) => ActionResult::Done(observation),
                Err(HostUnavailable { why }) => ActionResult::Unknown { why },
            };
        }
        self.process.until_running().await;
        let trap = self.process.count_action(&host);
        let (is_reachable, mut delivery) = {
            let mut state = self.world.lock();
            if !self.process.has_just_resumed(state.now) {
                let now = state.now;
                state.checker.check_age(&order, now);
            }
            state.checker.on_action_sent(&order);
            (
                state.is_reachable(&host),
                Delivery::draw(&self.world, &mut state),
            )
        };
        if let Some(trap) = trap {
            delivery.request_delay = self.world.lock().rng.millis(500..=50_000);
            self.trigger(trap);
        }
        let reply = if is_reachable {
            let (reply, answer) = oneshot::channel();
            tokio::spawn(deliver(Arc::clone(&self.world), order, delivery, reply));
            timeout(ACTION_DEADLINE, answer)
                .await
                .map_err(|_| "no answer in time")
                .and_then(|answer| answer.map_err(|_| "the connection was interrupted"))
        } else {
            let delay = self.world.lock().rng.millis(100..=5000);
            sleep(delay).await;
            Err("no route to the host")
        };
        self.process.until_running().await;
        self.action_result(&host, reply)
    }

    /// Kills or suspends the process while an action or a probe is in flight.
    fn trigger(&self, trap: Trap) {
        let mut state = self.world.lock();
        state.log(
            format_args!("ship{}", self.process.number),
            format_args!("{trap:?}"),
        );
        match trap {
            Trap::SuspendedAfterAction(_, duration) | Trap::SuspendedAfterProbe(_, duration) => {
                state.count("a controller is suspended while a call is in flight");
                self.process.suspend();
                let (process, world) = (Arc::clone(&self.process), Arc::clone(&self.world));
                tokio::spawn(async move {
                    sleep(duration).await;
                    process.resume(world.now());
                });
            }
            _ => {
                state.count("a controller is killed while an action is in flight");
                self.process.kill();
            }
        }
    }

    fn action_result(
        &self,
        host: &HostId,
        reply: Result<ScriptOutput, &'static str>,
    ) -> ActionResult {
        let mut state = self.world.lock();
        let number = self.process.number;
        let unknown = |state: &mut State, why: &str| {
            state.checker.on_host_unreachable(number, host);
            state.count("the result of an action is unknown");
            let why = format!("{host}: {why}");
            if self.world.defect == Defect::UnknownReportedAsFailed {
                return ActionResult::Failed {
                    error: why,
                    observation: None,
                };
            }
            ActionResult::Unknown { why }
        };
        let ScriptOutput {
            end,
            at,
            mut observation,
        } = match reply {
            Ok(output) => output,
            Err(why) => return unknown(&mut state, why),
        };
        match end {
            ScriptEnd::Locked => return unknown(&mut state, "another script holds the lock"),
            ScriptEnd::Outdated => {
                return unknown(&mut state, "the host has accepted a later action");
            }
            ScriptEnd::Fenced(seen) => return ActionResult::Fenced { seen },
            ScriptEnd::Done | ScriptEnd::Failed(_) => {}
        }
        state
            .checker
            .on_host_observed(number, host, at, &observation);
        self.distort(&mut observation);
        match end {
            ScriptEnd::Failed(error) => {
                state.count("an action fails");
                ActionResult::Failed {
                    error,
                    observation: Some(observation),
                }
            }
            _ => ActionResult::Done(observation),
        }
    }

    // ── probes ───────────────────────────────────────────────────────────────────────────────────

    async fn send_probe(&self, slot: &Slot, instance: &Instance) -> Verdict {
        self.process.until_running().await;
        let sent_at = self.world.now();
        if let Some(trap) = self.process.count_probe() {
            self.trigger(trap);
        }
        let limit = self.world.scenario.readiness.timeout;
        let answer = timeout(limit, self.probe_reply(slot)).await;
        let verdict = answer.unwrap_or_else(|_| Verdict::Fail("no answer in time".into()));
        self.process.until_running().await;
        let mut state = self.world.lock();
        let now = state.now;
        state.checker.on_probe_completed(
            self.process.number,
            &slot.host,
            instance,
            (sent_at, now),
            &verdict,
        );
        match verdict {
            Verdict::Fail(_) if self.world.defect == Defect::ProbesAlwaysPass => {
                Verdict::Pass("ok".into())
            }
            verdict => verdict,
        }
    }

    async fn probe_reply(&self, slot: &Slot) -> Verdict {
        let (request_delay, reply_delay, fault) = {
            let mut state = self.world.lock();
            let per_mille = self.world.scenario.fault_rates.call_faults_per_mille;
            let fault = if state.draw_fault(per_mille) {
                state.rng.within(1..=4)
            } else {
                0
            };
            (state.rng.millis(1..=60), state.rng.millis(1..=60), fault)
        };
        sleep(request_delay).await;
        let answers = {
            let mut state = self.world.lock();
            match fault {
                1 => {
                    state.count("a probe cannot be sent");
                    return Verdict::Error("too many open files on this machine".into());
                }
                2 => {
                    state.count("a probe is interrupted");
                    return Verdict::Fail("connection reset".into());
                }
                3 => {
                    state.count("a probe hangs");
                    None
                }
                _ if !state.is_reachable(&slot.host) => None,
                _ => Some(listener_answers(&mut state, slot)),
            }
        };
        let verdict = match answers {
            None | Some(Some(Answers::Never)) => std::future::pending().await,
            Some(None) => Verdict::Fail("connection refused".into()),
            Some(Some(Answers::Ok)) => Verdict::Pass("ok".into()),
            Some(Some(Answers::Error)) => Verdict::Fail("503 Service Unavailable".into()),
        };
        let late = fault == 4;
        sleep(if late { reply_delay * 10 } else { reply_delay }).await;
        verdict
    }
}

/// How the port answers; `None` if nothing listens there.
fn listener_answers(state: &mut State, slot: &Slot) -> Option<Answers> {
    let machine = state.machine(&slot.host);
    let own = machine
        .slots
        .get(&slot.number)
        .and_then(|record| match &record.state {
            ProcessState::Running(running) if running.listens => Some(running.answers),
            _ => None,
        });
    own.or_else(|| {
        machine
            .strangers
            .contains(&slot.number)
            .then_some(Answers::Ok)
    })
}

/// Delivers an action to its host and the reply to the controller, even if the controller no longer
/// waits for it.
async fn deliver(
    world: Arc<World>,
    order: ActionOrder,
    delivery: Delivery,
    reply: oneshot::Sender<ScriptOutput>,
) {
    sleep(delivery.request_delay).await;
    let output = if delivery.is_lost {
        None
    } else {
        script::execute(&world, &order).await
    };
    sleep(delivery.reply_delay).await;
    let arrives = !delivery.loses_reply && world.lock().is_reachable(order.action.host());
    if let Some(output) = output.filter(|_| arrives) {
        // The controller may have exited.
        drop(reply.send(output));
    } else {
        // A connection without traffic may stay open for long.
        let silence = world.lock().rng.millis(0..=30_000);
        sleep(silence).await;
    }
}

impl Executor for SimulatedFleet {
    fn observe_host<'a>(
        &'a self,
        host: &'a HostId,
    ) -> BoxFuture<'a, Result<Observation, HostUnavailable>> {
        self.observe(host).boxed()
    }

    fn execute(&self, order: ActionOrder) -> BoxFuture<'_, ActionResult> {
        self.send_action(order).boxed()
    }

    fn observe_balancer<'a>(
        &'a self,
        balancer: &'a HostId,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>> {
        let why = format!("{balancer}: the simulation has no balancers");
        async { Err(HostUnavailable { why }) }.boxed()
    }

    fn probe<'a>(&'a self, slot: &'a Slot, instance: &'a Instance) -> BoxFuture<'a, Verdict> {
        self.send_probe(slot, instance).boxed()
    }

    fn measure<'a>(&'a self, _analysis: &'a Analysis) -> BoxFuture<'a, Measurement> {
        async { Measurement::inconclusive("the simulation measures nothing") }.boxed()
    }

    fn run_task(&self, _: TaskOrder) -> BoxFuture<'_, TaskResult> {
        async {
            TaskResult {
                end: task::TaskOutcome::Done,
                output: Vec::new(),
            }
        }
        .boxed()
    }

    fn tail_log<'a>(
        &'a self,
        slot: &'a Slot,
        _failure: FailureKind,
        _lines: u32,
    ) -> BoxFuture<'a, Vec<String>> {
        async move {
            self.process.until_running().await;
            let lines = self
                .call_host(&slot.host, |_| vec!["the last line of its log".to_owned()])
                .await;
            self.process.until_running().await;
            lines.unwrap_or_default()
        }
        .boxed()
    }
}
