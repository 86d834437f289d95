//! The states of the tasks in a rollout.

use std::collections::BTreeMap;

use crate::core::ids::HostId;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::task::TaskOutcome;
use crate::core::time::Time;

/// The tasks that a rollout has started, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TaskStates(BTreeMap<String, TaskState>);

/// The state of a task in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskState {
    /// The host of the last start; `None` for the control machine.
    pub host: Option<HostId>,
    pub since: Time,
    pub attempts: u32,
    /// The outcome; `None` while the task runs.
    pub end: Option<TaskOutcome>,
}

impl TaskStates {
    /// The state of a task, if it was started.
    pub fn get(&self, name: &str) -> Option<&TaskState> {
        self.0.get(name)
    }

    /// All tasks, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &TaskState)> {
        self.0.iter()
    }

    pub fn is_any_running(&self) -> bool {
        self.0.values().any(|state| state.end.is_none())
    }

    /// The names of the tasks that are done.
    pub fn done(&self) -> impl Iterator<Item = &String> {
        let is_done = |state: &TaskState| {
            matches!(state.end, Some(TaskOutcome::Done | TaskOutcome::DoneBefore))
        };
        self.iter()
            .filter(move |(_, state)| is_done(state))
            .map(|(name, _)| name)
    }

    /// Applies the next event; returns whether it is progress.
    pub(super) fn apply(&mut self, entry: &Entry) -> bool {
        match &entry.event {
            Event::TaskStarted { task, host, .. } => {
                let attempts = self.get(task).map_or(0, |state| state.attempts) + 1;
                let state = TaskState {
                    host: host.clone(),
                    since: entry.at,
                    attempts,
                    end: None,
                };
                self.0.insert(task.clone(), state);
                false
            }
            Event::TaskEnded { task, end, .. } => {
                let done_before = || TaskState {
                    host: None,
                    since: entry.at,
                    attempts: 1,
                    end: None,
                };
                self.0.entry(task.clone()).or_insert_with(done_before).end = Some(end.clone());
                true
            }
            _ => false,
        }
    }
}
