//! One line per message: for logs, pipes and terminals without cursor movement.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::message::{RolloutMessage, Severity};
use super::narrator::Narrator;
use super::{phrases, text};
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, Event};
use crate::core::rollout::failure::Outcome;
use crate::core::time::Time;
use crate::report::reporter::{Reporter, ReporterSetup};

const LABEL_WIDTH: usize = 9;
/// The indentation of details: the width of the time.
const INDENT: &str = "          ";

#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    narrator: Narrator,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`, which must remove colours if the terminal does not support them.
    pub fn new(out: W, setup: ReporterSetup) -> Self {
        Self {
            out,
            narrator: Narrator::new(setup),
        }
    }

    fn write(&mut self, messages: &[RolloutMessage], succeeded: bool) {
        let lines: String = messages
            .iter()
            .map(|message| lines(message, &self.narrator, succeeded))
            .collect();
        // If the reader has closed the pipe, the rollout continues.
        let _ = self
            .out
            .write_all(lines.as_bytes())
            .and_then(|()| self.out.flush());
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn event(&mut self, entry: &Entry, status: &Status) {
        let messages = self.narrator.narrate(entry, status);
        let succeeded = matches!(
            entry.event,
            Event::RolloutFinished {
                outcome: Outcome::Succeeded
            }
        );
        self.write(&messages, succeeded);
    }

    fn store_lost(&mut self, at: Time, error: &str, wait: Duration) {
        self.write(&[phrases::store_lost(at, error, wait)], false);
    }

    fn store_recovered(&mut self, at: Time, after: Duration) {
        self.write(&[phrases::store_recovered(at, after)], false);
    }
}

/// A message as lines with line breaks.
pub(super) fn lines(message: &RolloutMessage, narrator: &Narrator, succeeded: bool) -> String {
    let setup = narrator.setup();
    let mut time = setup.clock.time_of_day(message.at);
    if let Some(label) = &setup.service {
        time = format!("{time}  {:<width$}", label.name, width = label.width);
    }
    let style = style(message.severity, succeeded);
    let mut lines = String::new();
    let head = if message.subject.is_empty() {
        format!("{time}  {style}{}{style:#}", message.text)
    } else {
        let subject = text::pad(&text::clean(&message.subject), narrator.subject_width());
        format!(
            "{time}  {subject}  {style}{:<LABEL_WIDTH$}{style:#} {}",
            message.label, message.text
        )
    };
    let _ = writeln!(lines, "{head}");
    for line in &message.details {
        let _ = writeln!(lines, "{INDENT}{line}");
    }
    lines
}

