//! A TCP proxy that cuts each connection after a random number of bytes.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use ship_testing::rng::SeededRng;

/// Forwards to a port of this machine, and cuts every connection sooner or later: before a request,
/// within it, or before its answer.
pub(crate) struct CuttingProxy {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    cuts: AtomicUsize,
    is_ended: AtomicBool,
    rng: Mutex<SeededRng>,
}

impl CuttingProxy {
    /// Starts a proxy that forwards at most `bytes_max` bytes of each connection.
    pub(crate) fn start(to: u16, bytes_max: u64, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            cuts: AtomicUsize::new(0),
            is_ended: AtomicBool::new(false),
            rng: Mutex::new(SeededRng::new(seed)),
        });
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if own.is_ended.load(Ordering::Relaxed) {
                    return;
                }
                let bytes = own.rng.lock().expect("not poisoned").within(0..=bytes_max);
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                    continue;
                };
                let rest = AtomicI64::new(i64::try_from(bytes).expect("a small number"));
                let connection = Arc::new(Connection {
                    client,
                    server,
                    rest,
                });
                let shared = Arc::clone(&own);
                thread::spawn(move || connection.relay(&shared));
            }
        });
        Self {
            port,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The number of connections that were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Ordering::Relaxed);
        // Wakes the thread, which waits for a connection.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// How many bytes are still forwarded, in both directions together.
    rest: AtomicI64,
}

impl Connection {
    fn relay(self: Arc<Self>, shared: &Shared) {
        let other = Arc::clone(&self);
        let answers = thread::spawn(move || other.copy(&other.server, &other.client));
        self.copy(&self.client, &self.server).ok();
        answers.join().ok();
        if self.rest.load(Ordering::Relaxed) <= 0 {
            shared.cuts.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut bytes = [0; 1024];
        loop {
            let length = from.read(&mut bytes).unwrap_or(0);
            let count = i64::try_from(length).expect("a small number");
            let rest = self.rest.fetch_sub(count, Ordering::Relaxed);
            let sent = usize::try_from(rest.clamp(0, count)).expect("not negative");
            let written = to.write_all(&bytes[..sent]);
            if sent < length || length == 0 || written.is_err() {
                self.client.shutdown(Shutdown::Both).ok();
                self.server.shutdown(Shutdown::Both).ok();
                return written;
            }
        }
    }
}
