//! The record of a deployment: what one command changes across a stack.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::on_failure::OnStackFailure;
use super::record::{RecordedRollout, ServiceRecord};
use super::run::{StackDirection, StackOutcome};
use crate::core::ids::Revision;
use crate::core::policy::revision::RevisionRecord;
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

    /// The services and versions, for messages: `api 2, worker 2`.
    pub fn versions(&self) -> String {
        let each = self.services.iter();
        let each = each.map(|it| format!("{} {}", it.service, it.version));
        each.collect::<Vec<_>>().join(", ")
    }

    /// Whether a rollout of one of the services, which began at `began`, belongs to the deployment.
    /// `next` is the beginning of the next deployment: this one cannot continue after it.
    pub fn has_rollout(&self, verb: Verb, began: Time, next: Option<Time>) -> bool {
        let end = self.ended.into_iter().chain(next).min();
        own_verbs(self.verb).contains(&verb)
            && self.began <= began
            && end.is_none_or(|end| began <= end)
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

    /// The newest revision of the rollout to the goal. A continued deployment may have replaced the
    /// recorded one.
    fn goal_revision<'a>(
        &self,
        verb: Verb,
        revisions: &'a [RevisionRecord],
    ) -> Option<&'a RevisionRecord> {
        let mut of_verb = revisions.iter().filter(|it| it.verb == verb);
        of_verb.rfind(|it| it.revision >= self.revision && !self.is_undo(verb, it, revisions))
    }

    /// The newest revision that takes the service back.
    fn undo_revision<'a>(
        &self,
        verb: Verb,
        revisions: &'a [RevisionRecord],
    ) -> Option<&'a RevisionRecord> {
        let mut all = revisions.iter();
        all.rfind(|it| self.is_undo(verb, it, revisions))
    }

    /// Whether a revision takes the service back. In a rollback, the revisions of the goal have the
    /// same verb, but another release.
    fn is_undo(&self, verb: Verb, revision: &RevisionRecord, revisions: &[RevisionRecord]) -> bool {
        let before = || {
            let before = self.before?;
            revisions.iter().find(|it| it.revision == before)
        };
        revision.verb == Verb::Rollback
            && revision.revision > self.revision
            && (verb != Verb::Rollback
                || before().is_some_and(|before| before.release == revision.release))
    }

    /// The newest revision of contract migrations after the goal.
    fn contract_revision<'a>(&self, revisions: &'a [RevisionRecord]) -> Option<&'a RevisionRecord> {
        let mut later = revisions.iter().filter(|it| it.revision > self.revision);
        later.rfind(|it| it.verb == Verb::Migrate)
    }

    /// A revision that was made after the goal, but not by the deployment.
    pub fn later_change(&self, verb: Verb, revisions: &[RevisionRecord]) -> Option<Revision> {
        let own = own_verbs(verb);
        let later = revisions.iter().filter(|it| it.revision > self.revision);
        let mut foreign = later.filter(|it| !own.contains(&it.verb));
        foreign.next().map(|it| it.revision)
    }

    /// Records the revisions that were made after the deployment began.
    pub fn add_later_revisions(&mut self, verb: Verb, revisions: &[RevisionRecord]) {
        self.undo = self.undo_revision(verb, revisions).map(|it| it.revision);
        if let Some(goal) = self.goal_revision(verb, revisions) {
            self.revision = goal.revision;
        }
        self.contract = self.contract_revision(revisions).map(|it| it.revision);
    }

    /// What the store holds about the service. `has_contracts` is whether contract migrations run
    /// after the deployment.
    pub fn record(
        &self,
        verb: Verb,
        revisions: &[RevisionRecord],
        has_contracts: bool,
    ) -> ServiceRecord {
        let undo = self.undo_revision(verb, revisions);
        let contract = self.contract_revision(revisions);
        ServiceRecord {
            forward: recorded(self.goal_revision(verb, revisions)),
            undo: recorded(undo),
            contract: (has_contracts || contract.is_some()).then(|| recorded(contract)),
        }
    }
}

/// The verbs of the rollouts of a deployment.
fn own_verbs(verb: Verb) -> Vec<Verb> {
    match verb {
        Verb::Rollback => vec![Verb::Rollback],
        _ => vec![verb, Verb::Rollback, Verb::Migrate],
    }
}

fn recorded(revision: Option<&RevisionRecord>) -> RecordedRollout {
    match revision {
        None => RecordedRollout::NotBegun,
        Some(revision) => match &revision.outcome {
            None => RecordedRollout::Unfinished,
            Some(outcome) => RecordedRollout::Ended(outcome.clone()),
        },
    }
}
