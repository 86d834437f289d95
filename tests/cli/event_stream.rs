//! Reads the JSON events of a rollout: the order of the actions, and how many instances ran and
//! were ready.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::call::json_lines;
use crate::project::LocalProject;

/// The events of one rollout, summarized.
pub(crate) struct Course {
    /// `start node4:8081`, `ready node4:8081`, `stop node1:8081`, `stopped node1:8081`, in order.
    pub(crate) steps: Vec<String>,
    /// The most instances that ran at one time: from the start action until it is known that it
    /// has stopped.
    pub(crate) most_running: usize,
    /// The fewest instances that were ready at one time: until the stop action.
    pub(crate) fewest_ready: usize,
    /// How it ended.
    pub(crate) outcome: String,
}

impl Course {
    /// Deploys with these arguments, after those that every deploy has.
    pub(crate) fn of_deploy(project: &LocalProject, args: &[&str]) -> Self {
        let before = project.status();
        let always: [&str; 4] = ["deploy", "inventory.toml", "--output", "json"];
        let done = project.ship(&[&always, args].concat()).any_stdout().run();
        Self::of(&before, &json_lines(&done.stdout))
    }

    /// Reads events from what was ready before them: the `instances` of a status.
    pub(crate) fn of(before: &Value, events: &[Value]) -> Self {
        let names = before["instances"]
            .as_array()
            .expect("an array")
            .iter()
            .map(|row| text(&row["name"]));
        let mut ready: BTreeSet<String> = names.collect();
        let mut running = ready.clone();
        let mut stopping = Vec::new();
        let mut course = Self {
            steps: Vec::new(),
            most_running: running.len(),
            fewest_ready: ready.len(),
            outcome: String::new(),
        };
        for event in events {
            let (id, action) = (&event["id"], &event["action"]);
            match (text(&event["event"]).as_str(), text(&action["do"]).as_str()) {
                ("action_started", "start") => {
                    running.insert(text(&event["instance"]));
                    course.step("start", &action["slot"]);
                }
                ("action_started", "stop") => {
                    ready.remove(&text(&action["instance"]));
                    stopping.push((id.clone(), action.clone()));
                    course.step("stop", &action["slot"]);
                }
                ("action_done", _) => {
                    for (_, action) in stopping.extract_if(.., |(stopped, _)| stopped == id) {
                        running.remove(&text(&action["instance"]));
                        course.step("stopped", &action["slot"]);
                    }
                }
                ("instance_ready", _) if ready.insert(text(&event["instance"])) => {
                    course.step("ready", &event["slot"]);
                }
                ("instance_not_ready", _) => {
                    ready.remove(&text(&event["instance"]));
                }
                ("rollout_finished", _) => course.outcome = text(&event["outcome"]["outcome"]),
                _ => {}
            }
            course.most_running = course.most_running.max(running.len());
            course.fewest_ready = course.fewest_ready.min(ready.len());
        }
        course
    }

    fn step(&mut self, what: &str, slot: &Value) {
        self.steps
            .push(format!("{what} {}:{}", text(&slot["host"]), slot["port"]));
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
