//! Tasks, from the plan's decision to their end.

use std::collections::BTreeMap;

use super::executor::{TaskOrder, TaskResult};
use super::hooks;
use super::messages::EndedTask;
use super::recorder::Recorder;
use crate::core::release::Definition;
use crate::core::rollout::Rollout;
use crate::core::rollout::event::Event;
use crate::core::rollout::task::{Task, TaskRun};
use crate::core::time::Time;

/// The task that is due, and the output of the last one.
#[derive(Default)]
pub(super) struct TaskQueue {
    /// The task whose intent is not durable yet.
    intended: Option<TaskOrder>,
    last_output: Vec<String>,
}

impl TaskQueue {
    /// Records that a task begins; it is run when that is durable. `definition` is of the release
    /// that the rollout brings.
    pub(super) fn begin(
        &mut self,
        errand: &TaskRun,
        tasks: &[Task],
        definition: Option<&Definition>,
        fleet_name: &str,
        recorder: &mut Recorder,
    ) {
        let Some(task) = tasks.iter().find(|task| task.name == errand.task) else {
            return;
        };
        let id = recorder.rollout().next_action_id();
        recorder.record(Event::TaskStarted {
            id,
            task: task.name.clone(),
            host: errand.host.clone(),
            migration: task.migration.clone(),
        });
        let rollout = recorder.rollout();
        self.intended = Some(TaskOrder {
            task: task.clone(),
            host: errand.host.clone(),
            id,
            epoch: rollout.epoch,
            release: rollout.goal.release.clone(),
            revision: rollout.goal.revision,
            env: environment(errand, rollout, definition, fleet_name),
        });
    }

    /// The task whose intent has become durable.
    pub(super) fn take_intended(&mut self) -> Option<TaskOrder> {
        self.intended.take()
    }

    /// Records the end of a task that was started at `begun`.
    pub(super) fn end(&mut self, ended: EndedTask, begun: Time, recorder: &mut Recorder) {
        let TaskResult { end, output } = ended.result;
        self.last_output.clone_from(&output);
        recorder.record(Event::TaskEnded {
            task: ended.name,
            end,
            migration: ended.migration,
            took: recorder.now().since(begun),
            output,
        });
    }

    /// Takes the last lines that the last task printed.
    pub(super) fn take_output(&mut self) -> Vec<String> {
        std::mem::take(&mut self.last_output)
    }
}

/// The environment of a task: `SHIP_VERSION` and the like.
fn environment(
    errand: &TaskRun,
    rollout: &Rollout,
    definition: Option<&Definition>,
    fleet_name: &str,
) -> BTreeMap<String, String> {
    let previous = rollout
        .fallback
        .as_ref()
        .map(|fallback| fallback.version.clone())
        .unwrap_or_default();
    let known = definition.map(|it| hooks::environment(it, fleet_name, rollout.goal.revision));
    let mut env = known.unwrap_or_default();
    let mut tell = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    tell("SHIP_HOOK", errand.task.clone());
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
