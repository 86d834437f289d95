//! Clients of a service under load: each asks one thing after another, and every answer is counted,
//! and everything else that came of a question, with its reason and its moment.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::namespace::until;

/// The time limit of a request, far longer than the work of any.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two requests of a client, since the machine has other work, too.
const PAUSE: Duration = Duration::from_millis(10);
/// The pause after a refusal; without it, one client alone would dominate the count.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// The number of failures that are reported with their reason and moment.
const TOLD: usize = 10;
/// The time that a download takes.
const DOWNLOAD: Duration = Duration::from_secs(5);

/// The number of clients of each kind.
#[derive(Clone, Copy)]
pub struct Clients {
    /// Clients with one connection for all their requests, as long as it stays open.
    pub kept: usize,
    /// Clients with a new connection for each request.
    pub short: usize,
    /// Clients that repeat a slow download.
    pub downloads: usize,
}

/// Clients that make requests until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    began: Instant,
    threads: Vec<JoinHandle<Counted>>,
}

/// The results of all requests.
#[derive(Default)]
pub struct Counted {
    pub answered: u64,
    /// Complete downloads.
    pub downloaded: u64,
    /// The requests without a proper answer, in order.
    pub failed: Vec<Failed>,
    /// Answers by the version that gave them.
    pub versions: BTreeMap<String, u64>,
    pub took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nobody accepted the connection.
    Refused,
    Reset,
    /// The connection was closed before the answer, or in the middle of it.
    Closed,
    Timeout,
    /// An answer of 500 or above.
    Status,
    /// An incomplete download.
    Download,
    Other,
}

/// A failure, and how long after the beginning of the load it happened.
#[derive(Clone, Debug)]
pub struct Failed {
    pub after: Duration,
    pub kind: Kind,
    pub why: String,
}

impl Load {
    /// Starts requests to a place, `address:port`; returns when each client has had an answer.
    pub fn begin(place: &str, clients: Clients) -> Self {
        let socket = place.parse().expect("address:port");
        let (stop, answered, began) = (Arc::default(), Arc::default(), Instant::now());
        let asking = clients.kept + clients.short;
        let start = |number: usize| {
            let seed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let client = Client {
                socket,
                is_kept: number < clients.kept,
                seed,
                connection: None,
                began,
            };
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            // Downloads do not all begin at the same moment.
            #[expect(clippy::cast_precision_loss, reason = "a few clients")]
            let first = number
                .checked_sub(asking)
                .map(|before| DOWNLOAD.mul_f64(before as f64 / clients.downloads as f64));
            let work = move || match first {
                Some(first) => client.download_on(&stop, first),
                None => client.ask_on(&stop, &answered),
            };
            thread::Builder::new()
                .stack_size(256 << 10)
                .spawn(work)
                .expect("a thread")
        };
        let threads = (0..asking + clients.downloads).map(start).collect();
        let load = Self {
            stop,
            answered,
            began,
            threads,
        };
        load.await_answers(asking as u64);
        load
    }

    /// The number of answered requests so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// The time since the beginning, as in [`Failed::after`].
    pub fn lasted(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits for this many further answers.
    pub fn await_answers(&self, more: u64) {
        let enough = self.answered() + more;
        until("more answers", Duration::from_mins(4), || {
            (self.answered() >= enough).then_some(())
        });
    }

    /// Lets every client finish its present request.
    pub fn end(self) -> Counted {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Counted {
            took: self.began.elapsed(),
            ..Counted::default()
        };
        for thread in self.threads {
            all.add(thread.join().expect("a client does not panic"));
        }
        all.failed.sort_by_key(|failed| failed.after);
        all
    }
}

impl Counted {
    /// All requests, answered or failed.
    pub fn requests(&self) -> u64 {
        self.answered + self.downloaded + self.failed.len() as u64
    }

