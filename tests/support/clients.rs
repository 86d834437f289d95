//! Clients of a service under load. They make one request after the other, and record each failure
//! with its reason and time.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::namespace::until;

/// The time limit of a request, far longer than any request needs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two requests of a client, to leave time for other processes.
const PAUSE: Duration = Duration::from_millis(10);
/// The pause after a failure. Without it, one client could dominate the count.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// The number of failures that are printed.
const FAILURES_SHOWN_MAX: usize = 10;
/// The duration of a download.
const DOWNLOAD: Duration = Duration::from_secs(5);

/// The number of clients of each kind.
#[derive(Clone, Copy)]
pub struct Clients {
    /// Clients that keep one connection for all requests.
    pub keepalive: usize,
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
    threads: Vec<JoinHandle<LoadResult>>,
}

/// The results of all requests.
#[derive(Default)]
pub struct LoadResult {
    pub answered: u64,
    /// Complete downloads.
    pub downloaded: u64,
    /// The requests without a good answer, in order.
    pub failed: Vec<Failed>,
    /// The number of answers of each version.
    pub versions: BTreeMap<String, u64>,
    pub took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The port was closed.
    Refused,
    Reset,
    /// The connection was closed before the end of the answer.
    Closed,
    Timeout,
    /// A response with status 500 or above.
    Status,
    /// An incomplete download.
    Download,
    Other,
}

/// A failure, and when it happened, from the beginning of the load.
#[derive(Clone, Debug)]
pub struct Failed {
    pub after: Duration,
    pub kind: Kind,
    pub why: String,
}

impl Load {
    /// Starts requests to an endpoint, `address:port`; returns when there are as many answers as
    /// clients.
    pub fn begin(endpoint: &str, clients: Clients) -> Self {
        let socket = endpoint.parse().expect("address:port");
        let (stop, answered, began) = (Arc::default(), Arc::default(), Instant::now());
        let requesters = clients.keepalive + clients.short;
        let start = |number: usize| {
            let seed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let client = Client {
                socket,
                is_keepalive: number < clients.keepalive,
                seed,
                connection: None,
                began,
            };
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            // Downloads start at different moments.
            #[expect(clippy::cast_precision_loss, reason = "a few clients")]
            let first = number
                .checked_sub(requesters)
                .map(|before| DOWNLOAD.mul_f64(before as f64 / clients.downloads as f64));
            let work = move || match first {
                Some(first) => client.download_until_stopped(&stop, first),
                None => client.request_until_stopped(&stop, &answered),
            };
            thread::Builder::new()
                .stack_size(256 << 10)
                .spawn(work)
                .expect("a thread")
        };
        let threads = (0..requesters + clients.downloads).map(start).collect();
        let load = Self {
            stop,
            answered,
            began,
            threads,
        };
        load.await_answers(requesters as u64);
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

    /// Stops the clients after their present requests.
    pub fn end(self) -> LoadResult {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = LoadResult {
            took: self.began.elapsed(),
            ..LoadResult::default()
        };
        for thread in self.threads {
            all.add(thread.join().expect("a client does not panic"));
        }
        all.failed.sort_by_key(|failed| failed.after);
        all
    }
}

impl LoadResult {
    /// All requests, answered or failed.
    pub fn requests(&self) -> u64 {
        self.answered + self.downloaded + self.failed.len() as u64
    }

