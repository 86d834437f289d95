//! The journal of a rollout as it is stored, and as `ship` prints it.

use serde_json::Value;

use crate::server::StateServer;

/// The events of a rollout in the store. Panics unless their numbers are consecutive and their
/// times do not decrease.
#[track_caller]
pub(crate) fn stored(server: &StateServer, rollout: u32) -> Vec<Value> {
    let prefix = format!("events/{rollout:010}/");
    let mut events = Vec::new();
    for (key, value) in server.records(&prefix) {
        let first: usize = key[prefix.len()..].parse().expect("a number");
        assert_eq!(
            first,
            events.len() + 1,
            "{key} follows event {}",
            events.len()
        );
        events.extend(json_lines(&value));
    }
    assert!(!events.is_empty(), "no journal of rollout {rollout}");
    let times: Vec<_> = events.iter().map(time).collect();
    assert!(times.is_sorted(), "{times:?}");
    events
}

/// Asserts that a command printed exactly the events from `first` on, and each of them once.
#[track_caller]
pub(crate) fn assert_printed(printed: &str, stored: &[Value]) {
    let printed: Vec<Value> = json_lines(printed);
    let names = |events: &[Value]| {
        let name = |event: &Value| format!("{} {}", time(event), event["event"]);
        events.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(names(&printed), names(stored));
}

/// The events with a name.
pub(crate) fn named<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == name)
        .collect()
}

/// The JSON objects of a text that has one a line.
#[track_caller]
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    let parse = |line| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
    };
    text.lines().map(parse).collect()
}

fn time(event: &Value) -> u64 {
    event["at"]
        .as_u64()
        .unwrap_or_else(|| panic!("no time: {event}"))
}
