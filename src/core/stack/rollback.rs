//! Which revisions a rollback of a stack restores.

use std::collections::BTreeMap;
use std::fmt;

use super::deployment::{DeployedService, Deployment, DeploymentNumber};
use super::run::StackOutcome;
use crate::core::ids::Revision;
use crate::core::rollout::verb::Verb;

/// The revisions that a rollback restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackTargets {
    /// The revision of each service that changes.
    pub services: BTreeMap<String, Revision>,
    pub reason: String,
}

/// Why a rollback has no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackRollbackRefusal {
    NothingDeployed,
    /// The history has no deployment with this number.
    UnknownDeployment(DeploymentNumber),
    /// The deployment did not succeed, so its revisions do not belong together.
    NotDeployed {
        number: DeploymentNumber,
        /// How it ended, in one word.
        outcome: &'static str,
    },
    /// The last deployment has rolled back already.
    RolledBackAlready {
        number: DeploymentNumber,
        verb: Verb,
    },
    /// The last deployment is a rollback that is not finished.
    Unfinished(DeploymentNumber),
    /// Before the last deployment, this service did not run.
    NothingBefore {
        service: String,
    },
}

impl fmt::Display for StackRollbackRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingDeployed => f.write_str(
                "nothing has been deployed yet, so there is nothing to roll back\nhint: run `ship \
                 deploy` first",
            ),
            Self::UnknownDeployment(number) => write!(
                f,
                "the history has no deployment {number}\nhint: list the deployments with `ship history`"
            ),
            Self::NotDeployed { number, outcome } => write!(
                f,
                "cannot roll back to deployment {number}: it has not succeeded ({outcome})\nhint: choose \
                 another one from `ship history`"
            ),
            Self::RolledBackAlready { number, verb } => {
                let what = match verb {
                    Verb::Rollback => "was a rollback",
                    _ => "has rolled back already",
                };
                write!(
                    f,
                    "deployment {number} {what}; no changes were made\nhint: choose an earlier one from \
                     `ship history` with --to-deployment"
                )
            }
            Self::Unfinished(number) => write!(
                f,
                "deployment {number} is a rollback that is not finished\nhint: `ship resume` continues it, \
                 `ship abort` undoes it"
            ),
            Self::NothingBefore { service } => write!(
                f,
                "cannot undo the last deployment: service `{service}` has no earlier revision that was \
                 proven healthy\nhint: choose a deployment from `ship history` with --to-deployment"
            ),
        }
    }
}

/// The revisions that `ship rollback` restores: those before the last deployment, or those after
/// the requested one. `deployments` is the history, oldest first.
///
/// # Errors
/// If the history has no such revisions.
pub fn rollback_targets(
    deployments: &[Deployment],
    requested: Option<DeploymentNumber>,
) -> Result<RollbackTargets, StackRollbackRefusal> {
    match requested {
        Some(number) => after(deployments, number),
        None => before_last(deployments),
    }
}

fn before_last(deployments: &[Deployment]) -> Result<RollbackTargets, StackRollbackRefusal> {
    let last = deployments
        .last()
        .ok_or(StackRollbackRefusal::NothingDeployed)?;
    let (number, verb) = (last.number, last.verb);
    if verb == Verb::Rollback && last.is_open() {
        return Err(StackRollbackRefusal::Unfinished(number));
    }
    if verb == Verb::Rollback || last.outcome == Some(StackOutcome::RolledBack) {
        return Err(StackRollbackRefusal::RolledBackAlready { number, verb });
    }
    let before = |deployed: &DeployedService| match deployed.before {
        Some(before) => Ok((deployed.service.clone(), before)),
        None => Err(StackRollbackRefusal::NothingBefore {
            service: deployed.service.clone(),
        }),
    };
    let services: Result<_, _> = last.services.iter().map(before).collect();
    Ok(RollbackTargets {
        services: services?,
        reason: format!("undo of deployment {number}"),
    })
}

/// The revisions after a deployment: its own, and for other services those of the last successful
/// deployment before it.
fn after(
    deployments: &[Deployment],
    number: DeploymentNumber,
) -> Result<RollbackTargets, StackRollbackRefusal> {
    let requested = deployments.iter().find(|it| it.number == number);
    let requested = requested.ok_or(StackRollbackRefusal::UnknownDeployment(number))?;
    if requested.outcome != Some(StackOutcome::Deployed) {
        let outcome = requested.outcome.map_or("unfinished", StackOutcome::word);
        return Err(StackRollbackRefusal::NotDeployed { number, outcome });
    }
    let earlier = deployments.iter().filter(|it| it.number <= number);
    let deployed = earlier.filter(|it| it.outcome == Some(StackOutcome::Deployed));
    let services = deployed.flat_map(|it| &it.services);
    Ok(RollbackTargets {
        services: services
            .map(|deployed| (deployed.service.clone(), deployed.revision))
            .collect(),
        reason: format!("rollback to deployment {number}"),
    })
}
