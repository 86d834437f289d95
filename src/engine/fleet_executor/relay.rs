//! Lets hosts receive files from each other.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Notify, OnceCell, mpsc};
use tokio::task::JoinHandle;

use super::linked_host::LinkedHost;
use crate::core::ids::HostId;
use crate::core::release::relay::{RelayGroup, Sender};
use crate::core::time::Time;
use crate::remote::{HEARTBEAT, RelayKey};
use crate::script::{self, HostContext, RelayServer, RelayedFrom, ScriptEnd};

/// A host that serves others ends after this many heartbeats that did not arrive.
const SILENCE: Duration = Duration::from_secs(HEARTBEAT.as_secs() * 3);
/// The characters of the name that belongs to one rollout.
const NAME_CHARS: usize = 16;

/// The files that hosts pass on during one rollout, and the hosts that serve them.
///
/// Dropping it ends the scripts on these hosts, which then remove the key.
#[derive(Default)]
pub(super) struct Relay {
    key: OnceCell<Result<RelayKey, String>>,
    groups: Mutex<BTreeMap<RelayedFile, RelayGroup>>,
    /// Notified when a transfer has ended.
    ended: Notify,
    servers: Mutex<BTreeMap<HostId, ServingOnce>>,
}

/// A host that is prepared once, or the reason why it cannot serve.
type ServingOnce = Arc<OnceCell<Result<Arc<Serving>, String>>>;

/// A file that the hosts of a group need.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RelayedFile {
    /// The hosts that are near each other.
    pub(super) group: String,
    pub(super) sha256: String,
}

/// A transfer that is under way. Dropping it without an end counts as a failure.
pub(super) struct RelayTransfer<'a> {
    relay: &'a Relay,
    file: &'a RelayedFile,
    pub(super) sender: Sender,
    has_received: bool,
}

/// A host that serves others, for as long as the script runs there.
struct Serving {
    server: RelayServer,
    /// The directory of the files on the host.
    dir: String,
    script: JoinHandle<()>,
}

impl Relay {
    /// Waits until a machine can send the file to the next host of its group, which has this many
    /// hosts.
    pub(super) async fn begin<'a>(
        &'a self,
        file: &'a RelayedFile,
        hosts: usize,
    ) -> RelayTransfer<'a> {
        loop {
            let mut ended = pin!(self.ended.notified());
            // From here on, no end is missed.
            ended.as_mut().enable();
            let chosen = {
                let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
                let new = || RelayGroup::new(hosts);
                groups.entry(file.clone()).or_insert_with(new).choose()
            };
            if let Some(sender) = chosen {
                return self.transfer(file, sender);
            }
            ended.await;
        }
    }

    /// Begins a transfer from the control machine, to a host that could not receive the file from
    /// another one.
    pub(super) fn begin_from_control<'a>(&'a self, file: &'a RelayedFile) -> RelayTransfer<'a> {
        self.update(file, RelayGroup::begin_from_control);
        self.transfer(file, Sender::ControlMachine)
    }

    fn transfer<'a>(&'a self, file: &'a RelayedFile, sender: Sender) -> RelayTransfer<'a> {
        RelayTransfer {
            relay: self,
            file,
            sender,
            has_received: false,
        }
    }

    fn update<T: Default>(
        &self,
        file: &RelayedFile,
        change: impl FnOnce(&mut RelayGroup) -> T,
    ) -> T {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.get_mut(file).map(change).unwrap_or_default()
    }

    /// Prepares the host to send the file to others, if some will need it; returns the directory in
    /// which it must keep the file.
    pub(super) async fn prepare_server(
        &self,
        host: &LinkedHost,
        site: &HostContext,
        file: &RelayedFile,
    ) -> Option<String> {
        if !self.update(file, |group| group.needs_servers()) {
            return None;
        }
        match self.serving(host, site).await {
            Ok(serving) => Some(serving.dir.clone()),
            Err(why) => {
                let host = &host.site.target.name;
                tracing::warn!(%host, "cannot send the release to other hosts: {why}");
                self.update(file, RelayGroup::refuse_server);
                None
            }
        }
    }

    /// Records that a host has the file and can send it.
    pub(super) fn add_server(&self, file: &RelayedFile, host: &HostId) {
        self.update(file, |group| group.add_server(host.clone()));
        self.ended.notify_waiters();
    }

    /// Records that a host was not to blame for a failure.
    pub(super) fn forgive(&self, file: &RelayedFile, host: &HostId) {
        self.update(file, |group| group.forgive(host));
    }

    /// The host that sends, and the key for it; `None` if it does not serve any more.
    pub(super) fn source(&self, host: &HostId) -> Option<RelaySource<'_>> {
        let key = self.key.get()?.as_ref().ok()?;
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let serving = servers.get(host)?.get()?.as_ref().ok()?;
        (!serving.script.is_finished()).then(|| RelaySource {
            server: serving.server.clone(),
            key,
        })
    }

    async fn serving(&self, host: &LinkedHost, site: &HostContext) -> Result<Arc<Serving>, String> {
        let cell = {
            let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
            let name = host.site.target.name.clone();
            Arc::clone(servers.entry(name).or_default())
        };
        let serve = async || {
            let key = self.key.get_or_init(RelayKey::generate).await;
            let key = key.as_ref().map_err(Clone::clone)?;
            Serving::begin(host, site, key).await.map(Arc::new)
        };
        cell.get_or_init(serve).await.clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let servers =
            std::mem::take(&mut *self.servers.lock().unwrap_or_else(PoisonError::into_inner));
        let serving = servers.into_values().filter_map(Arc::into_inner);
        let serving = serving.filter_map(|cell| Arc::into_inner(cell.into_inner()?.ok()?));
        let scripts: Vec<_> = serving.map(|serving| serving.script).collect();
        if scripts.is_empty() {
            return;
        }
        for script in &scripts {
            script.abort();
        }
        // The connections are closed afterwards.
        let runtime = Handle::try_current().ok();
        let runtime = runtime.filter(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
        if let Some(runtime) = runtime {
            tokio::task::block_in_place(|| runtime.block_on(join_all(scripts)));
        }
    }
}

