//! Steady askers: one sees every answer that a service gives or fails to give, the other every
//! process it runs.

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

/// The pause between two requests to one place.
const PAUSE: Duration = Duration::from_millis(10);
/// The pause between two counts of the processes; a start or an end takes longer.
const COUNT_PAUSE: Duration = Duration::from_millis(20);
/// The time limit for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// A question that has no answer by then has failed. Longer than a busy machine lets a page wait
/// for a processor.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Makes requests to places, each with a new connection, until it is stopped.
pub struct Monitor {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<(String, Vec<Asked>)>>,
}

/// A request and its result.
#[derive(Clone, Debug)]
pub struct Asked {
    pub began: Instant,
    pub ended: Instant,
    /// The page, or what went wrong.
    pub answer: Result<String, String>,
}

/// All answers, by place.
pub struct Answers(BTreeMap<String, Vec<Asked>>);

impl Monitor {
    /// Starts requests to places, each `address:port`, with a thread for each.
    pub fn start<S: Into<String>>(places: impl IntoIterator<Item = S>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let start = |place: S| ask_on(place.into(), Arc::clone(&stop), Arc::clone(&answered));
        let threads = places.into_iter().map(start).collect();
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
                .map(|thread| thread.join().expect("an asker does not panic"))
                .collect(),
        )
    }
}

fn ask_on(
    place: String,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> JoinHandle<(String, Vec<Asked>)> {
    thread::spawn(move || {
        let socket = place.parse().expect("address:port");
        let mut asked = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let answer = ask(socket);
            if answer.is_ok() {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            asked.push(Asked {
                began,
                ended: Instant::now(),
                answer,
            });
            thread::sleep(PAUSE);
        }
        (place, asked)
    })
}

/// Asks for the page at `/` once.
///
/// # Errors
/// What went wrong, in words.
pub fn ask(socket: SocketAddr) -> Result<String, String> {
    let step = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let mut stream =
        TcpStream::connect_timeout(&socket, CONNECT_PATIENCE).map_err(step("connect"))?;
    stream
        .set_read_timeout(Some(ANSWER_PATIENCE))
        .map_err(step("connect"))?;
    stream
        .write_all(b"GET / HTTP/1.0\r\nHost: tests\r\n\r\n")
        .map_err(step("ask"))?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(step("read"))?;
    let (head, body) = reply
        .split_once("\r\n\r\n")
        .ok_or("the connection closed without an answer")?;
    let status = head.lines().next().unwrap_or_default();
    let promised = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| {
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())
                .flatten()
        });
    if promised.is_some_and(|promised| body.len() < promised) {
        return Err("the connection closed within the answer".to_owned());
    }
    if status.contains(" 200 ") {
        Ok(body.trim().to_owned())
    } else {
        Err(status.to_owned())
    }
}

impl Answers {
    /// Questions that failed although the same page was answered there before and after: nobody may
    /// see such a one.
    ///
    /// A place that nobody serves yet, or any more, refuses by right: only what lies within an
    /// instance's life counts.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (place, asked) in &self.0 {
            for (first, last) in lives(asked) {
                let within = asked
                    .iter()
                    .filter(|one| one.began >= first.began && one.ended <= last.ended);
                failures
                    .extend(within.filter_map(|one| {
                        Some(format!("{place}: {}", one.answer.as_ref().err()?))
                    }));
            }
        }
        failures
    }

    /// Failures of another kind than "nobody is there": an answer broken off, a wrong status,
    /// silence.
    pub fn broken(&self) -> Vec<String> {
        let all = self
            .0
            .iter()
            .flat_map(|(place, asked)| asked.iter().map(move |one| (place, one)));
        let failures = all.filter_map(|(place, one)| Some((place, one.answer.as_ref().err()?)));
        failures
            .filter(|(_, why)| !why.starts_with("connect:"))
            .map(|(place, why)| format!("{place}: {why}"))
            .collect()
    }

    /// The fewest places that answered at one time, from when `expected` of them did until the end.
    ///
    /// Between two questions the better is assumed, so what is missing here was truly missing.
    pub fn fewest(&self, expected: usize) -> usize {
        let up: Vec<(Instant, Instant)> = self
            .0
            .values()
            .flat_map(|asked| generous_lives(asked))
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
            .filter_map(|asked| Some(asked.last()?.began))
            .min();
        let whole = moments.iter().position(|at| count(*at) >= expected);
        let from =
            whole.unwrap_or_else(|| panic!("there were never {expected} places that answered"));
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

/// The first and the last answer of each page that a place gave.
fn lives(asked: &[Asked]) -> Vec<(&Asked, &Asked)> {
    let mut lives: Vec<(&Asked, &Asked)> = Vec::new();
    for one in asked.iter().filter(|one| one.answer.is_ok()) {
        match lives.last_mut() {
            Some((first, last)) if first.answer == one.answer => *last = one,
            _ => lives.push((one, one)),
        }
    }
    lives
}

/// When a place may have answered: unbroken runs of answers, widened to the failed questions around
/// them.
fn generous_lives(asked: &[Asked]) -> Vec<(Instant, Instant)> {
    let runs = asked.chunk_by(|one, next| one.answer.is_ok() == next.answer.is_ok());
    let mut lives = Vec::new();
    let mut before = asked.first().map(|one| one.began);
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

/// Counts the processes of a service over and over, on all hosts of this world at once, until
/// stopped.
pub struct Counter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Counter {
    /// Starts counting processes whose command line is an interpreter and this file.
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

    /// The most that ran at one time.
    pub fn most(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a counter does not panic")
    }
}

/// How many processes of a service run now, on all hosts of this world: a world sees the processes
/// of its hosts.
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
