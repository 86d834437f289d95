//! What is done once: how it is begun and heard of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::executor::{Executor, Task, TaskResult};
use super::hooks;
use super::run::{Message, Run};
use crate::core::rollout::event::Event;
use crate::core::rollout::task::Errand;
use crate::core::time::Time;
use crate::store::Store;

impl<W: Executor, S: Store> Run<W, S> {
    /// Begins something that is done once; the intent must be durable first.
    pub(super) fn begin_chore(&mut self, errand: &Errand) {
        let Some(chore) = self
            .engine
            .spec
            .chores
            .iter()
            .find(|chore| chore.name == errand.chore)
            .cloned()
        else {
            return;
        };
        let (id, host, migration) = (
            self.rollout.next_action_id(),
            errand.host.clone(),
            chore.migration.clone(),
        );
        self.record(Event::ChoreStarted {
            id,
            chore: chore.name.clone(),
            host: host.clone(),
            migration,
        });
        let goal = &self.rollout.goal;
        let (epoch, release, revision) = (self.rollout.epoch, goal.release.clone(), goal.revision);
        let env = self.environment(errand);
        self.intended_chore = Some(Task {
            chore,
            host,
            id,
            epoch,
            release,
            revision,
            env,
        });
    }

    /// What it is told: `SHIP_VERSION` and the like.
    fn environment(&self, errand: &Errand) -> BTreeMap<String, String> {
        let rollout = &self.rollout;
        let previous = rollout
            .fallback
            .as_ref()
            .map(|fallback| fallback.version.clone())
            .unwrap_or_default();
        let definition = self.engine.definitions.get(&rollout.goal.release);
        let known = definition
            .map(|it| hooks::environment(it, &self.engine.fleet_name, rollout.goal.revision));
        let mut env = known.unwrap_or_default();
        let mut tell = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
        tell("SHIP_HOOK", errand.chore.clone());
        tell("SHIP_VERB", rollout.verb.noun().to_owned());
        tell("SHIP_PREVIOUS_VERSION", previous);
        if let Some(host) = &errand.host {
            tell("SHIP_HOST", host.to_string());
        }
        if let Some(outcome) = errand.outcome {
            tell("SHIP_OUTCOME", outcome.to_owned());
        }
        if let Some(failure) = rollout.failure() {
            tell("SHIP_FAILURE", failure.to_string());
        }
        env
    }

    /// Lets what was recorded go out.
    pub(super) fn send_chore(&mut self) {
        let Some(task) = self.intended_chore.take() else {
            return;
        };
        let world = Arc::clone(&self.engine.world);
        self.spawn(async move {
            let (chore, migration) = (task.chore.name.clone(), task.chore.migration.clone());
            let attempted = world.run_task(task).await;
            Message::ChoreEnded {
                chore,
                migration,
                attempted,
            }
        });
    }

    /// It has ended, as far as anybody knows.
    pub(super) fn chore_ended(
        &mut self,
        chore: String,
        migration: Option<(crate::core::release::migration::MigrationKind, String)>,
        attempted: TaskResult,
        begun: Time,
    ) {
        let took = self.engine.clock.now().since(begun);
        let TaskResult { end, output } = attempted;
        self.chore_output.clone_from(&output);
        self.record(Event::ChoreEnded {
            chore,
            end,
            migration,
            took,
            output,
        });
    }
}
