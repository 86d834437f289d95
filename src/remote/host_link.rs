//! The link to a host, which connects on first use and again after the connection was lost.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Mutex, OnceCell, Semaphore, mpsc};

use super::command::{Command, Output};
use super::connection::{Connection, Delays};
use super::connector::Connector;
use super::error::RunError;
use super::held_releases::HeldReleases;
use super::resolve::network_address;
use super::saved_output::SavedOutput;
use super::ssh_endpoint::SshEndpoint;
use super::target::Target;
use super::unavailable::HostUnavailable;
use crate::config::Transport;
use crate::core::ids::HostId;
use crate::script::{self, Script};

/// The limit of concurrent logins. Each login costs this machine a key exchange.
const CONNECTS_CONCURRENT_MAX: usize = 32;
/// Added to a script's own deadline for the network.
const NETWORK_ALLOWANCE: Duration = Duration::from_secs(10);

/// The links to the hosts of a run. They stay open as long as any run that shares them.
pub struct Connections {
    links: BTreeMap<HostId, Arc<HostLink>>,
    _open: SharedLinks,
}

/// Links that several runs of this process share: two services on one host use one connection, if
/// everything that decides the login is the same.
#[derive(Clone)]
pub struct SharedLinks(Arc<OpenLinks>);

/// Dropping this value closes every connection and removes the directory of their sockets, which
/// takes a few seconds at most. On a thread that does not belong to a multi-threaded runtime, the
/// drop does not wait, and the connections end a moment later.
struct OpenLinks {
    links: std::sync::Mutex<Vec<Arc<HostLink>>>,
    logins: Arc<SharedLogins>,
}

struct SharedLogins {
    connector: Connector,
    connects: Semaphore,
}

pub struct HostLink {
    target: Target,
    logins: Arc<SharedLogins>,
    connection: Mutex<Option<Arc<Connection>>>,
    network_address: OnceCell<String>,
    has_zstd: OnceCell<bool>,
    held: HeldReleases,
}

impl Default for SharedLinks {
    fn default() -> Self {
        Self::with_connector(Connector::default())
    }
}

impl SharedLinks {
    /// No links yet, to be connected by this connector.
    pub fn with_connector(connector: Connector) -> Self {
        let logins = Arc::new(SharedLogins {
            connector,
            connects: Semaphore::new(CONNECTS_CONCURRENT_MAX),
        });
        Self(Arc::new(OpenLinks {
            links: std::sync::Mutex::default(),
            logins,
        }))
    }

    /// The links to these hosts, without connecting. A link that exists already is used again.
    pub fn to(&self, targets: impl IntoIterator<Item = Target>) -> Connections {
        let mut known = self.0.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = |target: Target| {
            let name = target.name.clone();
            if let Some(link) = known.iter().find(|link| link.target.is_same(&target)) {
                return (name, Arc::clone(link));
            }
            let link = Arc::new(HostLink {
                target,
                logins: Arc::clone(&self.0.logins),
                connection: Mutex::new(None),
                network_address: OnceCell::new(),
                has_zstd: OnceCell::new(),
                held: HeldReleases::default(),
            });
            known.push(Arc::clone(&link));
            (name, link)
        };
        Connections {
            links: targets.into_iter().map(link).collect(),
            _open: self.clone(),
        }
    }
}

impl Connections {
    /// Links of their own, without connecting.
    pub fn new(targets: impl IntoIterator<Item = Target>) -> Self {
        SharedLinks::default().to(targets)
    }

    pub fn links(&self) -> &BTreeMap<HostId, Arc<HostLink>> {
        &self.links
    }
}

impl OpenLinks {
    async fn close(&self, links: Vec<Arc<HostLink>>) {
        join_all(links.iter().map(|link| link.close())).await;
        self.logins.connector.close().await;
    }
}

impl Drop for OpenLinks {
    fn drop(&mut self) {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let links = links.clone();
        let runtime = Handle::try_current();
        if let Some(runtime) = runtime
            .ok()
            .filter(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
        {
            tokio::task::block_in_place(|| runtime.block_on(self.close(links)));
        }
    }
}

impl HostLink {
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The releases that the host holds.
    pub fn held(&self) -> &HeldReleases {
        &self.held
    }

    /// The host's address for programs other than ssh.
    pub async fn network_address(&self) -> &str {
        self.network_address
            .get_or_init(|| network_address(&self.target))
            .await
    }

    /// Whether the host can decompress differences of zstd. It is asked once.
    pub async fn has_zstd(&self) -> bool {
        let ask = || async {
            let answer = self.run(&script::finds_zstd()).await;
            answer.is_ok_and(|answer| answer.contains("zstd=yes"))
        };
        *self.has_zstd.get_or_init(ask).await
    }

