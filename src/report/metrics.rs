//! Metrics about the last run in the text format of Prometheus, for the textfile collector of
//! `node_exporter`.

use std::fmt::Write as _;

use crate::core::journal::notification::Notification;
use crate::core::time::Time;

/// All outcomes of a run: the metric of one is 1, the others are 0.
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
    pub notification: &'a Notification,
    pub began: Time,
    pub ended: Time,
    /// When the last successful rollout ended.
    pub succeeded: Option<Time>,
    /// Desired and available instances at the end, if there was a rollout.
    pub instances: Option<(u32, u32)>,
    /// Requests of the availability monitor, and how many failed.
    pub monitored: Option<(u64, u64)>,
    /// Open requests at drains: those that finished, and those that were cut at the deadline.
    pub drained: Option<(u64, u64)>,
}

impl Metrics<'_> {
    pub fn text(&self) -> String {
        let mut page = MetricsPage::about(self.notification);
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
            "Outcome of the last run: 1 for this outcome, 0 for the others.",
        );
        for known in OUTCOMES {
            page.line(
                "ship_last_run_outcome",
                &format!("outcome=\"{known}\""),
                if known == self.notification.outcome {
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
            text(&self.notification.version),
            text(&self.notification.previous_version),
            number(self.notification.revision.map(i64::from)),
            number(self.notification.rollout),
            escaped(&self.notification.verb),
        );
        page.head(
            "ship_last_run_info",
            "Versions, revision and verb of the last run.",
        );
        page.line("ship_last_run_info", &info, "1");
    }

    /// The exit code and the times.
    fn run_gauges(&self) -> [Gauge; 5] {
        let duration = self.ended.since(self.began).as_secs_f64();
        [
            Gauge {
                name: "ship_last_run_exit_code",
                help: "Exit code of the last run.",
                value: Some(self.notification.exit_code.to_string()),
            },
            Gauge {
                name: "ship_last_run_begin_timestamp_seconds",
                help: "Start of the last run.",
                value: Some(seconds(self.began)),
            },
            Gauge {
                name: "ship_last_run_end_timestamp_seconds",
                help: "End of the last run.",
                value: Some(seconds(self.ended)),
            },
            Gauge {
                name: "ship_last_run_duration_seconds",
                help: "Duration of the last run.",
                value: Some(format!("{duration:.3}")),
            },
            Gauge {
                name: "ship_last_success_timestamp_seconds",
                help: "End of the last successful rollout.",
                value: self.succeeded.map(seconds),
            },
        ]
    }

    /// The instances and the requests.
    fn service_gauges(&self) -> [Gauge; 6] {
        let (desired, available) = self.instances.unzip();
        let (requests, failed) = self.monitored.unzip();
        let (ended, cut) = self.drained.unzip();
        [
            Gauge {
                name: "ship_instances_desired",
                help: "Instances that the service should have.",
                value: desired.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_instances_available",
                help: "Instances that were available at the end of the last run.",
                value: available.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_last_run_monitor_requests",
                help: "Requests of the availability monitor in the last run.",
                value: requests.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_last_run_monitor_failed",
                help: "Requests of the availability monitor that failed in the last run.",
                value: failed.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_last_run_drained_requests",
                help: "Requests that finished during drains in the last run.",
                value: ended.map(|count| count.to_string()),
            },
            Gauge {
                name: "ship_last_run_cut_requests",
                help: "Requests that were cut at a drain deadline in the last run.",
                value: cut.map(|count| count.to_string()),
            },
        ]
    }
}

/// One metric; omitted without a value.
struct Gauge {
    name: &'static str,
    help: &'static str,
    value: Option<String>,
}

struct MetricsPage {
    text: String,
    /// The labels of every line.
    labels: String,
}

impl MetricsPage {
    fn about(notification: &Notification) -> Self {
        let (service, fleet) = (escaped(&notification.service), escaped(&notification.fleet));
        Self {
            text: String::new(),
            labels: format!("service=\"{service}\",fleet=\"{fleet}\""),
        }
    }

    fn head(&mut self, name: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} gauge");
    }

    fn line(&mut self, name: &str, labels: &str, value: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let _ = writeln!(
            self.text,
            "{name}{{{}{comma}{labels}}} {value}",
            self.labels
        );
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

/// The value of a label with the escapes of the format.
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
    fn metrics_have_the_prometheus_text_format() {
        let notification = Notification {
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
            notification: &notification,
            began: Time(1_489_027_344_000),
            ended: Time(1_489_027_375_120),
            succeeded: None,
            instances: Some((3, 2)),
            monitored: Some((12_431, 0)),
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
        ship_last_run_monitor_requests{service="page",fleet="a \"b\"\\\n"} 12431
        ship_last_run_monitor_failed{service="page",fleet="a \"b\"\\\n"} 0
        "#);
        assert!(
            text.starts_with("# HELP ship_last_run_outcome Outcome of the last run"),
            "{text}"
        );
        assert_eq!(text.matches("# TYPE").count(), 10, "{text}");
    }
}
