//! The report page, the metrics file and the notifications of a run. They are written after the run
//! has ended and do not change its result; what cannot be written is reported as a note.

use super::exit::Exit;
use super::page::{self, ReportInput};
use super::session::Session;
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
        /// What it was allowed to spend.
        budget: Budget,
    },
    /// Nothing was to be done, or nothing may be done now.
    Skipped {
        /// The version that it was about.
        version: String,
        /// The exit code of the run.
        exit: Exit,
        why: String,
    },
    /// It was refused before anything was touched, or went wrong within ship.
    Refused {
        /// The version that it was about, if that was known.
        version: Option<String>,
        /// The exit code of the run.
        exit: Exit,
        /// The error as it was shown.
        message: String,
    },
}

/// Writes the report page and the metrics file, and sends the configured notifications.
pub async fn publish(session: &Session, end: RunSummary) {
    if !session.env.publishes() {
        return;
    }
    let past = match &end {
        RunSummary::Ended { id, budget, .. } => {
            match ReportInput::of(session, *id, Some(*budget)) {
                Ok(past) => Some(past),
                Err(why) => {
                    return tell(
                        session,
                        format!("note: the rollout cannot be told of: {why}"),
                    );
                }
            }
        }
        RunSummary::Skipped { .. } | RunSummary::Refused { .. } => None,
    };
    let report = past
        .as_ref()
        .and_then(|past| leave_page(session, past, &end));
    let notice = notice(session, &end, past.as_ref(), report).veiled(&page::veil(session));
    leave_metrics(session, &notice, past.as_ref());
    if let Some(config) = &session.project.playbook.notify {
        let dir = session
            .project
            .playbook
            .path
            .parent()
            .unwrap_or(std::path::Path::new("."));
        for trouble in notify::deliver(config, &notice, dir).await {
            tell(session, trouble);
        }
    }
}

fn tell(session: &Session, text: String) {
    session.env.tell(&super::notice::Notice::NotPublished(text));
}

/// Where the page is; `None` where it could not be written.
fn leave_page(session: &Session, past: &ReportInput, end: &RunSummary) -> Option<String> {
    let left = past
        .page(session, Some(end.exit()))
        .and_then(|html| page::keep(session, past.id, &html));
    match left {
        Ok(path) => Some(path.display().to_string()),
        Err(why) => {
            tell(session, format!("note: {why}"));
            None
        }
    }
}

