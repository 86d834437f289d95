//! `ship report` for a stack: one page about a deployment.

use super::services::{StackServiceEnv, StackServices, deployments, of_service};
use crate::app::deployment_page_name::DeploymentPageName;
use crate::app::environment::Reading;
use crate::app::error::{Error, Internal, Refused};
use crate::app::report_destination::{ReportDestination, ReportOutput};
use crate::app::report_page::{ReportInput, quoted_inventory, secrets, setup};
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::journal::placements::Placements;
use crate::core::redact::Redactor;
use crate::core::stack::{DeployedService, Deployment, DeploymentNumber, StackRollbackRefusal};
use crate::core::time::Time;
use crate::report::ReporterSetup;
use crate::report::html::{DeploymentInput, ServiceInput, deployment_page};
use crate::store::{RolloutRecord, StoreAccess};

/// Builds the page about a deployment, by default the newest one.
///
/// # Errors
/// If the deployment does not exist, or the page cannot be written.
pub fn report(
    stack: &StackServices,
    number: Option<DeploymentNumber>,
    destination: ReportDestination,
) -> Result<ReportOutput, Error> {
    let deployments = deployments(stack)?;
    let newest = deployments.last().ok_or(Refused::NothingDeployed)?;
    let number = number.unwrap_or(newest.number);
    let unknown = || {
        let refusal = StackRollbackRefusal::UnknownDeployment(number);
        Refused::NotPermitted(refusal.to_string())
    };
    let position = deployments.iter().position(|it| it.number == number);
    let position = position.ok_or_else(unknown)?;
    let (_, rest) = deployments.split_at(position);
    let (deployment, later) = rest.split_first().ok_or_else(unknown)?;
    let mut services = Vec::new();
    for service in &stack.services {
        if let Some(deployed) = deployment.service(&service.name) {
            let read = ServiceReport::read(service, deployment, deployed, later);
            services.push(read.map_err(of_service(&service.name))?);
        }
    }
    let first = services.first().ok_or_else(unknown)?;
    let session = &first.session;
    let html = {
        let input = DeploymentInput {
            deployment,
            fleet: &stack.fleet,
            services: services.iter().map(ServiceReport::input).collect(),
            is_partial: deployment.services.len() < stack.services.len(),
            is_newest: later.is_empty(),
            arguments: quoted_inventory(session),
            now: session.now(),
        };
        let secrets = services.iter().flat_map(|it| secrets(&it.session));
        deployment_page(&input, &Redactor::new(secrets)).map_err(|why| {
            let text = format!("cannot render the report of deployment {number}: {why}");
            Internal::Other(text)
        })?
    };
    let name = DeploymentPageName {
        fleet: stack.fleet.clone(),
        number,
    };
    destination.deliver(session, &name.to_string(), html)
}

/// What a deployment did to a service.
struct ServiceReport {
    name: String,
    session: Session,
    setup: ReporterSetup,
    /// The instances that ran when the deployment began.
    before: Placements,
    version_before: Option<String>,
    rollouts: Vec<ReportInput>,
}

impl ServiceReport {
    fn read(
        service: &StackServiceEnv,
        deployment: &Deployment,
        deployed: &DeployedService,
        later: &[Deployment],
    ) -> Result<Self, Error> {
        // Not strict: the version does not matter here, and the playbook may have none.
        let overrides = Overrides::default();
        let (reading, access) = (Reading::WithoutHosts, StoreAccess::Read);
        let session = Session::open(&service.env, &overrides, reading, access)?;
        let records = session.records()?;
        let revisions = records.revisions();
        let next = later.iter().find(|it| it.service(&service.name).is_some());
        let next: Option<Time> = next.map(|it| it.began);
        let verb = |rollout: &RolloutRecord| {
            let mut revisions = revisions.iter();
            let own = revisions.find(|it| it.revision == rollout.revision);
            own.map(|it| it.verb)
        };
        // The record of a rollout is made before the deployment begins, its first event after it.
        let all = records.rollouts();
        let ids: Vec<_> = all.iter().map(|it| it.id).collect();
        let journals = session.store.lock().journals(&ids)?;
        let began = journals
            .iter()
            .map(|journal| journal.first().map(|it| it.at));
        let began = all.iter().zip(began);
        let began: Vec<_> = began.filter_map(|(it, at)| Some((it, at?))).collect();
        let since = began.iter().find(|(_, at)| *at >= deployment.began);
        let since = since.map(|(it, _)| it.id);
        let earlier = all.iter().zip(&journals);
        let earlier = earlier.take_while(|(it, _)| Some(it.id) != since);
        let before = Placements::of(earlier.flat_map(|(_, journal)| journal));
        let own = began.iter().filter(|(it, at)| {
            verb(it).is_some_and(|verb| deployment.has_rollout(verb, *at, next))
        });
        let rollouts = own.map(|(it, _)| ReportInput::read(&session, it.id, None));
        let rollouts = rollouts.collect::<Result<_, _>>()?;
        let version_before = deployed.before.and_then(|before| {
            let record = revisions.iter().find(|it| it.revision == before)?;
            Some(record.definition.version.clone())
        });
        Ok(Self {
            name: service.name.clone(),
            setup: setup(&session, &revisions),
            before,
            version_before,
            rollouts,
            session,
        })
    }

    fn input(&self) -> ServiceInput<'_> {
        let rollouts = self.rollouts.iter();
        ServiceInput {
            service: &self.name,
            setup: self.setup.clone(),
            before: &self.before,
            version_before: self.version_before.as_deref(),
            rollouts: rollouts.map(|it| it.of_rollout(it.exit())).collect(),
        }
    }
}
