//! The report, the metrics file and the notifications of a run. They are written after the run and
//! do not change its result: if one cannot be written, ship prints a warning.

use std::path::Path;

use super::environment::Environment;
use super::exit::Exit;
use super::notice::Notice;
use super::report_page::{self, ReportInput};
use super::session::Session;
use crate::config::NotifyConfig;
use crate::core::journal::notification::{Notification, NotificationKind};
use crate::core::spec::budget::Budget;
use crate::core::time::{Human, Time};
use crate::notify;
use crate::report::metrics::Metrics;
use crate::report::{LocalClock, clock};
use crate::store::RolloutId;

#[derive(Clone, Debug)]
pub enum RunSummary {
    Ended {
        id: RolloutId,
        /// The exit code of the run.
        exit: Exit,
        budget: Budget,
    },
    /// There was nothing to do, or the deploy was skipped.
    Skipped {
        version: String,
        /// The exit code of the run.
        exit: Exit,
        why: String,
    },
    /// Refused before any change, or ended by an error of ship.
    Refused {
        /// `None` if it was not known yet.
        version: Option<String>,
        /// The exit code of the run.
        exit: Exit,
        /// The error as it was printed.
        message: String,
    },
}

/// Writes the report and the metrics file, and sends the configured notifications.
pub async fn publish(session: &Session, end: RunSummary) {
    if !session.env.publishes() {
        return;
    }
    let input = match &end {
        RunSummary::Ended { id, budget, .. } => {
            match ReportInput::read(session, *id, Some(*budget)) {
                Ok(input) => Some(input),
                Err(why) => {
                    return warn(
                        session,
                        format!("warning: cannot build the rollout report: {why}"),
                    );
                }
            }
        }
        RunSummary::Skipped { .. } | RunSummary::Refused { .. } => None,
    };
    let report = input
        .as_ref()
        .and_then(|input| write_report(session, input, &end));
    let notice =
        notice(session, &end, input.as_ref(), report).redacted(&report_page::redactor(session));
    write_metrics(session, &notice, input.as_ref());
    let playbook = &session.project.playbook;
    if let Some(config) = playbook
        .notify
        .as_ref()
        .filter(|_| !session.env.is_within_deployment())
    {
        let dir = playbook.path.parent().unwrap_or(Path::new("."));
        send(&*session.env, config, &notice, dir).await;
    }
}

/// Sends a notification. `dir` is the directory of the playbook.
pub(crate) async fn send(
    env: &dyn Environment,
    config: &NotifyConfig,
    notice: &Notification,
    dir: &Path,
) {
    for warning in notify::deliver(config, notice, dir).await {
        env.notify(&Notice::NotPublished(warning));
    }
}

fn warn(session: &Session, text: String) {
    session.env.notify(&Notice::NotPublished(text));
}

/// The path of the report; `None` if it could not be written.
fn write_report(session: &Session, input: &ReportInput, end: &RunSummary) -> Option<String> {
    let written = input
        .page(session, Some(end.exit()))
        .and_then(|html| report_page::write_to_state_dir(session, &input.id.0.to_string(), &html));
    match written {
        Ok(path) => Some(path.display().to_string()),
        Err(why) => {
            warn(session, format!("warning: {why}"));
            None
        }
    }
}

fn write_metrics(session: &Session, notice: &Notification, input: Option<&ReportInput>) {
    let Some(config) = &session.project.playbook.metrics else {
        return;
    };
    let summary = input.map(|input| &input.summary);
    let records = session
        .records()
        .map(|records| records.revisions())
        .unwrap_or_default();
    let succeeded = records
        .iter()
        .filter(|record| record.outcome == Some(crate::core::rollout::failure::Outcome::Succeeded))
        .filter_map(|record| record.ended)
        .max();
    let now = session.now();
    let drained = summary.map(|summary| {
        summary.drains.iter().fold((0, 0), |(ended, cut), drained| {
            (
                ended + u64::from(drained.result.ended),
                cut + u64::from(drained.result.cut),
            )
        })
    });
    let metrics = Metrics {
        notification: notice,
        began: summary.map_or(now, |summary| summary.began),
        ended: summary.and_then(|summary| summary.ended).unwrap_or(now),
        succeeded,
        instances: summary.map(|summary| {
            (
                summary.replicas,
                summary.progress.unwrap_or_default().available,
            )
        }),
        monitored: summary
            .and_then(|summary| summary.monitor.as_ref())
            .map(|report| (report.requests, report.failed)),
        drained,
    };
    if let Err(why) = notify::write_textfile(&config.textfile, &metrics.text()) {
        warn(
            session,
            format!("warning: cannot update the file of [metrics]: {why}"),
        );
    }
}

