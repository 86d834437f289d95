//! Carries out a deployment: asks the policy what comes next, and runs the verbs of the services.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};

use super::conclusion::{StackConclusion, exit_of};
use super::notification;
use super::preparation::{LeasedService, ReadyService, ReadyStack};
use super::services::{StackServices, of_service};
use super::steps::{end_of, finish, promote_or_resume, roll_out_recorded};
use crate::app::conclusion::Conclusion;
use crate::app::environment::Environment;
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::app::preparation::keep_leases;
use crate::app::rollout::PreparedRollout;
use crate::app::session::Session;
use crate::app::verbs::abort::{AbortRequest, abort_stopped};
use crate::app::verbs::migrate::{MigrateRequest, migrate};
use crate::app::verbs::promote::PromoteRequest;
use crate::app::verbs::resume::ResumeRequest;
use crate::app::verbs::rollback::{RollbackRequest, rollback};
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::rollout::failure::FailureKind;
use crate::core::rollout::verb::Verb;
use crate::core::stack::{
    ContractState, DeployedService, Deployment, DeploymentNumber, Member, OnStackFailure,
    ServiceEnd, ServicePhase, StackDirection, StackNext, StackOutcome, StackRun, StackStep,
};
use crate::core::time::Time;
use crate::report::DeploymentReporter;
use crate::store::{ControlRequest, Request, RolloutId, ServiceKey, StoreHandle};

/// A deployment that is about to begin.
pub(super) struct NewDeployment {
    pub(super) verb: Verb,
    pub(super) reason: String,
    pub(super) on_failure: OnStackFailure,
}

/// Records a new deployment and carries it out.
pub(super) async fn carry_out_new(
    stack: &StackServices,
    new: NewDeployment,
    ready: ReadyStack,
) -> Result<StackConclusion, Error> {
    let ReadyStack {
        services,
        unchanged,
        idle,
    } = ready;
    let Some(first) = services.first() else {
        return Ok(StackConclusion {
            deployment: None,
            unchanged,
            errors: Vec::new(),
            exit: Exit::Done,
        });
    };
    let names: Vec<_> = services.iter().map(|it| it.leased.name.clone()).collect();
    let mut deployed: Vec<_> = services.iter().map(|it| it.deployed.clone()).collect();
    for service in &mut deployed {
        service.after.retain(|name| names.contains(name));
    }
    let mut deployment = Deployment {
        number: DeploymentNumber::default(),
        verb: new.verb,
        who: first.session.operator().to_string(),
        reason: new.reason,
        began: first.session.now(),
        on_failure: new.on_failure,
        direction: StackDirection::Forward,
        services: deployed,
        outcome: None,
        ended: None,
    };
    let store = &first.leased.store;
    deployment.number = store.lock().add_deployment(&stack.fleet, &deployment)?;
    let members = services.iter().zip(&deployment.services);
    let members = members.map(|(service, deployed)| {
        let contract = if new.verb == Verb::Deploy && has_contracts(service) {
            ContractState::Due
        } else {
            ContractState::None
        };
        let member = member(deployed, ServicePhase::Waiting, contract);
        (deployed.service.clone(), member)
    });
    let run = StackRun {
        members: members.collect(),
        on_failure: deployment.on_failure,
        direction: deployment.direction,
    };
    let mut controller = StackController::new(stack, run, deployment);
    controller.idle = idle;
    for service in services {
        let ReadyService {
            leased,
            session,
            rollout,
            ..
        } = service;
        controller.add(leased, Some(Box::new((session, rollout))));
    }
    let mut conclusion = controller.carry_out(stack).await?;
    conclusion.unchanged = unchanged;
    Ok(conclusion)
}

fn has_contracts(service: &ReadyService) -> bool {
    let definition = &service.rollout.goal.release.definition;
    service.session.history.has_automatic_contracts(definition)
}

/// A service of a deployment for the policy.
pub(super) fn member(
    deployed: &DeployedService,
    phase: ServicePhase,
    contract: ContractState,
) -> Member {
    Member {
        after: deployed.after.clone(),
        can_undo: deployed.before.is_some(),
        phase,
        contract,
    }
}

/// A rollout that is ready to begin.
type ReadyRollout = Box<(Session, PreparedRollout)>;

struct ControlledService {
    env: Arc<dyn Environment>,
    store: StoreHandle,
    prepared: Option<ReadyRollout>,
    /// The rollout that began last, if its number is known.
    rollout: Option<RolloutId>,
}

