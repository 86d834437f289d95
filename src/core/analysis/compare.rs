//! The comparison of new with old instances over the same time: whether the new ones fail more
//! often or respond more slowly than chance explains.
//!
//! The requests of the last minute count. If either side had fewer than 200 requests, a longer time
//! counts.
//!
//! *Errors.* The new instances fail more often if their error rate exceeds that of the old ones by
//! more than the tolerance, and if equal versions would show a difference that large in fewer than
//! 1 of 2,000 comparisons (Fisher's exact test, one-sided). With few requests, the difference must
//! be large; with many, a small one is enough.
//!
//! *Latency.* Only means are known. The mean of the new instances is too high if it exceeds the
//! tolerated mean by more than 5 ms and by more than 3.3 standard errors, assuming that the
//! standard deviation equals the mean, as in an exponential distribution.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::core::analysis::measurement::{Finding, Measurement, Number};
use crate::core::fleet::Fleet;
use crate::core::fleet::traffic::Counters;
use crate::core::ids::{HostId, InstanceId, ReleaseId, Slot};
use crate::core::time::Time;

/// How much worse than old instances new ones may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// The largest increase of the error rate, in percentage points.
    pub error_points: Number,
    /// The largest increase of the mean latency, in percent of the old instances' mean.
    pub latency_percent: Number,
    /// With fewer requests on either side the comparison is inconclusive.
    pub min_requests: u32,
}

/// Counted requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    pub requests: u64,
    /// Failed requests.
    pub errors: u64,
    /// Requests whose latency is known.
    pub timed: u64,
    /// The sum of these latencies, in ms.
    pub total_ms: u64,
}

/// The requests to new and to old instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Requests to instances of the target release.
    pub new: RequestCounts,
    /// Requests to all other instances.
    pub old: RequestCounts,
}

/// The counts of requests over time.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The last counters of each balancer for each instance.
    last_counters: BTreeMap<(HostId, Slot), (InstanceId, Counters)>,
    total: Sides,
    /// The totals at earlier measurements, the oldest first.
    earlier: VecDeque<(Time, Sides)>,
}

/// Older requests count only if there are fewer than [`ENOUGH`] newer ones.
const WINDOW: Duration = Duration::from_mins(1);
/// Requests on each side that are enough to compare.
const ENOUGH: u64 = 200;
/// The largest probability that equal versions are judged as different.
const CHANCE: f64 = 0.0005;
/// The same limit for a normal distribution, in standard errors.
const STANDARD_ERRORS: f64 = 3.29;
/// A smaller difference of the means is ignored: it is within the precision of the measurement.
const DIFFERENCE_MS_MIN: f64 = 5.0;
/// The largest number of requests of which a balancer reports the mean latency.
const MEAN_OF: u64 = 1024;

impl RequestCounts {
    /// Counts a request that ship sent.
    pub fn count(&mut self, is_error: bool, took: Duration) {
        self.requests += 1;
        self.errors += u64::from(is_error);
        self.timed += u64::from(!is_error);
        self.total_ms += if is_error {
            0
        } else {
            u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
        };
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            errors: self.errors - earlier.errors,
            timed: self.timed - earlier.timed,
            total_ms: self.total_ms - earlier.total_ms,
        }
    }

    fn add_counted(&mut self, before: &Counters, now: &Counters) {
        let requests = now.requests - before.requests;
        self.requests += requests;
        self.errors += now.errors.saturating_sub(before.errors).min(requests);
        if let Some(mean) = now.mean_ms {
            self.timed += requests;
            self.total_ms += requests.saturating_mul(u64::from(mean));
        }
    }

    fn error_rate(&self) -> f64 {
        float(self.errors) / float(self.requests.max(1))
    }

    fn mean_ms(&self) -> f64 {
        float(self.total_ms) / float(self.timed.max(1))
    }
}

impl Ledger {
    /// Records the current counters of the balancers. The requests of an instance count from its
    /// first observation on.
    pub fn record_counters(&mut self, fleet: &Fleet, new: &ReleaseId) {
        for (id, balancer) in fleet
            .balancers
            .iter()
            .filter(|(_, balancer)| balancer.is_reachable())
        {
            for (slot, server) in &balancer.view.servers {
                let (Some(counters), Some(instance)) = (server.counters, fleet.instance(slot))
                else {
                    continue;
                };
                let present = (instance.name.clone(), counters);
                let Some((name, before)) = self
                    .last_counters
                    .insert((id.clone(), slot.clone()), present)
                else {
                    continue;
                };
                // A restarted balancer counts from 0.
                if name == instance.name && before.requests <= counters.requests {
                    let side = if instance.release == *new {
                        &mut self.total.new
                    } else {
                        &mut self.total.old
                    };
                    side.add_counted(&before, &counters);
                }
            }
        }
    }

