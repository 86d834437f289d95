//! What the last run came to, for a monitor: Prometheus' text format, for the textfile collector of
//! `node_exporter`.

use std::fmt::Write as _;

use crate::core::journal::notification::Notification;
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
    pub notice: &'a Notification,
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
        let mut page = MetricsPage::about(self.notice);
        self.write_outcome(&mut page);
        self.write_info(&mut page);
        for gauge in self.run_gauges().into_iter().chain(self.service_gauges()) {
            page.gauge(&gauge);
        }
        page.text
    }

    fn write_outcome(&self, page: &mut MetricsPage) {
        page.head(
            "ship_last_run_outcome",
            "How the last run ended: 1 for that outcome, 0 for the others.",
        );
        for known in OUTCOMES {
            page.line(
                "ship_last_run_outcome",
                &format!("outcome=\"{known}\""),
                if known == self.notice.outcome {
                    "1"
                } else {
                    "0"
                },
            );
        }
    }

    fn write_info(&self, page: &mut MetricsPage) {
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
    }

    /// How the run ended, and its times.
    fn run_gauges(&self) -> [Gauge; 5] {
        let duration = self.ended.since(self.began).as_secs_f64();
        [
            Gauge {
                name: "ship_last_run_exit_code",
                help: "What its caller was told.",
                value: Some(self.notice.exit_code.to_string()),
            },
            Gauge {
                name: "ship_last_run_begin_timestamp_seconds",
                help: "When it began.",
                value: Some(seconds(self.began)),
            },
            Gauge {
                name: "ship_last_run_end_timestamp_seconds",
                help: "When it ended.",
                value: Some(seconds(self.ended)),
            },
            Gauge {
                name: "ship_last_run_duration_seconds",
                help: "How long it took.",
                value: Some(format!("{duration:.3}")),
            },
            Gauge {
                name: "ship_last_success_timestamp_seconds",
                help: "When a rollout ended well last.",
                value: self.succeeded.map(seconds),
            },
        ]
    }

    /// The instances and their requests.
    fn service_gauges(&self) -> [Gauge; 6] {
        let (desired, available) = self.instances.unzip();
        let (requests, failed) = self.probed.unzip();
        let (ended, cut) = self.drained.unzip();
        [
            Gauge {
                name: "ship_instances_desired",
                help: "Instances wanted.",
                value: desired.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_instances_available",
                help: "Instances that served at its end.",
                value: available.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_last_run_probe_requests",
                help: "Requests made all the while.",
                value: requests.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_last_run_probe_failed",
                help: "Those that failed.",
                value: failed.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_last_run_drained_requests",
                help: "Requests under way at a drain that ended by themselves.",
                value: ended.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_last_run_cut_requests",
                help: "Those that were cut at the deadline.",
                value: cut.map(|count| count.to_string()),
            },
        ]
    }
}

/// One number; left out where there is none.
struct Gauge {
    name: &'static str,
    help: &'static str,
    value: Option<String>,
}

struct MetricsPage {
    text: String,
    /// The labels of every line.
    whose: String,
}

impl MetricsPage {
    fn about(notice: &Notification) -> Self {
        let (service, fleet) = (escaped(&notice.service), escaped(&notice.fleet));
        Self {
            text: String::new(),
            whose: format!("service=\"{service}\",fleet=\"{fleet}\""),
        }
    }

    fn head(&mut self, name: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn line(&mut self, name: &str, labels: &str, value: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let _ = writeln!(self.text, "{name}{{{}{comma}{labels}}} {value}", self.whose);
    }

    fn gauge(&mut self, gauge: &Gauge) {
        if let Some(value) = &gauge.value {
            self.head(gauge.name, gauge.help);
            self.line(gauge.name, "", value);
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
    use crate::core::journal::notification::NotificationKind;

    #[test]
    fn a_run_is_told_in_prometheus_text() {
        let notice = Notification {
            occasion: NotificationKind::Failure,
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
