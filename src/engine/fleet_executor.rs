//! Executes actions on real hosts and balancers: runs scripts over SSH or on this machine, sends
//! probes, and runs tasks and measurements.

mod actions;
mod context;
mod linked_host;
mod measure;
mod prober;
mod relay;
mod script_run;
mod staging;
mod task_runner;

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::mpsc;

use self::context::FleetContext;
pub use self::context::Releases;
use self::linked_host::LinkedHost;
use self::prober::Prober;
pub use self::task_runner::LocalCommandSettings;
use self::task_runner::TaskRunner;
use super::clock::Clock;
use super::executor::{ActionOrder, ActionResult, Executor, TaskOrder, TaskResult};
use crate::balancer::{
    self, BalancerError, BalancerGroup, Balancing, Link, ReleaseServer, SlotChange, SlotHost,
    SlotViews,
};
use crate::core::analysis::Analysis;
use crate::core::analysis::measurement::Measurement;
use crate::core::fleet::health::Verdict;
use crate::core::fleet::owner::Owner;
use crate::core::fleet::traffic::BalancerState;
use crate::core::fleet::{Fleet, Instance, Observation};
use crate::core::ids::{HostId, Slot, SlotNumber};
use crate::core::policy::admission::refusal::ServerClash;
use crate::core::release::{Check, Definition, Readiness, Via};
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::FailureKind;
use crate::remote::{self, HostSite, HostUnavailable, SavedOutput, ServiceContext, SharedLinks};
use crate::script::{self, HostContext, LogRange, Script};

/// The hosts of an inventory and the balancers of the service.
///
/// Dropping it closes every connection, as [`remote::Connections`] does.
pub struct FleetExecutor {
    context: FleetContext,
    balancers: Option<BalancerGroup>,
    prober: Prober,
    tasks: TaskRunner,
}

impl FleetExecutor {
    /// Creates the executor without connecting to any host. `sites` includes the machines of the
    /// balancers, which have no slots. `owner` identifies the fleet, the service, and the history.
    /// Connections that exist in `links` are used again.
    pub fn new(
        sites: Vec<HostSite>,
        releases: Releases,
        owner: Owner,
        clock: Arc<dyn Clock>,
        balancing: Option<Balancing>,
        control: LocalCommandSettings,
        links: &SharedLinks,
    ) -> Self {
        let service = ServiceContext {
            owner,
            proven: releases.proven.clone(),
        };
        let servers = ReleaseServer::of_all(&releases.definitions);
        let context = FleetContext::new(sites, service.clone(), releases, clock, links);
        let slot_host = |host: &LinkedHost| SlotHost {
            site: host.site.clone(),
            link: Arc::clone(&host.link) as Arc<dyn Link>,
        };
        let balancers = balancing.map(|balancing| {
            let hosts = context.hosts().map(slot_host).collect();
            BalancerGroup::new(&balancing, hosts, service, servers)
        });
        Self {
            context,
            balancers,
            prober: Prober::new(),
            tasks: TaskRunner::new(control),
        }
    }

    /// Replaces the known releases.
    pub fn set_releases(&mut self, releases: Releases) {
        let servers = ReleaseServer::of_all(&releases.definitions);
        self.context.set_releases(releases);
        if let Some(balancers) = &mut self.balancers {
            balancers.set_releases(self.context.service().clone(), servers);
        }
    }

    // ── queries ──────────────────────────────────────────────────────────────────────────────────

    /// Runs a script that changes nothing; returns its standard output.
    ///
    /// # Errors
    /// If the host cannot be reached, or the script did not finish.
    pub async fn query(
        &self,
        host: &HostId,
        script: impl FnOnce(&HostContext) -> Script,
    ) -> Result<String, HostUnavailable> {
        self.context.query(host, script).await
    }

    /// Runs a script that changes nothing and sends each line of its output to `lines`. A script
    /// that follows a log ends when this future is dropped.
    ///
    /// # Errors
    /// If the host cannot be reached, or the script was interrupted or failed.
    pub async fn stream(
        &self,
        host: &HostId,
        script: impl FnOnce(&HostContext) -> Script,
        lines: &mpsc::Sender<String>,
    ) -> Result<(), HostUnavailable> {
        self.context.stream(host, script, lines).await
    }

    /// Runs a script that changes nothing and saves what it prints.
    ///
    /// # Errors
    /// If the host cannot be reached, or the script fails or prints more than it may.
    pub async fn save(
        &self,
        host: &HostId,
        script: impl FnOnce(&HostContext) -> Script,
        output: &mut SavedOutput,
    ) -> Result<(), HostUnavailable> {
        self.context.save(host, script, output).await
    }

    /// Returns why readiness cannot be probed from this machine, if the playbook requires direct
    /// probes.
    pub async fn direct_probe_problem(
        &self,
        host: &HostId,
        readiness: &Readiness,
    ) -> Option<String> {
        let host = self.context.host(host).ok()?;
        let needs_url = matches!(readiness.check, Check::Http { .. });
        match (&readiness.check, readiness.via) {
            (Check::Tcp | Check::Http { .. }, Via::Direct) => {
                remote::direct_probe_problem(host.link.network_address().await, needs_url).await
            }
            _ => None,
        }
    }

    /// Returns how long the host delays scripts, if it is connected.
    pub async fn delays(&self, host: &HostId) -> Option<remote::Delays> {
        self.context.host(host).ok()?.link.delays().await
    }

    /// The unit that an instance of a release would have in a slot; `None` without systemd.
    ///
    /// # Errors
    /// If a template cannot be rendered.
    pub fn unit_of(&self, slot: &Slot, definition: &Definition) -> Result<Option<String>, String> {
        actions::unit_of(&self.context, slot, definition)
    }

