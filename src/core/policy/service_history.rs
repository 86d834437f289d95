//! All records of a service. A command reads them once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::ids::{ReleaseId, Revision};
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::policy::history::{self, PastRevision, RolloutRun};
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_state::ServiceState;
use crate::core::release::{Artifact, Definition};
use crate::core::rollout::Rollout;
use crate::core::rollout::event::Entry;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::task::{self, ContractPolicy, Contracted, Due, Task};
use crate::core::rollout::verb::Verb;

/// The history of one service on one fleet.
#[derive(Clone, Debug, Default)]
pub struct ServiceHistory {
    /// The revisions, the oldest first.
    pub revisions: Vec<RevisionRecord>,
    /// The start and the outcome of each rollout, the oldest first.
    pub runs: Vec<RolloutRun>,
    /// The ids of the migrations that have run.
    pub applied_migrations: BTreeSet<String>,
    /// The contract migrations that have run or were started.
    pub contracted: Vec<Contracted>,
    pub newest: Option<Rollout>,
    /// The summary of the newest rollout.
    pub newest_summary: Option<RolloutSummary>,
}

impl ServiceHistory {
    /// The history with the newest rollout read from its journal.
    #[must_use]
    pub fn with_newest(self, journal: &[Entry]) -> Self {
        Self {
            newest: Rollout::of(journal),
            newest_summary: RolloutSummary::of(journal),
            ..self
        }
    }

    /// The state of the service, if no process carries out a rollout now.
    pub fn state(&self) -> ServiceState {
        ServiceState::of(self.newest_summary.as_ref(), false)
    }

    /// The current revision, or the target of an unfinished rollout.
    ///
    /// It is the newest revision that was not rolled back. After a rollback, it is the newest such
    /// revision of the release that the fleet was rolled back to.
    pub fn current(&self) -> Option<&RevisionRecord> {
        let mut candidates = self
            .revisions
            .iter()
            .rev()
            .filter(|record| record.outcome != Some(Outcome::RolledBack));
        match history::rolled_back_to(&self.runs) {
            Some(release) => candidates.find(|record| record.release == *release),
            None => candidates.next(),
        }
    }

    pub fn revision(&self, number: Revision) -> Option<&RevisionRecord> {
        self.revisions
            .iter()
            .find(|record| record.revision == number)
    }

    /// The artifact that the hosts are expected to have when the next one is deployed.
    pub fn expected_artifact(&self) -> Option<&Artifact> {
        self.current().map(|record| &record.definition.artifact)
    }

    /// The newest revision of a release.
    pub fn newest_of(&self, release: &ReleaseId) -> Option<&RevisionRecord> {
        self.revisions
            .iter()
            .rev()
            .find(|record| record.release == *release)
    }

    /// The facts about every revision from which a rollback target is chosen.
    pub fn past(&self) -> Vec<PastRevision> {
        self.revisions.iter().map(RevisionRecord::past).collect()
    }

    /// Whether any revision of a release was proven healthy.
    pub fn is_proven(&self, release: &ReleaseId) -> bool {
        history::is_proven(&self.past(), release)
    }

    /// The rollback target of a failed deploy of a release.
    pub fn automatic_rollback_target(&self, release: &ReleaseId) -> Option<&RevisionRecord> {
        let past = self.runnable_past();
        history::automatic_rollback_target(&past, release)
            .and_then(|target| self.revision(target.revision))
    }

    /// The target of `ship rollback` without an argument.
    pub fn rollback_target(&self, release: &ReleaseId) -> Option<&RevisionRecord> {
        let past = self.runnable_past();
        history::rollback_target(&past, release).and_then(|target| self.revision(target.revision))
    }

    /// Why a revision must no longer run, if a contract migration has removed what it needs.
    pub fn past_contract(&self, record: &RevisionRecord) -> Option<String> {
        task::past_contract(&record.definition, Some(record.revision), &self.contracted)
    }

    /// The revisions that no contract migration has made unusable.
    fn runnable_past(&self) -> Vec<PastRevision> {
        self.revisions
            .iter()
            .filter(|record| self.past_contract(record).is_none())
            .map(RevisionRecord::past)
            .collect()
    }

