//! The availability monitor: counts the answers to the requests that ship sends during a rollout.
//!
//! The module `probe` sends the requests. They count from the first one with the expected answer,
//! because the service may not exist before.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::Time;

/// The number of failed requests whose reason is kept. The first ones show the cause.
const FAILURES_KEPT_MAX: usize = 5;
/// The number of versions that are counted separately. A service may send any text as its version.
const VERSIONS_MAX: usize = 16;

/// The settings of the availability monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSettings {
    /// The URL of the requests, which go through the balancers.
    pub url: String,
    /// The time from the start of one request to the start of the next.
    pub interval: Duration,
    /// The time limit of one request.
    pub timeout: Duration,
    /// Failed requests that a rollout tolerates.
    pub max_failed_requests: u32,
    /// The only status that passes; without one, any from 200 to 399 does.
    pub status: Option<u16>,
    /// Clients that send requests in turn: the first keeps its connection, the second opens a new
    /// one for each request, and so on.
    pub connections: u32,
    /// The header of an answer that names the version.
    pub version_header: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The expected answer.
    Served {
        /// The time from the request to the last byte of the answer.
        took: Duration,
        /// The version that answered, if the answer named one.
        version: Option<String>,
    },
    /// The answer was wrong, or none came.
    Failed { why: String },
    /// The request could not be sent, for a reason on this machine.
    NotSent { why: String },
}

/// Counts of all answers, in bounded memory.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    max_failed_requests: u32,
    requests: u64,
    failed: u64,
    early: u64,
    unmade: u64,
    counted_from: Option<Time>,
    trouble: Option<String>,
    failures: Vec<FailedRequest>,
    answers: BTreeMap<Option<String>, VersionAnswers>,
    times: Histogram,
}

/// A summary of all answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AvailabilityReport {
    /// Requests that count.
    pub requests: u64,
    /// Counted requests that failed.
    pub failed: u64,
    /// Failures that are allowed.
    #[serde(alias = "max_failed")]
    pub max_failed_requests: u32,
    /// The median latency of the served requests, approximately, in ms, at least 1.
    pub p50_ms: Option<u64>,
    /// The 99th percentile of the latency of the served requests, approximately.
    pub p99_ms: Option<u64>,
    /// When the first request with the expected answer was sent; `None` before that.
    pub counted_from: Option<Time>,
    /// Requests that failed before `counted_from` and do not count.
    pub early: u64,
    /// Requests that could not be sent, for a reason on this machine.
    pub unmade: u64,
    /// Why the last request that does not count failed.
    pub trouble: Option<String>,
    /// The first failures.
    pub failures: Vec<FailedRequest>,
    /// The versions that answered, ordered by their first answer.
    pub answers: Vec<VersionAnswers>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FailedRequest {
    /// When the request was sent.
    pub at: Time,
    /// What was received instead of the expected answer.
    pub why: String,
}

/// The answers of one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VersionAnswers {
    /// `None` for answers that do not name a version.
    pub version: Option<String>,
    pub count: u64,
    /// When the first of these requests was sent.
    pub first: Time,
    /// When the last of these requests was sent.
    pub last: Time,
}

impl Tally {
    /// An empty tally. `max_failed_requests` may fail.
    pub fn new(max_failed_requests: u32) -> Self {
        Self {
            max_failed_requests,
            ..Self::default()
        }
    }

    /// Counts a request that was sent at `at`, and its answer.
    pub fn add(&mut self, at: Time, answer: Answer) {
        match answer {
            Answer::Served { took, version } => {
                self.counted_from.get_or_insert(at);
                self.requests += 1;
                self.times.add(took);
                self.count_version(at, version);
            }
            Answer::Failed { why } if self.counted_from.is_some_and(|from| at >= from) => {
                self.requests += 1;
                self.failed += 1;
                let index = self.failures.partition_point(|failed| failed.at <= at);
                self.failures.insert(index, FailedRequest { at, why });
                self.failures.truncate(FAILURES_KEPT_MAX);
            }
            Answer::Failed { why } => {
                self.early += 1;
                self.trouble = Some(why);
            }
            Answer::NotSent { why } => {
                self.unmade += 1;
                self.trouble = Some(why);
            }
        }
    }

    fn count_version(&mut self, at: Time, version: Option<String>) {
        let exceeds_limit =
            !self.answers.contains_key(&version) && self.answers.len() >= VERSIONS_MAX;
        let version = version.filter(|_| !exceeds_limit);
        let empty = VersionAnswers {
            version: version.clone(),
            count: 0,
            first: at,
            last: at,
        };
        let answers = self.answers.entry(version).or_insert(empty);
        answers.count += 1;
        answers.first = answers.first.min(at);
        answers.last = answers.last.max(at);
    }