fn style(severity: Severity, succeeded: bool) -> Style {
    match severity {
        Severity::Routine | Severity::Sentence => Style::new(),
        Severity::Notable => AnsiColor::Yellow.on_default(),
        Severity::Summary if succeeded => AnsiColor::Green.on_default().bold(),
        Severity::Failure | Severity::Summary => AnsiColor::Red.on_default().bold(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::{self, Play};
    use super::*;
    use crate::core::ids::{ActionId, Epoch, Slot};
    use crate::core::journal::status::InstanceStatus;
    use crate::core::rollout::action::Action;
    use crate::core::rollout::event::FailureResponse;
    use crate::core::rollout::failure::{Failure, FailureKind};

    fn output(play: &Play, hosts: u32) -> String {
        let mut plain = Plain::new(Vec::new(), testing::setup(hosts));
        for (entry, status) in &play.entries {
            plain.event(entry, status);
        }
        anstream::adapter::strip_str(&String::from_utf8(plain.out).unwrap()).to_string()
    }

    #[test]
    fn successful_rollout_prints_one_line_per_event() {
        let mut play = Play::example();
        play.then(
            500,
            Event::RolloutFinished {
                outcome: Outcome::Succeeded,
            },
        );
        insta::assert_snapshot!(output(&play, 4), @r#"
        10:42:24  testpage 0.9 (revision 2) on local: 3 replicas (now 3 on 0.8)
        10:42:24  Waiting for deployment spec update to be observed...
        10:42:24  staging 0.9 on the hosts
        10:42:24  node1       staged    0.9 in 200ms
        10:42:24  node2       staged    0.9 in 200ms
        10:42:24  node3       staged    0.9 in 200ms
        10:42:24  node4       staged    0.9 in 200ms
        10:42:25  node4:8081  started   0.9 as testpage-515849216a-059b0
        10:42:25  Waiting for deployment "testpage" rollout to finish: 1 out of 3 new replicas have been updated...
        10:42:26  node4:8081  ready     0.9 after 1.2s: "I am: 127.0.0.14, the version is: 0.9"
        10:42:26  node1:8081  stopped   0.8 (replaced) in 100ms
        10:42:26  node1:8081  started   0.9 as testpage-515849216a-1sf6b
        10:42:26  Waiting for deployment "testpage" rollout to finish: 2 out of 3 new replicas have been updated...
        10:42:27  node1:8081  ready     0.9 after 1.2s: "I am: 127.0.0.11, the version is: 0.9"
        10:42:27  node2:8081  stopped   0.8 (replaced) in 100ms
        10:42:27  node2:8081  started   0.9 as testpage-515849216a-5jfb5
        10:42:27  Waiting for deployment "testpage" rollout to finish: 1 old replicas are pending termination...
        10:42:28  node2:8081  ready     0.9 after 1.2s: "I am: 127.0.0.12, the version is: 0.9"
        10:42:28  node3:8081  stopped   0.8 (replaced) in 100ms
        10:42:29  deployment "testpage" successfully rolled out
        10:42:29  testpage 0.9 (revision 2): 3 of 3 available in 5.2s
        "#);
    }

    fn not_ready(slot: Slot, detail: &str) -> Failure {
        let waited = Duration::from_secs(30);
        Failure {
            kind: FailureKind::NotReady,
            host: Some(slot.host.clone()),
            slot: Some(slot),
            detail: detail.into(),
            waited,
        }
    }

    /// A rollout whose first new instance never becomes ready.
    fn failed(then: FailureResponse) -> Play {
        let mut play = Play::begin(4);
        let name = "testpage-515849216a-059b0";
        let slot = Slot::new("node4", 8081);
        let start = Action::Start {
            slot: slot.clone(),
            release: testing::release("0.9"),
            reloads: None,
        };
        let id = play.order(start, Some(name));
        play.status.instances.push(testing::row(
            name,
            "node4",
            "0.9",
            InstanceStatus::Starting,
            0,
        ));
        play.then(300, Event::ActionDone { id });
        play.progress();
        let log = [
            "Traceback (most recent call last):",
            "  File \"testpage.py\", line 7, in <module>",
            "\u{1b}[31mOSError\u{1b}[0m: no such device",
        ];
        let log = log.map(str::to_owned).to_vec();
        let failure = not_ready(slot, "connection refused");
        play.then(30_000, Event::RolloutFailed { failure, log, then });
        play
    }

    #[test]
    fn failure_shows_host_action_answer_deadline_log_and_next_step() {
        let mut play = failed(FailureResponse::RollBack);
        play.stop("node4", "testpage-515849216a-059b0");
        play.then(
            700,
            Event::RolloutFinished {
                outcome: Outcome::RolledBack,
            },
        );
        insta::assert_snapshot!(output(&play, 4), @r#"
        10:42:24  testpage 0.9 (revision 2) on local: 3 replicas (now 3 on 0.8)
        10:42:24  Waiting for deployment spec update to be observed...
        10:42:24  node4:8081  started   0.9 as testpage-515849216a-059b0
        10:42:24  Waiting for deployment "testpage" rollout to finish: 1 out of 3 new replicas have been updated...
        10:42:54  node4:8081  FAILED    0.9 is not ready after 30s: connection refused
                  doing: starting 0.9, then probing until it is ready (30s)
                  log: last 3 lines of the instance's log
                    | Traceback (most recent call last):
                    |   File "testpage.py", line 7, in <module>
                    | [31mOSError[0m: no such device
                  hint: is it listening on the right address? pass `{{ address }}` and `{{ port }}` in `command` or `env`
                  next: rolling back to 0.8 (revision 1); 3 of 3 available
        10:42:54  node4:8081  stopped   0.9 (replaced) in 100ms
        10:42:54  Waiting for deployment "testpage" rollout to finish: 0 out of 3 new replicas have been updated...
        10:42:55  deployment "testpage" successfully rolled back
        10:42:55  testpage 0.9 (revision 2) failed and was rolled back to 0.8 (revision 1): 3 of 3 available after 31s
                  reason: node4:8081: the new instance is not ready after 30s; last answer: connection refused
                  hint: fix the problem and deploy again; see `ship report`
        "#);
    }

    #[test]
    fn held_rollout_shows_the_reason_and_the_next_step() {
        let why = "2 instances of 0.8 are failing too, so the new version may not be to blame";
        let mut play = failed(FailureResponse::Hold { why: why.into() });
        play.then(
            0,
            Event::RolloutFinished {
                outcome: Outcome::Held { why: why.into() },
            },
        );
        let output = output(&play, 4);
        let ending = &output[output.find("  next: ").unwrap()..];
        insta::assert_snapshot!(ending, @r"
          next: holding, no further changes: 2 instances of 0.8 are failing too, so the new version may not be to blame; 3 of 3 available
        10:42:54  testpage 0.9 (revision 2) failed and is held: 3 of 3 available (3 on 0.8, 1 on 0.9) after 30s
                  reason: node4:8081: the new instance is not ready after 30s; last answer: connection refused
                  held: 2 instances of 0.8 are failing too, so the new version may not be to blame
                  hint: see `ship status`; run `ship resume` to try again, or `ship abort` to roll back
        ");
    }

    #[test]
    fn failed_rollback_shows_both_failures() {
        let mut play = failed(FailureResponse::RollBack);
        let failure = not_ready(Slot::new("node2", 8081), "HTTP 500");
        play.then(
            1000,
            Event::RolloutFinished {
                outcome: Outcome::RollbackFailed { failure },
            },
        );
        let output = output(&play, 4);
        let ending = &output[output.rfind("10:42:55").unwrap()..];
        insta::assert_snapshot!(ending, @r"
        10:42:55  testpage 0.9 (revision 2) failed, and the rollback failed too: 3 of 3 available (3 on 0.8, 1 on 0.9) after 31s
                  reason: node4:8081: the new instance is not ready after 30s; last answer: connection refused
                  rollback: node2:8081: the new instance is not ready after 30s; last answer: HTTP 500
                  hint: see `ship status`; fix the problem, then run `ship resume`
        ");
    }

    /// An action fails, and the result of the next one is unknown.
    fn add_failing_actions(play: &mut Play) {
        let start = |host: &str| Action::Start {
            slot: Slot::new(host, 8081),
            release: testing::release("0.9"),
            reloads: None,
        };
        let id = play.order(start("node4"), Some("testpage-515849216a-059b0"));
        play.then(
            1500,
            Event::ActionFailed {
                id,
                error: "sudo: a password is required".into(),
            },
        );
        let id = play.order(start("node4"), Some("testpage-515849216a-1sf6b"));
        play.then(
            10_000,
            Event::ActionUnknown {
                id,
                why: "no answer within 10s".into(),
            },
        );
    }

    /// Failed actions, an outage, an unready instance and a Ctrl-C.
    fn eventful() -> Play {
        let mut play = Play::begin(4);
        add_failing_actions(&mut play);
        play.then(
            0,
            Event::HostLost {
                host: "node4".into(),
                why: "connection timed out after 5s".into(),
            },
        );
        play.then(
            65_000,
            Event::HostRecovered {
                host: "node4".into(),
            },
        );
        let (slot, instance) = (Slot::new("node1", 8081), "testpage-230767614a-00001");
        play.then(
            0,
            Event::InstanceNotReady {
                slot: slot.clone(),
                instance: instance.into(),
                release: testing::release("0.8"),
                answer: "HTTP 503".into(),
            },
        );
        play.then(
            3000,
            Event::InstanceReady {
                slot,
                instance: instance.into(),
                release: testing::release("0.8"),
                answer: String::new(),
            },
        );
        play.then(0, Event::ActionDone { id: ActionId(99) });
        play.then(
            0,
            Event::Interrupted {
                by: "SIGINT".into(),
            },
        );
        play.then(
            200,
            Event::RolloutFinished {
                outcome: Outcome::Interrupted,
            },
        );
        play
    }

    #[test]
    fn problems_during_a_rollout_name_the_host() {
        let play = eventful();
        insta::assert_snapshot!(output(&play, 4), @r#"
        10:42:24  testpage 0.9 (revision 2) on local: 3 replicas (now 3 on 0.8)
        10:42:24  Waiting for deployment spec update to be observed...
        10:42:25  node4:8081  failed    cannot start 0.9: sudo: a password is required (after 1.5s)
        10:42:35  node4:8081  unknown   lost contact while starting 0.9 (no answer within 10s); checking the host
        10:42:35  node4       lost      connection timed out after 5s
        10:43:40  node4       back      reachable again after 1m5s
        10:43:40  node1:8081  not ready 0.8: "HTTP 503"
        10:43:43  node1:8081  ready     0.8 again
        10:43:43  SIGINT: finishing in-flight actions; press Ctrl-C again to exit now
        10:43:43  testpage 0.9 (revision 2) was interrupted after 1m19s: 0 of 3 updated, 3 of 3 available
                  hint: run `ship resume` to continue, or `ship abort` to roll back
        "#);
    }

    #[test]
    fn fenced_rollout_names_the_host_and_the_epoch() {
        let mut play = Play::begin(4);
        let id = play.order(
            Action::Claim {
                host: "node1".into(),
            },
            None,
        );
        play.then(
            20,
            Event::Fenced {
                host: "node1".into(),
                seen: Epoch(9),
            },
        );
        play.then(
            0,
            Event::ActionFailed {
                id,
                error: "refused".into(),
            },
        );
        play.then(
            0,
            Event::RolloutFinished {
                outcome: Outcome::Fenced {
                    host: "node1".into(),
                    seen: Epoch(9),
                },
            },
        );
        let output = output(&play, 4);
        let ending = &output[output.find("10:42:24  node1").unwrap()..];
        insta::assert_snapshot!(ending, @r"
        10:42:24  node1       fenced    rejected a command: it has accepted the newer epoch 9 of another ship process
        10:42:24  node1       failed    cannot claim the host: refused (after 20ms)
        10:42:24  testpage 0.9 (revision 2) was taken over by another ship process after 20ms: 3 of 3 available (3 on 0.8)
                  reason: node1 has accepted the newer epoch 9
                  hint: see `ship status` and `ship history` for what the other process does
        ");
    }

    #[test]
    fn large_fleet_reports_staging_and_progress_in_percent() {
        let mut play = Play::begin(500);
        for n in 1..=500 {
            play.stage(&format!("node{n}"), "0.9");
        }
        play.start("node500", "0.9", "testpage-515849216a-00500");
        play.stop("node1", "testpage-230767614a-00001");
        for n in 1..499 {
            play.start(
                &format!("node{n}"),
                "0.9",
                &format!("testpage-515849216a-{n:05}"),
            );
            play.stop(
                &format!("node{}", n + 1),
                &format!("testpage-230767614a-{:05}", n + 1),
            );
        }
        play.then(
            0,
            Event::RolloutFinished {
                outcome: Outcome::Succeeded,
            },
        );
        let output = output(&play, 500);
        let (ready, rest): (Vec<_>, Vec<_>) =
            output.lines().partition(|line| line.contains("  ready  "));
        assert_eq!(ready.len(), 499, "one line per instance");
        insta::assert_snapshot!(rest.join("\n"), @r#"
        10:42:24  testpage 0.9 (revision 2) on local: 499 replicas (now 499 on 0.8)
        10:42:24  Waiting for deployment spec update to be observed...
        10:42:24  staging 0.9 on the hosts
        10:42:34  staged 0.9 on 50 of 500 hosts (10%)
        10:42:44  staged 0.9 on 100 of 500 hosts (20%)
        10:42:54  staged 0.9 on 150 of 500 hosts (30%)
        10:43:04  staged 0.9 on 200 of 500 hosts (40%)
        10:43:14  staged 0.9 on 250 of 500 hosts (50%)
        10:43:24  staged 0.9 on 300 of 500 hosts (60%)
        10:43:34  staged 0.9 on 350 of 500 hosts (70%)
        10:43:44  staged 0.9 on 400 of 500 hosts (80%)
        10:43:54  staged 0.9 on 450 of 500 hosts (90%)
        10:44:04  staged 0.9 on 500 of 500 hosts (100%)
        10:44:04  Waiting for deployment "testpage" rollout to finish: 1 out of 499 new replicas have been updated...
        10:45:08  Waiting for deployment "testpage" rollout to finish: 50 out of 499 new replicas have been updated...
        10:46:13  Waiting for deployment "testpage" rollout to finish: 100 out of 499 new replicas have been updated...
        10:47:18  Waiting for deployment "testpage" rollout to finish: 150 out of 499 new replicas have been updated...
        10:48:23  Waiting for deployment "testpage" rollout to finish: 200 out of 499 new replicas have been updated...
        10:49:28  Waiting for deployment "testpage" rollout to finish: 250 out of 499 new replicas have been updated...
        10:50:33  Waiting for deployment "testpage" rollout to finish: 300 out of 499 new replicas have been updated...
        10:51:38  Waiting for deployment "testpage" rollout to finish: 350 out of 499 new replicas have been updated...
        10:52:43  Waiting for deployment "testpage" rollout to finish: 400 out of 499 new replicas have been updated...
        10:53:48  Waiting for deployment "testpage" rollout to finish: 450 out of 499 new replicas have been updated...
        10:54:52  Waiting for deployment "testpage" rollout to finish: 1 old replicas are pending termination...
        10:54:52  deployment "testpage" successfully rolled out
        10:54:52  testpage 0.9 (revision 2): 499 of 499 available in 12m28s
        "#);
    }

    #[test]
    fn answer_cannot_forge_a_line() {
        let mut play = Play::begin(4);
        play.then(
            0,
            Event::HostLost {
                host: "node4".into(),
                why: "gone\n10:42:24  all is well\u{1b}[1A".into(),
            },
        );
        assert_eq!(
            output(&play, 4).lines().last(),
            Some("10:42:24  node4       lost      gone 10:42:24  all is well[1A")
        );
    }
}
