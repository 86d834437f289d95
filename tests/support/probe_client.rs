//! Observers of a service: one makes requests all the time, the other counts processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::fleet::pids;
use super::namespace::until;

/// The pause between two requests to an endpoint.
const PAUSE: Duration = Duration::from_millis(10);
/// The pause between two counts of the processes. Starting or stopping one takes longer.
const COUNT_PAUSE: Duration = Duration::from_millis(20);
/// The time limit of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit of an answer: longer than a page waits for a processor on a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes requests to endpoints, each with a new connection, until it is stopped.
pub struct Monitor {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<(String, Vec<ProbeResult>)>>,
}

/// A request and its result.
#[derive(Clone, Debug)]
pub struct ProbeResult {
    pub began: Instant,
    pub ended: Instant,
    /// The page, or the error.
    pub answer: Result<String, String>,
}

/// The results of all requests, by endpoint.
pub struct Answers(BTreeMap<String, Vec<ProbeResult>>);

impl Monitor {
    /// Starts one thread of requests for each endpoint, `address:port`.
    pub fn start<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let start =
            |endpoint: S| spawn_client(endpoint.into(), Arc::clone(&stop), Arc::clone(&answered));
        let threads = endpoints.into_iter().map(start).collect();
        Self {
            stop,
            answered,
            threads,
        }
    }

    /// Waits for this many further answers.
    pub fn await_answers(&self, more: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + more;
        until("more answers", Duration::from_secs(20), || {
            (self.answered.load(Ordering::Relaxed) >= enough).then_some(())
        });
    }

    /// Stops the requests.
    pub fn stop(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        Answers(
            self.threads
                .into_iter()
                .map(|thread| thread.join().expect("the thread did not panic"))
                .collect(),
        )
    }
}

fn spawn_client(
    endpoint: String,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> JoinHandle<(String, Vec<ProbeResult>)> {
    thread::spawn(move || {
        let socket = endpoint.parse().expect("address:port");
        let mut results = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let answer = get(socket);
            if answer.is_ok() {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            results.push(ProbeResult {
                began,
                ended: Instant::now(),
                answer,
            });
            thread::sleep(PAUSE);
        }
        (endpoint, results)
    })
}

/// Gets the page at `/`.
///
/// # Errors
/// Returns the step that failed and why.
pub fn get(socket: SocketAddr) -> Result<String, String> {
    let step = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let mut stream =
        TcpStream::connect_timeout(&socket, CONNECT_TIMEOUT).map_err(step("connect"))?;
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .map_err(step("connect"))?;
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: tests\r\n\r\n")
        .map_err(step("send"))?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(step("read"))?;
    let (head, body) = reply
        .split_once("\r\n\r\n")
        .ok_or("the connection closed without an answer")?;
    let status = head.lines().next().unwrap_or_default();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| {
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())
                .flatten()
        });
    if length.is_some_and(|length| body.len() < length) {
        return Err("the connection closed in the middle of the answer".to_owned());
    }
    if status.contains(" 200 ") {
        Ok(body.trim().to_owned())
    } else {
        Err(status.to_owned())
    }
}