    /// Whether more requests failed than allowed.
    pub fn is_breached(&self) -> bool {
        self.failed > u64::from(self.max_failed_requests)
    }

    /// The counts so far.
    pub fn report(&self) -> AvailabilityReport {
        let mut answers: Vec<_> = self.answers.values().cloned().collect();
        answers.sort_by_key(|version| version.first);
        AvailabilityReport {
            requests: self.requests,
            failed: self.failed,
            max_failed_requests: self.max_failed_requests,
            p50_ms: self.times.percentile_ms(50),
            p99_ms: self.times.percentile_ms(99),
            counted_from: self.counted_from,
            early: self.early,
            unmade: self.unmade,
            trouble: self.trouble.clone(),
            failures: self.failures.clone(),
            answers,
        }
    }
}

impl AvailabilityReport {
    /// Whether more requests failed than allowed.
    pub fn is_breached(&self) -> bool {
        self.failed > u64::from(self.max_failed_requests)
    }
}

impl fmt::Display for AvailabilityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests,
            failed,
            early,
            unmade,
            ..
        } = *self;
        if self.counted_from.is_none() {
            write!(
                f,
                "no request got the expected answer, so none counts ({} sent",
                grouped(early)
            )?;
            if unmade > 0 {
                write!(f, ", {} could not be sent", grouped(unmade))?;
            }
            let last = self
                .trouble
                .as_ref()
                .map(|why| format!("; last error: {why}"));
            return write!(f, "){}", last.unwrap_or_default());
        }
        write!(
            f,
            "{} of {} requests failed",
            grouped(failed),
            grouped(requests)
        )?;
        match (self.p50_ms, self.p99_ms) {
            (Some(p50), Some(p99)) => {
                write!(f, " (p50 {} ms, p99 {} ms)", grouped(p50), grouped(p99))
            }
            _ => Ok(()),
        }
    }
}

/// A number with commas between its thousands: `12,431`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(String::from_utf8_lossy)
        .collect();
    groups.join(",")
}

/// The first known version in a text, as a whole word, with or without a leading `v`.
pub fn version_in<'a>(text: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    let is_word_char = |c: char| c.is_ascii_alphanumeric() || is_version_separator(c);
    let is_separator = |c: char| is_version_separator(c);
    text.split(|c: char| !is_word_char(c))
        .map(|word| word.trim_matches(is_separator))
        .find_map(|word| {
            let bare = word.strip_prefix(['v', 'V']).unwrap_or(word);
            known
                .get(word)
                .or_else(|| known.get(bare))
                .map(String::as_str)
        })
}

/// Whether a character may separate the parts of a version, as in `1.0-rc1`.
fn is_version_separator(c: char) -> bool {
    matches!(c, '.' | '_' | '+' | '~' | '-')
}

/// A histogram of durations with a precision of about 3 percent.
#[derive(Clone, Debug, Default)]
struct Histogram {
    /// The counts by bucket. There are at most 64 times [`STEPS`] buckets.
    buckets: BTreeMap<u64, u64>,
    count: u64,
}

/// The number of buckets between a duration and twice that duration.
const STEPS: u64 = 32;

impl Histogram {
    fn add(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket(us)).or_default() += 1;
        self.count += 1;
    }

    /// The percentile of the durations in whole ms, at least 1, approximately.
    fn percentile_ms(&self, percent: u64) -> Option<u64> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut passed = 0;
        let (bucket, _) = self.buckets.iter().find(|(_, count)| {
            passed += **count;
            passed >= rank
        })?;
        let middle_us = bounds(*bucket).0.midpoint(bounds(*bucket).1);
        Some((middle_us.saturating_add(500) / 1000).max(1))
    }
}

/// The bucket of a duration. Each short duration has its own bucket; above them, each doubling has
/// [`STEPS`] buckets.
fn bucket(us: u64) -> u64 {
    let halvings = u64::from((us | 1).ilog2()).saturating_sub(u64::from(STEPS.ilog2()));
    halvings * STEPS + (us >> halvings)
}

