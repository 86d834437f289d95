//! What has gone wrong, and what follows it.

use super::{Draft, Next};
use crate::core::availability::grouped;
use crate::core::fleet::health::REFUSED;
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::Stream;
use crate::core::fleet::{Listener, Process};
use crate::core::ids::{HostId, Slot};
use crate::core::planner::census::{Counted, HostCount};
use crate::core::rollout::action::Action;
use crate::core::rollout::event::Then;
use crate::core::rollout::failure::{Failure, FailureKind, Outcome};
use crate::core::rollout::verb::Verb;
use crate::core::spec::OnFailure;
use crate::core::time::Time;

impl Draft<'_> {
    pub(super) fn failure(&self) -> Option<Failure> {
        if self.is_backwards() {
            // On the way back another place may do; only an instance that cannot be stopped has no
            // other.
            return self
                .failed_order(|kind| matches!(kind, FailureKind::Stop | FailureKind::Traffic))
                .or_else(|| self.overdue());
        }
        self.cause().or_else(|| self.overdue())
    }

    /// What has gone wrong on the way there, but for the time that it takes.
    pub(super) fn cause(&self) -> Option<Failure> {
        // What explains the lost requests comes before them.
        let cause = self
            .failed_order(|_| true)
            .or_else(|| self.failed_chore())
            .or_else(|| self.exited_instance());
        cause
            .or_else(|| self.lost_requests())
            .or_else(|| self.breached_analysis())
    }

    /// More requests failed than may. On the way back they are only counted: it is the way out.
    pub(super) fn lost_requests(&self) -> Option<Failure> {
        let loss = self
            .rollout
            .evidence
            .availability
            .as_ref()
            .filter(|loss| loss.is_breached())?;
        if self.is_backwards() || self.rollout.verb == Verb::Rollback {
            return None;
        }
        let (requests, failed) = (grouped(loss.requests), grouped(loss.failed));
        let first = loss.failures.first();
        let why = first
            .map(|first| format!("; the first: {}", first.why))
            .unwrap_or_default();
        let detail = format!(
            "{failed} of {requests} requests failed, at most {} may{why}",
            loss.max_failed
        );
        let waited = first
            .zip(loss.counted_from)
            .map(|(first, from)| first.at.since(from))
            .unwrap_or_default();
        Some(Failure {
            kind: FailureKind::Loss,
            host: None,
            slot: None,
            detail,
            waited,
        })
    }

    /// What was measured of the new version is not as it should be.
    fn breached_analysis(&self) -> Option<Failure> {
        let measured = self
            .spec
            .analyses
            .iter()
            .filter_map(|it| Some((it, self.rollout.evidence.analyses.get(&it.name)?)));
        let mut breaches =
            measured.filter_map(|(analysis, record)| Some((analysis.breach(record)?, record)));
        breaches.next().map(|(detail, record)| Failure {
            kind: FailureKind::Analysis,
            host: None,
            slot: None,
            detail,
            waited: self.now.since(record.since),
        })
    }

    /// On the way back: orders have failed, and there is nothing else to try and nothing to wait
    /// for.
    pub(super) fn dead_end(&self) -> Option<Failure> {
        let census = self.census;
        let waits = census.new > census.new_available
            || !self.rollout.orders.in_flight.is_empty()
            || !self.actions.is_empty();
        if !self.is_backwards() || waits || census.new >= census.desired {
            return None;
        }
        self.failed_order(|kind| kind != FailureKind::Start)
    }

    pub(super) fn failed_order(&self, matters: fn(FailureKind) -> bool) -> Option<Failure> {
        let left = |host: &HostId| {
            self.census
                .hosts
                .iter()
                .any(|count| !count.takes_part() && count.id == host)
        };
        self.rollout
            .attempt
            .failed
            .iter()
            .filter(|failed| !left(failed.action.host()))
            .find_map(|failed| {
                let kind = match &failed.action {
                    Action::Claim { .. } | Action::Stage { .. } => FailureKind::Stage,
                    Action::Start { .. } => FailureKind::Start,
                    Action::Admit { .. } | Action::Drain { .. } => FailureKind::Traffic,
                    Action::Stop { .. } => FailureKind::Stop,
                    // Old releases left lying do no harm; what is still armed is tried again.
                    Action::Prune { .. } | Action::Disarm { .. } => return None,
                };
                matters(kind).then(|| Failure {
                    kind,
                    host: Some(failed.action.host().clone()),
                    slot: failed.action.slot().cloned(),
                    detail: failed.error.clone(),
                    waited: failed.after,
                })
            })
    }

    /// An instance that this rollout started and that did not stay up. One restart is enough,
    /// whatever it answers since: who is to serve does not end by itself in its first minutes.
    pub(super) fn exited_instance(&self) -> Option<Failure> {
        self.census.instances().find_map(|(host, counted)| {
            let instance = counted.instance;
            let ours = counted.is_new
                && self.rollout.attempt.started.contains_key(&instance.name)
                && !counted.is_stopping;
            let has_ended = !instance.is_running() || instance.restarts > 0;
            (ours && host.is_reachable() && has_ended).then(|| {
                if !instance.sighting.failed_liveness.is_empty() {
                    let detail = instance.sighting.failed_liveness.clone();
                    return self.failure_at(
                        FailureKind::Liveness,
                        host,
                        counted,
                        detail,
                        instance.started,
                    );
                }
                let detail = match (&instance.process, instance.restarts) {
                    (Process::Ended { how }, _) => how.clone(),
                    (Process::Running, 1) => "systemd restarted it once".to_owned(),
                    (Process::Running, restarts) => {
                        format!("systemd restarted it {restarts} times")
                    }
                };
                self.failure_at(FailureKind::Exited, host, counted, detail, instance.started)
            })
        })
    }

    /// The progress deadline has passed: who stands in the way?
    pub(super) fn overdue(&self) -> Option<Failure> {
        let was_complete = self.rollout.timings.complete_since.is_some();
        if was_complete && !self.census.progress(self.spec, self.rollout).is_complete() {
            // What is lacking is lacking since now.
            return None;
        }
        // At a gate nothing is to move; but without a balancer's word it is never passed.
        let since = if self.is_at_gate() {
            self.balancer_lost_since()?
        } else {
            self.rollout.attempt.last_progress
        };
        if self.now < self.deadline().max(since + self.patience()) {
            return None;
        }
        if let Some((_, hold)) = self.lost_balancer() {
            let (detail, waited) = (hold.to_string(), self.now.since(since));
            return Some(Failure {
                kind: FailureKind::Traffic,
                host: None,
                slot: None,
                detail,
                waited,
            });
        }
        let waiting = self
            .census
            .instances()
            .find(|(_, counted)| counted.is_new && !counted.is_available);
        if let Some((host, counted)) = waiting.filter(|(host, _)| host.is_reachable()) {
            if let Process::Ended { how } = &counted.instance.process {
                let since = counted.instance.started;
                let exited =
                    || self.failure_at(FailureKind::Exited, host, counted, how.clone(), since);
                return Some(self.failed_attempts().unwrap_or_else(exited));
            }
            let answer = counted
                .instance
                .health
                .last_answer()
                .unwrap_or("none: the instance was not asked");
            let is_being_admitted = matches!(host.busy, Some(Action::Admit { instance, .. }) if *instance == counted.instance.name);
            let answer = match (counted.stream, &counted.instance.listener) {
                _ if is_being_admitted => {
                    "it is ready, but the check of a balancer has not passed it".to_owned()
                }
                (Stream::Objected, _) => {
                    "it is ready, but the check of a balancer objects".to_owned()
                }
                // It is asked elsewhere.
                (_, Listener::Own { address }) if answer.starts_with(REFUSED) => {
                    format!("{answer}, while it listens on {address}")
                }
                _ => answer.to_owned(),
            };
            let since = counted
                .instance
                .started
                .max(self.rollout.attempt.last_progress);
            return Some(self.failure_at(FailureKind::NotReady, host, counted, answer, since));
        }
        let left = |host: &HostId| self.rollout.attempt.failed_hosts.contains_key(host);
        let awaited = self
            .rollout
            .orders
            .in_flight
            .values()
            .filter(|in_flight| !left(in_flight.action.host()));
        if let Some(in_flight) = awaited.min_by_key(|in_flight| in_flight.since) {
            return Some(Failure {
                kind: match in_flight.action {
                    Action::Start { .. } => FailureKind::Start,
                    Action::Admit { .. } | Action::Drain { .. } => FailureKind::Traffic,
                    Action::Stop { .. } => FailureKind::Stop,
                    Action::Claim { .. }
                    | Action::Stage { .. }
                    | Action::Prune { .. }
                    | Action::Disarm { .. } => FailureKind::Stage,
                },
                host: Some(in_flight.action.host().clone()),
                slot: in_flight.action.slot().cloned(),
                detail: "the host has not answered yet".to_owned(),
                waited: self.now.since(in_flight.since),
            });
        }
        let lost = self
            .census
            .hosts
            .iter()
            .filter(|host| host.takes_part())
            .find_map(|host| match &host.host?.reach {
                Reach::Lost { since, why } => Some((host, *since, why.clone())),
                _ => None,
            });
        let (host, kind, since, detail) = match lost {
            Some((host, since, why)) => (Some(host.id.clone()), FailureKind::HostLost, since, why),
            None => match self
                .failed_attempts()
                .or_else(|| self.failed_order(|_| true))
            {
                Some(failed) => return Some(failed),
                None => (
                    None,
                    FailureKind::Stuck,
                    self.rollout.attempt.last_progress,
                    self.arithmetic(),
                ),
            },
        };
        Some(Failure {
            kind,
            host,
            slot: None,
            detail,
            waited: self.now.since(since),
        })
    }

    /// On the way back: an instance that was tried again and again.
    fn failed_attempts(&self) -> Option<Failure> {
        let is_down = |slot: &Slot| {
            self.fleet
                .instance(slot)
                .is_none_or(|instance| !instance.is_running())
        };
        let mut tried = self
            .rollout
            .attempt
            .starts
            .iter()
            .filter(|(slot, attempts)| attempts.count > 1 && is_down(slot));
        let (slot, attempts) = tried.next().filter(|_| self.is_backwards())?;
        let why = self.last_attempt(slot, attempts)?;
        let detail = format!("{} attempts failed; the last one: {why}", attempts.count);
        let (host, slot) = (Some(slot.host.clone()), Some(slot.clone()));
        let waited = self.now.since(self.rollout.attempt.last_progress);
        Some(Failure {
            kind: FailureKind::Start,
            host,
            slot,
            detail,
            waited,
        })
    }

    pub(super) fn failure_at(
        &self,
        kind: FailureKind,
        host: &HostCount<'_>,
        counted: &Counted<'_>,
        detail: String,
        since: Time,
    ) -> Failure {
        let slot = Some(Slot {
            host: host.id.clone(),
            port: counted.port,
        });
        Failure {
            kind,
            host: Some(host.id.clone()),
            slot,
            detail,
            waited: self.now.since(since),
        }
    }

    pub(super) fn consequence(&self, failure: Failure) -> Next {
        if self.may_leave_behind(&failure) {
            return Next::Quarantine(failure);
        }
        if self.is_backwards() {
            // What is in flight ends first: nobody may be left to hear of it afterwards.
            let awaited = !self.rollout.orders.in_flight.is_empty();
            if awaited {
                return Next::AwaitInFlight;
            }
            let outcome = Outcome::RollbackFailed { failure };
            return self
                .chore_at_the_end(&outcome)
                .unwrap_or(Next::Finish(outcome));
        }
        let then = match self.why_not_back(&failure) {
            Some(why) => Then::Hold { why },
            None => Then::RollBack,
        };
        Next::Fail(failure, then)
    }

    /// Whether the failure is that of one host, and so many may be left behind.
    pub(super) fn may_leave_behind(&self, failure: &Failure) -> bool {
        // What is done once is done for all hosts, wherever.
        if failure.kind.is_of_a_chore() {
            return false;
        }
        // The last host is not left behind: nobody would serve, and all would seem to be in place.
        let others = self
            .census
            .hosts
            .iter()
            .any(|host| host.may_carry() && Some(host.id) != failure.host.as_ref());
        if !others && self.budget.replicas > 0 {
            return false;
        }
        let left = &self.rollout.attempt.failed_hosts;
        let more = u32::try_from(left.len()).is_ok_and(|left| left < self.spec.max_failures);
        failure
            .host
            .as_ref()
            .is_some_and(|host| more && !left.contains_key(host))
    }

    /// Why a failed rollout stays as it is instead of going back.
    pub(super) fn why_not_back(&self, failure: &Failure) -> Option<String> {
        const NOTHING_TO_GO_BACK_TO: &str =
            "there is no other revision proven healthy to go back to";
        if self.has_contracted() {
            return Some("a contract was begun, and what older versions need may be gone".into());
        }
        if failure.kind == FailureKind::Aborted {
            return self
                .rollout
                .fallback
                .is_none()
                .then(|| NOTHING_TO_GO_BACK_TO.into());
        }
        if self.rollout.scaling.is_some() {
            return Some("a change of numbers is not rolled back".into());
        }
        if self.lost_balancer().is_some() {
            return Some(
                "a balancer cannot be reached, and without it there is no way back either".into(),
            );
        }
        if self.spec.on_failure == OnFailure::Hold {
            return Some("on_failure is \"hold\"".into());
        }
        let own = match self.rollout.verb {
            Verb::Rollback => Some("a rollback that fails is not itself rolled back"),
            Verb::Adopt | Verb::Restart | Verb::Scale | Verb::Contract => {
                Some("the release is the one that ran before, so there is nothing to go back to")
            }
            // What was proven is not to blame for a sick machine.
            Verb::Deploy if self.rollout.is_proven => {
                Some("this revision was proven healthy before, so it may not be to blame")
            }
            Verb::Deploy => None,
        };
        if let Some(why) = own {
            return Some(why.into());
        }
        let Some(fallback) = &self.rollout.fallback else {
            return Some(NOTHING_TO_GO_BACK_TO.into());
        };
        // Blame first: if the old release fails too, going back to it would only move the trouble.
        // What was sick before it was stopped stays evidence after.
        let lost = |(host, counted): &(&HostCount<'_>, &Counted<'_>)| {
            !host.is_reachable() && counted.instance.release == fallback.release
        };
        let found = self.census.instances().find(lost).or_else(|| {
            self.census.instances().find(|(_, counted)| {
                self.rollout
                    .evidence
                    .fallback_turned_unhealthy
                    .contains(&counted.instance.name)
            })
        });
        let sick = match found {
            Some((host, counted)) => Slot {
                host: host.id.clone(),
                port: counted.port,
            }
            .to_string(),
            None => self
                .rollout
                .evidence
                .fallback_turned_unhealthy
                .first()?
                .to_string(),
        };
        Some(format!(
            "instances of the old version {} fail too ({sick}), so the new one may not be to blame",
            fallback.version
        ))
    }
}
