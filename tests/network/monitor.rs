//! The availability monitor against a real server that fails at chosen moments.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use ship::core::availability::{Answer, AvailabilityReport, MonitorSettings, Tally};
use ship::core::time::Time;
use ship::probe::Monitor;

/// What is waited for has come by then.
const DEADLINE: Duration = Duration::from_secs(20);

/// How the server treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Answers `200` and names the version.
    Well,
    /// Answers `500`.
    Sick,
    /// Closes the connection in place of an answer.
    HangsUp,
    /// Sends half of what it announced.
    BreaksOff,
    /// Never answers.
    Stalls,
}

/// A small HTTP/1.1 server that keeps connections.
struct Server {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    version: Arc<Mutex<&'static str>>,
    /// Connections taken, requests read, and those of them that asked for an end of the connection.
    connections: Arc<AtomicU64>,
    closing: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            mood: Arc::new(Mutex::new(Mood::Well)),
            version: Arc::new(Mutex::new("0.8")),
            connections: Arc::default(),
            closing: Arc::default(),
            requests: Arc::default(),
            is_over: Arc::default(),
        };
        let (mood, version) = (Arc::clone(&server.mood), Arc::clone(&server.version));
        let (connections, requests) = (
            Arc::clone(&server.connections),
            Arc::clone(&server.requests),
        );
        let closing = Arc::clone(&server.closing);
        let is_over = Arc::clone(&server.is_over);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let (mood, version) = (Arc::clone(&mood), Arc::clone(&version));
                let counts = [Arc::clone(&requests), Arc::clone(&closing)];
                thread::spawn(move || serve(&stream, &mood, &version, &counts));
            }
        });
        server
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn probing(&self) -> MonitorSettings {
        MonitorSettings {
            url: format!("http://{}/", self.address),
            interval: Duration::from_millis(10),
            timeout: DEADLINE / 4,
            max_failed_requests: 0,
            status: None,
            connections: 2,
            version_header: None,
        }
    }

    /// With a timeout that a test can wait for.
    fn impatient(&self) -> MonitorSettings {
        MonitorSettings {
            timeout: Duration::from_millis(500),
            ..self.probing()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // It accepts connections all the time.
        drop(TcpStream::connect(self.address));
    }
}

