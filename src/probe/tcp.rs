//! Probes whether a port accepts connections.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::trouble;
use crate::core::fleet::health::{REFUSED, UNRESOLVED, Verdict};
use crate::core::ids::Port;
use crate::probe::route::Route;

/// How long a forwarded connection must hold to count as one.
const HOLD_MAX: Duration = Duration::from_millis(500);

pub(super) async fn ask(route: &Route, port: Port, deadline: Duration) -> Verdict {
    let connected = match route {
        Route::Direct { address } => match lookup(address, port).await {
            Ok(addresses) => TcpStream::connect(addresses.as_slice()).await.map(drop),
            Err(e) => return Verdict::Error(format!("{UNRESOLVED}{address} on this machine: {e}")),
        },
        Route::Socket(path) => match UnixStream::connect(path).await {
            Ok(stream) => return held(stream, HOLD_MAX.min(deadline / 2)).await,
            Err(e) => Err(e),
        },
    };
    match connected {
        Ok(()) => Verdict::Pass("connected".to_owned()),
        Err(e) => trouble::verdict(&e, route),
    }
}

async fn lookup(address: &str, port: Port) -> io::Result<Vec<std::net::SocketAddr>> {
    tokio::net::lookup_host((address, port))
        .await
        .map(Iterator::collect)
}

/// ssh takes every connection and only then asks the host for the other end; where there is none it
/// hangs up. So it passes once the instance has said something, or if nobody has hung up for a
/// while.
async fn held(mut stream: UnixStream, hold: Duration) -> Verdict {
    match timeout(hold, stream.read(&mut [0; 1])).await {
        Ok(Ok(1..)) | Err(_) => Verdict::Pass("connected".to_owned()),
        Ok(Ok(0) | Err(_)) => Verdict::Fail(REFUSED.to_owned()),
    }
}
