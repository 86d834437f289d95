//! A service that keeps its connections, and clients that do.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longer than any answer takes that is not waited for on purpose.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves pages that hold `name`, on every address it is given, until the test's process ends.
/// `/long` is answered when somebody says so.
pub struct Page {
    is_over: Arc<AtomicBool>,
    long_ones: Arc<AtomicUsize>,
}

impl Page {
    pub fn serve(name: &'static str, addresses: &[&str]) -> Self {
        let page = Self {
            is_over: Arc::default(),
            long_ones: Arc::default(),
        };
        for address in addresses {
            let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("{address}: {e}"));
            let (is_over, long_ones) = (page.is_over.clone(), page.long_ones.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (is_over, long_ones) = (is_over.clone(), long_ones.clone());
                    thread::spawn(move || answer(name, stream, &is_over, &long_ones));
                }
            });
        }
        page
    }

    /// The number of long requests so far.
    pub fn long_ones(&self) -> usize {
        self.long_ones.load(Ordering::Relaxed)
    }

    /// Answers the long requests.
    pub fn end_long_ones(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn answer(
    name: &str,
    stream: TcpStream,
    is_over: &AtomicBool,
    long_ones: &AtomicUsize,
) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut question = String::new();
        reader.read_line(&mut question).ok().filter(|n| *n > 0)?;
        let mut header = String::new();
        while header != "\r\n" {
            header.clear();
            reader.read_line(&mut header).ok().filter(|n| *n > 0)?;
        }
        if question.starts_with("GET /long") {
            long_ones.fetch_add(1, Ordering::Relaxed);
            while !is_over.load(Ordering::Relaxed) {
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

/// A client with a kept connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    /// Whether the server announced that it closes the connection after this answer.
    is_last: bool,
}

impl Client {
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            is_last: false,
        })
    }

    /// Gets a page; returns its text, or its status if that is not 200.
    pub fn ask(&mut self, path: &str) -> io::Result<String> {
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

    /// Whether the other side has ended the connection, or is about to, as a client sees it before
    /// it asks.
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

/// Makes one request on a connection of its own.
pub fn ask(address: &str) -> io::Result<String> {
    Client::connect(address)?.ask("/")
}

/// Clients that ask one question after the other on connections that they keep, and connect again
/// when one has ended.
pub struct Crowd {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Asked>>,
}

/// What the clients have observed.
#[derive(Debug, Default)]
pub struct Asked {
    /// The pages, each with its number of answers.
    pub answers: std::collections::BTreeMap<String, usize>,
    /// Requests without an answer.
    pub lost: Vec<String>,
}

impl Crowd {
    pub fn start(size: usize, address: &str) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let client = |_| {
            let (is_over, address) = (is_over.clone(), address.to_owned());
            thread::spawn(move || ask_on(&address, &is_over))
        };
        let clients = (0..size).map(client).collect();
        Self { is_over, clients }
    }

    pub fn end(self) -> Asked {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Asked::default();
        for client in self.clients {
            let asked = client.join().expect("a client");
            for (page, n) in asked.answers {
                *all.answers.entry(page).or_default() += n;
            }
            all.lost.extend(asked.lost);
        }
        all
    }
}

fn ask_on(address: &str, is_over: &AtomicBool) -> Asked {
    let mut asked = Asked::default();
    let mut kept = None;
    while !is_over.load(Ordering::Relaxed) {
        let answer = kept
            .take()
            .filter(|client: &Client| !client.has_ended())
            .map_or_else(|| Client::connect(address), Ok)
            .and_then(|mut client| {
                let page = client.ask("/")?;
                Ok((client, page))
            });
        match answer {
            Ok((client, page)) => {
                *asked.answers.entry(page).or_default() += 1;
                kept = Some(client);
            }
            Err(e) => asked.lost.push(e.to_string()),
        }
        // Two cores are for the balancer and the pages too.
        thread::sleep(Duration::from_millis(2));
    }
    asked
}