impl RunSummary {
    fn exit(&self) -> Exit {
        match self {
            RunSummary::Ended { exit, .. }
            | RunSummary::Skipped { exit, .. }
            | RunSummary::Refused { exit, .. } => *exit,
        }
    }
}

fn notice(
    session: &Session,
    end: &RunSummary,
    input: Option<&ReportInput>,
    report: Option<String>,
) -> Notification {
    let now = session.now();
    let blank = Notification {
        report,
        ..blank(session, end.exit(), now)
    };
    match (end, input) {
        (RunSummary::Ended { exit, .. }, Some(input)) => of_rollout(blank, input, *exit, now),
        // Cannot happen: the report of an ended rollout was read before.
        (RunSummary::Ended { .. }, None) => blank,
        (RunSummary::Skipped { version, why, .. }, _) => of_skipped(blank, version, why),
        (
            RunSummary::Refused {
                version,
                exit,
                message,
            },
            _,
        ) => of_refused(blank, version.clone(), *exit, message),
    }
}

/// The fields that do not depend on how the run ended.
fn blank(session: &Session, exit: Exit, now: Time) -> Notification {
    let current = session.history.current();
    Notification {
        occasion: NotificationKind::Skipped,
        outcome: String::new(),
        summary: String::new(),
        verb: "deploy".to_owned(),
        version: None,
        previous_version: current.map(|record| record.definition.version.clone()),
        revision: None,
        rollout: None,
        who: session.operator().to_string(),
        began: clock::rfc3339(now),
        ended: clock::rfc3339(now),
        duration_s: 0.0,
        when: LocalClock::local().day_and_time(now),
        exit_code: exit.code(),
        why: None,
        next: None,
        report: None,
        service: session.service_key.service.clone(),
        fleet: session.service_key.fleet.clone(),
    }
}

fn of_skipped(blank: Notification, version: &str, why: &str) -> Notification {
    Notification {
        outcome: "skipped".to_owned(),
        summary: format!(
            "{} {version} on {}: skipped: {why}",
            blank.service, blank.fleet
        ),
        version: Some(version.to_owned()),
        why: Some(why.to_owned()),
        ..blank
    }
}

fn of_refused(
    blank: Notification,
    version: Option<String>,
    exit: Exit,
    message: &str,
) -> Notification {
    Notification {
        // The next unattended run tries again, so a lock is not a failure.
        occasion: if exit == Exit::Locked {
            NotificationKind::Skipped
        } else {
            NotificationKind::Failure
        },
        outcome: "refused".to_owned(),
        summary: format!(
            "{} on {}: {}: {}",
            blank.service,
            blank.fleet,
            effect(exit),
            first_line(message)
        ),
        version,
        why: Some(message.to_owned()),
        ..blank
    }
}

fn of_rollout(blank: Notification, input: &ReportInput, exit: Exit, now: Time) -> Notification {
    let summary = &input.summary;
    let ended = summary.ended.unwrap_or(now);
    let took = ended.since(summary.began);
    let (headline, more) = input.outcome_lines().unwrap_or_default();
    let next = more
        .iter()
        .find_map(|line| line.strip_prefix("hint: "))
        .map(|next| next.trim().replace('`', ""));
    let (occasion, outcome) = match &summary.outcome {
        Some(outcome) => (
            NotificationKind::of(outcome, exit == Exit::Done),
            outcome.word(),
        ),
        None => (NotificationKind::Failure, "interrupted"),
    };
    Notification {
        occasion,
        outcome: outcome.to_owned(),
        summary: headline,
        verb: input.start.verb.noun().to_owned(),
        version: Some(input.start.target.version.clone()),
        previous_version: input.previous_version(),
        revision: Some(input.start.target.revision.0),
        rollout: Some(input.id.0),
        began: clock::rfc3339(summary.began),
        ended: clock::rfc3339(ended),
        duration_s: took.as_secs_f64(),
        when: format!(
            "{}, for {}",
            LocalClock::local().day_and_time(summary.began),
            Human(took)
        ),
        why: summary.failure.as_ref().map(ToString::to_string),
        next,
        ..blank
    }
}