    /// Panics if a request failed, or if fewer requests were answered than this.
    #[track_caller]
    pub fn assert_none_failed(&self, at_least: u64) {
        assert!(self.failed.is_empty(), "{self}");
        assert!(
            self.answered >= at_least,
            "{self}; expected at least {at_least} answers"
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

impl fmt::Display for LoadResult {
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
        for Failed { after, kind, why } in self.failed.iter().take(FAILURES_SHOWN_MAX) {
            write!(f, "\n  {:.3} s {kind:?}: {why}", after.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Makes one request in its own thread: sends `first_part` at once and the rest byte by byte, in
/// equal steps `over` this duration.
pub fn trickle(
    endpoint: &str,
    first_part: &str,
    rest: &str,
    over: Duration,
) -> JoinHandle<Result<(), String>> {
    let socket: SocketAddr = endpoint.parse().expect("address:port");
    let (first_part, rest) = (first_part.to_owned(), rest.to_owned());
    let send = move || -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&socket, REQUEST_TIMEOUT)?;
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        stream.write_all(first_part.as_bytes())?;
        for byte in rest.as_bytes().chunks(1) {
            thread::sleep(over / u32::try_from(rest.len()).expect("a short request"));
            stream.write_all(byte)?;
        }
        read_answer(&mut BufReader::new(stream))
    };
    thread::spawn(move || send().map_err(|error| error.to_string())?.0.map(drop))
}

struct Client {
    socket: SocketAddr,
    is_keepalive: bool,
    seed: u64,
    connection: Option<BufReader<TcpStream>>,
    began: Instant,
}

impl Client {
    fn request_until_stopped(mut self, stop: &AtomicBool, answered: &AtomicU64) -> LoadResult {
        let mut result = LoadResult::default();
        while !stop.load(Ordering::Relaxed) {
            let work_ms = self.work_ms();
            match self.get(&format!("work_ms={work_ms}")) {
                Ok(page) => {
                    result.answered += 1;
                    answered.fetch_add(1, Ordering::Relaxed);
                    let version = page.rsplit(": ").next().unwrap_or_default().trim();
                    match result.versions.get_mut(version) {
                        Some(count) => *count += 1,
                        None => drop(result.versions.insert(version.to_owned(), 1)),
                    }
                    thread::sleep(PAUSE);
                }
                Err((kind, why)) => {
                    self.connection = None;
                    result.failed.push(Failed {
                        after: self.began.elapsed(),
                        kind,
                        why,
                    });
                    thread::sleep(AFTER_FAILURE);
                }
            }
        }
        result
    }

    fn download_until_stopped(mut self, stop: &AtomicBool, first: Duration) -> LoadResult {
        thread::sleep(first);
        let mut result = LoadResult::default();
        while !stop.load(Ordering::Relaxed) {
            match self.get(&format!("download_ms={}", DOWNLOAD.as_millis())) {
                Ok(_) => result.downloaded += 1,
                Err((_, why)) => {
                    result.failed.push(Failed {
                        after: self.began.elapsed(),
                        kind: Kind::Download,
                        why,
                    });
                    thread::sleep(AFTER_FAILURE);
                }
            }
        }
        result
    }

    /// The work of the next request, from 0 to 500 ms: mostly little, sometimes much.
    fn work_ms(&mut self) -> u64 {
        // xorshift: the numbers only have to be disordered.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let max_ms = match self.seed % 20 {
            0..12 => return 0,
            12..16 => 20,
            16..19 => 100,
            _ => 500,
        };
        (self.seed >> 32) % (max_ms + 1)
    }

    fn get(&mut self, wanted: &str) -> Result<String, (Kind, String)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().map_err(failure("connect"))?,
        };
        let connection_header = if self.is_keepalive {
            "keep-alive"
        } else {
            "close"
        };
        let request = format!(
            "GET /?{wanted} HTTP/1.1\r\nHost: tests\r\nConnection: {connection_header}\r\n\r\n"
        );
        connection
            .get_mut()
            .write_all(request.as_bytes())
            .map_err(failure("send"))?;
        let (answer, is_last) = read_answer(&mut connection).map_err(failure("answer"))?;
        if self.is_keepalive && !is_last {
            self.connection = Some(connection);
        }
        answer.map_err(|status| (Kind::Status, status))
    }

    fn connect(&self) -> std::io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&self.socket, REQUEST_TIMEOUT)?;
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(BufReader::with_capacity(1024, stream))
    }
}

/// The body of a response, or its status if that is 500 or above; and whether the connection ends.
type Answer = (Result<String, String>, bool);

fn read_answer(connection: &mut BufReader<TcpStream>) -> std::io::Result<Answer> {
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

/// The kind of a failure, and its text with the step that failed.
fn failure(doing: &'static str) -> impl Fn(std::io::Error) -> (Kind, String) {
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
