//! A failure as the page shows it, with its facts and the log.

use serde::Serialize;

use crate::core::time::Time;
use crate::report::clock::LocalClock;
use crate::report::message::RolloutMessage;

/// A failure.
#[derive(Debug, Serialize)]
pub(super) struct Incident {
    /// The order of the failures of several services.
    #[serde(skip)]
    pub(super) moment: Time,
    at: String,
    pub(super) subject: String,
    what: String,
    facts: Vec<[String; 2]>,
    log: Vec<String>,
}

impl Incident {
    /// The failure of a message; `None` if it reports none.
    pub(super) fn of(message: &RolloutMessage, clock: &LocalClock) -> Option<Self> {
        if message.label != "FAILED" {
            return None;
        }
        let is_log = |line: &&String| line.starts_with("  |");
        let log = message
            .details
            .iter()
            .filter(is_log)
            .map(|line| line.trim_start_matches("  |").replacen(' ', "", 1))
            .collect();
        Some(Self {
            moment: message.at,
            at: clock.time_of_day(message.at),
            subject: message.subject.clone(),
            what: message.text.clone(),
            facts: message
                .details
                .iter()
                .filter(|line| !is_log(line))
                .map(|line| labelled(line))
                // The log itself is shown below.
                .filter(|[label, _]| label != "log")
                .collect(),
            log,
        })
    }

    /// Puts the name of the service in front of the host or slot.
    pub(super) fn of_service(mut self, service: &str) -> Self {
        self.subject = match self.subject.as_str() {
            "" => service.to_owned(),
            subject => format!("{service}: {subject}"),
        };
        self
    }

    pub(super) fn headline(&self) -> String {
        match self.subject.as_str() {
            "" => self.what.clone(),
            subject => format!("{subject}: {}", self.what),
        }
    }
}

/// The label and the text of a line.
pub(super) fn labelled(line: &str) -> [String; 2] {
    let (label, text) = line.trim_start().split_once(": ").unwrap_or((line, ""));
    [label.to_owned(), text.trim_start().to_owned()]
}