    /// Panics unless at least this many requests were made and none of them failed.
    #[track_caller]
    pub fn none_failed_of(&self, at_least: u64) {
        assert!(self.failed.is_empty(), "{self}");
        assert!(
            self.answered >= at_least,
            "{self}; at least {at_least} were to be asked"
        );
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.downloaded += other.downloaded;
        self.failed.extend(other.failed);
        for (version, count) in other.versions {
            *self.versions.entry(version).or_default() += count;
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, requests) = (self.failed.len(), self.requests());
        write!(
            f,
            "{failed} of {requests} requests failed in {:.1} s",
            self.took.as_secs_f64()
        )?;
        write!(
            f,
            "; answers by version: {:?}; whole downloads: {}",
            self.versions, self.downloaded
        )?;
        let mut kinds = BTreeMap::<Kind, usize>::new();
        for failed in &self.failed {
            *kinds.entry(failed.kind).or_default() += 1;
        }
        if failed > 0 {
            write!(f, "; failures: {kinds:?}, the first of them:")?;
        }
        for Failed { after, kind, why } in self.failed.iter().take(TOLD) {
            write!(f, "\n  {:.3} s {kind:?}: {why}", after.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Asks one thing, in a thread of its own: one part of the question at once, the rest bit by bit,
/// over so long.
pub fn trickle(
    place: &str,
    at_once: &str,
    rest: &str,
    over: Duration,
) -> JoinHandle<Result<(), String>> {
    let socket: SocketAddr = place.parse().expect("address:port");
    let (at_once, rest) = (at_once.to_owned(), rest.to_owned());
    let ask = move || -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&socket, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(at_once.as_bytes())?;
        for byte in rest.as_bytes().chunks(1) {
            thread::sleep(over / u32::try_from(rest.len()).expect("a short question"));
            stream.write_all(byte)?;
        }
        read_probe_result(&mut BufReader::new(stream))
    };
    thread::spawn(move || ask().map_err(|error| error.to_string())?.0.map(drop))
}

struct Client {
    socket: SocketAddr,
    is_kept: bool,
    seed: u64,
    connection: Option<BufReader<TcpStream>>,
    began: Instant,
}

impl Client {
    fn ask_on(mut self, stop: &AtomicBool, answered: &AtomicU64) -> Counted {
        let mut counted = Counted::default();
        while !stop.load(Ordering::Relaxed) {
            let work_ms = self.work_ms();
            match self.ask(&format!("work_ms={work_ms}")) {
                Ok(page) => {
                    counted.answered += 1;
                    answered.fetch_add(1, Ordering::Relaxed);
                    let version = page.rsplit(": ").next().unwrap_or_default().trim();
                    match counted.versions.get_mut(version) {
                        Some(count) => *count += 1,
                        None => drop(counted.versions.insert(version.to_owned(), 1)),
                    }
                    thread::sleep(PAUSE);
                }
                Err((kind, why)) => {
                    self.connection = None;
                    counted.failed.push(Failed {
                        after: self.began.elapsed(),
                        kind,
                        why,
                    });
                    thread::sleep(AFTER_FAILURE);
                }
            }
        }
        counted
    }

    fn download_on(mut self, stop: &AtomicBool, first: Duration) -> Counted {
        thread::sleep(first);
        let mut counted = Counted::default();
        while !stop.load(Ordering::Relaxed) {
            match self.ask(&format!("download_ms={}", DOWNLOAD.as_millis())) {
                Ok(_) => counted.downloaded += 1,
                Err((_, why)) => {
                    counted.failed.push(Failed {
                        after: self.began.elapsed(),
                        kind: Kind::Download,
                        why,
                    });
                    thread::sleep(AFTER_FAILURE);
                }
            }
        }
        counted
    }

    /// The work of the next request, from 0 to 500 ms: mostly little, sometimes much.
    fn work_ms(&mut self) -> u64 {
        // xorshift; only its disorder matters.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let most = match self.seed % 20 {
            0..12 => return 0,
            12..16 => 20,
            16..19 => 100,
            _ => 500,
        };
        (self.seed >> 32) % (most + 1)
    }

    fn ask(&mut self, wanted: &str) -> Result<String, (Kind, String)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(named("connect"))?,
        };
        let wish = if self.is_kept { "keep-alive" } else { "close" };
        let question =
            format!("GET /?{wanted} HTTP/1.1\r\nHost: tests\r\nConnection: {wish}\r\n\r\n");
        connection
            .get_mut()
            .write_all(question.as_bytes())
            .map_err(named("ask"))?;
        let (answer, is_last) = read_probe_result(&mut connection).map_err(named("answer"))?;
        if self.is_kept && !is_last {
            self.connection = Some(connection);
        }
        answer.map_err(|status| (Kind::Status, status))
    }

    fn connect(&self) -> std::io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.socket, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(BufReader::with_capacity(1024, stream))
    }
}

/// An answer's body, or its status from 500 on; and whether the connection ends with it.
type Answer = (Result<String, String>, bool);

fn read_probe_result(connection: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
    let status = read_line(connection)?;
    let (mut length, mut is_last) = (0, false);
    loop {
        let field = read_line(connection)?.to_ascii_lowercase();
        match field.split_once(": ") {
            Some(("content-length", value)) => {
                length = value.parse().map_err(|_| ErrorKind::InvalidData)?;
            }
            Some(("connection", value)) => is_last = value == "close",
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    let is_error = status.split(' ').nth(1).is_none_or(|code| code >= "500");
    let answer = if is_error {
        Err(status)
    } else {
        Ok(String::from_utf8_lossy(&body).into_owned())
    };
    Ok((answer, is_last))
}

fn read_line(connection: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    match connection.read_line(&mut line)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// The kind of a failure, and a text with the action that failed.
fn named(doing: &'static str) -> impl Fn(std::io::Error) -> (Kind, String) {
    move |error| {
        let kind = match error.kind() {
            ErrorKind::ConnectionRefused => Kind::Refused,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                Kind::Reset
            }
            ErrorKind::UnexpectedEof => Kind::Closed,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Kind::Timeout,
            _ => Kind::Other,
        };
        (kind, format!("{doing}: {error}"))
    }
}
