//! Tasks: hooks that run once per rollout, and migrations, which run only once.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::ids::HostId;
use crate::core::release::Definition;
use crate::core::release::hook::{HookPoint, HookSite};
use crate::core::release::migration::MigrationKind;
use crate::core::rollout::failure::Outcome;

/// A hook or migration that runs once per rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The name in the journal: `before_all`, `before_all 2`, `expand 2026-11-add-email`.
    pub name: String,
    pub due: Due,
    pub site: HookSite,
    /// The program and its arguments.
    pub command: Vec<String>,
    pub timeout: Duration,
    /// The kind and the id of the migration, if the task is one. A migration never runs twice.
    pub migration: Option<(MigrationKind, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Before any instance is started or stopped, once the release is on every host.
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

/// When the contract migrations that ship runs on its own are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContractPolicy {
    /// At the end of the rollout of their service.
    #[default]
    InRollout,
    /// In a rollout of their own, after the deployment of the whole stack.
    AfterDeployment,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum TaskOutcome {
    Done,
    /// The task had been done before, according to the record on its host or the journal.
    DoneBefore,
    /// The task ran and failed.
    Failed {
        error: String,
    },
    /// The host did not answer, so it is unknown whether the task was done.
    Unknown {
        why: String,
    },
}

/// A task to run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRun {
    /// The task's name.
    pub task: String,
    /// The host; `None` for the control machine.
    pub host: Option<HostId>,
    /// The outcome of the rollout, if the task runs after it.
    pub outcome: Option<&'static str>,
}

impl Due {
    /// When tasks are due that run after a rollout with this outcome.
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

    /// Whether a failure of such a task fails the rollout.
    pub fn fails_rollout(self) -> bool {
        !matches!(self, Self::OnSuccess | Self::OnFailure)
    }
}

/// The tasks of a rollout to a release, in the order in which they are due. `applied` are the ids
/// of migrations that have already run.
pub fn tasks(definition: &Definition, applied: &BTreeSet<String>) -> Vec<Task> {
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
        .filter(|migration| migration.manual)
        .map(|migration| migration.id.clone())
        .collect();
    let excluded: BTreeSet<_> = applied.union(&manual).cloned().collect();
    hooks(HookPoint::BeforeAll, Due::Before)
        .chain(migrations(definition, MigrationKind::Expand, &excluded))
        .chain(hooks(HookPoint::AfterAll, Due::After))
        .chain(migrations(definition, MigrationKind::Contract, &excluded))
        .chain(hooks(HookPoint::OnSuccess, Due::OnSuccess))
        .chain(hooks(HookPoint::OnFailure, Due::OnFailure))
        .collect()
}

/// The contract migrations of a release that are still due, for `ship migrate`.
pub fn contracts(definition: &Definition, applied: &BTreeSet<String>) -> Vec<Task> {
    migrations(definition, MigrationKind::Contract, applied)
        .map(|task| Task {
            due: Due::After,
            ..task
        })
        .collect()
}

fn migrations<'a>(
    definition: &'a Definition,
    kind: MigrationKind,
    applied: &'a BTreeSet<String>,
) -> impl Iterator<Item = Task> + use<'a> {
    let of_kind = definition
        .migrations
        .iter()
        .filter(move |migration| migration.kind == kind && !applied.contains(&migration.id));
    of_kind.map(move |migration| Task {
        name: format!("{kind} {}", migration.id),
        due: if kind == MigrationKind::Expand {
            Due::Before
        } else {
            Due::Soaked(migration.soak.unwrap_or_default())
        },
        site: HookSite::Host,
        command: migration.command.clone(),
        timeout: migration.timeout,
        migration: Some((kind, migration.id.clone())),
    })
}

/// A contract migration that has run or was started, so that older versions may lack what they
/// need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contracted {
    pub id: String,
    /// The revision of the rollout in which the migration ran.
    pub revision: crate::core::ids::Revision,
    pub version: String,
}

/// Why a release must no longer run, if a contract migration has removed what it needs. A release
/// that has this migration itself, or a revision that is not older, may run.
pub fn past_contract(
    definition: &Definition,
    revision: Option<crate::core::ids::Revision>,
    contracts: &[Contracted],
) -> Option<String> {
    let rules_out = |contract: &&Contracted| {
        let knows = definition
            .migrations
            .iter()
            .any(|migration| migration.id == contract.id);
        !knows && revision.is_some_and(|revision| revision < contract.revision)
    };
    contracts.iter().find(rules_out).map(|contract| {
        format!(
            "{} is from before the contract \"{}\", which ran with {} (revision {}) and has removed \
             what older versions need",
            definition.version, contract.id, contract.version, contract.revision
        )
    })
}

#[cfg(test)]
mod tests;
