//! A network that fails: it stands between ssh and a server, on a port of this machine.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

/// What happens to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It works.
    Well,
    /// It is closed after the client has named itself.
    Closed,
    /// It is reset at the same moment.
    Reset,
    /// From that moment on nothing passes, although the connection stays open.
    Stalled,
}

/// Passes on all bytes until it is cut.
pub struct Relay {
    port: u16,
    cut: watch::Sender<bool>,
    fates: Arc<Mutex<VecDeque<Fate>>>,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts one in front of a port of this machine. The first connections have these fates, all
    /// others are well.
    pub fn start(to: u16, fates: impl IntoIterator<Item = Fate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, is_cut) = watch::channel(false);
        let (end, ended) = tokio::sync::oneshot::channel();
        let fates = Arc::new(Mutex::new(fates.into_iter().collect()));
        let relay_fates = Arc::clone(&fates);
        // A runtime of its own: the test may block the one that it has.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, to, relay_fates, is_cut) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            port,
            cut,
            fates,
            end: Some(end),
            thread: Some(thread),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether every fate has been applied to a connection.
    pub fn has_struck(&self) -> bool {
        self.fates.lock().unwrap().is_empty()
    }

    /// From now on nothing passes in either direction, although connections stay open.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }
}

impl Drop for Relay {
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
    fates: Arc<Mutex<VecDeque<Fate>>>,
    is_cut: watch::Receiver<bool>,
) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else {
            continue;
        };
        let fate = fates.lock().unwrap().pop_front().unwrap_or(Fate::Well);
        tokio::spawn(relay(client, server, fate, is_cut.clone()));
    }
}

async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    fate: Fate,
    is_cut: watch::Receiver<bool>,
) {
    if fate == Fate::Well {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::join!(
            pass(from_client, to_server, is_cut.clone()),
            pass(from_server, to_client, is_cut)
        );
        return;
    }
    // Both say who they are; what the client says after that begins the key exchange.
    let mut words = [0; 4096];
    let Ok(length) = client.read(&mut words).await else {
        return;
    };
    let _ = server.write_all(&words[..length]).await;
    let Ok(length) = server.read(&mut words).await else {
        return;
    };
    let _ = client.write_all(&words[..length]).await;
    let _ = client.read(&mut words).await;
    match fate {
        Fate::Reset => drop(client.set_zero_linger()),
        Fate::Stalled => std::future::pending().await,
        Fate::Closed | Fate::Well => {}
    }
}

async fn pass(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut is_cut: watch::Receiver<bool>) {
    let mut chunk = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            biased;
            () = cut_off(&mut is_cut) => std::future::pending().await,
            read = from.read(&mut chunk) => read,
        };
        match read {
            Ok(length @ 1..) if to.write_all(&chunk[..length]).await.is_ok() => {}
            _ => break,
        }
    }
    let _ = to.shutdown().await;
}

async fn cut_off(is_cut: &mut watch::Receiver<bool>) {
    let _ = is_cut.wait_for(|cut| *cut).await;
}
