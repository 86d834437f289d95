//! The hosts as one controller reaches them: over a network that is slow, loses, delays and breaks.

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
use ship::core::rollout::task;
use ship::engine::{ActionOrder, ActionResult, Clock, Executor, TaskOrder, TaskResult};
use ship::remote::HostUnavailable;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::broken::Broken;
use super::machine::{Answers, Life};
use super::process::{Process, Trap};
use super::script::{self, End, Printed};
use super::sim::{Sim, State};

/// What an order may take before its giver gives up on it.
const ORDER_DEADLINE: Duration = Duration::from_secs(20);

/// The hosts, in the hands of one controller.
pub(crate) struct Hands {
    pub(crate) sim: Arc<Sim>,
    pub(crate) process: Arc<Process>,
}

/// What becomes of an order on its way.
struct Trip {
    there: Duration,
    back: Duration,
    /// Whether it never arrives.
    is_lost: bool,
    /// Whether nobody hears of its end.
    loses_reply: bool,
}

impl Trip {
    fn draw(sim: &Sim, state: &mut State) -> Self {
        let per_mille = sim.scene.hostility.calls_per_mille;
        let mut trip = Self {
            there: state.dice.millis(1..=60),
            back: state.dice.millis(1..=60),
            is_lost: state.mishap(per_mille),
            loses_reply: state.mishap(per_mille),
        };
        if trip.is_lost {
            state.count("an order is lost on its way");
        } else if trip.loses_reply {
            state.count("the reply to an order is lost");
        }
        let is_slow = state.mishap(per_mille);
        let is_late = !is_slow && state.mishap(per_mille);
        if is_slow {
            trip.there = state.dice.millis(1000..=10_000);
            state.count("an order is slow");
        } else if is_late {
            trip.there = state.dice.millis(10_000..=60_000);
            state.count("an order lands late");
        }
        trip
    }
}

impl Hands {
    /// Goes to a host and back: `sample` is done there.
    async fn visit<T>(
        &self,
        host: &HostId,
        sample: impl FnOnce(&mut State) -> T,
    ) -> Result<T, HostUnavailable> {
        let unusable = |why: &str| HostUnavailable {
            why: format!("{host}: {why}"),
        };
        let (there, back, fails) = {
            let mut state = self.sim.lock();
            let per_mille = self.sim.scene.hostility.calls_per_mille;
            let slow = state.mishap(per_mille);
            let there = state.dice.millis(if slow { 500..=8000 } else { 1..=60 });
            (there, state.dice.millis(1..=60), state.mishap(per_mille))
        };
        sleep(there).await;
        if fails || !self.sim.lock().is_reachable(host) {
            let patience = self.sim.lock().dice.millis(100..=5000);
            sleep(patience).await;
            return Err(unusable("no route to the host"));
        }
        let sampled = sample(&mut self.sim.lock());
        sleep(back).await;
        if !self.sim.lock().is_reachable(host) {
            sleep(Duration::from_secs(5)).await;
            return Err(unusable("the connection broke off"));
        }
        Ok(sampled)
    }

    async fn observe(&self, host: &HostId) -> Result<Observation, HostUnavailable> {
        self.process.runs().await;
        let orders = self.process.orders_to(host);
        let looked = self
            .visit(host, |state| {
                let now = state.now;
                (now, state.machine(host).observation())
            })
            .await;
        self.process.runs().await;
        let mut state = self.sim.lock();
        // What an order has overtaken is thrown away unread.
        let is_read = self.process.orders_to(host) == orders;
        match looked {
            Ok((at, mut observation)) => {
                if is_read {
                    state.judge.saw(self.process.number, host, at, &observation);
                }
                self.distort(&mut observation);
                Ok(observation)
            }
            Err(unusable) => {
                if is_read {
                    state.judge.lost(self.process.number, host);
                }
                state.count("a host cannot be looked at");
                Err(unusable)
            }
        }
    }

    /// A world that is broken on purpose tells lies.
    fn distort(&self, observation: &mut Observation) {
        if self.sim.broken == Broken::SeemsClaimed {
            observation.epoch = observation.epoch.max(self.process.epoch());
        }
    }