impl Answers {
    /// Requests that failed although the same page was answered at the endpoint before and after.
    ///
    /// Other failures are expected: before an instance starts and after it stops, nothing listens.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (endpoint, results) in &self.0 {
            for (first, last) in lives(results) {
                let within = results
                    .iter()
                    .filter(|one| one.began >= first.began && one.ended <= last.ended);
                failures.extend(
                    within.filter_map(|one| {
                        Some(format!("{endpoint}: {}", one.answer.as_ref().err()?))
                    }),
                );
            }
        }
        failures
    }

    /// Failures after a connection was accepted: an incomplete answer, an error status or a
    /// timeout.
    pub fn interrupted(&self) -> Vec<String> {
        let all = self
            .0
            .iter()
            .flat_map(|(endpoint, results)| results.iter().map(move |one| (endpoint, one)));
        let failures =
            all.filter_map(|(endpoint, one)| Some((endpoint, one.answer.as_ref().err()?)));
        failures
            .filter(|(_, why)| !why.starts_with("connect:"))
            .map(|(endpoint, why)| format!("{endpoint}: {why}"))
            .collect()
    }

    /// The fewest endpoints that answered at one time, from when `expected` of them did until the
    /// end.
    ///
    /// Between two requests an endpoint counts as answering, so the number is never too low.
    pub fn fewest(&self, expected: usize) -> usize {
        let up: Vec<(Instant, Instant)> = self
            .0
            .values()
            .flat_map(|results| longest_lives(results))
            .collect();
        let count = |at: Instant| {
            up.iter()
                .filter(|(from, to)| *from <= at && at <= *to)
                .count()
        };
        let mut moments: Vec<Instant> = self
            .0
            .values()
            .flatten()
            .flat_map(|one| [one.began, one.ended])
            .collect();
        moments.sort_unstable();
        let end = self
            .0
            .values()
            .filter_map(|results| Some(results.last()?.began))
            .min();
        let whole = moments.iter().position(|at| count(*at) >= expected);
        let from =
            whole.unwrap_or_else(|| panic!("there were never {expected} endpoints that answered"));
        moments[from..]
            .iter()
            .filter(|at| Some(**at) <= end)
            .map(|at| count(*at))
            .min()
            .unwrap_or(0)
    }

    /// Every page that was received, in the order of its first answer.
    pub fn pages(&self) -> Vec<String> {
        let mut answered: Vec<_> = self
            .0
            .values()
            .flatten()
            .filter(|one| one.answer.is_ok())
            .collect();
        answered.sort_by_key(|one| one.ended);
        let mut pages = Vec::new();
        for page in answered.iter().filter_map(|one| one.answer.as_ref().ok()) {
            if !pages.contains(page) {
                pages.push(page.clone());
            }
        }
        pages
    }

    /// The number of answered requests.
    pub fn count(&self) -> usize {
        self.0
            .values()
            .flatten()
            .filter(|one| one.answer.is_ok())
            .count()
    }
}

/// The first and the last result of each period in which an endpoint gave the same page.
fn lives(results: &[ProbeResult]) -> Vec<(&ProbeResult, &ProbeResult)> {
    let mut lives: Vec<(&ProbeResult, &ProbeResult)> = Vec::new();
    for one in results.iter().filter(|one| one.answer.is_ok()) {
        match lives.last_mut() {
            Some((first, last)) if first.answer == one.answer => *last = one,
            _ => lives.push((one, one)),
        }
    }
    lives
}

/// The periods in which an endpoint may have answered: runs of answers, extended to the failed
/// requests around them.
fn longest_lives(results: &[ProbeResult]) -> Vec<(Instant, Instant)> {
    let runs = results.chunk_by(|one, next| one.answer.is_ok() == next.answer.is_ok());
    let mut lives = Vec::new();
    let mut before = results.first().map(|one| one.began);
    let mut runs = runs.peekable();
    while let Some(run) = runs.next() {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        if first.answer.is_ok() {
            let to = runs
                .peek()
                .and_then(|next| next.first())
                .map_or(last.ended, |next| next.ended);
            lives.push((before.unwrap_or(first.began), to));
        }
        before = Some(last.began);
    }
    lives
}

/// Counts the processes of a service on all hosts of this sandbox until it is stopped.
pub struct Counter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Counter {
    /// Starts counting processes with this file as the argument of a Python interpreter.
    pub fn start(file: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                most = most.max(running(file));
                thread::sleep(COUNT_PAUSE);
            }
            most
        });
        Self { stop, thread }
    }

    /// The most processes that ran at one time.
    pub fn most(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the thread did not panic")
    }
}

/// The number of processes of a service on all hosts of this sandbox.
pub fn running(file: &str) -> usize {
    pids().into_iter().filter(|pid| runs(*pid, file)).count()
}

fn runs(pid: u32, file: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(b"python3")
        && words
            .next()
            .is_some_and(|word| word.ends_with(file.as_bytes()))
}
