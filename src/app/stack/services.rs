//! The selected services of a stack.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::app::environment::{Environment, Reading};
use crate::app::error::Error;
use crate::app::opened_service::OpenedService;
use crate::config::Overrides;
use crate::core::stack::{Deployment, OnStackFailure};
use crate::report::DeploymentReporter;
use crate::store::StoreAccess;

/// The selected services of a stack, in the order of the rollout.
pub struct StackServices {
    pub fleet: String,
    pub services: Vec<StackServiceEnv>,
    pub on_failure: OnStackFailure,
    pub reporter: Arc<dyn DeploymentReporter>,
}

/// A service of a stack.
pub struct StackServiceEnv {
    pub name: String,
    /// The selected services that roll out before this one.
    pub after: BTreeSet<String>,
    /// The environment for verbs of this service.
    pub env: Arc<dyn Environment>,
}

/// The deployments that changed any of the services, oldest first.
///
/// # Errors
/// If the files or the state cannot be read.
pub fn deployments(stack: &StackServices) -> Result<Vec<Deployment>, Error> {
    let Some(first) = stack.services.first() else {
        return Ok(Vec::new());
    };
    let overrides = Overrides::default();
    let (reading, access) = (Reading::WithoutHosts, StoreAccess::Read);
    let opened = OpenedService::open(&first.env, &overrides, reading, access)?;
    let names: Vec<_> = stack.services.iter().map(|it| it.name.as_str()).collect();
    deployments_of(&opened, &names)
}

/// The deployments that changed any of these services, oldest first. Another inventory may deploy
/// other services to the same fleet.
pub(super) fn deployments_of(
    opened: &OpenedService,
    names: &[&str],
) -> Result<Vec<Deployment>, Error> {
    let mut deployments = opened.deployments()?;
    deployments.retain(|it| names.iter().any(|name| it.service(name).is_some()));
    Ok(deployments)
}

/// Takes the leases of services, each for its command, in the order of the names: so two commands
/// never wait for each other.
pub(super) async fn take_leases(
    mut leases: Vec<(&mut OpenedService, String)>,
    wait: Duration,
) -> Result<(), Error> {
    leases.sort_by(|(one, _), (other, _)| one.service_key.cmp(&other.service_key));
    for (opened, run) in leases {
        let taken = opened.take_lease_within(&run, wait).await;
        taken.map_err(of_service(&opened.service_key.service))?;
    }
    Ok(())
}

/// Whether a live process carries out a rollout of the service.
pub(super) fn is_rolling_out(service: &StackServiceEnv) -> Result<bool, Error> {
    let any = Overrides::default();
    let (env, reading) = (&service.env, Reading::WithoutHosts);
    let opened = OpenedService::open(env, &any, reading, StoreAccess::Read)?;
    Ok(opened.running_rollout(&opened.records()?).is_some())
}

/// Adds the name of the service to an error. Errors in files have their place already.
pub(super) fn of_service(service: &str) -> impl Fn(Error) -> Error + '_ {
    move |error| match error {
        Error::Files(_) | Error::Interrupted(_) => error,
        error => Error::OfService {
            service: service.to_owned(),
            error: Box::new(error),
        },
    }
}
