//! A small web server that records its requests and answers as the test defines.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

#[derive(Clone, Debug)]
pub struct Request {
    /// The path with the query.
    pub path: String,
    /// The headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The beginning of the requested range.
    pub fn range_start(&self) -> Option<usize> {
        self.header("range")?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The number of bytes of the body after which the server closes the connection.
    closes_after: Option<usize>,
}

impl Reply {
    /// A reply with status 200.
    pub fn of(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            body: body.into(),
            ..Self::default()
        }
    }

    /// Another status, without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends the body from this byte on, with status 206.
    pub fn part(mut self, from: usize) -> Self {
        let all = self.body.len();
        self.status = 206;
        self.body.drain(..from);
        self.header("Content-Range", format!("bytes {from}-{}/{all}", all - 1))
    }

    /// Closes the connection after this many bytes of the body.
    pub fn breaking_after(mut self, bytes: usize) -> Self {
        self.closes_after = Some(bytes);
        self
    }

    fn send(&self, connection: &mut TcpStream) -> std::io::Result<()> {
        write!(
            connection,
            "HTTP/1.1 {} Status\r\nConnection: close\r\n",
            self.status
        )?;
        if self.status != 304 {
            write!(connection, "Content-Length: {}\r\n", self.body.len())?;
        }
        for (name, value) in &self.headers {
            write!(connection, "{name}: {value}\r\n")?;
        }
        connection.write_all(b"\r\n")?;
        connection.write_all(
            &self.body[..self
                .closes_after
                .unwrap_or(self.body.len())
                .min(self.body.len())],
        )
    }
}

/// The server. It ends with the test.
pub struct Web {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    is_stopping: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Web {
    /// Starts a server; `answer` also gets the number of earlier requests.
    pub fn start(answer: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let serving = {
            let (requests, is_stopping) = (Arc::clone(&requests), Arc::clone(&is_stopping));
            thread::spawn(move || {
                for connection in listener.incoming().flatten() {
                    if is_stopping.load(Ordering::SeqCst) {
                        break;
                    }
                    serve(connection, &requests, &answer);
                }
            })
        };
        Self {
            address,
            requests,
            is_stopping,
            serving: Some(serving),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Takes the requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests.lock().expect("the lock is not poisoned"))
    }

    /// Takes the paths of the requests since the last call.
    pub fn paths(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|request| request.path)
            .collect()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        // Wakes the thread, so that it reads the flag.
        drop(TcpStream::connect(self.address));
        let _ = self.serving.take().map(JoinHandle::join);
    }
}

fn serve(
    mut connection: TcpStream,
    requests: &Mutex<Vec<Request>>,
    answer: &impl Fn(&Request, usize) -> Reply,
) {
    let Some(request) = read(&connection) else {
        return;
    };
    let earlier = {
        let mut requests = requests.lock().expect("the lock is not poisoned");
        requests.push(request.clone());
        requests.len() - 1
    };
    // The client may have disconnected.
    let _ = answer(&request, earlier).send(&mut connection);
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(connection).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let headers = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
    Some(Request {
        path,
        headers: headers.collect(),
    })
}