/// Until the client closes the connection.
fn serve(
    stream: &TcpStream,
    mood: &Mutex<Mood>,
    version: &Mutex<&'static str>,
    [requests, closing]: &[Arc<AtomicU64>; 2],
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let mut out = stream;
    loop {
        let mut closes = false;
        loop {
            let line = lines.next()?.ok()?;
            closes |= line.eq_ignore_ascii_case("connection: close");
            if line.is_empty() {
                break;
            }
        }
        requests.fetch_add(1, Ordering::Relaxed);
        closing.fetch_add(u64::from(closes), Ordering::Relaxed);
        let body = format!("the version is: {}\n", version.lock().unwrap());
        let mood = *mood.lock().unwrap();
        let (status, length) = match mood {
            Mood::Well => ("200 OK", body.len()),
            Mood::Sick => ("500 Internal Server Error", body.len()),
            Mood::BreaksOff => ("200 OK", body.len() + 10),
            Mood::HangsUp => return None,
            Mood::Stalls => continue,
        };
        write!(
            out,
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .ok()?;
        if closes || mood == Mood::BreaksOff {
            return None;
        }
    }
}

fn now() -> Time {
    Time(
        u64::try_from(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_millis(),
        )
        .unwrap(),
    )
}

fn begin(probing: MonitorSettings) -> Monitor {
    let known: BTreeSet<String> = ["0.8", "0.9"].map(str::to_owned).into();
    Monitor::start(probing, known, Arc::new(now)).unwrap()
}

async fn until(
    monitor: &Monitor,
    what: &str,
    is_so: impl Fn(&AvailabilityReport) -> bool,
) -> AvailabilityReport {
    let end = Instant::now() + DEADLINE;
    loop {
        let report = monitor.report();
        if is_so(&report) {
            return report;
        }
        assert!(Instant::now() < end, "never {what}: {report:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn monitor_counts_requests_and_versions() {
    let server = Server::start();
    let mut monitor = begin(server.probing());
    until(&monitor, "answers of the old version", |report| {
        report.requests >= 20
    })
    .await;
    *server.version.lock().unwrap() = "0.9";
    let seen = monitor.report().requests;
    until(&monitor, "answers of the new version", |report| {
        report.requests >= seen + 20
    })
    .await;
    monitor.finish().await;
    let report = monitor.report();
    assert!(
        report
            .to_string()
            .starts_with(&format!("0 of {} requests failed (p50 ", report.requests)),
        "{report}"
    );
    let versions: Vec<_> = report
        .answers
        .iter()
        .map(|received| received.version.as_deref().unwrap())
        .collect();
    assert_eq!(versions, ["0.8", "0.9"]);
    assert!(report.answers[0].first <= report.answers[1].first);
    assert_eq!(
        report
            .answers
            .iter()
            .map(|received| received.count)
            .sum::<u64>(),
        report.requests
    );
    assert_eq!(
        server.requests.load(Ordering::Relaxed),
        report.requests,
        "every request is counted, once"
    );
}

#[tokio::test]
async fn monitor_uses_persistent_and_new_connections() {
    let server = Server::start();
    let mut monitor = begin(server.probing());
    until(&monitor, "enough answers", |report| report.requests >= 40).await;
    monitor.finish().await;
    let [connections, closing] =
        [&server.connections, &server.closing].map(|count| count.load(Ordering::Relaxed));
    let requests = monitor.report().requests;
    assert!(
        closing.abs_diff(requests / 2) <= 1,
        "{closing} of {requests}"
    );
    assert!(
        (closing + 1..requests).contains(&connections),
        "{connections} for {requests}"
    );
}

#[tokio::test]
async fn monitor_counts_every_incomplete_or_wrong_response_as_failed() {
    for (mood, reasons) in [
        (Mood::Sick, &["HTTP 500"][..]),
        (
            Mood::HangsUp,
            &[
                "connection closed before message completed",
                "connection reset",
            ],
        ),
        (Mood::BreaksOff, &["HTTP 200, then "]),
        (Mood::Stalls, &["no answer within 500ms"]),
    ] {
        let server = Server::start();
        let mut monitor = begin(server.impatient());
        monitor.wait_for_first_success(3).await.unwrap();
        assert_eq!(monitor.breach(), None);
        server.becomes(mood);
        let report = until(&monitor, "a failure", |report| report.failed > 0).await;
        let why = &report.failures[0].why;
        assert!(
            reasons.iter().any(|reason| why.starts_with(reason)),
            "{mood:?}: {why}"
        );
        assert!(monitor.breach().is_some(), "{mood:?}");
        monitor.finish().await;
        let before = monitor.report();
        assert_eq!(
            before.requests,
            server.requests.load(Ordering::Relaxed),
            "{mood:?}"
        );
        // It can resume after that.
        server.becomes(Mood::Well);
        monitor.resume();
        until(&monitor, "more answers", |report| {
            report.requests > before.requests
        })
        .await;
    }
}

#[tokio::test]
async fn monitor_keeps_its_interval_while_the_service_stalls() {
    let server = Server::start();
    let monitor = begin(server.impatient());
    monitor.wait_for_first_success(3).await.unwrap();
    server.becomes(Mood::Stalls);
    // Each takes 500 ms to fail: one after the other, two clients would have made 4 in a second.
    let (begun, before) = (Instant::now(), server.requests.load(Ordering::Relaxed));
    until(&monitor, "many failures", |report| report.failed >= 40).await;
    let made = server.requests.load(Ordering::Relaxed) - before;
    let one_by_one = 4 * (1 + begun.elapsed().as_secs());
    assert!(made > one_by_one, "{made} in {:?}", begun.elapsed());
}

#[tokio::test]
async fn monitor_finish_waits_for_pending_requests_up_to_their_timeout() {
    let server = Server::start();
    let mut monitor = begin(server.impatient());
    monitor.wait_for_first_success(3).await.unwrap();
    server.becomes(Mood::Stalls);
    let stalled = server.requests.load(Ordering::Relaxed);
    until(&monitor, "a request under way", |_| {
        server.requests.load(Ordering::Relaxed) > stalled
    })
    .await;
    let begun = Instant::now();
    monitor.finish().await;
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    let report = monitor.report();
    assert!(
        report.failed > 0,
        "those under way have failed by then: {report:?}"
    );
    assert_eq!(
        monitor.report().requests,
        server.requests.load(Ordering::Relaxed)
    );
    let made = server.requests.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(
        server.requests.load(Ordering::Relaxed),
        made,
        "nothing is asked any more"
    );
}

#[tokio::test]
async fn monitor_ignores_requests_that_were_pending_during_a_suspend() {
    let server = Server::start();
    let slept_ms = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&slept_ms);
    let now = move || now() + Duration::from_millis(clock.load(Ordering::Relaxed));
    let probing = MonitorSettings {
        timeout: Duration::from_secs(2),
        ..server.probing()
    };
    let mut monitor = Monitor::start(probing, BTreeSet::new(), Arc::new(now)).unwrap();
    monitor.wait_for_first_success(3).await.unwrap();
    server.becomes(Mood::Stalls);
    let before = server.requests.load(Ordering::Relaxed);
    until(&monitor, "a request under way", |_| {
        server.requests.load(Ordering::Relaxed) > before
    })
    .await;
    server.becomes(Mood::Well);
    slept_ms.store(60_000, Ordering::Relaxed);
    monitor.finish().await;
    let report = monitor.report();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(
        report.requests < server.requests.load(Ordering::Relaxed),
        "those under way do not count"
    );
}

#[tokio::test]
async fn monitor_counts_only_after_the_first_success_and_gives_up_without_one() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let server = Server::start();
    let monitor = begin(MonitorSettings {
        url: format!("http://{address}/"),
        ..server.probing()
    });
    assert_eq!(
        monitor.wait_for_first_success(3).await,
        Err("connection refused".to_owned())
    );
    assert_eq!((monitor.report().requests, monitor.breach()), (0, None));

    server.becomes(Mood::Sick);
    let monitor = begin(server.probing());
    assert_eq!(
        monitor.wait_for_first_success(3).await,
        Err("HTTP 500".to_owned())
    );
    server.becomes(Mood::Well);
    let report = until(&monitor, "an answer", |report| report.requests > 0).await;
    assert_eq!((report.failed, report.early >= 3), (0, true));
}

#[tokio::test]
async fn monitor_uses_the_configured_status_and_version_header() {
    let server = Server::start();
    let monitor = begin(MonitorSettings {
        status: Some(204),
        ..server.probing()
    });
    assert_eq!(
        monitor.wait_for_first_success(3).await,
        Err("HTTP 200".to_owned())
    );
    let monitor = begin(MonitorSettings {
        version_header: Some("Content-Length".to_owned()),
        ..server.probing()
    });
    monitor.wait_for_first_success(3).await.unwrap();
    assert_eq!(monitor.report().answers[0].version.as_deref(), Some("20"));
}

/// The result of a request in a test: `None` for one that failed, else the version and
/// how long it took.
type Fate = Option<(Option<u8>, u64)>;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tally_matches_individual_counting(
        fates in prop::collection::vec((0_u64..1000, any::<Fate>().prop_map(|fate| fate.map(|(who, us)| (who, us >> 24)))), 0..300),
        max_failed_requests in 0_u32..50,
    ) {
        let mut tally = Tally::new(max_failed_requests);
        for (at, fate) in &fates {
            tally.add(Time(*at), match fate {
                Some((version, us)) => Answer::Served {
                    took: Duration::from_micros(*us),
                    version: version.map(|version| (version % 4).to_string()),
                },
                None => Answer::Failed { why: "lost".to_owned() },
            });
        }
        let report = tally.report();
        let first = fates.iter().position(|(_, fate)| fate.is_some());
        prop_assert_eq!(report.counted_from, first.map(|first| Time(fates[first].0)));
        let served = fates.iter().filter_map(|(_, fate)| fate.map(|(_, us)| us));
        let failed = fates.iter().enumerate().filter(|(n, (at, fate))| {
            fate.is_none() && first.is_some_and(|first| *n > first && *at >= fates[first].0)
        });
        let failed = failed.count() as u64;
        let mut times: Vec<u64> = served.collect();
        prop_assert_eq!((report.failed, report.requests), (failed, failed + times.len() as u64));
        prop_assert_eq!(report.requests + report.early, fates.len() as u64, "none is forgotten");
        prop_assert_eq!(report.is_breached(), failed > u64::from(max_failed_requests));
        prop_assert_eq!(report.failures.len() as u64, failed.min(5));
        prop_assert!(report.failures.is_sorted_by_key(|lost| lost.at));
        prop_assert_eq!(report.answers.iter().map(|received| received.count).sum::<u64>(), times.len() as u64);
        prop_assert!(report.answers.iter().all(|received| received.first <= received.last));
        times.sort_unstable();
        for (percent, reported) in [(50, report.p50_ms), (99, report.p99_ms)] {
            let rank = (times.len() * percent).div_ceil(100);
            let exact = times.get(rank.saturating_sub(1)).copied();
            prop_assert_eq!(reported.is_some(), exact.is_some());
            if let (Some(reported), Some(exact)) = (reported, exact) {
                let difference_us = (reported * 1000).abs_diff(exact.max(1000));
                prop_assert!(difference_us <= 500 + exact / 32, "p{}: {} ms for {} µs", percent, reported, exact);
            }
        }
    }
}
