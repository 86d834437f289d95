//! `ship resume` and `ship abort` for a stack: continue the newest deployment.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::conclusion::{StackConclusion, exit_of};
use super::controller::{StackController, member};
use super::environment::DeploymentEnvironment;
use super::preparation::LeasedService;
use super::services::{StackServices, deployments_of, of_service, take_leases};
use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Refused};
use crate::app::opened_service::OpenedService;
use crate::app::verbs::abort::AbortRequest;
use crate::app::verbs::promote::PromoteRequest;
use crate::app::verbs::resume::ResumeRequest;
use crate::config::Overrides;
use crate::core::rollout::verb::Verb;
use crate::core::stack::{
    DeployedService, Deployment, Member, StackDirection, StackOutcome, StackRun,
};
use crate::store::{ControlRequest, Request, ServiceRecords, StoreAccess};

/// How often an abort looks for what the other process does.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Continues the newest deployment in its direction.
///
/// # Errors
/// If no deployment can be continued.
pub async fn resume(
    stack: &StackServices,
    request: ResumeRequest,
) -> Result<StackConclusion, Error> {
    resume_with(stack, request, None).await
}

/// [`resume`], with the promotion of the rollouts that wait at a step.
pub(super) async fn resume_with(
    stack: &StackServices,
    request: ResumeRequest,
    promotion: Option<PromoteRequest>,
) -> Result<StackConclusion, Error> {
    let mut opened = open(stack, StoreAccess::Write)?;
    let deployment = newest_open(&opened, "resume")?;
    opened.retain(|it| deployment.service(&it.name).is_some());
    take_leases(leases(&mut opened, "resume"), request.lock_timeout).await?;
    let mut controller = restore(stack, opened, deployment, false)?;
    controller.set_request(request, promotion);
    Box::pin(controller.carry_out(stack)).await
}

/// Undoes the newest deployment: in its process, or in this one if it has ended.
///
/// # Errors
/// If no deployment can be aborted.
pub async fn abort(stack: &StackServices, request: AbortRequest) -> Result<StackConclusion, Error> {
    let mut opened = open(stack, StoreAccess::Write)?;
    let deployment = newest_open(&opened, "abort")?;
    opened.retain(|it| deployment.service(&it.name).is_some());
    if let Some(ended) = abort_elsewhere(&opened, &deployment).await? {
        let outcome = ended.outcome.unwrap_or(StackOutcome::Stopped);
        return Ok(StackConclusion {
            exit: exit_of(outcome, &[], true),
            deployment: Some(ended),
            unchanged: Vec::new(),
            errors: Vec::new(),
        });
    }
    take_leases(leases(&mut opened, "abort"), Duration::ZERO).await?;
    let mut controller = restore(stack, opened, deployment, true)?;
    if !controller.abort(request) {
        let why = "a contract migration of this deployment has begun, so that earlier versions may lack \
                   what they need\nhint: finish the deployment with `ship resume`";
        return Err(Refused::NotPermitted(why.to_owned()).into());
    }
    Box::pin(controller.carry_out(stack)).await
}

struct Opened {
    name: String,
    env: Arc<dyn Environment>,
    service: OpenedService,
}

/// Opens the state of all services.
fn open(stack: &StackServices, access: StoreAccess) -> Result<Vec<Opened>, Error> {
    let open = |service: &super::services::StackServiceEnv| {
        let any = Overrides::any_version();
        let (env, reading) = (&service.env, Reading::LastKnownGood);
        let opened = OpenedService::open(env, &any, reading, access);
        Ok(Opened {
            name: service.name.clone(),
            env: Arc::clone(env),
            service: opened.map_err(of_service(&service.name))?,
        })
    };
    stack.services.iter().map(open).collect()
}

/// The newest deployment, if it is unfinished and no service has changed since.
pub(super) fn unfinished_deployment(
    services: &[&OpenedService],
) -> Result<Option<Deployment>, Error> {
    let Some(first) = services.first() else {
        return Ok(None);
    };
    let names: Vec<_> = services
        .iter()
        .map(|it| it.service_key.service.as_str())
        .collect();
    let newest = deployments_of(first, &names)?.pop();
    let Some(newest) = newest.filter(Deployment::is_open) else {
        return Ok(None);
    };
    for service in services {
        let revisions = service.records()?.revisions();
        let deployed = newest.service(&service.service_key.service);
        let later = deployed.and_then(|it| it.later_change(newest.verb, &revisions));
        if later.is_some() {
            return Ok(None);
        }
    }
    Ok(Some(newest))
}

/// The unfinished deployment of a stack, if it has one.
///
/// # Errors
/// If the files or the state cannot be read.
pub fn unfinished(stack: &StackServices) -> Result<Option<Deployment>, Error> {
    let opened = open(stack, StoreAccess::Read)?;
    let services: Vec<_> = opened.iter().map(|it| &it.service).collect();
    unfinished_deployment(&services)
}