/// Carries out a deployment.
pub(super) struct StackController {
    fleet: String,
    run: StackRun,
    deployment: Deployment,
    services: BTreeMap<String, ControlledService>,
    reporter: Arc<dyn DeploymentReporter>,
    /// Leases that are held until the end, although their services do not change.
    idle: Vec<StoreHandle>,
    errors: Vec<Error>,
    /// The exit codes of the services that were stopped.
    stopped: Vec<Exit>,
    /// Whether the user asked for the deployment to be undone.
    is_abort: bool,
    /// How unfinished rollouts continue.
    resume: ResumeRequest,
    /// How rollouts that wait at a step continue.
    promotion: Option<PromoteRequest>,
    /// How unfinished rollouts are rolled back.
    abort: AbortRequest,
}

/// A verb of a service, which returns how it ended.
type Work = BoxFuture<'static, (String, Result<Conclusion, Error>)>;

impl StackController {
    /// Sets how unfinished rollouts continue.
    pub(super) fn set_request(&mut self, resume: ResumeRequest, promotion: Option<PromoteRequest>) {
        self.resume = resume;
        self.promotion = promotion;
    }

    /// Undoes the deployment, because a user asked for it. Returns whether it was possible.
    pub(super) fn abort(&mut self, request: AbortRequest) -> bool {
        self.is_abort = true;
        self.abort = request;
        let is_back = self.run.direction == StackDirection::Back || self.run.roll_back();
        self.deployment.direction = self.run.direction;
        is_back
    }

    /// A controller without services, which are added with [`StackController::add_leased`].
    pub(super) fn new(stack: &StackServices, run: StackRun, deployment: Deployment) -> Self {
        Self {
            fleet: stack.fleet.clone(),
            run,
            deployment,
            services: BTreeMap::new(),
            reporter: Arc::clone(&stack.reporter),
            idle: Vec::new(),
            errors: Vec::new(),
            stopped: Vec::new(),
            is_abort: false,
            resume: ResumeRequest::default(),
            promotion: None,
            abort: AbortRequest::default(),
        }
    }

    pub(super) fn add_leased(&mut self, leased: LeasedService) {
        self.add(leased, None);
    }

    fn add(&mut self, leased: LeasedService, prepared: Option<ReadyRollout>) {
        let LeasedService { name, store, env } = leased;
        let service = ControlledService {
            env,
            store,
            prepared,
            rollout: None,
        };
        self.services.insert(name, service);
    }

    /// Runs the deployment to its end.
    ///
    /// # Errors
    /// If the deployment cannot be recorded.
    pub(super) async fn carry_out(
        mut self,
        stack: &StackServices,
    ) -> Result<StackConclusion, Error> {
        let recorded = self.run_recorded().await;
        self.reporter.finish();
        let exit = exit_of(recorded?, &self.stopped, self.is_abort);
        notification::publish(stack, &self.deployment, exit).await;
        Ok(StackConclusion {
            exit,
            deployment: Some(self.deployment),
            unchanged: Vec::new(),
            errors: self.errors,
        })
    }

    /// Runs the deployment under its leases, and records its beginning and its outcome.
    async fn run_recorded(&mut self) -> Result<StackOutcome, Error> {
        // Durable before the first step.
        self.deployment.direction = self.run.direction;
        self.record()?;
        let stores: Vec<_> = self.services.values().map(|it| it.store.clone()).collect();
        let stores = [stores, self.idle.clone()].concat();
        let outcome = keep_leases(&stores, self.run_to_end()).await?;
        self.deployment.outcome = Some(outcome);
        self.deployment.ended = Some(self.now()?);
        self.add_later_revisions()?;
        self.record()?;
        self.report();
        for store in &stores {
            store.release_lease()?;
        }
        Ok(outcome)
    }

    async fn run_to_end(&mut self) -> Result<StackOutcome, Error> {
        let mut in_flight = FuturesUnordered::new();
        loop {
            match self.run.next() {
                StackNext::End(outcome) => return Ok(outcome),
                StackNext::Steps(steps) => {
                    for step in steps {
                        let is_live = self.run.is_in_flight(step.service());
                        self.run.started(&step);
                        if is_live {
                            self.request_abort(step.service())?;
                        } else {
                            in_flight.extend(self.start(&step));
                        }
                    }
                }
            }
            self.report();
            match in_flight.next().await {
                Some((service, ended)) => self.end(&service, ended)?,
                // Cannot happen: every step that has begun is in flight.
                None => return Ok(StackOutcome::Stopped),
            }
        }
    }

