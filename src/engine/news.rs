//! What arrives while a rollout is carried on: answers, looks, ends of orders.

use super::executor::{ActionResult, Executor};
use super::run::{Message, Run};
use crate::core::fleet::health::{Change, Verdict};
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::View;
use crate::core::fleet::{Host, Judgement, Observation};
use crate::core::ids::{HostId, InstanceId, Slot};
use crate::core::rollout::action::Action;
use crate::core::rollout::event::Event;
use crate::core::time::Time;
use crate::remote::HostUnavailable;
use crate::store::Store;

impl<W: Executor, S: Store> Run<W, S> {
    pub(super) fn observed(&mut self, host: &HostId, observation: Observation, begun: Time) {
        let now = self.engine.clock.now();
        let was_lost = !self
            .engine
            .fleet
            .hosts
            .get(host)
            .is_some_and(Host::is_reachable);
        let sickened = self.engine.fleet.observe(host, observation, begun);
        self.watch
            .looked(host, self.engine.fleet.hosts.get(host), now);
        if was_lost {
            self.record(Event::HostFound { host: host.clone() });
        }
        for (slot, instance) in sickened {
            if self.is_being_stopped(&instance.name) {
                continue;
            }
            let answer = match self
                .engine
                .fleet
                .instance(&slot)
                .filter(|present| present.name == instance.name)
            {
                Some(present) if present.is_running() => "its process was started again".to_owned(),
                Some(present) => present.process.to_string(),
                None => "it is gone".to_owned(),
            };
            let (instance, release) = (instance.name, instance.release);
            self.record(Event::InstanceNotReady {
                slot,
                instance,
                release,
                answer,
            });
        }
    }

    pub(super) fn lost(&mut self, host: &HostId, why: String) {
        let now = self.engine.clock.now();
        let was_reachable = self
            .engine
            .fleet
            .hosts
            .get(host)
            .is_some_and(Host::is_reachable);
        self.engine.fleet.lose(host, now, &why);
        self.watch.looked(host, None, now);
        if was_reachable {
            self.record(Event::HostLost {
                host: host.clone(),
                why,
            });
        }
    }

    fn asked(
        &mut self,
        slot: Slot,
        name: &InstanceId,
        restarts: u32,
        verdict: Verdict,
        begun: Time,
    ) {
        let now = self.engine.clock.now();
        self.watch.asked(name, now);
        let being_stopped = self.is_being_stopped(name);
        let Some(instance) = self.engine.fleet.instance_mut(&slot) else {
            return;
        };
        if instance.name != *name
            || instance.restarts != restarts
            || being_stopped
            || !instance.is_running()
        {
            return;
        }
        let release = instance.release.clone();
        let Some(definition) = self.engine.definitions.get(&release) else {
            return;
        };
        let verdict = match instance.judge(verdict, &definition.readiness.check) {
            Judgement::Counts(verdict) => verdict,
            Judgement::LookAgain => {
                self.watch.look_before_asking(&slot.host, name);
                return;
            }
        };
        let passed = matches!(verdict, Verdict::Pass(_));
        if let Verdict::Fail(answer) | Verdict::Error(answer) = &verdict {
            tracing::debug!(%slot, instance = %name, answer, "asked whether it is ready");
        }
        let says_something =
            instance.health.ready_since.is_some() && !matches!(verdict, Verdict::Error(_));
        let change = instance
            .health
            .record(verdict, now, now, &definition.readiness.thresholds());
        let was_ready = instance.health.ready_since.is_some();
        let answer = instance.health.last_answer().unwrap_or_default().to_owned();
        if passed {
            self.engine.reporter.answer(&slot, now, &answer);
        } else if was_ready {
            // It may have ended; the host knows.
            self.watch.look_now(&slot.host);
        }
        if says_something {
            self.answered(&release, !passed, now.since(begun));
        }
        let instance = name.clone();
        match change {
            Some(Change::Ready) => self.record(Event::InstanceReady {
                slot,
                instance,
                release,
                answer,
            }),
            Some(Change::NotReady) => self.record(Event::InstanceNotReady {
                slot,
                instance,
                release,
                answer,
            }),
            None => {}
        }
    }

