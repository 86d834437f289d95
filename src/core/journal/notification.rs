//! Notifications about rollouts and unattended runs: mails, chat messages and JSON for programs.

use std::fmt;

use serde::Serialize;

use crate::core::redact::Redactor;
use crate::core::rollout::failure::Outcome;

/// The kind of a notification, which `[notify] on` selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// The command succeeded.
    Success,
    /// The command failed.
    Failure,
    /// The rollout was stopped before its end and can be resumed.
    Paused,
    /// There was nothing to do, or a deploy was not allowed now.
    Skipped,
}

impl NotificationKind {
    pub const ALL: [Self; 4] = [Self::Failure, Self::Paused, Self::Skipped, Self::Success];

    /// The kind for an outcome. `is_done` is whether the user asked for this outcome, as with `ship
    /// abort`.
    pub fn of(outcome: &Outcome, is_done: bool) -> Self {
        match outcome {
            _ if is_done => Self::Success,
            Outcome::Paused { .. } | Outcome::Interrupted | Outcome::WindowClosed { .. } => {
                Self::Paused
            }
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

    /// A symbol for the kind: `✓`.
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

/// A notification. Its JSON keys are a contract: new ones may be added, these stay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notification {
    pub occasion: NotificationKind,
    /// The outcome in one word: `rolled-back`.
    pub outcome: String,
    /// The most important facts on one line.
    pub summary: String,
    pub service: String,
    pub fleet: String,
    /// The command: `deploy`.
    pub verb: String,
    /// The version to deploy; `None` if it was not known yet.
    pub version: Option<String>,
    pub previous_version: Option<String>,
    pub revision: Option<u32>,
    /// The id of the rollout, if there was one.
    pub rollout: Option<i64>,
    /// The user: `anna@laptop`.
    pub who: String,
    /// The start: RFC 3339, in UTC.
    pub began: String,
    pub ended: String,
    pub duration_s: f64,
    /// Start and duration in local time: `2017-03-09 10:42:24, for 31s`.
    pub when: String,
    pub exit_code: u8,
    /// The failure, or why nothing was done.
    pub why: Option<String>,
    /// What the user should do next, if anything.
    pub next: Option<String>,
    /// The path or URL of the report.
    pub report: Option<String>,
}

impl Notification {
    /// The notification with secrets redacted and each text on one line.
    #[must_use]
    pub fn redacted(mut self, redactor: &Redactor) -> Self {
        let redact = |text: &str| on_one_line(&redactor.redact(text));
        for text in [
            &mut self.outcome,
            &mut self.summary,
            &mut self.service,
            &mut self.fleet,
            &mut self.verb,
            &mut self.who,
            &mut self.when,
        ] {
            *text = redact(text);
        }
        for text in [
            &mut self.version,
            &mut self.previous_version,
            &mut self.why,
            &mut self.next,
            &mut self.report,
        ] {
            *text = text.as_deref().map(redact);
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

    /// The facts beside the summary, with their labels.
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

    /// The body of a mail.
    pub fn text(&self) -> String {
        let facts: Vec<_> = self
            .facts()
            .into_iter()
            .map(|(name, fact)| format!("{:<11}{fact}\n", format!("{name}:")))
            .collect();
        format!("{}\n\n{}", self.summary, facts.concat())
    }
}

/// Replaces control characters by spaces: a line break would end a mail header, and an escape
/// sequence moves a terminal's cursor.
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

    fn notification() -> Notification {
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
    fn notification_shows_subject_summary_and_facts() {
        insta::assert_snapshot!(format!("{}\n\n{}", notification().subject(), notification().redacted(&Redactor::default()).text()), @r"
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
    fn notification_has_no_secrets_and_no_line_breaks() {
        let redactor = Redactor::new(["hunter2".to_owned()]);
        let redacted = serde_json::to_string(&notification().redacted(&redactor)).unwrap();
        assert!(
            !redacted.contains("hunter2") && redacted.contains("the password … is wrong"),
            "{redacted}"
        );
        assert!(
            !redacted.contains("\\r") && !redacted.contains("\\n"),
            "{redacted}"
        );
    }

    #[test]
    fn rollback_is_a_failure_unless_requested() {
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