/// The shortest and the longest duration of a bucket, in µs.
fn bounds(bucket: u64) -> (u64, u64) {
    let halvings = (bucket / STEPS).saturating_sub(1);
    let shortest = (bucket - halvings * STEPS) << halvings;
    (shortest, shortest + ((1 << halvings) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(version: &str) -> Answer {
        Answer::Served {
            took: Duration::from_micros(700),
            version: Some(version.to_owned()),
        }
    }

    fn lost(why: &str) -> Answer {
        Answer::Failed {
            why: why.to_owned(),
        }
    }

    #[test]
    fn requests_count_from_the_first_that_is_answered() {
        let mut tally = Tally::new(0);
        tally.add(Time(1), lost("connection refused"));
        tally.add(Time(2), lost("HTTP 503"));
        assert_eq!(
            tally.report().to_string(),
            "no request got the expected answer, so none counts (2 sent); last error: HTTP 503"
        );
        tally.add(Time(3), served("0.8"));
        // Sent before the first answer, and counted after it.
        tally.add(Time(2), lost("no answer within 2s"));
        let report = tally.report();
        assert_eq!(
            report.to_string(),
            "0 of 1 requests failed (p50 1 ms, p99 1 ms)"
        );
        assert_eq!(
            (report.counted_from, report.early, report.is_breached()),
            (Some(Time(3)), 3, false)
        );
        tally.add(Time(4), lost("connection reset"));
        assert!(tally.is_breached() && tally.report().is_breached());
        assert_eq!(
            tally.report().failures,
            [FailedRequest {
                at: Time(4),
                why: "connection reset".to_owned()
            }]
        );
    }

    #[test]
    fn limit_is_breached_by_the_first_failure_beyond_it() {
        let mut tally = Tally::new(2);
        tally.add(Time(0), served("0.8"));
        for at in 1..=2 {
            tally.add(Time(at), lost("HTTP 500"));
            assert!(!tally.is_breached());
        }
        tally.add(
            Time(3),
            Answer::NotSent {
                why: "too many open files".to_owned(),
            },
        );
        assert!(
            !tally.is_breached(),
            "a problem of this machine is not a failure of the service"
        );
        tally.add(Time(4), lost("HTTP 500"));
        assert!(tally.is_breached());
    }

    #[test]
    fn first_failures_are_kept_in_the_order_of_their_requests() {
        let mut tally = Tally::new(0);
        tally.add(Time(0), served("0.8"));
        for at in (1..=9).rev() {
            tally.add(Time(at), lost(&at.to_string()));
        }
        let kept: Vec<_> = tally
            .report()
            .failures
            .into_iter()
            .map(|lost| lost.at.0)
            .collect();
        assert_eq!(kept, [1, 2, 3, 4, 5]);
        assert_eq!(tally.report().failed, 9);
    }

    #[test]
    fn versions_are_counted_separately_up_to_a_limit() {
        let mut tally = Tally::new(0);
        for (at, version) in [(5, "0.9"), (1, "0.8"), (7, "0.8"), (6, "0.9")] {
            tally.add(Time(at), served(version));
        }
        let received = |version: &str, first, last| VersionAnswers {
            version: Some(version.to_owned()),
            count: 2,
            first: Time(first),
            last: Time(last),
        };
        assert_eq!(
            tally.report().answers,
            [received("0.8", 1, 7), received("0.9", 5, 6)]
        );
        for at in 0..100 {
            tally.add(Time(at), served(&format!("build {at}")));
        }
        let answers = tally.report().answers;
        assert_eq!(answers.len(), VERSIONS_MAX + 1);
        assert_eq!(
            answers.iter().map(|received| received.count).sum::<u64>(),
            104
        );
    }

    #[test]
    fn version_is_found_as_a_whole_word() {
        let known = ["0.8", "0.9", "1.0-rc1", "v2"].map(str::to_owned).into();
        let found = |text| version_in(text, &known);
        assert_eq!(
            found("I am: 127.0.0.8, the version is: 0.9.\n"),
            Some("0.9")
        );
        assert_eq!(found(r#"{"version":"0.8","next":"0.9"}"#), Some("0.8"));
        assert_eq!(found("page/v0.8 (linux)"), Some("0.8"));
        assert_eq!(found("1.0-rc1"), Some("1.0-rc1"));
        assert_eq!(found("running v2"), Some("v2"));
        assert_eq!(found("0.81, 10.8, 0.8.1, 0.9-rc1, x0.9"), None);
        assert_eq!(found(""), None);
    }

    #[test]
    fn thousands_have_commas() {
        assert_eq!(
            [0, 999, 1000, 12_431, 1_000_000].map(grouped),
            ["0", "999", "1,000", "12,431", "1,000,000"]
        );
    }

    #[test]
    fn every_duration_lies_in_a_narrow_bucket() {
        let near_powers = (0..64)
            .flat_map(|power| (-1..=1).map(move |by| (1_u64 << power).wrapping_add_signed(by)));
        for us in near_powers.chain(0..5000).chain([u64::MAX]) {
            let (shortest, longest) = bounds(bucket(us));
            assert!(
                (shortest..=longest).contains(&us) && longest - shortest <= us / STEPS,
                "{us}"
            );
            assert_eq!(
                (bucket(shortest), bucket(longest)),
                (bucket(us), bucket(us))
            );
            assert!(
                longest == u64::MAX || bucket(longest + 1) == bucket(us) + 1,
                "{us}"
            );
        }
    }
}
