//! The record of a deployment: what one command changes across a stack.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{OnStackFailure, StackDirection, StackOutcome};
use crate::core::ids::Revision;
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

/// The number of a deployment in the history of a fleet, from 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct DeploymentNumber(pub u32);

impl fmt::Display for DeploymentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A deployment. How far each service is follows from the rollouts of its revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub number: DeploymentNumber,
    pub verb: Verb,
    /// The user: `anna@laptop`.
    pub who: String,
    pub reason: String,
    pub began: Time,
    pub on_failure: OnStackFailure,
    pub direction: StackDirection,
    /// In the order of the rollout.
    pub services: Vec<DeployedService>,
    /// `None` while it runs, or if its process died.
    pub outcome: Option<StackOutcome>,
    pub ended: Option<Time>,
}

/// A service that a deployment changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployedService {
    pub service: String,
    /// The services of the deployment that roll out before this one.
    pub after: BTreeSet<String>,
    pub version: String,
    pub revision: Revision,
    /// The revision that ran before; `None` if nothing ran.
    pub before: Option<Revision>,
    /// The keys of the playbook that the command line set.
    pub set: Vec<String>,
    /// The revision of the rollout that takes the service back, once there is one.
    pub undo: Option<Revision>,
    /// The revision of the rollout of its contract migrations, once there is one.
    pub contract: Option<Revision>,
}

impl Deployment {
    pub fn service(&self, name: &str) -> Option<&DeployedService> {
        self.services.iter().find(|it| it.service == name)
    }

    pub fn service_mut(&mut self, name: &str) -> Option<&mut DeployedService> {
        self.services.iter_mut().find(|it| it.service == name)
    }

    /// Whether the deployment has not ended, or can be continued.
    pub fn is_open(&self) -> bool {
        self.outcome.is_none_or(StackOutcome::is_open)
    }
}

impl DeployedService {
    /// The revisions that the deployment made for the service.
    pub fn revisions(&self) -> impl Iterator<Item = Revision> {
        [Some(self.revision), self.undo, self.contract]
            .into_iter()
            .flatten()
    }
}
