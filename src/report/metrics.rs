//! What the last run came to, for a monitor: Prometheus' text format, for the textfile collector of
//! `node_exporter`.

use std::fmt::Write as _;

use crate::core::journal::notification::Notice;
use crate::core::time::Time;

/// How a run can end, in a word: one of them is 1, the others are 0.
const OUTCOMES: [&str; 10] = [
    "succeeded",
    "rolled-back",
    "held",
    "rollback-failed",
    "fenced",
    "interrupted",
    "closed",
    "paused",
    "skipped",
    "refused",
];

#[derive(Debug)]
pub struct Metrics<'a> {
    pub notice: &'a Notice,
    pub began: Time,
    pub ended: Time,
    /// When a rollout succeeded last, if one has.
    pub succeeded: Option<Time>,
    /// Instances wanted and available at its end, where there was a rollout.
    pub instances: Option<(u32, u32)>,
    /// Requests that were made all the while, and those of them that failed.
    pub probed: Option<(u64, u64)>,
    /// Requests of what was taken out of traffic: those that ended by themselves, and those that
    /// were cut.
    pub drained: Option<(u64, u64)>,
}

impl Metrics<'_> {
    pub fn text(&self) -> String {
        let Notice {
            service,
            fleet,
            outcome,
            exit_code,
            ..
        } = self.notice;
        let whose = format!(
            "service=\"{}\",fleet=\"{}\"",
            escaped(service),
            escaped(fleet)
        );
        let mut page = MetricsPage {
            text: String::new(),
            whose,
        };
        page.head(
            "ship_last_run_outcome",
            "How the last run ended: 1 for that outcome, 0 for the others.",
        );
        for known in OUTCOMES {
            page.line(
                "ship_last_run_outcome",
                &format!("outcome=\"{known}\""),
                if known == outcome { "1" } else { "0" },
            );
        }
        let text = |text: &Option<String>| escaped(text.as_deref().unwrap_or_default());
        let number =
            |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let info = format!(
            "version=\"{}\",previous_version=\"{}\",revision=\"{}\",rollout=\"{}\",verb=\"{}\"",
            text(&self.notice.version),
            text(&self.notice.previous_version),
            number(self.notice.revision.map(i64::from)),
            number(self.notice.rollout),
            escaped(&self.notice.verb),
        );
        page.head("ship_last_run_info", "What the last run was about.");
        page.line("ship_last_run_info", &info, "1");
        page.gauge(
            "ship_last_run_exit_code",
            "What its caller was told.",
            Some(exit_code.to_string()),
        );
        page.gauge(
            "ship_last_run_begin_timestamp_seconds",
            "When it began.",
            Some(seconds(self.began)),
        );
        page.gauge(
            "ship_last_run_end_timestamp_seconds",
            "When it ended.",
            Some(seconds(self.ended)),
        );
        let duration = self.ended.since(self.began).as_secs_f64();
        page.gauge(
            "ship_last_run_duration_seconds",
            "How long it took.",
            Some(format!("{duration:.3}")),
        );
        let succeeded = self.succeeded.map(seconds);
        page.gauge(
            "ship_last_success_timestamp_seconds",
            "When a rollout ended well last.",
            succeeded,
        );
        let of = |pair: Option<(u32, u32)>, which: fn((u32, u32)) -> u32| {
            pair.map(which).map(|n| n.to_string())
        };
        page.gauge(
            "ship_instances_desired",
            "Instances wanted.",
            of(self.instances, |(desired, _)| desired),
        );
        page.gauge(
            "ship_instances_available",
            "Instances that served at its end.",
            of(self.instances, |(_, n)| n),
        );
        let of = |pair: Option<(u64, u64)>, which: fn((u64, u64)) -> u64| {
            pair.map(which).map(|n| n.to_string())
        };
        page.gauge(
            "ship_last_run_probe_requests",
            "Requests made all the while.",
            of(self.probed, |(all, _)| all),
        );
        page.gauge(
            "ship_last_run_probe_failed",
            "Those that failed.",
            of(self.probed, |(_, failed)| failed),
        );
        let ended = "Requests under way at a drain that ended by themselves.";
        page.gauge(
            "ship_last_run_drained_requests",
            ended,
            of(self.drained, |(ended, _)| ended),
        );
        page.gauge(
            "ship_last_run_cut_requests",
            "Those that were cut at the deadline.",
            of(self.drained, |(_, cut)| cut),
        );
        page.text
    }
}

struct MetricsPage {
    text: String,
    /// The labels of every line.
    whose: String,
}

impl MetricsPage {
    fn head(&mut self, name: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn line(&mut self, name: &str, labels: &str, value: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let _ = writeln!(self.text, "{name}{{{}{comma}{labels}}} {value}", self.whose);
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<String>) {
        if let Some(value) = value {
            self.head(name, help);
            self.line(name, "", &value);
        }
    }
}

fn seconds(time: Time) -> String {
    format!("{}.{:03}", time.0 / 1000, time.0 % 1000)
}

/// A label's value, as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::journal::notification::Occasion;

    #[test]
    fn a_run_is_told_in_prometheus_text() {
        let notice = Notice {
            occasion: Occasion::Failure,
            outcome: "rolled-back".into(),
            summary: String::new(),
            service: "page".into(),
            fleet: "a \"b\"\\\n".into(),
            verb: "deploy".into(),
            version: Some("0.9".into()),
            previous_version: None,
            revision: Some(2),
            rollout: Some(7),
            who: String::new(),
            began: String::new(),
            ended: String::new(),
            duration_s: 0.0,
            when: String::new(),
            exit_code: 3,
            why: None,
            next: None,
            report: None,
        };
        let metrics = Metrics {
            notice: &notice,
            began: Time(1_489_027_344_000),
            ended: Time(1_489_027_375_120),
            succeeded: None,
            instances: Some((3, 2)),
            probed: Some((12_431, 0)),
            drained: None,
        };
        let text = metrics.text();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="succeeded"} 0
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="rolled-back"} 1
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="held"} 0
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="rollback-failed"} 0
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="fenced"} 0
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="interrupted"} 0
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="closed"} 0
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="paused"} 0
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="skipped"} 0
        ship_last_run_outcome{service="page",fleet="a \"b\"\\\n",outcome="refused"} 0
        ship_last_run_info{service="page",fleet="a \"b\"\\\n",version="0.9",previous_version="",revision="2",rollout="7",verb="deploy"} 1
        ship_last_run_exit_code{service="page",fleet="a \"b\"\\\n"} 3
        ship_last_run_begin_timestamp_seconds{service="page",fleet="a \"b\"\\\n"} 1489027344.000
        ship_last_run_end_timestamp_seconds{service="page",fleet="a \"b\"\\\n"} 1489027375.120
        ship_last_run_duration_seconds{service="page",fleet="a \"b\"\\\n"} 31.120
        ship_instances_desired{service="page",fleet="a \"b\"\\\n"} 3
        ship_instances_available{service="page",fleet="a \"b\"\\\n"} 2
        ship_last_run_probe_requests{service="page",fleet="a \"b\"\\\n"} 12431
        ship_last_run_probe_failed{service="page",fleet="a \"b\"\\\n"} 0
        "#);
        assert!(
            text.starts_with("# HELP ship_last_run_outcome How the last run ended"),
            "{text}"
        );
        assert_eq!(text.matches("# TYPE").count(), 10, "{text}");
    }
}
