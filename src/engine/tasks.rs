//! Tracks tasks (hooks and migrations that run once per rollout) from the plan to their results.

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

/// The task to run next, and the output of the last one.
#[derive(Default)]
pub(super) struct TaskQueue {
    /// The task that is sent once its start has been saved.
    unsent: Option<TaskOrder>,
    last_output: Vec<String>,
}

impl TaskQueue {
    /// Records the start of a task. The task runs once the record is saved. `definition` is that of
    /// the target release.
    pub(super) fn begin(
        &mut self,
        run: &TaskRun,
        tasks: &[Task],
        definition: Option<&Definition>,
        fleet_name: &str,
        recorder: &mut Recorder,
    ) {
        let Some(task) = tasks.iter().find(|task| task.name == run.task) else {
            return;
        };
        let id = recorder.rollout().next_action_id();
        recorder.record(Event::TaskStarted {
            id,
            task: task.name.clone(),
            host: run.host.clone(),
            migration: task.migration.clone(),
        });
        let rollout = recorder.rollout();
        self.unsent = Some(TaskOrder {
            task: task.clone(),
            host: run.host.clone(),
            id,
            epoch: rollout.epoch,
            release: rollout.goal.release.clone(),
            revision: rollout.goal.revision,
            env: environment(run, rollout, definition, fleet_name),
        });
    }

    /// Takes the task that is sent once its start has been saved.
    pub(super) fn take_unsent(&mut self) -> Option<TaskOrder> {
        self.unsent.take()
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

    /// Takes the last lines of the last task's output.
    pub(super) fn take_output(&mut self) -> Vec<String> {
        std::mem::take(&mut self.last_output)
    }
}

/// The environment variables of a task, such as `SHIP_VERSION`.
fn environment(
    run: &TaskRun,
    rollout: &Rollout,
    definition: Option<&Definition>,
    fleet_name: &str,
) -> BTreeMap<String, String> {
    let previous = rollout
        .rollback_target
        .as_ref()
        .map(|rollback_target| rollback_target.version.clone())
        .unwrap_or_default();
    let known = definition
        .map(|definition| hooks::environment(definition, fleet_name, rollout.goal.revision));
    let mut env = known.unwrap_or_default();
    let mut set = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
    set("SHIP_HOOK", run.task.clone());
    set("SHIP_VERB", rollout.verb.noun().to_owned());
    set("SHIP_PREVIOUS_VERSION", previous);
    if let Some(host) = &run.host {
        set("SHIP_HOST", host.to_string());
    }
    if let Some(outcome) = run.outcome {
        set("SHIP_OUTCOME", outcome.to_owned());
    }
    if let Some(failure) = rollout.failure() {
        set("SHIP_FAILURE", failure.to_string());
    }
    env
}
