use super::*;
use crate::core::fleet::health::Health;
use crate::core::fleet::reach::Reach;
use crate::core::fleet::traffic::{Balancer, BalancerState, Server};
use crate::core::fleet::{Host, Instance, Occupant, Process, Sighting};
use crate::core::ids::Revision;

const TOLERANCE: f64 = 1.0;

fn tolerance() -> Tolerance {
    let number = |number| Number::new(number).unwrap();
    Tolerance {
        error_points: number(TOLERANCE),
        latency_percent: number(50.0),
        min_requests: 20,
    }
}

fn tally(requests: u64, errors: u64) -> RequestCounts {
    RequestCounts {
        requests,
        errors,
        ..RequestCounts::default()
    }
}

fn timed(requests: u64, mean_ms: u64) -> RequestCounts {
    RequestCounts {
        requests,
        errors: 0,
        timed: requests,
        total_ms: requests * mean_ms,
    }
}

fn judged(new: RequestCounts, old: RequestCounts) -> Finding {
    compare(&Sides { new, old }, &tolerance()).finding
}

/// A xorshift generator, which gives the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        float(self.0 >> 11) / float(1 << 53)
    }

    fn errors(&mut self, requests: u64, rate: f64) -> u64 {
        (0..requests).map(|_| u64::from(self.unit() < rate)).sum()
    }
}

#[test]
fn chance_is_fishers_exact_test() {
    // Computed with exact fractions.
    for (new, errors_new, old, errors_old, expected) in [
        (10, 10, 10, 0, 5.412_544e-6),
        (200, 5, 600, 0, 9.465_7e-4),
        (200, 10, 200, 0, 9.0e-4),
        (20, 0, 20, 0, 1.0),
        (3, 1, 3, 1, 0.8),
    ] {
        let chance = chance(&tally(new, errors_new), &tally(old, errors_old));
        assert!(
            (chance / expected - 1.0).abs() < 0.05,
            "{errors_new}/{new} {errors_old}/{old}: {chance}"
        );
    }
    let many = chance(&tally(10_000_000, 100_000), &tally(30_000_000, 300_000));
    assert!((0.4..0.6).contains(&many), "{many}");
}

#[test]
fn comparison_fails_for_errors_beyond_tolerance_and_chance() {
    for (new, old, expected) in [
        ((19, 19), (1000, 0), Finding::Inconclusive),
        ((1000, 500), (19, 0), Finding::Inconclusive),
        ((0, 0), (0, 0), Finding::Inconclusive),
        ((20, 0), (20, 0), Finding::Success),
        ((20, 1), (60, 0), Finding::Success),
        ((20, 10), (60, 0), Finding::Failure),
        ((200, 10), (600, 0), Finding::Failure),
        ((200, 20), (600, 60), Finding::Success),
        // Significant, but within the tolerance.
        ((100_000, 900), (100_000, 0), Finding::Success),
        ((100_000, 1100), (100_000, 0), Finding::Failure),
        // The old version is worse.
        ((200, 0), (600, 300), Finding::Success),
    ] {
        assert_eq!(
            judged(tally(new.0, new.1), tally(old.0, old.1)),
            expected,
            "{new:?} {old:?}"
        );
    }
    let message = compare(
        &Sides {
            new: tally(212, 10),
            old: tally(640, 0),
        },
        &tolerance(),
    )
    .detail;
    assert_eq!(
        message,
        "4.7 % of 212 requests failed, against 0.0 % of 640"
    );
}

#[test]
fn comparison_fails_for_latency_beyond_tolerance_and_chance() {
    for (new, old, expected) in [
        ((200, 40), (600, 40), Finding::Success),
        ((200, 55), (600, 40), Finding::Success),
        ((200, 120), (600, 40), Finding::Failure),
        // Twice as slow, but by less than the precision of the measurement.
        ((1000, 4), (1000, 1), Finding::Success),
        // Few requests, but a large difference.
        ((20, 100), (60, 40), Finding::Success),
        ((20, 400), (60, 40), Finding::Failure),
        ((19, 400), (60, 40), Finding::Inconclusive),
    ] {
        assert_eq!(
            judged(timed(new.0, new.1), timed(old.0, old.1)),
            expected,
            "{new:?} {old:?}"
        );
    }
    let message = compare(
        &Sides {
            new: timed(212, 120),
            old: timed(640, 40),
        },
        &tolerance(),
    )
    .detail;
    assert_eq!(
        message,
        "120 ms on average over 212 requests, against 40 ms over 640"
    );
}

/// Compares a canary with three old instances in `looks` measurements, with 25 requests for each
/// instance. Returns the first measurement that finds a failure.
fn found_at(dice: &mut Dice, new_rate: f64, old_rate: f64, looks: u64) -> Option<u64> {
    let mut sides = Sides::default();
    let mut ledger = Ledger::default();
    ledger.window(Time(0));
    (1..=looks).find(|look| {
        for (side, rate, requests) in [
            (&mut sides.new, new_rate, 25),
            (&mut sides.old, old_rate, 75),
        ] {
            side.requests += requests;
            side.errors += dice.errors(requests, rate);
        }
        ledger.total = sides;
        compare(&ledger.window(Time(look * 10_000)), &tolerance()).finding == Finding::Failure
    })
}

