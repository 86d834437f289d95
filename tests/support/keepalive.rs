//! A service with keep-alive connections, and clients that use them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longer than any answer takes, except those that a test delays.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a page with the text `name` on every address, until the test's process ends. `/long` is
/// answered after [`Page::answer_long_requests`].
pub struct Page {
    is_stopping: Arc<AtomicBool>,
    long_requests: Arc<AtomicUsize>,
}

impl Page {
    pub fn serve(name: &'static str, addresses: &[&str]) -> Self {
        let page = Self {
            is_stopping: Arc::default(),
            long_requests: Arc::default(),
        };
        for address in addresses {
            let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
            let (is_stopping, long_requests) =
                (page.is_stopping.clone(), page.long_requests.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (is_stopping, long_requests) = (is_stopping.clone(), long_requests.clone());
                    thread::spawn(move || answer(name, stream, &is_stopping, &long_requests));
                }
            });
        }
        page
    }

    /// The number of long requests so far.
    pub fn long_requests(&self) -> usize {
        self.long_requests.load(Ordering::Relaxed)
    }

    /// Answers the long requests.
    pub fn answer_long_requests(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }
}

fn answer(
    name: &str,
    stream: TcpStream,
    is_stopping: &AtomicBool,
    long_requests: &AtomicUsize,
) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = String::new();
        reader.read_line(&mut request).ok().filter(|n| *n > 0)?;
        let mut header = String::new();
        while header != "\r\n" {
            header.clear();
            reader.read_line(&mut header).ok().filter(|n| *n > 0)?;
        }
        if request.starts_with("GET /long") {
            long_requests.fetch_add(1, Ordering::Relaxed);
            while !is_stopping.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        write!(
            writer,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
            name.len()
        )
        .ok()?;
    }
}

/// A client with a keep-alive connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    /// Whether the server closes the connection after this answer.
    is_last: bool,
}

impl Client {
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self {
            stream: BufReader::new(stream),
            is_last: false,
        })
    }

    /// Gets a page; returns its text, or the status if that is not 200.
    pub fn get(&mut self, path: &str) -> io::Result<String> {
        self.stream
            .get_mut()
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: page\r\n\r\n").as_bytes())?;
        let mut status = String::new();
        self.line(&mut status)?;
        let mut length = 0;
        loop {
            let mut header = String::new();
            self.line(&mut header)?;
            if header == "\r\n" {
                break;
            }
            let (name, value) = header.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().map_err(io::Error::other)?,
                "connection" => self.is_last = value.trim() == "close",
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let code = status.split(' ').nth(1).unwrap_or_default();
        if code == "200" {
            String::from_utf8(body).map_err(io::Error::other)
        } else {
            Ok(code.to_owned())
        }
    }

    /// Whether the server has closed the connection, or has announced it, as a client sees it
    /// before a request.
    fn has_ended(&self) -> bool {
        if self.is_last {
            return true;
        }
        let stream = self.stream.get_ref();
        let _ = stream.set_nonblocking(true);
        let seen = stream.peek(&mut [0]);
        let _ = stream.set_nonblocking(false);
        !matches!(seen, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    fn line(&mut self, line: &mut String) -> io::Result<()> {
        match self.stream.read_line(line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Makes one request with its own connection.
pub fn get(address: &str) -> io::Result<String> {
    Client::connect(address)?.get("/")
}

/// Clients that make one request after the other on keep-alive connections, and reconnect when the
/// connection has ended.
pub struct ClientPool {
    is_stopping: Arc<AtomicBool>,
    clients: Vec<JoinHandle<PoolResult>>,
}

/// The results of all clients of a pool.
#[derive(Debug, Default)]
pub struct PoolResult {
    /// The number of answers with each page.
    pub answers: std::collections::BTreeMap<String, usize>,
    /// Requests without an answer.
    pub lost: Vec<String>,
}

impl ClientPool {
    pub fn start(size: usize, address: &str) -> Self {
        let is_stopping = Arc::<AtomicBool>::default();
        let client = |_| {
            let (is_stopping, address) = (is_stopping.clone(), address.to_owned());
            thread::spawn(move || get_until_stopped(&address, &is_stopping))
        };
        let clients = (0..size).map(client).collect();
        Self {
            is_stopping,
            clients,
        }
    }

    pub fn end(self) -> PoolResult {
        self.is_stopping.store(true, Ordering::Relaxed);
        let mut all = PoolResult::default();
        for client in self.clients {
            let result = client.join().expect("a client");
            for (page, n) in result.answers {
                *all.answers.entry(page).or_default() += n;
            }
            all.lost.extend(result.lost);
        }
        all
    }
}

fn get_until_stopped(address: &str, is_stopping: &AtomicBool) -> PoolResult {
    let mut result = PoolResult::default();
    let mut open = None;
    while !is_stopping.load(Ordering::Relaxed) {
        let answer = open
            .take()
            .filter(|client: &Client| !client.has_ended())
            .map_or_else(|| Client::connect(address), Ok)
            .and_then(|mut client| {
                let page = client.get("/")?;
                Ok((client, page))
            });
        match answer {
            Ok((client, page)) => {
                *result.answers.entry(page).or_default() += 1;
                open = Some(client);
            }
            Err(e) => result.lost.push(e.to_string()),
        }
        // The balancer and the pages need the processors, too.
        thread::sleep(Duration::from_millis(2));
    }
    result
}