    /// The tasks of a rollout with this command and release.
    pub fn tasks_of(
        &self,
        verb: Verb,
        contracts: ContractPolicy,
        definition: &Definition,
    ) -> Vec<Task> {
        let is_automatic_contract = |task: &Task| matches!(task.due, Due::Soaked(_));
        let tasks = || task::tasks(definition, &self.applied_migrations);
        match (verb, contracts) {
            (Verb::Migrate, ContractPolicy::InRollout) => self.contracts_due(definition),
            (Verb::Migrate, ContractPolicy::AfterDeployment) => {
                tasks().into_iter().filter(is_automatic_contract).collect()
            }
            (_, ContractPolicy::AfterDeployment) => {
                let others = tasks().into_iter();
                others.filter(|task| !is_automatic_contract(task)).collect()
            }
            (
                Verb::Adopt | Verb::Deploy | Verb::Rollback | Verb::Restart | Verb::Scale,
                ContractPolicy::InRollout,
            ) => tasks(),
        }
    }

    /// Whether contract migrations of a release are due that ship runs on its own.
    pub fn has_automatic_contracts(&self, definition: &Definition) -> bool {
        let tasks = self.tasks_of(Verb::Migrate, ContractPolicy::AfterDeployment, definition);
        !tasks.is_empty()
    }

    /// The contract migrations of a release that have not run yet.
    pub fn contracts_due(&self, definition: &Definition) -> Vec<Task> {
        task::contracts(definition, &self.applied_migrations)
    }

    /// The shortest time in which a deploy has replaced one release by another; zero if none has.
    ///
    /// A deploy of the current release does not count, because it only repairs the fleet or changes
    /// the number of instances.
    pub fn fastest_deploy(&self) -> Duration {
        let succeeded = |record: &RevisionRecord| {
            record.verb == Verb::Deploy
                && record.outcome == Some(Outcome::Succeeded)
                && record.proven
        };
        let before = [None].into_iter().chain(self.revisions.iter().map(Some));
        let replaced = self
            .revisions
            .iter()
            .zip(before)
            .filter(|(record, before)| {
                succeeded(record) && before.is_none_or(|before| before.release != record.release)
            });
        replaced
            .filter_map(|(record, _)| Some(record.ended?.since(record.began)))
            .min()
            .unwrap_or_default()
    }

    /// The number of instances that the newest rollout wanted at its end, if they still fit into
    /// the slots.
    pub fn last_wanted_replicas(&self, slots: usize) -> Option<u32> {
        history::last_wanted_replicas(&self.runs)
            .filter(|last| usize::try_from(*last).is_ok_and(|last| last <= slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::policy::testing::HistoryBuilder;

    fn on_b() -> HistoryBuilder {
        HistoryBuilder::default()
            .deploy("a", Some(Outcome::Succeeded))
            .deploy("b", Some(Outcome::Succeeded))
    }

    fn current(history: HistoryBuilder) -> Option<u32> {
        history.build().current().map(|record| record.revision.0)
    }

    #[test]
    fn fleet_is_on_the_newest_revision_that_was_not_rolled_back() {
        assert_eq!(current(HistoryBuilder::default()), None);
        assert_eq!(current(on_b()), Some(2));
        assert_eq!(current(on_b().deploy("c", None)), Some(3));
        assert_eq!(
            current(on_b().deploy("c", Some(Outcome::RolledBack))),
            Some(2)
        );
        let back_to_a = on_b().rollout(Verb::Rollback, "a", 3, Some(Outcome::Succeeded));
        assert_eq!(current(back_to_a), Some(3));
    }

    #[test]
    fn state_is_that_of_the_newest_rollout() {
        assert_eq!(ServiceHistory::default().state(), ServiceState::New);
        assert_eq!(on_b().build().state(), ServiceState::Idle);
        assert_eq!(
            on_b().deploy("c", None).build().state(),
            ServiceState::Interrupted
        );
    }

    #[test]
    fn fastest_deploy_is_the_shortest_that_replaced_a_release() {
        let history = on_b().deploy("b", Some(Outcome::Succeeded)).build();
        assert_eq!(history.fastest_deploy(), Duration::from_millis(500));
        let failed = HistoryBuilder::default().deploy("a", Some(Outcome::RolledBack));
        assert_eq!(failed.build().fastest_deploy(), Duration::ZERO);
    }

    #[test]
    fn replicas_of_newest_rollout_are_kept_if_they_fit() {
        assert_eq!(on_b().build().last_wanted_replicas(3), Some(3));
        assert_eq!(on_b().build().last_wanted_replicas(2), None);
    }
}