#[test]
fn comparison_fails_equal_versions_in_at_most_one_percent_of_runs() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for rate in [0.001, 0.01, 0.05, 0.2] {
        // Each of the 2,500 runs simulates a soak of five minutes with a measurement every ten
        // seconds.
        let mistakes = (0..2500)
            .filter(|_| found_at(&mut dice, rate, rate, 30).is_some())
            .count();
        assert!(mistakes <= 25, "{mistakes} of 2500 at {rate}");
    }
}

#[test]
fn comparison_finds_five_percent_of_errors_within_two_hundred_requests() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let found: Vec<_> = (0..1000)
        .filter_map(|_| found_at(&mut dice, 0.05, 0.0, 12))
        .collect();
    let within = |looks: u64| found.iter().filter(|at| **at <= looks).count();
    assert!(
        within(8) >= 900,
        "{} of 1000 within 200 requests",
        within(8)
    );
    assert!(
        within(12) >= 980,
        "{} of 1000 within 300 requests",
        within(12)
    );
}

// ── counting ─────────────────────────────────────────────────────────────────────────────────────

/// Returns a fleet with one instance for each `(port, release, requests, errors)`, behind a
/// balancer that has counted these requests and errors.
fn fleet(servers: &[(u16, &str, u64, u64)]) -> Fleet {
    let mut fleet = Fleet::default();
    let mut host = Host {
        reach: Reach::Reachable,
        ..Host::default()
    };
    let mut view = BalancerState::default();
    for (number, release, requests, errors) in servers {
        let instance = Instance {
            name: InstanceId::from(format!("page-{release}-{number}").as_str()),
            release: ReleaseId::from(*release),
            revision: Revision(1),
            started: Time(0),
            process: Process::Running,
            lingering: None,
            restarts: 0,
            listeners: BTreeMap::new(),
            health: Health::default(),
            sighting: Sighting::default(),
        };
        host.slots.insert(*number, Occupant::Instance(instance));
        let counters = Some(Counters {
            requests: *requests,
            errors: *errors,
            mean_ms: Some(10),
        });
        let slot = Slot {
            host: "web1".into(),
            number: *number,
        };
        view.servers.insert(
            slot,
            Server {
                counters,
                ..Server::default()
            },
        );
    }
    fleet.hosts.insert("web1".into(), host);
    fleet.balancers.insert(
        "lb1".into(),
        Balancer {
            reach: Reach::Reachable,
            view,
        },
    );
    fleet
}

#[test]
fn ledger_counts_requests_since_first_observation_of_instance() {
    let new = ReleaseId::from("new");
    let mut ledger = Ledger::default();
    let mut look = |servers: &[(u16, &str, u64, u64)]| {
        ledger.record_counters(&fleet(servers), &new);
        let Sides { new, old } = ledger.total;
        (new.requests, new.errors, old.requests, old.errors)
    };
    assert_eq!(
        look(&[(1, "old", 1000, 50), (2, "new", 0, 0)]),
        (0, 0, 0, 0)
    );
    assert_eq!(
        look(&[(1, "old", 1090, 51), (2, "new", 30, 3)]),
        (30, 3, 90, 1)
    );
    // The balancer restarted.
    assert_eq!(look(&[(1, "old", 5, 0), (2, "new", 2, 0)]), (30, 3, 90, 1));
    assert_eq!(
        look(&[(1, "old", 15, 0), (2, "new", 4, 1)]),
        (32, 4, 100, 1)
    );
    // A new instance in the slot of an old one: the requests of the old one do not count for it.
    assert_eq!(
        look(&[(1, "new", 40, 9), (2, "new", 4, 1)]),
        (32, 4, 100, 1)
    );
    assert_eq!(
        look(&[(1, "new", 50, 9), (2, "new", 4, 1)]),
        (42, 4, 100, 1)
    );
}

#[test]
fn window_is_the_last_minute_or_long_enough_for_enough_requests() {
    let mut ledger = Ledger::default();
    let mut total = Sides::default();
    let mut minute = |at: u64, requests: u64| {
        total.new.requests += requests;
        total.old.requests += requests;
        ledger.total = total;
        ledger.window(Time(at * 60_000)).new.requests
    };
    assert_eq!(minute(0, 0), 0);
    assert_eq!(minute(1, 50), 50);
    assert_eq!(minute(2, 50), 100);
    assert_eq!(minute(3, 150), 200, "the first is not needed any more");
    assert_eq!(minute(4, 150), 300, "the last two minutes are enough");
    assert_eq!(minute(5, 500), 500);
    assert_eq!(minute(6, 10), 510);
}
