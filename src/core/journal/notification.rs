//! What somebody who was not there is told of a run: a mail, a message in a chat, a line for a
//! program.

use std::fmt;

use serde::Serialize;

use crate::core::redact::Redactor;
use crate::core::rollout::failure::Outcome;

/// What a run came to, as far as it matters to whom it may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// It did what it was to do.
    Success,
    /// It did not.
    Failure,
    /// It waits for a person.
    Paused,
    /// It had nothing to do, or may not do it now.
    Skipped,
}

impl NotificationKind {
    pub const ALL: [Self; 4] = [Self::Failure, Self::Paused, Self::Skipped, Self::Success];

    /// What a rollout came to that ended so; `is_done` where that is what was asked for, as by
    /// `ship abort`.
    pub fn of(outcome: &Outcome, is_done: bool) -> Self {
        match outcome {
            _ if is_done => Self::Success,
            Outcome::Paused { .. } | Outcome::Interrupted | Outcome::Closed { .. } => Self::Paused,
            Outcome::Succeeded => Self::Success,
            Outcome::RolledBack
            | Outcome::Held { .. }
            | Outcome::RollbackFailed { .. }
            | Outcome::Fenced { .. } => Self::Failure,
        }
    }

    /// One word: `failure`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Paused => "paused",
            Self::Skipped => "skipped",
        }
    }

    /// One sign, for who reads fast.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Success => "✓",
            Self::Failure => "✗",
            Self::Paused => "‖",
            Self::Skipped => "–",
        }
    }
}

impl fmt::Display for NotificationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What is told. Its JSON keys are a contract: more may come, these stay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notification {
    pub occasion: NotificationKind,
    /// How it ended, in a word: `rolled-back`.
    pub outcome: String,
    /// What a person wants to read, on one line.
    pub summary: String,
    pub service: String,
    pub fleet: String,
    /// What was asked for: `deploy`.
    pub verb: String,
    /// The version that was to run; `None` where that was not known yet.
    pub version: Option<String>,
    pub previous_version: Option<String>,
    pub revision: Option<u32>,
    /// The number of the rollout, if there was one.
    pub rollout: Option<i64>,
    /// Who asked for it: `anna@laptop`.
    pub who: String,
    /// When it began: RFC 3339, in UTC.
    pub began: String,
    pub ended: String,
    pub duration_s: f64,
    /// The same for people, with the time of day here: `2017-03-09 10:42:24, for 31s`.
    pub when: String,
    pub exit_code: u8,
    /// What went wrong, or why nothing was done.
    pub why: Option<String>,
    /// What to do now, if something is.
    pub next: Option<String>,
    /// Where the page about it is.
    pub report: Option<String>,
}

impl Notification {
    /// The same without what must not be shown, each text on one line.
    #[must_use]
    pub fn veiled(mut self, veil: &Redactor) -> Self {
        let hide = |text: &str| on_one_line(&veil.hide(text));
        for text in [
            &mut self.outcome,
            &mut self.summary,
            &mut self.service,
            &mut self.fleet,
            &mut self.verb,
            &mut self.who,
            &mut self.when,
        ] {
            *text = hide(text);
        }
        for text in [
            &mut self.version,
            &mut self.previous_version,
            &mut self.why,
            &mut self.next,
            &mut self.report,
        ] {
            *text = text.as_deref().map(hide);
        }
        self
    }

    /// The first line: `✗ page on production: rolled-back`.
    pub fn subject(&self) -> String {
        let Self {
            occasion,
            service,
            fleet,
            outcome,
            ..
        } = self;
        let version = self
            .version
            .as_ref()
            .map(|version| format!(" {version}"))
            .unwrap_or_default();
        format!(
            "{} {service}{version} on {fleet}: {outcome}",
            occasion.sign()
        )
    }

    /// What is told beside the summary, each with its name.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let versions = match (&self.previous_version, &self.version) {
            (Some(from), Some(to)) if from != to => Some(format!("{from} → {to}")),
            (_, Some(to)) => Some(to.clone()),
            (_, None) => None,
        };
        let revision = self.revision.map(|revision| revision.to_string());
        let facts = [
            ("Why", self.why.clone()),
            ("Next", self.next.clone()),
            ("Version", versions),
            ("Revision", revision),
            ("Asked by", Some(format!("{} ({})", self.who, self.verb))),
            ("When", Some(self.when.clone())),
            ("Exit code", Some(self.exit_code.to_string())),
            ("Report", self.report.clone()),
        ];
        facts
            .into_iter()
            .filter_map(|(name, fact)| Some((name, fact?)))
            .collect()
    }

    /// The whole in lines, for a mail.
    pub fn text(&self) -> String {
        let facts: Vec<_> = self
            .facts()
            .into_iter()
            .map(|(name, fact)| format!("{:<11}{fact}\n", format!("{name}:")))
            .collect();
        format!("{}\n\n{}", self.summary, facts.concat())
    }
}

/// A line break would be the end of a header, and an escape moves a terminal's cursor.
fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                ' '
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice() -> Notification {
        Notification {
            occasion: NotificationKind::Failure,
            outcome: "rolled-back".into(),
            summary: "page 0.9 (revision 2) failed and was rolled back to 0.8 (revision 1)".into(),
            service: "page".into(),
            fleet: "production".into(),
            verb: "deploy".into(),
            version: Some("0.9".into()),
            previous_version: Some("0.8".into()),
            revision: Some(2),
            rollout: Some(7),
            who: "anna@laptop".into(),
            began: "2017-03-09T02:42:24.000Z".into(),
            ended: "2017-03-09T02:42:55.000Z".into(),
            duration_s: 31.0,
            when: "2017-03-09 10:42:24, for 31s".into(),
            exit_code: 3,
            why: Some("the password hunter2 is wrong\r\nBcc: all@example.org".into()),
            next: None,
            report: None,
        }
    }

    #[test]
    fn a_notice_reads_well_at_breakfast() {
        insta::assert_snapshot!(format!("{}\n\n{}", notice().subject(), notice().veiled(&Redactor::default()).text()), @r"
        ✗ page 0.9 on production: rolled-back

        page 0.9 (revision 2) failed and was rolled back to 0.8 (revision 1)

        Why:       the password hunter2 is wrong  Bcc: all@example.org
        Version:   0.8 → 0.9
        Revision:  2
        Asked by:  anna@laptop (deploy)
        When:      2017-03-09 10:42:24, for 31s
        Exit code: 3
        ");
    }

    #[test]
    fn no_secret_and_no_line_break_is_in_any_of_its_texts() {
        let veil = Redactor::over(["hunter2".to_owned()]);
        let veiled = serde_json::to_string(&notice().veiled(&veil)).unwrap();
        assert!(
            !veiled.contains("hunter2") && veiled.contains("the password … is wrong"),
            "{veiled}"
        );
        assert!(
            !veiled.contains("\\r") && !veiled.contains("\\n"),
            "{veiled}"
        );
    }

    #[test]
    fn going_back_is_a_failure_unless_it_was_asked_for() {
        assert_eq!(
            NotificationKind::of(&Outcome::RolledBack, false),
            NotificationKind::Failure
        );
        assert_eq!(
            NotificationKind::of(&Outcome::RolledBack, true),
            NotificationKind::Success
        );
        assert_eq!(
            NotificationKind::of(&Outcome::Interrupted, false),
            NotificationKind::Paused
        );
    }
}
