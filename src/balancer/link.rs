//! The link of a driver to a machine: it runs scripts there and asks sockets.

use std::io;
use std::path::Path;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::config::AdminSocket;
use crate::remote::{HostLink, HostUnavailable};
use crate::script::Script;

/// A longer answer is cut off.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A link to a machine. Every method ends within a bound.
pub trait Link: Send + Sync {
    /// Runs a script to its end, and gives what it printed.
    fn run<'a>(&'a self, script: &'a Script) -> BoxFuture<'a, Result<String, HostUnavailable>>;

    /// Puts one question to a socket of the machine, on a connection of its own, and gives all that
    /// comes back until the other side closes it.
    fn ask<'a>(
        &'a self,
        socket: &'a AdminSocket,
        question: &'a str,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<String, SocketError>>;

    /// The machine's address as others than ssh know it.
    fn network_address(&self) -> BoxFuture<'_, String>;
}

/// Why a socket gave no answer.
#[derive(Debug)]
pub enum SocketError {
    Unreachable(HostUnavailable),
    /// The machine can be reached, but the socket cannot be forwarded.
    NotForwarded {
        why: String,
    },
    /// The socket cannot be opened, or broke off.
    Broken(io::Error),
    Overdue,
}

impl Link for HostLink {
    fn run<'a>(&'a self, script: &'a Script) -> BoxFuture<'a, Result<String, HostUnavailable>> {
        HostLink::run(self, script).boxed()
    }

    fn ask<'a>(
        &'a self,
        socket: &'a AdminSocket,
        question: &'a str,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<String, SocketError>> {
        ask(self, socket, question, deadline).boxed()
    }

    fn network_address(&self) -> BoxFuture<'_, String> {
        async { HostLink::network_address(self).await.to_owned() }.boxed()
    }
}

/// A connection on which this fails is given up where it may be the reason: over SSH a broken way
/// looks like a broken socket.
async fn ask(
    link: &HostLink,
    socket: &AdminSocket,
    question: &str,
    deadline: Duration,
) -> Result<String, SocketError> {
    let connection = link.connection().await.map_err(SocketError::Unreachable)?;
    let forwarded = match socket {
        AdminSocket::Path(path) => connection.forward_path(Path::new(path)).await,
        AdminSocket::Port { address, port } => connection.forward(address, *port).await,
    };
    let (error, may_be_the_way) = match forwarded {
        Err(error) => {
            let why = error.to_string();
            (SocketError::NotForwarded { why }, error.is_unknown())
        }
        Ok(forwarded) => {
            let asked = converse_at(forwarded.as_deref(), socket, question);
            let error = match timeout(deadline, asked).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => SocketError::Broken(error),
                Err(_) => SocketError::Overdue,
            };
            (error, forwarded.is_some())
        }
    };
    if may_be_the_way {
        link.discard(connection).await;
    }
    Err(error)
}

async fn converse_at(
    forwarded: Option<&Path>,
    socket: &AdminSocket,
    question: &str,
) -> io::Result<String> {
    match (forwarded, socket) {
        (Some(path), _) => converse(UnixStream::connect(path).await?, question).await,
        (None, AdminSocket::Path(path)) => {
            converse(UnixStream::connect(path).await?, question).await
        }
        (None, AdminSocket::Port { address, port }) => {
            let stream = TcpStream::connect((address.as_str(), *port)).await?;
            converse(stream, question).await
        }
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: &str,
) -> io::Result<String> {
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
