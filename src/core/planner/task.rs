//! What is done once: when it is due, and on which host.

use std::time::Duration;

use super::{Draft, Next};
use crate::core::fleet::reach::Reach;
use crate::core::planner::census::HostCount;
use crate::core::release::hook::HookSite;
use crate::core::release::migration::MigrationKind;
use crate::core::rollout::action::Action;
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::task::{Chore, Due, End, Errand};
use crate::core::rollout::verb::Verb;
use crate::core::time::Time;

/// So often one is begun of which nobody knows whether it was done.
const ATTEMPTS_MAX: u32 = 3;
/// What one may take beyond its own time, to be ended and to be told of.
const MARGIN: Duration = Duration::from_secs(30);

impl Draft<'_> {
    /// What must be done before the first instance.
    pub(super) fn chore_before(&self) -> Option<Next> {
        if self.is_backwards() {
            None
        } else {
            self.next_of(|due| due == Due::Before, None)
        }
    }

    /// What is done when all is in place; what is waited for is the soak before a contract.
    pub(super) fn chore_after(&self) -> Option<Next> {
        if self.is_backwards() {
            return None;
        }
        if let Some(failure) = self.failed_chore() {
            return Some(self.consequence(failure));
        }
        if let Some(next) = self.next_of(|due| due == Due::After, None) {
            return Some(next);
        }
        // Where no instance serves, the soak says nothing, and the versions that could run would
        // lose what they need.
        if self.census.new_available == 0 {
            return None;
        }
        let contracts = self
            .chores()
            .filter(|chore| matches!(chore.due, Due::Soaked(_)) && !self.is_over(chore));
        let soaked_at = |due| match due {
            Due::Soaked(soak) => Some(
                self.rollout
                    .timings
                    .complete_since
                    .unwrap_or(self.rollout.attempt.last_progress)
                    + soak,
            ),
            _ => None,
        };
        let next = contracts.filter_map(|chore| soaked_at(chore.due)).min()?;
        if self.now < next {
            // What is found out meanwhile keeps it from being made.
            return Some(match self.cause() {
                Some(failure) => self.consequence(failure),
                None => Next::Wake(next),
            });
        }
        self.next_of(|due| soaked_at(due).is_some_and(|at| at <= self.now), None)
    }

    /// A host that is to get the release for what is done there, where no host has it: a service
    /// may have no instances.
    pub(super) fn stage_for_chore(&mut self) {
        let is_due = |chore: &&Chore| {
            chore.site == HookSite::Host && chore.due.matters() && !self.is_over(chore)
        };
        if self.is_backwards() || self.chores().find(is_due).is_none() {
            return;
        }
        let usable = || {
            self.census
                .hosts
                .iter()
                .filter(|host| host.may_carry() && host.is_reachable())
        };
        if usable().any(|host| self.has_goal(host)) {
            return;
        }
        if let Some(host) = usable()
            .find(|host| host.is_idle() && !self.has_failed(host.id))
            .map(|host| host.id.clone())
        {
            self.order(Action::Stage {
                host,
                release: self.rollout.goal.release.clone(),
            });
        }
    }

    /// What is done when the rollout ends so.
    pub(super) fn chore_at_the_end(&self, outcome: &Outcome) -> Option<Next> {
        let due = Due::at_the_end(outcome)?;
        self.next_of(|other| other == due, Some(outcome.word()))
    }

    fn chores(&self) -> impl Iterator<Item = &Chore> {
        let are_due = self.rollout.verb != Verb::Scale && self.rollout.scaling.is_none();
        self.spec.chores.iter().filter(move |_| are_due)
    }

    fn next_of(&self, is_due: impl Fn(Due) -> bool, outcome: Option<&'static str>) -> Option<Next> {
        let chore = self
            .chores()
            .find(|chore| is_due(chore.due) && !self.is_over(chore))?;
        let host = match chore.site {
            HookSite::Control => None,
            HookSite::Host => match self.place_of(chore) {
                Some(host) => Some(host.id.clone()),
                None => return Some(self.await_place(chore)),
            },
        };
        Some(Next::Run(Errand {
            chore: chore.name.clone(),
            host,
            outcome,
        }))
    }

    /// The host on which it was begun, or else the first that has the release.
    fn place_of(&self, chore: &Chore) -> Option<&HostCount<'_>> {
        let begun_on = self
            .rollout
            .tasks
            .get(&chore.name)
            .and_then(|begun| begun.host.as_ref());
        let usable = self
            .census
            .hosts
            .iter()
            .filter(|host| host.may_carry() && host.is_idle());
        usable
            .filter(|host| self.has_goal(host))
            .find(|host| begun_on.is_none_or(|begun_on| begun_on == host.id))
    }

    /// Waits for a host on which a task can run; fails where every such host has been out of reach
    /// for too long.
    fn await_place(&self, chore: &Chore) -> Next {
        let begun_on = self
            .rollout
            .tasks
            .get(&chore.name)
            .and_then(|begun| begun.host.as_ref());
        let usable = self
            .census
            .hosts
            .iter()
            .filter(|host| host.may_carry() && self.has_goal(host));
        let usable = usable.filter(|host| begun_on.is_none_or(|begun_on| begun_on == host.id));
        let lost: Option<Vec<_>> = usable
            .map(|host| match &host.host?.reach {
                Reach::Lost { since, why } => Some((*since, host.id, why)),
                Reach::Reachable | Reach::NotSeen => None,
            })
            .collect();
        let Some((since, host, why)) = lost.and_then(|lost| lost.into_iter().max()) else {
            return Next::Wake(self.wake_at());
        };
        let given_up = since + self.patience();
        if self.now < given_up {
            return Next::Wake(self.wake_at().min(given_up));
        }
        let (host, detail) = (Some(host.clone()), why.clone());
        let waited = self.now.since(since);
        self.consequence(Failure {
            kind: FailureKind::HostLost,
            host,
            slot: None,
            detail,
            waited,
        })
    }

    /// Whether the release that is to run lies on the host.
    fn has_goal(&self, host: &HostCount<'_>) -> bool {
        host.host
            .is_some_and(|seen| seen.releases.contains(&self.rollout.goal.release))
    }

    /// Whether nothing more is done about it.
    fn is_over(&self, chore: &Chore) -> bool {
        let end = self
            .rollout
            .tasks
            .get(&chore.name)
            .and_then(|begun| begun.end.as_ref());
        matches!(end, Some(End::Done | End::DoneBefore)) || self.error_of(chore).is_some()
    }

    /// Why it has failed for good.
    fn error_of(&self, chore: &Chore) -> Option<&str> {
        let begun = self.rollout.tasks.get(&chore.name)?;
        match &begun.end {
            Some(End::Failed { error }) => Some(error),
            Some(End::Unknown { why }) if begun.attempts >= ATTEMPTS_MAX => Some(why),
            _ => None,
        }
    }

    /// One that has failed, and that the rollout cannot do without.
    pub(super) fn failed_chore(&self) -> Option<Failure> {
        self.chores()
            .filter(|chore| chore.due.matters())
            .find_map(|chore| {
                let error = self.error_of(chore)?;
                let begun = self.rollout.tasks.get(&chore.name)?;
                let kind = match chore.migration {
                    None => FailureKind::Hook,
                    Some((MigrationKind::Expand, _)) => FailureKind::Migration,
                    Some((MigrationKind::Contract, _)) => FailureKind::Contract,
                };
                let (host, detail) = (begun.host.clone(), format!("{}: {error}", chore.name));
                Some(Failure {
                    kind,
                    host,
                    slot: None,
                    detail,
                    waited: self.now.since(begun.since),
                })
            })
    }

    /// Whether a contract was begun in this rollout: there is no way back past it.
    pub(super) fn has_contracted(&self) -> bool {
        let is_contract =
            |chore: &&Chore| matches!(chore.migration, Some((MigrationKind::Contract, _)));
        self.spec
            .chores
            .iter()
            .filter(is_contract)
            .any(|chore| self.rollout.tasks.get(&chore.name).is_some())
    }

    /// By when one that is under way has ended by itself.
    pub(super) fn chore_ends_at(&self) -> Option<Time> {
        let under_way = self
            .rollout
            .tasks
            .iter()
            .filter(|(_, begun)| begun.end.is_none());
        let ends = under_way.map(|(name, begun)| {
            let timeout = self
                .spec
                .chores
                .iter()
                .find(|chore| chore.name == *name)
                .map(|chore| chore.timeout);
            begun.since + timeout.unwrap_or_default() + MARGIN
        });
        ends.max()
    }
}
