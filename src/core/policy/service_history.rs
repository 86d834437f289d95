//! All records of a service, read once for every verb.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::ids::{ReleaseId, Revision};
use crate::core::journal::rollout_summary::RolloutSummary;
use crate::core::policy::history::{self, PastRevision, RolloutRun};
use crate::core::policy::revision::RevisionRecord;
use crate::core::policy::service_state::ServiceState;
use crate::core::release::Definition;
use crate::core::rollout::Rollout;
use crate::core::rollout::event::Entry;
use crate::core::rollout::failure::Outcome;
use crate::core::rollout::task::{self, Contracted, Task};
use crate::core::rollout::verb::Verb;

/// The history of one service on one fleet.
#[derive(Clone, Debug, Default)]
pub struct ServiceHistory {
    /// The revisions, oldest first.
    pub revisions: Vec<RevisionRecord>,
    /// How each rollout began and ended, oldest first.
    pub runs: Vec<RolloutRun>,
    /// The ids of the migrations that were made.
    pub migrations_made: BTreeSet<String>,
    /// The contract migrations that were made or started.
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

    /// The revision that the fleet is on, or was left on its way to.
    ///
    /// It is the newest that was not rolled back. After a rollback it is the newest of the release
    /// that the fleet was rolled back to.
    pub fn current(&self) -> Option<&RevisionRecord> {
        let mut left = self
            .revisions
            .iter()
            .rev()
            .filter(|record| record.outcome != Some(Outcome::RolledBack));
        match history::rolled_back_to(&self.runs) {
            Some(release) => left.find(|record| record.release == *release),
            None => left.next(),
        }
    }

    pub fn revision(&self, number: Revision) -> Option<&RevisionRecord> {
        self.revisions
            .iter()
            .find(|record| record.revision == number)
    }

    /// The newest revision of a release.
    pub fn newest_of(&self, release: &ReleaseId) -> Option<&RevisionRecord> {
        self.revisions
            .iter()
            .rev()
            .find(|record| record.release == *release)
    }

    /// Every revision, as needed to choose a rollback target.
    pub fn past(&self) -> Vec<PastRevision> {
        self.revisions.iter().map(RevisionRecord::past).collect()
    }

    /// Whether any revision of a release was proven healthy.
    pub fn is_proven(&self, release: &ReleaseId) -> bool {
        history::is_proven(&self.past(), release)
    }

    /// The rollback target of a failed deploy of a release.
    pub fn automatic_rollback_target(&self, release: &ReleaseId) -> Option<&RevisionRecord> {
        let past = self.past_that_may_run();
        history::automatic_rollback_target(&past, release)
            .and_then(|back| self.revision(back.revision))
    }

    /// The target of `ship rollback` without an argument.
    pub fn rollback_target(&self, release: &ReleaseId) -> Option<&RevisionRecord> {
        let past = self.past_that_may_run();
        history::rollback_target(&past, release).and_then(|back| self.revision(back.revision))
    }

    /// Why a revision must not run any more, if a contract migration has removed what it needs.
    pub fn past_contract(&self, record: &RevisionRecord) -> Option<String> {
        task::past_contract(&record.definition, Some(record.revision), &self.contracted)
    }

    /// The revisions that no contract has made unusable.
    fn past_that_may_run(&self) -> Vec<PastRevision> {
        self.revisions
            .iter()
            .filter(|record| self.past_contract(record).is_none())
            .map(RevisionRecord::past)
            .collect()
    }

    /// The tasks of a rollout of a release, which depend on its verb.
    pub fn tasks_of(&self, verb: Verb, definition: &Definition) -> Vec<Task> {
        match verb {
            Verb::Migrate => self.contracts_due(definition),
            Verb::Adopt | Verb::Deploy | Verb::Rollback | Verb::Restart | Verb::Scale => {
                task::tasks(definition, &self.migrations_made)
            }
        }
    }

    /// The contract migrations of a release that were not made yet.
    pub fn contracts_due(&self, definition: &Definition) -> Vec<Task> {
        task::contracts(definition, &self.migrations_made)
    }

    /// The shortest time in which a deploy has replaced one release by another; zero if none has.
    ///
    /// A deploy of the release that runs already only repairs, or changes the number of instances:
    /// it says nothing about how long a replacement takes.
    pub fn fastest_deploy(&self) -> Duration {
        let good = |record: &RevisionRecord| {
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
                good(record) && before.is_none_or(|before| before.release != record.release)
            });
        replaced
            .filter_map(|(record, _)| Some(record.ended?.since(record.began)))
            .min()
            .unwrap_or_default()
    }

    /// The instances that the newest rollout wanted where it left the fleet, if they still fit.
    pub fn replicas_wanted_last(&self, slots: usize) -> Option<u32> {
        history::replicas_wanted_last(&self.runs)
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
    fn number_of_the_newest_rollout_is_kept_where_it_fits() {
        assert_eq!(on_b().build().replicas_wanted_last(3), Some(3));
        assert_eq!(on_b().build().replicas_wanted_last(2), None);
    }
}