    // ── orders ───────────────────────────────────────────────────────────────────────────────────

    async fn give(&self, order: ActionOrder) -> ActionResult {
        let host = order.action.host().clone();
        if self.sim.broken == Broken::SeemsClaimed && matches!(order.action, Action::Claim { .. }) {
            return match self.observe(&host).await {
                Ok(observation) => ActionResult::Done(observation),
                Err(HostUnavailable { why }) => ActionResult::Unknown { why },
            };
        }
        self.process.runs().await;
        let waylaid = self.process.next_order(&host);
        let (is_reachable, mut trip) = {
            let mut state = self.sim.lock();
            state.judge.sent(&order);
            (state.is_reachable(&host), Trip::draw(&self.sim, &mut state))
        };
        if let Some(waylaid) = waylaid {
            trip.there = self.sim.lock().dice.millis(500..=50_000);
            self.spring(waylaid);
        }
        let reply = if is_reachable {
            let (reply, answer) = oneshot::channel();
            tokio::spawn(travel(Arc::clone(&self.sim), order, trip, reply));
            timeout(ORDER_DEADLINE, answer)
                .await
                .map_err(|_| "no answer in time")
                .and_then(|answer| answer.map_err(|_| "the connection broke off"))
        } else {
            let patience = self.sim.lock().dice.millis(100..=5000);
            sleep(patience).await;
            Err("no route to the host")
        };
        self.process.runs().await;
        self.performed(&host, reply)
    }

    /// The process comes to its end, or is stopped, with an order or a question on its way.
    fn spring(&self, trap: Trap) {
        let mut state = self.sim.lock();
        state.tell(
            format_args!("ship{}", self.process.number),
            format_args!("{trap:?}"),
        );
        match trap {
            Trap::StoppedAfterOrder(_, lasts) | Trap::StoppedAfterQuestion(_, lasts) => {
                state.count("a controller is stopped with something on its way");
                self.process.stop();
                let process = Arc::clone(&self.process);
                tokio::spawn(async move {
                    sleep(lasts).await;
                    process.go_on();
                });
            }
            _ => {
                state.count("a controller is killed with an order on its way");
                self.process.kill();
            }
        }
    }

    fn performed(&self, host: &HostId, reply: Result<Printed, &'static str>) -> ActionResult {
        let mut state = self.sim.lock();
        let number = self.process.number;
        let unknown = |state: &mut State, why: &str| {
            state.judge.lost(number, host);
            state.count("nobody knows what became of an order");
            let why = format!("{host}: {why}");
            if self.sim.broken == Broken::UnknownIsFailed {
                return ActionResult::Failed {
                    error: why,
                    observation: None,
                };
            }
            ActionResult::Unknown { why }
        };
        let Printed {
            end,
            at,
            mut observation,
        } = match reply {
            Ok(printed) => printed,
            Err(why) => return unknown(&mut state, why),
        };
        match end {
            End::Busy => return unknown(&mut state, "another script holds the lock"),
            End::Outdated => return unknown(&mut state, "the host has taken a later order"),
            End::Fenced(seen) => return ActionResult::Fenced { seen },
            End::Done | End::Failed(_) => {}
        }
        state.judge.saw(number, host, at, &observation);
        self.distort(&mut observation);
        match end {
            End::Failed(error) => {
                state.count("an order fails");
                ActionResult::Failed {
                    error,
                    observation: Some(observation),
                }
            }
            _ => ActionResult::Done(observation),
        }
    }

    // ── questions ────────────────────────────────────────────────────────────────────────────────

    async fn question(&self, slot: &Slot, instance: &Instance) -> Verdict {
        self.process.runs().await;
        let asked = self.sim.now();
        if let Some(trap) = self.process.next_question() {
            self.spring(trap);
        }
        let limit = self.sim.scene.readiness.timeout;
        let answer = timeout(limit, self.answer(slot)).await;
        let verdict = answer.unwrap_or_else(|_| Verdict::Fail("no answer in time".into()));
        self.process.runs().await;
        let mut state = self.sim.lock();
        state
            .judge
            .answered(self.process.number, &slot.host, instance, asked, &verdict);
        match verdict {
            Verdict::Fail(_) if self.sim.broken == Broken::AlwaysPasses => {
                Verdict::Pass("well".into())
            }
            verdict => verdict,
        }
    }