/// What a run without an outcome has changed.
fn effect(exit: Exit) -> &'static str {
    match exit {
        Exit::Refused | Exit::Locked | Exit::Unreachable => "no changes were made",
        _ => "error",
    }
}

/// The first line, without the part that [`effect`] repeats.
fn first_line(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.trim_end_matches("; no changes were made")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::environment::Reading;
    use super::super::testing::control_machine;
    use super::*;
    use crate::config::Overrides;
    use crate::store::StoreAccess;

    const PLAYBOOK: &str = "version = \"0.9\"\n[service]\nname = \"page\"\ncommand = \
                            \"/bin/true\"\nports = [8081, 8082]\n\
        driver = \"process\"\n[artifact]\nsource = \"page\"\n[notify]\ncommand = \"/bin/sh -c \
        'cat >>received'\"\n\
        [metrics]\ntextfile = \"page.prom\"\n";

    fn session(dir: &Path) -> Session {
        let inventory = dir.join("inventory.toml");
        let hosts = "playbook = \"playbook.toml\"\n[fleet]\nname = \"local\"\n[[hosts]]\nname = \
                     \"node1\"\ntransport = \"local\"\n";
        std::fs::write(&inventory, hosts).unwrap();
        std::fs::write(dir.join("playbook.toml"), PLAYBOOK).unwrap();
        let env = control_machine(inventory);
        let overrides = Overrides::default();
        Session::open(&env, &overrides, Reading::Strict, StoreAccess::Write).unwrap()
    }

    fn skipped() -> RunSummary {
        RunSummary::Skipped {
            version: "0.9".to_owned(),
            exit: Exit::Locked,
            why: "the fleet is frozen until Monday".to_owned(),
        }
    }

    fn unreachable() -> RunSummary {
        RunSummary::Refused {
            version: None,
            exit: Exit::Unreachable,
            message: "1 of 3 hosts is unusable; no changes were made\n  web1: gone\n".to_owned(),
        }
    }

    fn locked() -> RunSummary {
        RunSummary::Refused {
            version: Some("0.9".to_owned()),
            exit: Exit::Locked,
            message: "anna@laptop holds the lock".to_owned(),
        }
    }

    /// The notifications that the command of `[notify]` received.
    fn notifications(dir: &Path) -> Vec<Value> {
        let received = std::fs::read_to_string(dir.join("received")).unwrap();
        received
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn run_without_changes_sends_a_notification() {
        let dir = tempfile::tempdir().unwrap();
        let session = session(dir.path());
        for end in [skipped(), unreachable(), locked()] {
            publish(&session, end).await;
        }
        let sent: Vec<_> = notifications(dir.path())
            .iter()
            .map(|sent| {
                let text = |key: &str| sent[key].as_str().unwrap_or_default().to_owned();
                (text("summary"), text("occasion"), sent["exit_code"].clone())
            })
            .collect();
        let expected = [
            (
                "page 0.9 on local: skipped: the fleet is frozen until Monday",
                "skipped",
                6,
            ),
            (
                "page on local: no changes were made: 1 of 3 hosts is unusable",
                "failure",
                7,
            ),
            (
                "page on local: no changes were made: anna@laptop holds the lock",
                "skipped",
                6,
            ),
        ];
        assert_eq!(
            sent,
            expected.map(|(summary, occasion, code)| {
                (summary.to_owned(), occasion.to_owned(), Value::from(code))
            })
        );
    }

    #[tokio::test]
    async fn run_without_changes_updates_the_metrics_and_has_no_report() {
        let dir = tempfile::tempdir().unwrap();
        let session = session(dir.path());
        for (end, outcome) in [(skipped(), "skipped"), (unreachable(), "refused")] {
            publish(&session, end).await;
            let metrics = std::fs::read_to_string(dir.path().join("page.prom")).unwrap();
            let line = format!("outcome=\"{outcome}\"}} 1\n");
            assert!(metrics.contains(&line), "{metrics}");
        }
        let pages = std::fs::read_dir(dir.path().join(".ship/runs"))
            .unwrap()
            .count();
        assert_eq!(pages, 0, "a run without a rollout has no report");
    }
}
