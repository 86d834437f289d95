//! The JSON events of a deployment.

use serde_json::Value;

use super::project::text;
use crate::project::DEADLINE;
use ship_testing::command::Running;
use ship_testing::namespace::until;

/// The events that a command has printed.
pub(super) struct Events(Vec<Value>);

impl Events {
    /// Reads events, one a line. The last line may be incomplete, because the command still runs or
    /// was killed.
    pub(super) fn of(printed: &str) -> Self {
        let lines = printed.lines();
        Self(
            lines
                .map_while(|line| serde_json::from_str(line).ok())
                .collect(),
        )
    }

    /// Waits until a running command has printed an event of a service.
    #[track_caller]
    pub(super) fn await_event(ship: &mut Running, service: &str, event: &str) {
        Self::await_events(ship, service, event, 1);
    }

    /// Waits until a running command has printed this many events of a service.
    #[track_caller]
    pub(super) fn await_events(ship: &mut Running, service: &str, event: &str, count: usize) {
        until(&format!("{event} of {service}"), DEADLINE, || {
            let events = Self::of(&ship.stdout_so_far());
            let found = events.places(service, event);
            assert!(
                found.len() >= count || !ship.has_ended(),
                "ship has ended: {}{}",
                ship.stdout_so_far(),
                ship.stderr_so_far()
            );
            (found.len() >= count).then_some(())
        });
    }

    /// The events.
    pub(super) fn all(&self) -> &[Value] {
        &self.0
    }

    /// The last event.
    pub(super) fn last(&self) -> &Value {
        self.0.last().expect("there are events")
    }

    /// The positions of the events of a service with a name.
    pub(super) fn places(&self, service: &str, event: &str) -> Vec<usize> {
        let all = self.0.iter().enumerate();
        let of_name = all.filter(|(_, it)| it["service"] == service && it["event"] == event);
        of_name.map(|(place, _)| place).collect()
    }

    /// The position of the only event of a service with a name.
    #[track_caller]
    pub(super) fn place(&self, service: &str, event: &str) -> usize {
        match self.places(service, event)[..] {
            [place] => place,
            ref places => panic!("{event} of {service} at {places:?} in {:#?}", self.0),
        }
    }

    /// The rollouts in the order of their start: `deploy api 2`.
    pub(super) fn rollouts(&self) -> Vec<String> {
        let all = self.0.iter();
        let started = all.filter(|it| it["event"] == "rollout_started");
        let row = |it: &Value| {
            let (verb, service) = (text(&it["verb"]), text(&it["service"]));
            format!("{verb} {service} {}", text(&it["target"]["version"]))
        };
        started.map(row).collect()
    }
}