/// A host that sends a file, and the key for it.
pub(super) struct RelaySource<'a> {
    server: RelayServer,
    key: &'a RelayKey,
}

impl RelaySource<'_> {
    pub(super) fn relayed_from(&self) -> RelayedFrom<'_> {
        RelayedFrom {
            server: &self.server,
            private_key: &self.key.private,
        }
    }
}

impl RelayTransfer<'_> {
    /// Records that the host has received the file.
    pub(super) fn succeed(mut self) {
        self.has_received = true;
    }
}

impl Drop for RelayTransfer<'_> {
    fn drop(&mut self) {
        let (sender, has_received) = (&self.sender, self.has_received);
        self.relay
            .update(self.file, |group| group.end(sender, has_received));
        self.relay.ended.notify_waiters();
    }
}

impl Serving {
    /// Starts the script on the host, and waits until it serves.
    async fn begin(host: &LinkedHost, site: &HostContext, key: &RelayKey) -> Result<Self, String> {
        let endpoint = host.link.ssh_endpoint().await?;
        let name = relay_name(key);
        let script = script::serve(site, &name, &key.public, SILENCE);
        let (sender, mut lines) = mpsc::channel(8);
        let link = Arc::clone(&host.link);
        let (failed, failure) = tokio::sync::oneshot::channel();
        let script = tokio::spawn(async move {
            let ended = link.stream(&script, &sender).await;
            // No one waits for the end of a script that has served.
            let _ = failed.send(ended.map_or_else(|error| error.why, |output| output.error_text()));
        });
        let mut printed = String::new();
        while let Some(line) = lines.recv().await {
            if let Some(user) = script::read_serving(&line) {
                return Ok(Self {
                    server: RelayServer {
                        host: host.site.target.name.to_string(),
                        address: endpoint.address,
                        port: endpoint.port,
                        user: user.to_owned(),
                        name: endpoint.name,
                        host_keys: endpoint.host_keys,
                    },
                    dir: script::relay_dir(site, &name),
                    script,
                });
            }
            printed.push_str(&line);
            printed.push('\n');
        }
        let reply = script::read_reply(&printed, Time(0)).map(|reply| reply.end);
        Err(match reply {
            Ok(ScriptEnd::Failed(why)) => why,
            _ => failure.await.unwrap_or_default(),
        })
    }
}

/// A name that belongs to the key.
fn relay_name(key: &RelayKey) -> String {
    let letters = key.public.chars().filter(char::is_ascii_alphanumeric);
    let letters: Vec<_> = letters.collect();
    letters[letters.len().saturating_sub(NAME_CHARS)..]
        .iter()
        .collect()
}
