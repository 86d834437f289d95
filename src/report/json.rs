//! One JSON object per line and event: the form of the journal, plus a readable time.
//!
//! ```json
//! {"time":"2017-03-09T02:43:06.120Z","at":1489027386120,"event":"action_done","id":4}
//! ```
//! `time` is RFC 3339 in UTC, `at` the same time in milliseconds since 1970, and `event` decides
//! which other keys follow: those of [`Event`]. These keys are stable;
//! events and keys may be added, so a reader must ignore those that it does not know. The last line
//! of a rollout that has ended is `rollout_finished`.

use std::io::Write;

use serde::Serialize;

use super::clock::rfc3339;
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event};
use crate::report::reporter::Reporter;

#[derive(Debug)]
pub struct Json<W> {
    out: W,
    /// The service, if the events of several are printed.
    service: Option<String>,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(flatten)]
    entry: &'a Entry,
}

impl<W: Write> Json<W> {
    /// Prints the events of the only service, or those of one of several.
    pub fn new(out: W, service: Option<String>) -> Self {
        Self { out, service }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn event(&mut self, entry: &Entry, _status: &Status) {
        let line = JsonLine {
            time: rfc3339(entry.at),
            // The start of a rollout names its service anyway.
            service: self.service.as_deref().filter(|_| !names_service(entry)),
            entry,
        };
        if let Ok(mut line) = serde_json::to_vec(&line) {
            line.push(b'\n');
            // If the reader has closed the pipe, the rollout continues.
            let _ = self.out.write_all(&line).and_then(|()| self.out.flush());
        }
    }
}

fn names_service(entry: &Entry) -> bool {
    matches!(entry.event, Event::RolloutStarted(_))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Play;
    use super::*;

    #[test]
    fn each_event_is_a_line_that_reads_as_its_journal_entry() {
        let play = Play::example();
        let mut json = Json::new(Vec::new(), None);
        for (entry, status) in &play.entries {
            json.event(entry, status);
        }
        let text = String::from_utf8(json.out).unwrap();
        let read: Vec<Entry> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let played: Vec<Entry> = play.entries.into_iter().map(|(entry, _)| entry).collect();
        assert_eq!(read, played);
    }

    #[test]
    fn lines_have_the_documented_keys() {
        let mut play = Play::begin(4);
        play.start("node4", "0.9", "testpage-515849216a-059b0");
        let mut json = Json::new(Vec::new(), None);
        for (entry, status) in &play.entries {
            json.event(entry, status);
        }
        insta::assert_snapshot!(String::from_utf8(json.out).unwrap(), @r#"
        {"time":"2017-03-09T02:42:24.000Z","at":1489027344000,"event":"rollout_started","verb":"deploy","service":"testpage","fleet":"local","target":{"revision":2,"release":"515849216a000000000000000000000000000000000000000000000000000000","version":"0.9"},"rollback_target":{"revision":1,"release":"230767614a000000000000000000000000000000000000000000000000000000","version":"0.8"},"replicas":3,"epoch":7}
        {"time":"2017-03-09T02:42:24.000Z","at":1489027344000,"event":"action_started","id":1,"action":{"do":"start","slot":{"host":"node4","port":8081},"release":"515849216a000000000000000000000000000000000000000000000000000000"},"instance":"testpage-515849216a-059b0"}
        {"time":"2017-03-09T02:42:24.300Z","at":1489027344300,"event":"action_done","id":1}
        {"time":"2017-03-09T02:42:24.300Z","at":1489027344300,"event":"progress","desired":3,"updated":1,"updated_ready":0,"updated_available":0,"available":3,"total":4}
        {"time":"2017-03-09T02:42:25.200Z","at":1489027345200,"event":"instance_ready","slot":{"host":"node4","port":8081},"instance":"testpage-515849216a-059b0","release":"515849216a000000000000000000000000000000000000000000000000000000","answer":"I am: 127.0.0.14, the version is: 0.9"}
        {"time":"2017-03-09T02:42:25.200Z","at":1489027345200,"event":"progress","desired":3,"updated":1,"updated_ready":1,"updated_available":1,"available":4,"total":4}
        "#);
    }

    #[test]
    fn broken_pipe_does_not_stop_the_rollout() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        let (entry, status) = Play::begin(4).entries.remove(0);
        Json::new(Broken, None).event(&entry, &status);
    }
}