    async fn read_log_tail(&self, slot: &Slot, range: LogRange, lines: u32) -> Vec<String> {
        let query = script::LogQuery {
            history_slots: [slot.number].into(),
            lines_max: lines,
            range,
        };
        let printed = self
            .query(&slot.host, |site| script::logs(site, &query))
            .await;
        printed
            .map(|stdout| script::read_log_tail(&stdout, lines))
            .unwrap_or_default()
    }

    // ── balancers ────────────────────────────────────────────────────────────────────────────────

    /// Observes a balancer and returns its state, with the problems that would prevent changes to
    /// it.
    ///
    /// # Errors
    /// If its state cannot be read.
    pub async fn check_balancer(
        &self,
        balancer: &HostId,
    ) -> Result<(BalancerState, Vec<String>), HostUnavailable> {
        self.balancers(balancer)?.check(balancer).await
    }

    /// Returns two slots that would be the same server at the balancers, if there are any: one in
    /// which an instance runs, and one of `slots`.
    pub fn server_clash(&self, slots: &[SlotNumber], fleet: &Fleet) -> Option<ServerClash> {
        self.balancers.as_ref()?.server_clash(slots, fleet)
    }

    fn balancers(&self, balancer: &HostId) -> Result<&BalancerGroup, HostUnavailable> {
        self.context.host(balancer)?;
        self.balancers.as_ref().ok_or_else(|| HostUnavailable {
            why: format!("{balancer}: the playbook has no `[traffic]` table"),
        })
    }

    /// Executes an action together with the changes of traffic that it needs. ship starts nothing
    /// in a slot that receives requests, and stops nothing that may still have open requests.
    async fn execute_balanced(
        &self,
        balancers: &BalancerGroup,
        order: ActionOrder,
    ) -> ActionResult {
        let (epoch, id, deadline) = (order.epoch, order.id, order.progress_deadline);
        let change = |slot| SlotChange::new(slot, epoch, id, deadline);
        let views = match &order.action {
            Action::Admit {
                slot,
                weight_percent,
                ..
            } => {
                let admitted = balancers.admit(&change(slot), *weight_percent).await;
                return admitted.map_or_else(ActionResult::from, switched);
            }
            Action::Drain { slot, keep, .. } => {
                let drained = balancer::drain(balancers, &change(slot), *keep).await;
                return drained.map_or_else(ActionResult::from, |end| ActionResult::Switched {
                    views: end.views,
                    drain_result: end.drain_result,
                    observation: None,
                });
            }
            Action::Start { slot, .. } => balancers.close(&change(slot)).await,
            Action::Stop { slot, .. } => match balancers.observe_slot(slot).await {
                // A balancer may have been reloaded since the drain. If the slot is not closed any
                // more, the planner has to drain it again before the stop.
                Ok(views) if !views.values().all(|view| view.is_closed(slot)) => {
                    return switched(views);
                }
                observed => observed,
            },
            Action::Claim { .. }
            | Action::Stage { .. }
            | Action::Disarm { .. }
            | Action::Prune { .. } => Ok(SlotViews::new()),
        };
        let views = match views {
            Ok(views) => views,
            Err(error) => return error.into(),
        };
        match actions::execute_on_host(&self.context, order).await {
            ActionResult::Done(observation) if !views.is_empty() => ActionResult::Switched {
                views,
                drain_result: None,
                observation: Some(observation),
            },
            result => result,
        }
    }
}

/// The balancers have applied the change, or their state shows that continuing would be unsafe.
fn switched(views: SlotViews) -> ActionResult {
    ActionResult::Switched {
        views,
        drain_result: None,
        observation: None,
    }
}

impl From<BalancerError> for ActionResult {
    fn from(error: BalancerError) -> Self {
        match error {
            BalancerError::Fenced { seen } => Self::Fenced { seen },
            BalancerError::Failed { error } => Self::Failed {
                error,
                observation: None,
            },
            BalancerError::Lost { balancer, why } => Self::BalancerLost { balancer, why },
        }
    }
}

impl Executor for FleetExecutor {
    fn observe_host<'a>(
        &'a self,
        host: &'a HostId,
    ) -> BoxFuture<'a, Result<Observation, HostUnavailable>> {
        self.context.observe(host).boxed()
    }

    fn execute(&self, order: ActionOrder) -> BoxFuture<'_, ActionResult> {
        match &self.balancers {
            Some(balancers) => self.execute_balanced(balancers, order).boxed(),
            None => actions::execute_on_host(&self.context, order).boxed(),
        }
    }

    fn observe_balancer<'a>(
        &'a self,
        balancer: &'a HostId,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>> {
        async move { self.balancers(balancer)?.observe(balancer).await }.boxed()
    }

    fn probe<'a>(&'a self, slot: &'a Slot, instance: &'a Instance) -> BoxFuture<'a, Verdict> {
        self.prober.probe(&self.context, slot, instance).boxed()
    }

    fn measure<'a>(&'a self, analysis: &'a Analysis) -> BoxFuture<'a, Measurement> {
        measure::measure(analysis).boxed()
    }

    fn run_task(&self, task: TaskOrder) -> BoxFuture<'_, TaskResult> {
        self.tasks.run(&self.context, task).boxed()
    }

    fn tail_log<'a>(
        &'a self,
        slot: &'a Slot,
        failure: FailureKind,
        lines: u32,
    ) -> BoxFuture<'a, Vec<String>> {
        // An instance that has exited may run again and log its next start.
        let range = match failure {
            FailureKind::Exited | FailureKind::Liveness => LogRange::InstanceBeforeRestart,
            _ => LogRange::Instance,
        };
        self.read_log_tail(slot, range, lines).boxed()
    }
}