    /// Starts a step.
    fn start(&mut self, step: &StackStep) -> Option<Work> {
        let name = step.service().to_owned();
        let deployed = self.deployment.service(&name)?.clone();
        let service = self.services.get_mut(&name)?;
        let env = Arc::clone(&service.env);
        let prepared = service.prepared.take();
        let numbers = prepared.as_ref().and_then(|prepared| prepared.1.numbers);
        service.rollout = numbers.map(|numbers| numbers.id);
        let number = self.deployment.number;
        let verb = self.deployment.verb;
        let reason = self.deployment.reason.clone();
        let work: BoxFuture<'static, Result<Conclusion, Error>> = match step {
            StackStep::RollOut(_) => {
                let request = self.resume.clone();
                async move {
                    let Some(prepared) = prepared else {
                        return roll_out_recorded(&env, &deployed, verb, reason, request).await;
                    };
                    let (mut session, rollout) = *prepared;
                    finish(&mut session, rollout).await
                }
                .boxed()
            }
            StackStep::Resume(_) => {
                let (resume, promotion) = (self.resume.clone(), self.promotion.clone());
                async move { promote_or_resume(&env, resume, promotion).await }.boxed()
            }
            StackStep::Abort(_) => {
                let request = self.abort.clone();
                async move { abort_stopped(&env, request).await }.boxed()
            }
            StackStep::Undo(_) => {
                let request = RollbackRequest {
                    to_revision: deployed.before,
                    reason: Some(format!("undo of deployment {number}")),
                    ..RollbackRequest::default()
                };
                async move { rollback(&env, request).await }.boxed()
            }
            StackStep::Contract(_) => {
                let request = MigrateRequest {
                    reason: Some(format!("end of deployment {number}")),
                    ..MigrateRequest::default()
                };
                async move { migrate(&env, request).await }.boxed()
            }
        };
        Some(async move { (name, work.await) }.boxed())
    }

    /// Asks the rollout of a service, which this process carries out, to roll back.
    fn request_abort(&self, service: &str) -> Result<(), Error> {
        let Some(controlled) = self.services.get(service) else {
            return Ok(());
        };
        let mut store = controlled.store.lock();
        let newest = match controlled.rollout {
            Some(known) => Some(known),
            None => store.service(&self.key(service))?.newest_rollout(),
        };
        let Some(newest) = newest else {
            return Ok(());
        };
        let request = Request {
            command: ControlRequest::Abort,
            by: format!(
                "deployment {}: another service failed",
                self.deployment.number
            ),
        };
        Ok(store.send_request(newest, &request)?)
    }

    fn end(&mut self, service: &str, ended: Result<Conclusion, Error>) -> Result<(), Error> {
        let end = match &ended {
            Ok(conclusion) => end_of(conclusion),
            // A service without a rollout is as it was, and can be continued.
            Err(_) => ServiceEnd::Stopped,
        };
        if end == ServiceEnd::Stopped {
            let exit = match &ended {
                Ok(conclusion) => conclusion.exit(),
                Err(error) => error.exit(),
            };
            self.stopped.push(exit);
        }
        if let Err(error) = ended {
            self.errors.push(of_service(service)(error));
        }
        let mut rolls_back = self.run.ended(service, end);
        if end == ServiceEnd::RolledBack && !rolls_back && self.was_aborted(service)? {
            rolls_back = self.run.roll_back();
        }
        if rolls_back {
            self.deployment.direction = self.run.direction;
            self.record()?;
        }
        Ok(())
    }

    /// Whether a user aborted the newest rollout of a service.
    fn was_aborted(&self, service: &str) -> Result<bool, Error> {
        let Some(controlled) = self.services.get(service) else {
            return Ok(false);
        };
        let store = controlled.store.lock();
        let Some(newest) = store.service(&self.key(service))?.newest_rollout() else {
            return Ok(false);
        };
        let summary = RolloutSummary::of(&store.journal(newest)?);
        let failure = summary.and_then(|summary| summary.failure);
        Ok(failure.is_some_and(|failure| failure.kind == FailureKind::Aborted))
    }

    fn key(&self, service: &str) -> ServiceKey {
        ServiceKey {
            fleet: self.fleet.clone(),
            service: service.to_owned(),
        }
    }

    /// Adds the revisions of rollbacks and contract migrations to the record.
    fn add_later_revisions(&mut self) -> Result<(), Error> {
        let verb = self.deployment.verb;
        for (name, controlled) in &self.services {
            let records = controlled.store.lock().service(&self.key(name))?;
            if let Some(deployed) = self.deployment.service_mut(name) {
                deployed.add_later_revisions(verb, &records.revisions());
            }
        }
        Ok(())
    }

    fn record(&self) -> Result<(), Error> {
        if let Some(service) = self.services.values().next() {
            let mut store = service.store.lock();
            store.update_deployment(&self.fleet, &self.deployment)?;
        }
        Ok(())
    }

    fn report(&self) {
        let (deployment, run) = (&self.deployment, &self.run);
        self.reporter.progress(&self.fleet, deployment, run);
    }

    fn now(&self) -> Result<Time, Error> {
        let Some((name, service)) = self.services.iter().next() else {
            return Ok(self.deployment.began);
        };
        Ok(service.store.lock().service(&self.key(name))?.at)
    }
}