fn leave_metrics(session: &Session, notice: &Notification, past: Option<&ReportInput>) {
    let Some(config) = &session.project.playbook.metrics else {
        return;
    };
    let account = past.map(|past| &past.account);
    let records = session
        .store
        .revisions(&session.subject)
        .unwrap_or_default();
    let succeeded = records
        .iter()
        .filter(|record| record.outcome == Some(crate::core::rollout::failure::Outcome::Succeeded))
        .filter_map(|record| record.ended)
        .max();
    let now = session.now();
    let drained = account.map(|account| {
        account.drains.iter().fold((0, 0), |(ended, cut), drained| {
            (
                ended + u64::from(drained.receipt.ended),
                cut + u64::from(drained.receipt.cut),
            )
        })
    });
    let metrics = Metrics {
        notification: notice,
        began: account.map_or(now, |account| account.began),
        ended: account.and_then(|account| account.ended).unwrap_or(now),
        succeeded,
        instances: account.map(|account| {
            (
                account.replicas,
                account.progress.unwrap_or_default().available,
            )
        }),
        monitored: account
            .and_then(|account| account.monitor.as_ref())
            .map(|report| (report.requests, report.failed)),
        drained,
    };
    if let Err(why) = notify::write_textfile(&config.textfile, &metrics.text()) {
        tell(
            session,
            format!("note: the file of [metrics] is not renewed: {why}"),
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
    past: Option<&ReportInput>,
    report: Option<String>,
) -> Notification {
    let now = session.now();
    let blank = Notification {
        report,
        ..blank(session, end.exit(), now)
    };
    match (end, past) {
        (RunSummary::Ended { exit, .. }, Some(past)) => of_rollout(blank, past, *exit, now),
        // An ended rollout is always looked back at.
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

/// What is known of a run before its end is looked at.
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
        service: session.subject.service.clone(),
        fleet: session.subject.fleet.clone(),
    }
}

fn of_skipped(blank: Notification, version: &str, why: &str) -> Notification {
    Notification {
        outcome: "skipped".to_owned(),
        summary: format!(
            "{} {version} on {}: nothing was done: {why}",
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
        // Who is locked out tries again; nothing is wrong with what it wanted.
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
            how_far(exit),
            first_line(message)
        ),
        version,
        why: Some(message.to_owned()),
        ..blank
    }
}

fn of_rollout(blank: Notification, past: &ReportInput, exit: Exit, now: Time) -> Notification {
    let account = &past.account;
    let ended = account.ended.unwrap_or(now);
    let took = ended.since(account.began);
    let (summary, more) = past.last_word().unwrap_or_default();
    let next = more
        .iter()
        .find_map(|line| line.strip_prefix("hint: "))
        .map(|next| next.trim().replace('`', ""));
    let (occasion, outcome) = match &account.outcome {
        Some(outcome) => (
            NotificationKind::of(outcome, exit == Exit::Done),
            outcome.word(),
        ),
        None => (NotificationKind::Failure, "cut off"),
    };
    Notification {
        occasion,
        outcome: outcome.to_owned(),
        summary,
        verb: past.start.verb.noun().to_owned(),
        version: Some(past.start.target.version.clone()),
        previous_version: past.previous_version(),
        revision: Some(past.start.target.revision.0),
        rollout: Some(past.id.0),
        began: clock::rfc3339(account.began),
        ended: clock::rfc3339(ended),
        duration_s: took.as_secs_f64(),
        when: format!(
            "{}, for {}",
            LocalClock::local().day_and_time(account.began),
            Human(took)
        ),
        why: account.failure.as_ref().map(ToString::to_string),
        next,
        ..blank
    }
}

/// How far a run came that made no rollout, or none that it could end.
fn how_far(exit: Exit) -> &'static str {
    match exit {
        Exit::Refused | Exit::Locked | Exit::Unreachable => "nothing was touched",
        _ => "it went wrong",
    }
}

/// The first line, without what is said of it anyway.
fn first_line(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.trim_end_matches("; nothing was touched")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::super::environment::{Reading, StoreAccess};
    use super::super::testing::control_machine;
    use super::*;
    use crate::config::Overrides;

    const PLAYBOOK: &str = "version = \"0.9\"\n[service]\nname = \"page\"\ncommand = \
                            \"/bin/true\"\nports = [8081, 8082]\n\
        driver = \"process\"\n[artifact]\nsource = \"page\"\n[notify]\ncommand = \"/bin/sh -c \
        'cat >>told'\"\n\
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
            message: "1 of 3 hosts cannot be used; nothing was touched\n  web1: gone\n".to_owned(),
        }
    }

    fn locked() -> RunSummary {
        RunSummary::Refused {
            version: Some("0.9".to_owned()),
            exit: Exit::Locked,
            message: "anna@laptop holds the lock".to_owned(),
        }
    }

    /// What the command of `[notify]` was given, message by message.
    fn told(dir: &Path) -> Vec<Value> {
        let told = std::fs::read_to_string(dir.join("told")).unwrap();
        told.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_run_that_did_nothing_is_told_of_too() {
        let dir = tempfile::tempdir().unwrap();
        let session = session(dir.path());
        for end in [skipped(), unreachable(), locked()] {
            publish(&session, end).await;
        }
        let said: Vec<_> = told(dir.path())
            .iter()
            .map(|told| {
                let said = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
                (said("summary"), said("occasion"), told["exit_code"].clone())
            })
            .collect();
        let expected = [
            (
                "page 0.9 on local: nothing was done: the fleet is frozen until Monday",
                "skipped",
                6,
            ),
            (
                "page on local: nothing was touched: 1 of 3 hosts cannot be used",
                "failure",
                7,
            ),
            (
                "page on local: nothing was touched: anna@laptop holds the lock",
                "skipped",
                6,
            ),
        ];
        assert_eq!(
            said,
            expected.map(|(summary, occasion, code)| {
                (summary.to_owned(), occasion.to_owned(), Value::from(code))
            })
        );
    }

    #[tokio::test]
    async fn a_run_that_did_nothing_is_in_the_metrics_and_has_no_page() {
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
        assert_eq!(pages, 0, "a run without a rollout leaves no page");
    }
}