    fn is_being_stopped(&self, name: &InstanceId) -> bool {
        self.rollout
            .in_flight
            .values()
            .any(|in_flight| matches!(&in_flight.action, Action::Stop { instance, .. } if instance == name))
    }

    /// A look at a balancer came back.
    pub(super) fn viewed(&mut self, balancer: &HostId, viewed: Result<View, HostUnavailable>) {
        let now = self.engine.clock.now();
        let was_lost = self
            .engine
            .fleet
            .balancers
            .get(balancer)
            .is_some_and(|seen| matches!(seen.reach, Reach::Lost { .. }));
        self.watch.viewed(balancer, now);
        match viewed {
            Ok(view) => {
                self.engine.fleet.view(balancer, view);
                if was_lost {
                    self.record(Event::BalancerFound {
                        balancer: balancer.clone(),
                    });
                }
            }
            Err(HostUnavailable { why }) => {
                self.engine.fleet.lose_balancer(balancer, now, &why);
                if !was_lost {
                    self.record(Event::BalancerLost {
                        balancer: balancer.clone(),
                        why,
                    });
                }
            }
        }
    }

    /// Takes in all that has arrived: it is one observation to plan on, not many.
    pub(super) fn take_all(&mut self) {
        while let Some(news) = self.tasks.try_join_next() {
            self.take(news);
        }
    }

    pub(super) fn take(&mut self, news: Result<(Time, Message), tokio::task::JoinError>) {
        let is_old = |host: &HostId, begun: Time| {
            self.fresh_from.get(host).is_some_and(|from| begun < *from)
        };
        match news {
            Ok((
                begun,
                Message::Ended {
                    id,
                    host,
                    performed:
                        ActionResult::Done(_)
                        | ActionResult::Failed { .. }
                        | ActionResult::Switched { .. },
                },
            )) if is_old(&host, begun) => {
                let why = format!("{host}: ship slept when the answer came");
                self.ended(id, &host, ActionResult::Unknown { why }, begun);
            }
            Ok((
                begun,
                Message::Ended {
                    id,
                    host,
                    performed,
                },
            )) => self.ended(id, &host, performed, begun),
            Ok((begun, Message::Asked { slot, instance, .. })) if is_old(&slot.host, begun) => {
                if let Some(is) = self
                    .engine
                    .fleet
                    .instance_mut(&slot)
                    .filter(|is| is.name == instance)
                {
                    is.health.begin_anew();
                }
                self.watch.asked(&instance, begun);
                self.watch.ask_now(&instance);
            }
            Ok((
                begun,
                Message::Asked {
                    slot,
                    instance,
                    restarts,
                    verdict,
                },
            )) => {
                self.asked(slot, &instance, restarts, verdict, begun);
            }
            Ok((
                begun,
                Message::ChoreEnded {
                    chore,
                    migration,
                    attempted,
                },
            )) => {
                self.chore_ended(chore, migration, attempted, begun);
            }
            Ok((
                begun,
                Message::Measured {
                    analysis,
                    measurement,
                },
            )) => self.measured(&analysis, measurement, begun),
            Ok((begun, Message::Looked { host, .. })) if is_old(&host, begun) => {
                self.watch.dismiss(&host);
                self.watch.look_now(&host);
            }
            Ok((
                begun,
                Message::Looked {
                    host,
                    orders,
                    looked,
                },
            )) => {
                if self.orders.get(&host).copied().unwrap_or(0) != orders {
                    // An order came in between: it brings newer news.
                    self.watch.dismiss(&host);
                    return;
                }
                match looked {
                    Ok(observation) => self.observed(&host, observation, begun),
                    Err(unusable) => self.lost(&host, unusable.why),
                }
            }
            Ok((
                begun,
                Message::Viewed {
                    balancer,
                    orders,
                    viewed,
                },
            )) => {
                // Another order came in between: it brings newer news, or a newer look does.
                let is_outdated = self.orders.get(&balancer).copied().unwrap_or(0) != orders;
                if is_outdated || is_old(&balancer, begun) {
                    self.watch.view_now(&balancer);
                } else {
                    self.viewed(&balancer, viewed);
                }
            }
            // A task that panicked is a bug; its order stays in flight and the deadline ends the
            // rollout.
            Err(error) => {
                tracing::error!(%error, "a task of the engine ended abnormally");
            }
        }
    }
}
