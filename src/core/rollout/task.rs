//! Tasks, which run once in a rollout or once for all: hooks that belong to no slot, and
//! migrations.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::ids::HostId;
use crate::core::release::Definition;
use crate::core::release::hook::{HookPoint, HookSite};
use crate::core::release::migration::MigrationKind;
use crate::core::rollout::failure::Outcome;

/// Work that is done once in a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its name in the journal: `before_all`, `before_all 2`, `expand 2026-11-add-email`.
    pub name: String,
    pub due: Due,
    pub site: HookSite,
    /// The program and its arguments.
    pub command: Vec<String>,
    pub timeout: Duration,
    /// The migration that it makes, if it makes one: never made twice.
    pub migration: Option<(MigrationKind, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Before anything is started or stopped, with the release on every host.
    Before,
    /// When all instances are in place.
    After,
    /// When all instances have been in place for this time.
    Soaked(Duration),
    /// When the rollout has succeeded. A failure is only reported.
    OnSuccess,
    /// When the rollout has failed. A failure is only reported.
    OnFailure,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum TaskOutcome {
    Done,
    /// It had been done before, by the record of its host.
    DoneBefore,
    /// It was tried and failed.
    Failed {
        error: String,
    },
    /// The host did not answer, so it may have been done or not.
    Unknown {
        why: String,
    },
}

/// A task to run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRun {
    /// The task's name.
    pub task: String,
    /// On which host; `None` on the control machine.
    pub host: Option<HostId>,
    /// The outcome of the rollout, where it is known.
    pub outcome: Option<&'static str>,
}

impl Due {
    /// The tasks that are due at this outcome.
    pub fn at_the_end(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Succeeded => Some(Self::OnSuccess),
            Outcome::RolledBack | Outcome::Held { .. } | Outcome::RollbackFailed { .. } => {
                Some(Self::OnFailure)
            }
            Outcome::Fenced { .. }
            | Outcome::Interrupted
            | Outcome::WindowClosed { .. }
            | Outcome::Paused { .. } => None,
        }
    }

    /// Whether its failure fails the rollout.
    pub fn matters(self) -> bool {
        !matches!(self, Self::OnSuccess | Self::OnFailure)
    }
}

/// The tasks of a rollout to a release, in the order in which they are due. Migrations that were
/// `made` are none.
pub fn tasks(definition: &Definition, made: &BTreeSet<String>) -> Vec<Task> {
    let hooks = |point: HookPoint, due: Due| {
        let of_point = definition.hooks.iter().filter(move |hook| hook.on == point);
        of_point.enumerate().map(move |(nth, hook)| Task {
            name: if nth == 0 {
                point.to_string()
            } else {
                format!("{point} {}", nth + 1)
            },
            due,
            site: hook.at,
            command: hook.command.clone(),
            timeout: hook.timeout,
            migration: None,
        })
    };
    let manual: BTreeSet<_> = definition
        .migrations
        .iter()
        .filter(|it| it.manual)
        .map(|it| it.id.clone())
        .collect();
    let made: BTreeSet<_> = made.union(&manual).cloned().collect();
    hooks(HookPoint::BeforeAll, Due::Before)
        .chain(migrations(definition, MigrationKind::Expand, &made))
        .chain(hooks(HookPoint::AfterAll, Due::After))
        .chain(migrations(definition, MigrationKind::Contract, &made))
        .chain(hooks(HookPoint::OnSuccess, Due::OnSuccess))
        .chain(hooks(HookPoint::OnFailure, Due::OnFailure))
        .collect()
}

/// The contract migrations of a release that are still due, for `ship migrate`.
pub fn contracts(definition: &Definition, made: &BTreeSet<String>) -> Vec<Task> {
    migrations(definition, MigrationKind::Contract, made)
        .map(|it| Task {
            due: Due::After,
            ..it
        })
        .collect()
}

fn migrations<'a>(
    definition: &'a Definition,
    kind: MigrationKind,
    made: &'a BTreeSet<String>,
) -> impl Iterator<Item = Task> + use<'a> {
    let of_kind = definition
        .migrations
        .iter()
        .filter(move |it| it.kind == kind && !made.contains(&it.id));
    of_kind.map(move |it| Task {
        name: format!("{kind} {}", it.id),
        due: if kind == MigrationKind::Expand {
            Due::Before
        } else {
            Due::Soaked(it.soak.unwrap_or_default())
        },
        site: HookSite::Host,
        command: it.command.clone(),
        timeout: it.timeout,
        migration: Some((kind, it.id.clone())),
    })
}

/// A contract migration that was made or started, so that older versions may lack something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contracted {
    pub id: String,
    /// The revision of the rollout that made it.
    pub revision: crate::core::ids::Revision,
    pub version: String,
}

/// Why a release must not run any more: a contract has taken away what it needs, unless it knows
/// that contract itself or is as new.
pub fn past_contract(
    definition: &Definition,
    revision: Option<crate::core::ids::Revision>,
    made: &[Contracted],
) -> Option<String> {
    let is_past = |made: &&Contracted| {
        let knows = definition.migrations.iter().any(|it| it.id == made.id);
        !knows && revision.is_some_and(|revision| revision < made.revision)
    };
    made.iter().find(is_past).map(|made| {
        format!(
            "{} is from before the contract \"{}\", which ran with {} (revision {}) and has removed \
             what older versions need",
            definition.version, made.id, made.version, made.revision
        )
    })
}

#[cfg(test)]
mod tests;