    /// Counts a request that ship sent, for balancers that do not count requests.
    pub fn record_request(&mut self, is_new: bool, is_error: bool, took: Duration) {
        let side = if is_new {
            &mut self.total.new
        } else {
            &mut self.total.old
        };
        side.count(is_error, took);
    }

    /// The requests to compare now, and records the totals of this measurement.
    pub fn window(&mut self, now: Time) -> Sides {
        let since = |earlier: &Sides| Sides {
            new: self.total.new.since(earlier.new),
            old: self.total.old.since(earlier.old),
        };
        let is_enough = |(at, earlier): &(Time, Sides)| {
            let sides = since(earlier);
            now.since(*at) >= WINDOW && sides.new.requests.min(sides.old.requests) >= ENOUGH
        };
        if self.earlier.is_empty() {
            self.earlier.push_back((now, Sides::default()));
        }
        // Drop totals that are older than needed for enough requests.
        if let Some(first) = self.earlier.iter().rposition(is_enough) {
            self.earlier.drain(..first);
        }
        let sides = self
            .earlier
            .front()
            .map_or(self.total, |(_, first)| since(first));
        self.earlier.push_back((now, self.total));
        sides
    }
}

/// Compares the new instances with the old ones.
pub fn compare(sides: &Sides, tolerance: &Tolerance) -> Measurement {
    let Sides { new, old } = sides;
    let least = u64::from(tolerance.min_requests.max(1));
    if new.requests < least || old.requests < least {
        return Measurement::inconclusive(format!(
            "too few requests: {} to the new instances, {} to the old ones, at least {least} needed",
            new.requests, old.requests
        ));
    }
    let value = Number::new(new.error_rate());
    let errors = format!(
        "{} of {} failed, against {} of {}",
        percent(new.error_rate()),
        requests(new.requests),
        percent(old.error_rate()),
        old.requests
    );
    if fails_more(new, old, tolerance.error_points.get() / 100.0) {
        return Measurement {
            finding: Finding::Failure,
            detail: errors,
            value,
        };
    }
    let has_enough_latencies = new.timed >= least && old.timed >= least;
    if has_enough_latencies && is_slower(new, old, 1.0 + tolerance.latency_percent.get() / 100.0) {
        let detail = format!(
            "{:.0} ms on average over {}, against {:.0} ms over {}",
            new.mean_ms(),
            requests(new.timed),
            old.mean_ms(),
            old.timed
        );
        return Measurement {
            finding: Finding::Failure,
            detail,
            value: Number::new(new.mean_ms()),
        };
    }
    Measurement {
        finding: Finding::Success,
        detail: errors,
        value,
    }
}

fn fails_more(new: &RequestCounts, old: &RequestCounts, tolerated: f64) -> bool {
    new.error_rate() - old.error_rate() > tolerated && chance(new, old) < CHANCE
}

fn is_slower(new: &RequestCounts, old: &RequestCounts, tolerated: f64) -> bool {
    let (new_ms, most_ms) = (new.mean_ms(), old.mean_ms() * tolerated);
    let error = |mean: f64, timed: u64| mean * mean / float(timed.min(MEAN_OF));
    let standard_error = (error(new_ms, new.timed) + error(most_ms, old.timed)).sqrt();
    let excess = new_ms - most_ms;
    excess > DIFFERENCE_MS_MIN && excess > STANDARD_ERRORS * standard_error
}

/// The probability that the new instances have at least as many of all errors as observed, if both
/// versions are equal.
fn chance(new: &RequestCounts, old: &RequestCounts) -> f64 {
    let (all, errors) = (new.requests + old.requests, new.errors + old.errors);
    let most = errors.min(new.requests);
    let ways = |n: u64, k: u64| ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k);
    // The hypergeometric distribution, from the observed number of errors to the largest possible
    // one.
    let mut term = (ways(errors, new.errors) + ways(all - errors, new.requests - new.errors)
        - ways(all, new.requests))
    .exp();
    let mut sum = 0.0;
    for new_errors in new.errors..=most {
        sum += term;
        if term <= sum * f64::EPSILON {
            break;
        }
        let (left, right) = (
            float(errors - new_errors) * float(new.requests - new_errors),
            float(new_errors + 1),
        );
        term *= left / (right * float((old.requests + new_errors + 1).saturating_sub(errors)));
    }
    sum.min(1.0)
}

/// ln n!, by Stirling's series for large n.
fn ln_factorial(n: u64) -> f64 {
    const SMALL: u64 = 32;
    if n < SMALL {
        return (2..=n).map(|k| float(k).ln()).sum();
    }
    let x = float(n);
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    x * x.ln() - x + 0.5 * (std::f64::consts::TAU * x).ln() + series
}

fn percent(rate: f64) -> String {
    format!("{:.1} %", rate * 100.0)
}

fn requests(count: u64) -> String {
    if count == 1 {
        "1 request".to_owned()
    } else {
        format!("{count} requests")
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts beyond 2^53 need no exact value"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
