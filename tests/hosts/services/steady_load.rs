//! Requests at a steady rate, each over a connection of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Requests per second.
const RATE: u32 = 50;
/// Clients that share the rate, so that one slow answer does not lower it.
const CLIENTS: u32 = 10;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Clients that make requests until they are stopped.
pub(super) struct SteadyLoad {
    stop: Arc<AtomicBool>,
    began: Instant,
    clients: Vec<JoinHandle<SteadyResult>>,
}

/// The results of all requests.
#[derive(Default)]
pub(super) struct SteadyResult {
    /// Answers by version.
    pub(super) versions: BTreeMap<String, u32>,
    pub(super) failed: Vec<String>,
    took: Duration,
}

impl SteadyLoad {
    /// Starts to request a path. Each line of an answer has to be the same version.
    pub(super) fn begin(address: &str, path: &'static str) -> Self {
        let socket: SocketAddr = address.parse().expect("address:port");
        let (stop, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let client = |number: u32| {
            let stop = Arc::clone(&stop);
            let period = Duration::from_secs(1) * CLIENTS / RATE;
            let first = began + Duration::from_secs(1) * number / RATE;
            thread::spawn(move || {
                let mut result = SteadyResult::default();
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let due = first + period * turn;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    match get(socket, path).and_then(|body| whole_version(&body)) {
                        Ok(version) => *result.versions.entry(version).or_default() += 1,
                        Err(why) => result
                            .failed
                            .push(format!("{:.3} s: {why}", began.elapsed().as_secs_f64())),
                    }
                }
                result
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self {
            stop,
            began,
            clients,
        }
    }

    /// Stops the clients.
    pub(super) fn end(self) -> SteadyResult {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = SteadyResult {
            took: self.began.elapsed(),
            ..SteadyResult::default()
        };
        for client in self.clients {
            let result = client.join().expect("a client does not panic");
            all.failed.extend(result.failed);
            for (version, count) in result.versions {
                *all.versions.entry(version).or_default() += count;
            }
        }
        all
    }
}

impl SteadyResult {
    /// Panics if a request failed, if the rate was not reached, or if a version never answered.
    #[track_caller]
    pub(super) fn assert_none_failed(&self, versions: usize) {
        println!("{self}");
        assert!(self.failed.is_empty(), "{self}");
        assert_eq!(self.versions.len(), versions, "{self}");
        let answered: u32 = self.versions.values().sum();
        let wanted = self.took.as_secs_f64() * f64::from(RATE) * 0.9;
        assert!(
            f64::from(answered) >= wanted,
            "fewer than {wanted:.0}: {self}"
        );
    }
}

impl fmt::Display for SteadyResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered: u32 = self.versions.values().sum();
        write!(
            f,
            "{} of {} requests failed in {:.1} s; answers by version: {:?}; failures: {:?}",
            self.failed.len(),
            u64::from(answered) + self.failed.len() as u64,
            self.took.as_secs_f64(),
            self.versions,
            self.failed.iter().take(5).collect::<Vec<_>>()
        )
    }
}

/// The body of an answer with status 200 and of the announced length.
fn get(socket: SocketAddr, path: &str) -> Result<String, String> {
    let request = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&socket, REQUEST_TIMEOUT)?;
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: tests\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = request().map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if head.split(' ').nth(1) != Some("200") {
        return Err(head.lines().next().unwrap_or_default().to_owned());
    }
    let announced = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    match announced.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length != body.len() => Err(format!("{} of {length} bytes", body.len())),
        _ => Ok(body.to_owned()),
    }
}

/// The version of an answer, all lines of which are of this version.
fn whole_version(body: &str) -> Result<String, String> {
    let mut lines = body.lines();
    let version = lines.next().ok_or("an empty answer")?;
    match lines.find(|line| *line != version) {
        Some(other) => Err(format!("a mixture of {version} and {other}")),
        None => Ok(version.to_owned()),
    }
}