    async fn answer(&self, slot: &Slot) -> Verdict {
        let (there, back, trouble) = {
            let mut state = self.sim.lock();
            let per_mille = self.sim.scene.hostility.calls_per_mille;
            let trouble = if state.mishap(per_mille) {
                state.dice.within(1..=4)
            } else {
                0
            };
            (
                state.dice.millis(1..=60),
                state.dice.millis(1..=60),
                trouble,
            )
        };
        sleep(there).await;
        let answers = {
            let mut state = self.sim.lock();
            match trouble {
                1 => {
                    state.count("a probe cannot be sent");
                    return Verdict::Error("too many open files on this machine".into());
                }
                2 => {
                    state.count("a probe is cut off");
                    return Verdict::Fail("connection reset".into());
                }
                3 => {
                    state.count("a probe hangs");
                    None
                }
                _ if !state.is_reachable(&slot.host) => None,
                _ => Some(who_answers(&mut state, slot)),
            }
        };
        let verdict = match answers {
            None | Some(Some(Answers::Never)) => std::future::pending().await,
            Some(None) => Verdict::Fail("connection refused".into()),
            Some(Some(Answers::Well)) => Verdict::Pass("well".into()),
            Some(Some(Answers::Wrongly)) => Verdict::Fail("503 Service Unavailable".into()),
        };
        let late = trouble == 4;
        sleep(if late { back * 10 } else { back }).await;
        verdict
    }
}

/// How the port answers, whoever listens there.
fn who_answers(state: &mut State, slot: &Slot) -> Option<Answers> {
    let machine = state.machine(&slot.host);
    let own = machine
        .slots
        .get(&slot.port)
        .and_then(|record| match &record.life {
            Life::Running(running) if running.listens => Some(running.answers),
            _ => None,
        });
    own.or_else(|| {
        machine
            .strangers
            .contains(&slot.port)
            .then_some(Answers::Well)
    })
}

/// The way of an order to its host and of its answer back, whether or not anybody still waits for
/// it.
async fn travel(sim: Arc<Sim>, order: ActionOrder, trip: Trip, reply: oneshot::Sender<Printed>) {
    sleep(trip.there).await;
    let printed = if trip.is_lost {
        None
    } else {
        script::carry_out(&sim, &order).await
    };
    sleep(trip.back).await;
    let arrives = !trip.loses_reply && sim.lock().is_reachable(order.action.host());
    if let Some(printed) = printed.filter(|_| arrives) {
        // Whoever gave the order may be gone.
        drop(reply.send(printed));
    } else {
        // The connection may stay open for long though nothing comes.
        let silence = sim.lock().dice.millis(0..=30_000);
        sleep(silence).await;
    }
}

impl Executor for Hands {
    fn observe_host<'a>(
        &'a self,
        host: &'a HostId,
    ) -> BoxFuture<'a, Result<Observation, HostUnavailable>> {
        self.observe(host).boxed()
    }

    fn execute(&self, order: ActionOrder) -> BoxFuture<'_, ActionResult> {
        self.give(order).boxed()
    }

    fn observe_balancer<'a>(
        &'a self,
        balancer: &'a HostId,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>> {
        let why = format!("{balancer}: nothing stands before the instances here");
        async { Err(HostUnavailable { why }) }.boxed()
    }

    fn probe<'a>(&'a self, slot: &'a Slot, instance: &'a Instance) -> BoxFuture<'a, Verdict> {
        self.question(slot, instance).boxed()
    }

    fn measure<'a>(&'a self, _analysis: &'a Analysis) -> BoxFuture<'a, Measurement> {
        async { Measurement::inconclusive("nothing is measured here") }.boxed()
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

    fn tail_log<'a>(&'a self, slot: &'a Slot, _lines: u32) -> BoxFuture<'a, Vec<String>> {
        async move {
            self.process.runs().await;
            let said = self
                .visit(&slot.host, |_| vec!["the last line of its log".to_owned()])
                .await;
            self.process.runs().await;
            said.unwrap_or_default()
        }
        .boxed()
    }
}
