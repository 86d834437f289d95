//! The lines about the availability monitor in the summary of a rollout.

use super::clock::LocalClock;
use super::failure::labelled;
use super::text;
use crate::core::availability::{AvailabilityReport, grouped};

/// The lines below the summary. The last one is the result.
pub(super) fn lines(report: &AvailabilityReport, clock: &LocalClock) -> Vec<String> {
    let at = |time| clock.time_of_day(time);
    let count =
        |n: u64, noun: &str| format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" });
    let mut lines = Vec::new();
    for answers in &report.answers {
        let version = answers.version.as_deref().unwrap_or("an unknown version");
        let when = if answers.first == answers.last {
            format!("at {}", at(answers.first))
        } else {
            format!("from {} to {}", at(answers.first), at(answers.last))
        };
        lines.push(labelled(
            "served",
            &format!("{} by {version}, {when}", count(answers.count, "request")),
        ));
    }
    lines.extend(
        report
            .failures
            .iter()
            .map(|request| labelled("failed", &format!("{} {}", at(request.at), request.why))),
    );
    let listed = u64::try_from(report.failures.len()).unwrap_or(u64::MAX);
    if report.failed > listed {
        lines.push(labelled(
            "failed",
            &format!("and {} more", grouped(report.failed - listed)),
        ));
    }
    if let Some(from) = report.counted_from {
        if report.early > 0 {
            let early = count(report.early, "request");
            lines.push(labelled(
                "early",
                &format!(
                    "{early} before the first answer at {}, not counted",
                    at(from)
                ),
            ));
        }
        if report.unmade > 0 {
            let reason = report.trouble.as_deref().unwrap_or_default();
            lines.push(labelled(
                "not sent",
                &format!("{}, not counted: {reason}", count(report.unmade, "request")),
            ));
        }
    }
    lines.push(labelled("monitor", &report.to_string()));
    lines.iter().map(|line| text::clean(line)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::testing::START;
    use super::*;
    use crate::core::availability::{Answer, Tally};

    fn shown(tally: &Tally) -> String {
        lines(&tally.report(), &LocalClock::ahead(8)).join("\n")
    }

    fn served(ms: u64, version: Option<&str>) -> Answer {
        Answer::Served {
            took: Duration::from_millis(ms),
            version: version.map(str::to_owned),
        }
    }

    fn failed(why: &str) -> Answer {
        Answer::Failed {
            why: why.to_owned(),
        }
    }

    #[test]
    fn summary_ends_with_the_result() {
        let mut tally = Tally::new(0);
        for n in 0..12_431 {
            let (ms, version) = (
                if n % 50 == 0 { 4 } else { 1 },
                if n < 3000 { "0.8" } else { "0.9" },
            );
            tally.add(START + Duration::from_millis(n), served(ms, Some(version)));
        }
        insta::assert_snapshot!(shown(&tally), @r"
        served: 3,000 requests by 0.8, from 10:42:24 to 10:42:26
        served: 9,431 requests by 0.9, from 10:42:27 to 10:42:36
        monitor: 0 of 12,431 requests failed (p50 1 ms, p99 4 ms)
        ");
    }

    #[test]
    fn summary_lists_failed_requests_with_time_and_reason() {
        let mut tally = Tally::new(3);
        tally.add(START, failed("connection refused"));
        tally.add(START + Duration::from_secs(1), served(1, None));
        for n in 2..9 {
            tally.add(
                START + Duration::from_secs(n),
                failed("connection reset\n\u{1b}[1Aall is well"),
            );
        }
        tally.add(
            START,
            Answer::NotSent {
                why: "too many open files".to_owned(),
            },
        );
        insta::assert_snapshot!(shown(&tally), @r"
        served: 1 request by an unknown version, at 10:42:25
        failed: 10:42:26 connection reset [1Aall is well
        failed: 10:42:27 connection reset [1Aall is well
        failed: 10:42:28 connection reset [1Aall is well
        failed: 10:42:29 connection reset [1Aall is well
        failed: 10:42:30 connection reset [1Aall is well
        failed: and 2 more
        early: 1 request before the first answer at 10:42:25, not counted
        not sent: 1 request, not counted: too many open files
        monitor: 7 of 8 requests failed (p50 1 ms, p99 1 ms)
        ");
    }

    #[test]
    fn summary_without_answers_is_not_a_success() {
        let mut tally = Tally::new(0);
        tally.add(START, failed("connection refused"));
        insta::assert_snapshot!(shown(&tally), @"monitor: no request got the expected answer, so none counts (1 sent); last error: connection refused");
    }
}
