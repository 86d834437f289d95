//! Probes whether a port accepts connections.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::error;
use crate::core::fleet::health::{REFUSED, UNRESOLVED, Verdict};
use crate::core::ids::Port;
use crate::probe::route::Route;

/// How long a forwarded connection must stay open for the probe to pass, at most.
const OPEN_FOR_MAX: Duration = Duration::from_millis(500);

pub(super) async fn probe(route: &Route, port: Port, deadline: Duration) -> Verdict {
    let connected = match route {
        Route::Direct { address } => match lookup(address, port).await {
            Ok(addresses) => TcpStream::connect(addresses.as_slice()).await.map(drop),
            Err(e) => return Verdict::Error(format!("{UNRESOLVED}{address} on this machine: {e}")),
        },
        Route::Socket(path) => match UnixStream::connect(path).await {
            Ok(stream) => return stays_open(stream, OPEN_FOR_MAX.min(deadline / 2)).await,
            Err(e) => Err(e),
        },
    };
    match connected {
        Ok(()) => Verdict::Pass("connected".to_owned()),
        Err(e) => error::verdict(&e, route),
    }
}

async fn lookup(address: &str, port: Port) -> io::Result<Vec<std::net::SocketAddr>> {
    tokio::net::lookup_host((address, port))
        .await
        .map(Iterator::collect)
}

/// Whether a forwarded connection stays open. ssh accepts every connection before it connects to
/// the other end, and closes it if nothing listens there. The probe passes if the instance sends
/// something, or if the connection stays open for `duration`.
async fn stays_open(mut stream: UnixStream, duration: Duration) -> Verdict {
    match timeout(duration, stream.read(&mut [0; 1])).await {
        Ok(Ok(1..)) | Err(_) => Verdict::Pass("connected".to_owned()),
        Ok(Ok(0) | Err(_)) => Verdict::Fail(REFUSED.to_owned()),
    }
}
