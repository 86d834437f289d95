//! A TCP proxy that simulates network faults, between ssh and a server.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection works.
    None,
    /// The proxy closes it after the client has sent its identification.
    Closed,
    /// The proxy resets it at that moment.
    Reset,
    /// The proxy forwards nothing from that moment on, and keeps the connection open.
    Stalled,
}

/// Forwards all bytes until it is stalled.
pub struct FlakyProxy {
    port: u16,
    stall: watch::Sender<bool>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FlakyProxy {
    /// Starts a proxy for a port of this machine. The faults apply to the first connections, one
    /// each.
    pub fn start(to: u16, faults: impl IntoIterator<Item = Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stall, is_stalled) = watch::channel(false);
        let (end, ended) = tokio::sync::oneshot::channel();
        let faults = Arc::new(Mutex::new(faults.into_iter().collect()));
        let proxy_faults = Arc::clone(&faults);
        // Its own runtime, because the test may block its runtime.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, to, proxy_faults, is_stalled) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            port,
            stall,
            faults,
            end: Some(end),
            thread: Some(thread),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether every fault has been applied.
    pub fn has_applied_all(&self) -> bool {
        self.faults.lock().unwrap().is_empty()
    }

    /// Stops forwarding in both directions, and keeps connections open.
    pub fn stall(&self) {
        self.stall.send_replace(true);
    }
}

impl Drop for FlakyProxy {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    listener: TcpListener,
    to: u16,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    is_stalled: watch::Receiver<bool>,
) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
            continue;
        };
        let fault = faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        tokio::spawn(relay(client, server, fault, is_stalled.clone()));
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    fault: Fault,
    is_stalled: watch::Receiver<bool>,
) {
    if fault == Fault::None {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::join!(
            forward(from_client, to_server, is_stalled.clone()),
            forward(from_server, to_client, is_stalled)
        );
        return;
    }
    // Both sides send their identification. Then the client starts the key exchange.
    let mut bytes = [0; 4096];
    let Ok(length) = client.read(&mut bytes).await else {
        return;
    };
    let _ = server.write_all(&bytes[..length]).await;
    let Ok(length) = server.read(&mut bytes).await else {
        return;
    };
    let _ = client.write_all(&bytes[..length]).await;
    let _ = client.read(&mut bytes).await;
    match fault {
        Fault::Reset => drop(client.set_zero_linger()),
        Fault::Stalled => std::future::pending().await,
        Fault::Closed | Fault::None => {}
    }
}

async fn forward(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut is_stalled: watch::Receiver<bool>,
) {
    let mut chunk = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            biased;
            () = until_stalled(&mut is_stalled) => std::future::pending().await,
            read = from.read(&mut chunk) => read,
        };
        match read {
            Ok(length @ 1..) if to.write_all(&chunk[..length]).await.is_ok() => {}
            _ => break,
        }
    }
    let _ = to.shutdown().await;
}

async fn until_stalled(is_stalled: &mut watch::Receiver<bool>) {
    let _ = is_stalled.wait_for(|stalled| *stalled).await;
}