    /// How other hosts reach the sshd of this one.
    ///
    /// # Errors
    /// If the host is this machine, or the keys of its sshd are not known.
    pub async fn ssh_endpoint(&self) -> Result<SshEndpoint, String> {
        match self.target.transport {
            Transport::Ssh => SshEndpoint::of(&self.target).await,
            Transport::Local => Err("it is this machine".to_owned()),
        }
    }

    /// Returns the connection. Connects first if there is none.
    ///
    /// # Errors
    /// If the login fails, with the output of ssh and the next step.
    pub async fn connection(&self) -> Result<Arc<Connection>, HostUnavailable> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = slot.as_ref() {
            return Ok(Arc::clone(connection));
        }
        let _permit = self.logins.connects.acquire().await;
        let connected = self.logins.connector.connect(&self.target).await;
        let connected =
            connected.inspect_err(|error| tracing::warn!(host = %self.target.name, "{error}"));
        let connection = Arc::new(connected.map_err(|error| HostUnavailable {
            why: error.to_string(),
        })?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Runs a script until it ends and returns its standard output.
    ///
    /// # Errors
    /// If the host cannot be reached, or the result of the script is unknown.
    pub async fn run(&self, script: &Script) -> Result<String, HostUnavailable> {
        let connection = self.connection().await?;
        match connection.run(&command(script)).await {
            Ok(output) if output.stdout.is_empty() && output.status != 0 => Err(HostUnavailable {
                why: format!("{}: {}", self.target.name, output.error_text()),
            }),
            Ok(output) => Ok(output.stdout),
            Err(error) => {
                tracing::warn!(host = %self.target.name, "{error}");
                if error.is_unknown() {
                    self.discard(connection).await;
                }
                Err(HostUnavailable {
                    why: error.to_string(),
                })
            }
        }
    }

    /// Runs a script that changes nothing, and saves what it prints.
    ///
    /// # Errors
    /// If the host cannot be reached, or the script fails, prints more than it may, or nothing for
    /// too long.
    pub async fn save(
        &self,
        script: &Script,
        output: &mut SavedOutput,
    ) -> Result<(), HostUnavailable> {
        let connection = self.connection().await?;
        let command = command(script);
        let why = match connection.save(&command, output).await {
            Ok(output) if output.status == 0 => return Ok(()),
            Ok(output) => format!("{}: {}", self.target.name, output.error_text()),
            Err(error) => {
                if error.is_unknown() {
                    self.discard(connection).await;
                }
                // The script changes nothing, so its result on the host does not matter.
                match error {
                    RunError::Lost { host, why } => format!("{host}: {why}"),
                    error => error.to_string(),
                }
            }
        };
        Err(HostUnavailable { why })
    }

    /// Runs a script and sends each line that it prints to `lines`, until it ends. Dropping the
    /// future ends the script.
    ///
    /// # Errors
    /// If the host cannot be reached, or the script was interrupted.
    pub async fn stream(
        &self,
        script: &Script,
        lines: &mpsc::Sender<String>,
    ) -> Result<Output, HostUnavailable> {
        let connection = self.connection().await?;
        let deadline = script.deadline + NETWORK_ALLOWANCE;
        match connection.stream(&script.text, deadline, lines).await {
            Ok(output) => Ok(output),
            Err(error) => {
                if error.is_unknown() {
                    self.discard(connection).await;
                }
                Err(HostUnavailable {
                    why: error.to_string(),
                })
            }
        }
    }

    /// How long the host delays the start of scripts; `None` if it is not connected over SSH.
    pub async fn delays(&self) -> Option<Delays> {
        if self.target.transport != Transport::Ssh {
            return None;
        }
        let connection = self.connection.lock().await;
        connection.as_ref().map(|connection| connection.delays())
    }

    /// Closes a connection that has failed, so that the next script uses a new one.
    pub async fn discard(&self, connection: Arc<Connection>) {
        let mut slot = self.connection.lock().await;
        if slot
            .as_ref()
            .is_some_and(|present| Arc::ptr_eq(present, &connection))
        {
            slot.take();
        }
        drop(slot);
        if let Some(connection) = Arc::into_inner(connection) {
            connection.close().await;
        }
    }

    async fn close(&self) {
        let connection = self
            .connection
            .try_lock()
            .ok()
            .and_then(|mut connection| connection.take());
        if let Some(connection) = connection.and_then(Arc::into_inner) {
            connection.close().await;
        }
    }
}

fn command(script: &Script) -> Command<'_> {
    Command {
        script: &script.text,
        input: script.input.clone(),
        deadline: script.deadline + NETWORK_ALLOWANCE,
    }
}
