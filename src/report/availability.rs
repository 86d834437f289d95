//! What a person is told at the end of the requests that were made all the while.

use super::clock::LocalClock;
use super::failure::labelled;
use super::text;
use crate::core::availability::{AvailabilityReport, grouped};

/// The lines below the last word; the very last is the one that matters.
pub(super) fn lines(report: &AvailabilityReport, clock: &LocalClock) -> Vec<String> {
    let at = |time| clock.time_of_day(time);
    let of = |many: u64, what: &str| {
        format!(
            "{} {what}{}",
            grouped(many),
            if many == 1 { "" } else { "s" }
        )
    };
    let mut lines = Vec::new();
    for heard in &report.answers {
        let who = heard.version.as_deref().unwrap_or("an unknown version");
        let when = if heard.first == heard.last {
            format!("at {}", at(heard.first))
        } else {
            format!("from {} to {}", at(heard.first), at(heard.last))
        };
        lines.push(labelled(
            "served",
            &format!("{} by {who}, {when}", of(heard.count, "request")),
        ));
    }
    lines.extend(
        report
            .failures
            .iter()
            .map(|lost| labelled("lost", &format!("{}  {}", at(lost.at), lost.why))),
    );
    let told = u64::try_from(report.failures.len()).unwrap_or(u64::MAX);
    if report.failed > told {
        lines.push(labelled(
            "lost",
            &format!("and {} more", grouped(report.failed - told)),
        ));
    }
    if let Some(from) = report.counted_from {
        if report.early > 0 {
            let early = of(report.early, "request");
            lines.push(labelled(
                "early",
                &format!(
                    "{early} before the first answer, at {}: not counted",
                    at(from)
                ),
            ));
        }
        if report.unmade > 0 {
            let why = report.trouble.as_deref().unwrap_or_default();
            lines.push(labelled(
                "unmade",
                &format!("{}, not counted: {why}", of(report.unmade, "request")),
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

    fn told(tally: &Tally) -> String {
        lines(&tally.report(), &LocalClock::ahead(8)).join("\n")
    }

    fn served(ms: u64, version: Option<&str>) -> Answer {
        Answer::Served {
            took: Duration::from_millis(ms),
            version: version.map(str::to_owned),
        }
    }

    fn lost(why: &str) -> Answer {
        Answer::Lost {
            why: why.to_owned(),
        }
    }

    #[test]
    fn all_well_ends_in_the_line_that_matters() {
        let mut tally = Tally::new(0);
        for n in 0..12_431 {
            let (ms, version) = (
                if n % 50 == 0 { 4 } else { 1 },
                if n < 3000 { "0.8" } else { "0.9" },
            );
            tally.take(START + Duration::from_millis(n), served(ms, Some(version)));
        }
        insta::assert_snapshot!(told(&tally), @r"
        served  3,000 requests by 0.8, from 10:42:24 to 10:42:26
        served  9,431 requests by 0.9, from 10:42:27 to 10:42:36
        monitor 0 of 12,431 requests failed (p50 1 ms, p99 4 ms)
        ");
    }

    #[test]
    fn what_was_lost_is_told_with_reasons_and_when() {
        let mut tally = Tally::new(3);
        tally.take(START, lost("connection refused"));
        tally.take(START + Duration::from_secs(1), served(1, None));
        for n in 2..9 {
            tally.take(
                START + Duration::from_secs(n),
                lost("connection reset\n\u{1b}[1Aall is well"),
            );
        }
        tally.take(
            START,
            Answer::Unmade {
                why: "too many open files".to_owned(),
            },
        );
        insta::assert_snapshot!(told(&tally), @r"
        served  1 request by an unknown version, at 10:42:25
        lost    10:42:26  connection reset [1Aall is well
        lost    10:42:27  connection reset [1Aall is well
        lost    10:42:28  connection reset [1Aall is well
        lost    10:42:29  connection reset [1Aall is well
        lost    10:42:30  connection reset [1Aall is well
        lost    and 2 more
        early   1 request before the first answer, at 10:42:25: not counted
        unmade  1 request, not counted: too many open files
        monitor 7 of 8 requests failed (p50 1 ms, p99 1 ms)
        ");
    }

    #[test]
    fn silence_is_not_told_as_success() {
        let mut tally = Tally::new(0);
        tally.take(START, lost("connection refused"));
        insta::assert_snapshot!(told(&tally), @"monitor no request was answered, so none counts \
                                                (1 made); the last: connection refused");
    }
}