/// The newest deployment of the fleet, if it can be continued by these services.
fn newest_open(opened: &[Opened], verb: &str) -> Result<Deployment, Error> {
    let refused = |why: String| Err(Refused::NotPermitted(why).into());
    let Some(first) = opened.first() else {
        return refused("the stack has no services".to_owned());
    };
    let names: Vec<_> = opened.iter().map(|it| it.name.as_str()).collect();
    let newest = deployments_of(&first.service, &names)?.pop();
    let Some(newest) = newest else {
        return refused("nothing has been deployed yet\nhint: run `ship deploy` first".to_owned());
    };
    let number = newest.number;
    if !newest.is_open() {
        let word = newest.outcome.map_or("unknown", StackOutcome::word);
        return refused(format!(
            "deployment {number} has ended ({word}), so there is nothing to {verb}\nhint: to undo the \
             last deployment, use `ship rollback`"
        ));
    }
    for deployed in &newest.services {
        let Some(opened) = opened.iter().find(|it| it.name == deployed.service) else {
            return refused(format!(
                "deployment {number} also changes service `{}`, which is not selected\nhint: leave out \
                 `--service`, so that the whole deployment continues",
                deployed.service
            ));
        };
        let records = opened.service.records()?;
        if let Some(later) = deployed.later_change(newest.verb, &records.revisions()) {
            return refused(format!(
                "service `{}` has changed since deployment {number}: revision {later}\nhint: deploy \
                 again",
                deployed.service
            ));
        }
    }
    Ok(newest)
}

fn leases<'a>(opened: &'a mut [Opened], run: &str) -> Vec<(&'a mut OpenedService, String)> {
    let services = opened.iter_mut().map(|opened| &mut opened.service);
    services.map(|service| (service, run.to_owned())).collect()
}

/// The deployment as an earlier process left it.
fn restore(
    stack: &StackServices,
    opened: Vec<Opened>,
    mut deployment: Deployment,
    is_abort: bool,
) -> Result<StackController, Error> {
    let mut members = std::collections::BTreeMap::new();
    let is_back = deployment.direction == StackDirection::Back || is_abort;
    for opened in &opened {
        let Some(deployed) = deployment.service(&opened.name) else {
            continue;
        };
        let records = opened.service.records()?;
        let member = restored_member(deployed, deployment.verb, &records, is_back);
        members.insert(opened.name.clone(), member);
    }
    let run = StackRun::restored(members, deployment.on_failure, deployment.direction);
    deployment.outcome = None;
    deployment.ended = None;
    let mut controller = StackController::new(stack, run, deployment);
    for Opened { name, env, service } in opened {
        let store = service.store.clone();
        let env = DeploymentEnvironment::of(&env, &store, &service.clock);
        controller.add_leased(LeasedService { name, store, env });
    }
    Ok(controller)
}

fn restored_member(
    deployed: &DeployedService,
    verb: Verb,
    records: &ServiceRecords,
    is_back: bool,
) -> Member {
    let revisions = records.revisions();
    let history = crate::app::session::history_of(records);
    let has_contracts = verb == Verb::Deploy
        && records
            .planned(deployed.revision)
            .is_some_and(|planned| history.has_automatic_contracts(&planned.definition));
    let record = deployed.record(verb, &revisions, has_contracts && !is_back);
    member(deployed, record.phase(), record.contract_state())
}

/// Asks the process that carries out the deployment to roll back every running rollout, until it has
/// ended. Returns the deployment; `None` if no process carries it out.
async fn abort_elsewhere(
    opened: &[Opened],
    deployment: &Deployment,
) -> Result<Option<Deployment>, Error> {
    let Some(first) = opened.first() else {
        return Ok(None);
    };
    let mut has_asked = false;
    loop {
        let mut is_live = false;
        let now = first.service.deployments()?;
        let now = now.into_iter().find(|it| it.number == deployment.number);
        // Then the rollouts that run take the services back.
        let is_back = now
            .as_ref()
            .is_some_and(|it| it.direction == StackDirection::Back);
        for opened in opened {
            let records = opened.service.records()?;
            is_live |= records.holder(&opened.env.machine()).is_some();
            let running = opened.service.running_rollout(&records);
            if let Some(running) = running.filter(|_| !is_back) {
                let by = opened.env.operator().to_string();
                let command = ControlRequest::Abort;
                let mut store = opened.service.store.lock();
                let asked = store.request(running.id)?;
                if asked.is_none_or(|asked| asked.command != command) {
                    store.send_request(running.id, &Request { command, by })?;
                }
                has_asked = true;
            }
        }
        if !is_live {
            return Ok(now.filter(|now| has_asked && now.outcome.is_some()));
        }
        sleep(POLL_INTERVAL).await;
    }
}
