//! Starts background tasks; each reports to the inbox.

use std::sync::Arc;

use super::actions::ActionTracker;
use super::executor::{ActionOrder, Executor, TaskOrder};
use super::inbox::Inbox;
use super::messages::{EndedTask, Message, ProbeAnswer};
use super::poller::DuePolls;
use crate::core::analysis::Analysis;

/// Actions and a task that are sent once their start has been saved.
#[derive(Default)]
pub(super) struct UnsentOrders {
    pub(super) actions: Vec<ActionOrder>,
    pub(super) task: Option<TaskOrder>,
}

/// Sends out actions, tasks, probes, observations and measurements.
pub(super) struct Dispatcher {
    executor: Arc<dyn Executor>,
    inbox: Inbox,
}

impl Dispatcher {
    pub(super) fn new(executor: Arc<dyn Executor>, inbox: Inbox) -> Self {
        Self { executor, inbox }
    }

    pub(super) fn executor(&self) -> &dyn Executor {
        &*self.executor
    }

    pub(super) fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// Sends actions and a task; returns how many.
    pub(super) fn send(&mut self, orders: UnsentOrders) -> usize {
        let UnsentOrders { actions, task } = orders;
        let count = actions.len() + usize::from(task.is_some());
        if let Some(task) = task {
            self.send_task(task);
        }
        self.send_orders(actions);
        count
    }

    fn send_orders(&mut self, orders: Vec<ActionOrder>) {
        for order in orders {
            let executor = Arc::clone(&self.executor);
            self.inbox.spawn(async move {
                let (id, host) = (order.id, order.action.host().clone());
                let result = executor.execute(order).await;
                Message::ActionEnded { id, host, result }
            });
        }
    }

    fn send_task(&mut self, task: TaskOrder) {
        let executor = Arc::clone(&self.executor);
        self.inbox.spawn(async move {
            let (name, migration) = (task.task.name.clone(), task.task.migration.clone());
            let result = executor.run_task(task).await;
            Message::TaskEnded(EndedTask {
                name,
                migration,
                result,
            })
        });
    }

    /// Sends observations and probes. Each observation carries the number of actions that were sent
    /// to its host or balancer before.
    pub(super) fn send_polls(&mut self, due: DuePolls, actions: &ActionTracker) {
        for (slot, instance) in due.probes {
            let executor = Arc::clone(&self.executor);
            self.inbox.spawn(async move {
                let verdict = executor.probe(&slot, &instance).await;
                Message::Probed(ProbeAnswer {
                    slot,
                    instance: instance.name,
                    restarts: instance.restarts,
                    verdict,
                })
            });
        }
        for host in due.hosts {
            let executor = Arc::clone(&self.executor);
            let orders = actions.order_count(&host);
            self.inbox.spawn(async move {
                let observed = executor.observe_host(&host).await;
                Message::HostObserved {
                    host,
                    orders,
                    observed,
                }
            });
        }
        for balancer in due.balancers {
            let executor = Arc::clone(&self.executor);
            let orders = actions.order_count(&balancer);
            self.inbox.spawn(async move {
                let observed = executor.observe_balancer(&balancer).await;
                Message::BalancerObserved {
                    balancer,
                    orders,
                    observed,
                }
            });
        }
    }

    pub(super) fn send_measurements(&mut self, analyses: Vec<Analysis>) {
        for analysis in analyses {
            let executor = Arc::clone(&self.executor);
            self.inbox.spawn(async move {
                let measurement = executor.measure(&analysis).await;
                Message::Measured {
                    analysis: analysis.name,
                    measurement,
                }
            });
        }
    }
}
