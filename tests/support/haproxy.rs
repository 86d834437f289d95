//! A real `HAProxy` for one test, and servers behind it.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use super::sshd::eventually;

const PROGRAM: &str = "/usr/sbin/haproxy";
const DEADLINE: Duration = Duration::from_secs(10);

/// A running `HAProxy` with one backend, `web`. It ends with the test.
pub struct Haproxy {
    child: Option<Child>,
    /// Processes from before a reload that finish their requests.
    old: Vec<Child>,
    dir: TempDir,
    port: u16,
}

impl Haproxy {
    /// Starts one with these `server` lines. If `HAProxy` is not installed, prints `SKIPPED` and
    /// returns `None`.
    pub fn start<S: AsRef<str>>(servers: impl IntoIterator<Item = S>) -> Option<Self> {
        Self::start_with("", servers)
    }

    /// The same, with additional lines in the backend.
    pub fn start_with<S: AsRef<str>>(
        lines: &str,
        servers: impl IntoIterator<Item = S>,
    ) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            eprintln!("SKIPPED: {PROGRAM} is missing (Debian: apt-get install haproxy)");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("ha-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let socket = dir.path().join("s");
        let mut config = format!(
            "global\n  stats socket {} level admin\ndefaults\n  mode http\n  timeout connect \
             1s\n  timeout client 30s\n  \
             timeout server 30s\n  default-server inter 100ms fastinter 50ms downinter 50ms rise \
             2 fall 2\n\
             frontend front\n  bind 127.0.0.1:{port}\n  default_backend web\n\
             backend web\n  option httpchk GET /\n{lines}",
            socket.display()
        );
        for server in servers {
            writeln!(config, "  server {}", server.as_ref()).unwrap();
        }
        fs::write(dir.path().join("haproxy.cfg"), config).unwrap();
        let mut haproxy = Self {
            child: None,
            old: Vec::new(),
            dir,
            port,
        };
        haproxy.run();
        Some(haproxy)
    }

    /// Starts the process again after [`Haproxy::kill`].
    pub fn run(&mut self) {
        let child = self.spawn(&[]);
        self.child = Some(child);
        let answers = eventually(DEADLINE, || {
            self.try_command("show info")
                .is_ok_and(|reply| reply.contains("Pid:"))
        });
        assert!(answers, "{}", self.log());
    }

    /// Reloads the configuration as an administrator does: another process takes over.
    pub fn reload(&mut self) {
        let before = self.pid();
        let old = self.child.take().expect("a running process");
        self.child = Some(self.spawn(&["-sf", &old.id().to_string()]));
        self.old.push(old);
        let taken_over = eventually(DEADLINE, || {
            self.try_command("show info")
                .is_ok_and(|reply| reply.contains("Pid:") && pid_in(&reply) != before)
        });
        assert!(taken_over, "{}", self.log());
    }

    pub fn kill(&mut self) {
        for mut child in self.child.take().into_iter().chain(self.old.drain(..)) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The socket of the runtime API.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// The address of the frontend.
    pub fn front(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Sends a line to the runtime API; returns the reply.
    pub fn command(&self, line: &str) -> String {
        self.try_command(line)
            .unwrap_or_else(|error| panic!("{line}: {error}\n{}", self.log()))
    }

    /// The process id.
    pub fn pid(&self) -> String {
        pid_in(&self.command("show info"))
    }

    /// Waits until a server has this status.
    #[track_caller]
    pub fn await_server(&self, name: &str, status: &str) {
        let has_status = || {
            let reply = self.command("show stat web 4 -1");
            reply.lines().any(|line| {
                line.split(',').nth(1) == Some(name) && line.split(',').nth(17) == Some(status)
            })
        };
        assert!(
            eventually(DEADLINE, has_status),
            "{name} is not {status}: {}",
            self.command("show stat web 4 -1")
        );
    }

    fn try_command(&self, line: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(format!("{line}\n").as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    }

    fn spawn(&self, more: &[&str]) -> Child {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let mut command = Command::new(PROGRAM);
        command
            .args(["-db", "-f"])
            .arg(self.dir.path().join("haproxy.cfg"))
            .args(more);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid_in(info: &str) -> String {
    info.lines()
        .find_map(|line| line.strip_prefix("Pid: "))
        .expect("a line with the pid")
        .to_owned()
}

/// A server that answers with its name: at once, or after [`Backend::release`] for `/slow`.
pub struct Backend {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    name: String,
    is_stopping: AtomicBool,
    slow: AtomicUsize,
    released: Mutex<bool>,
    release: Condvar,
}

impl Backend {
    /// Starts a server on a free port.
    pub fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            is_stopping: AtomicBool::new(false),
            slow: AtomicUsize::new(0),
            released: Mutex::new(false),
            release: Condvar::new(),
        });
        let serving = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.is_stopping.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &serving));
            }
        });
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers every slow request, now and later.
    pub fn release(&self) {
        *self.shared.released.lock().unwrap() = true;
        self.shared.release.notify_all();
    }

    /// Waits until this many slow requests are in progress.
    #[track_caller]
    pub fn await_slow(&self, count: usize) {
        assert!(
            eventually(DEADLINE, || self.shared.slow.load(Ordering::SeqCst)
                == count),
            "no slow request arrived"
        );
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        self.release();
        // Wakes the thread that accepts connections.
        drop(TcpStream::connect(self.address));
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(DEADLINE));
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    if request.starts_with(b"GET /slow") {
        shared.slow.fetch_add(1, Ordering::SeqCst);
        let released = shared.released.lock().unwrap();
        drop(
            shared
                .release
                .wait_timeout_while(released, Duration::from_mins(1), |released| !*released),
        );
        shared.slow.fetch_sub(1, Ordering::SeqCst);
    }
    let name = &shared.name;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{name}",
        name.len()
    );
    let _ = stream.write_all(answer.as_bytes());
}

/// Makes a request; returns the body of a 200 response, or the error.
pub fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    get_with(address, path, "")
}

/// The same, with additional header lines.
pub fn get_with(address: SocketAddr, path: &str, lines: &str) -> Result<String, String> {
    let response = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{lines}\r\n");
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = response().map_err(|error| error.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(answer.lines().next().unwrap_or("nothing").to_owned()),
    }
}
