//! A service of a deployment as the live screen summarizes it: how far it is, and in which words.

use std::collections::BTreeSet;

use anstyle::Style;

use super::service_view::ServiceView;
use super::style;
use crate::core::rollout::failure::{FailureKind, Outcome};
use crate::core::stack::{
    ContractState, DeployedService, Member, ServiceEnd, ServicePhase, StackDirection, StackRun,
};

/// A service and its rollout.
#[derive(Clone, Copy)]
pub(super) struct MemberView<'a> {
    pub(super) deployed: &'a DeployedService,
    member: &'a Member,
    run: &'a StackRun,
    /// The newest rollout that has begun in this process.
    pub(super) view: Option<ServiceView<'a>>,
}

/// How much a service needs the attention of the reader, most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Attention {
    Failed,
    /// Interrupted or paused; it can be continued.
    Stopped,
    InFlight,
    Waiting,
    Done,
}

impl Attention {
    /// The word for a number of services.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::InFlight => "in flight",
            Self::Waiting => "waiting",
            Self::Done => "done",
        }
    }
}

/// How far a service is: its attention, its words and their style.
struct Summary {
    attention: Attention,
    words: String,
    style: Style,
}

impl<'a> MemberView<'a> {
    /// `None` if the deployment does not change the service.
    pub(super) fn of(
        deployed: &'a DeployedService,
        run: &'a StackRun,
        view: Option<ServiceView<'a>>,
    ) -> Option<Self> {
        let member = run.members.get(&deployed.service)?;
        Some(Self {
            deployed,
            member,
            run,
            view,
        })
    }

    pub(super) fn attention(&self) -> Attention {
        self.summarize().attention
    }

    /// The state in a few words.
    pub(super) fn state(&self) -> (String, Style) {
        let Summary { words, style, .. } = self.summarize();
        (words, style)
    }

    /// Whether the rollout runs in this process.
    pub(super) fn is_in_flight(&self) -> bool {
        let has_ended = |view: ServiceView<'_>| view.rollout.outcome().is_some();
        let runs = self.view.is_some_and(|view| !has_ended(view));
        runs && self.run.is_in_flight(&self.deployed.service)
    }

    /// Whether the service runs its earlier revision.
    pub(super) fn is_as_before(&self) -> bool {
        self.member.phase.is_as_before()
    }

    /// Whether the rollout has failed by itself. One that was aborted, because of a user or of
    /// another service, has not.
    fn has_failed(&self) -> bool {
        let cause = self.view.and_then(|view| view.rollout.cause.as_ref());
        cause.is_none_or(|cause| cause.kind != FailureKind::Aborted)
    }

    fn summarize(&self) -> Summary {
        match self.member.phase {
            ServicePhase::RollingOut | ServicePhase::Aborting => self.rolling_out(),
            ServicePhase::Undoing => changing("rolling back"),
            ServicePhase::Waiting => self.waiting(),
            ServicePhase::Unfinished => self.pending("waiting to continue"),
            ServicePhase::Deployed => self.deployed(),
            ServicePhase::UndoUnfinished => waiting("waiting to roll back"),
            ServicePhase::RolledBack if self.has_failed() => self.ended(failed("rolled back")),
            ServicePhase::RolledBack | ServicePhase::Undone => done("rolled back"),
            ServicePhase::Held => self.ended(failed("held, needs a decision")),
            ServicePhase::Stopped | ServicePhase::UndoStopped => self.ended(stopped("stopped")),
            ServicePhase::UndoFailed => failed("rollback failed, needs a decision"),
        }
    }

    /// A rollout that runs, or whose end the deployment has not seen yet.
    fn rolling_out(&self) -> Summary {
        let Some(view) = self.view else {
            return changing("preparing");
        };
        let (words, style) = view.state();
        let has_failed = view.rollout.cause.is_some() && self.has_failed();
        let attention = match view.rollout.outcome().map(ServiceEnd::of) {
            Some(ServiceEnd::Stopped) => Attention::Stopped,
            Some(ServiceEnd::Held) => Attention::Failed,
            Some(ServiceEnd::RolledBack) | None if has_failed => Attention::Failed,
            Some(ServiceEnd::Reached | ServiceEnd::RolledBack) => Attention::Done,
            None => Attention::InFlight,
        };
        Summary {
            attention,
            words,
            style,
        }
    }

    fn waiting(&self) -> Summary {
        if self.run.direction == StackDirection::Back || is_stopping(self.run) {
            return summary(Attention::Waiting, "not started", style::FAINT);
        }
        let is_missing = |name: &&String| {
            let before = self.run.members.get(*name);
            before.is_some_and(|before| before.phase != ServicePhase::Deployed)
        };
        let missing: BTreeSet<&String> = self.member.after.iter().filter(is_missing).collect();
        let names: Vec<_> = missing.into_iter().map(String::as_str).collect();
        if names.is_empty() {
            return waiting("waiting");
        }
        waiting(&format!("waiting for {}", names.join(", ")))
    }

    /// A service that the deployment changes later, in its direction.
    fn pending(&self, forward: &str) -> Summary {
        match self.run.direction {
            StackDirection::Back => waiting("waiting to roll back"),
            StackDirection::Forward => waiting(forward),
        }
    }

    fn deployed(&self) -> Summary {
        match self.member.contract {
            ContractState::Running => return changing("running contract migrations"),
            ContractState::Failed => return failed("contract migrations failed"),
            ContractState::Stopped => return stopped("contract migrations stopped"),
            _ => {}
        }
        match self.run.direction {
            StackDirection::Forward => done("rolled out"),
            StackDirection::Back if self.member.can_undo => waiting("waiting to roll back"),
            StackDirection::Back => failed("stays, has no earlier revision"),
        }
    }

    /// A service that did not reach its goal, in the words of its rollout if it explains why.
    fn ended(&self, otherwise: Summary) -> Summary {
        let ended = self.view.filter(|view| {
            let outcome = view.rollout.outcome();
            outcome.is_some_and(|outcome| *outcome != Outcome::Succeeded)
        });
        let Some(view) = ended else {
            return otherwise;
        };
        let (words, style) = view.state();
        Summary {
            words,
            style,
            ..otherwise
        }
    }
}

/// Whether no service starts any more, because one was stopped or has failed.
pub(super) fn is_stopping(run: &StackRun) -> bool {
    use ServicePhase::{Held, RolledBack, Stopped};
    let mut members = run.members.values();
    run.direction == StackDirection::Forward
        && members.any(|it| matches!(it.phase, Held | RolledBack | Stopped))
}

fn summary(attention: Attention, words: &str, style: Style) -> Summary {
    Summary {
        attention,
        words: words.to_owned(),
        style,
    }
}

fn changing(words: &str) -> Summary {
    summary(Attention::InFlight, words, style::CHANGING)
}

fn waiting(words: &str) -> Summary {
    summary(Attention::Waiting, words, style::NONE)
}

fn done(words: &str) -> Summary {
    summary(Attention::Done, words, style::GOOD)
}

fn stopped(words: &str) -> Summary {
    summary(Attention::Stopped, words, style::WAITING)
}

fn failed(words: &str) -> Summary {
    summary(Attention::Failed, words, style::BAD)
}
