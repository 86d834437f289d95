//! The link between a driver and a machine: it runs scripts there and sends commands to sockets.

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

/// The limit of a response. The rest of a longer one is discarded.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A link to a machine. Every method has a time limit.
pub trait Link: Send + Sync {
    /// Runs a script until it ends and returns its standard output.
    fn run<'a>(&'a self, script: &'a Script) -> BoxFuture<'a, Result<String, HostUnavailable>>;

    /// Sends one command to a socket of the machine, on a new connection, and returns the response.
    fn send_command<'a>(
        &'a self,
        socket: &'a AdminSocket,
        command: &'a str,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<String, SocketError>>;

    /// The machine's address for programs other than ssh.
    fn network_address(&self) -> BoxFuture<'_, String>;
}

/// Why a socket gave no response.
#[derive(Debug)]
pub enum SocketError {
    Unreachable(HostUnavailable),
    /// The machine can be reached, but the socket cannot be forwarded.
    NotForwarded {
        why: String,
    },
    /// Opening the socket failed, or the connection was interrupted.
    Broken(io::Error),
    Overdue,
}

impl Link for HostLink {
    fn run<'a>(&'a self, script: &'a Script) -> BoxFuture<'a, Result<String, HostUnavailable>> {
        HostLink::run(self, script).boxed()
    }

    fn send_command<'a>(
        &'a self,
        socket: &'a AdminSocket,
        command: &'a str,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<String, SocketError>> {
        send_command(self, socket, command, deadline).boxed()
    }

    fn network_address(&self) -> BoxFuture<'_, String> {
        async { HostLink::network_address(self).await.to_owned() }.boxed()
    }
}

/// Sends a command to a socket. After a failure over SSH, the connection is closed, because a
/// broken connection and a broken socket look the same.
async fn send_command(
    link: &HostLink,
    socket: &AdminSocket,
    command: &str,
    deadline: Duration,
) -> Result<String, SocketError> {
    let connection = link.connection().await.map_err(SocketError::Unreachable)?;
    let forwarded = match socket {
        AdminSocket::Path(path) => connection.forward_path(Path::new(path)).await,
        AdminSocket::Port { address, port } => connection.forward(address, *port).await,
    };
    let (error, connection_may_be_broken) = match forwarded {
        Err(error) => {
            let why = error.to_string();
            (SocketError::NotForwarded { why }, error.is_unknown())
        }
        Ok(forwarded) => {
            let exchanged = exchange_at(forwarded.as_deref(), socket, command);
            let error = match timeout(deadline, exchanged).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => SocketError::Broken(error),
                Err(_) => SocketError::Overdue,
            };
            (error, forwarded.is_some())
        }
    };
    if connection_may_be_broken {
        link.discard(connection).await;
    }
    Err(error)
}

async fn exchange_at(
    forwarded: Option<&Path>,
    socket: &AdminSocket,
    command: &str,
) -> io::Result<String> {
    match (forwarded, socket) {
        (Some(path), _) => exchange(UnixStream::connect(path).await?, command).await,
        (None, AdminSocket::Path(path)) => {
            exchange(UnixStream::connect(path).await?, command).await
        }
        (None, AdminSocket::Port { address, port }) => {
            let stream = TcpStream::connect((address.as_str(), *port)).await?;
            exchange(stream, command).await
        }
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    command: &str,
) -> io::Result<String> {
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
