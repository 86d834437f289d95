//! `HAProxy`, controlled through its runtime API.

mod answers;
mod backend;
pub mod protocol;
mod server_names;

use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use tokio::time::{sleep, timeout};

use self::backend::{Backend, OpeningStep};
use self::server_names::ServerNames;
use super::driver::{BalancerDriver, DrainMode, DriverContext, SlotChange};
use super::error::SwitchError;
use super::link::SocketError;
use crate::config::{AdminSocket, HaproxyConfig, Servers};
use crate::core::fleet::traffic::{BalancerState, SlotAdmission};
use crate::core::ids::Slot;
use crate::core::time::Human;
use crate::remote::HostUnavailable;

/// The time limit of one question, from the connection to the end of the answer.
const QUESTION_DEADLINE: Duration = Duration::from_secs(5);
/// The pause between two looks at the server's own check.
const POLL: Duration = Duration::from_millis(100);

pub(super) struct HaproxyDriver {
    settings: HaproxyConfig,
}

impl HaproxyDriver {
    pub(super) fn new(settings: HaproxyConfig) -> Self {
        Self { settings }
    }

    fn talk<'a>(&'a self, at: DriverContext<'a>) -> Conversation<'a> {
        Conversation {
            at,
            settings: &self.settings,
            names: ServerNames {
                slots: at.slots,
                template: &self.settings.server,
            },
        }
    }
}

impl BalancerDriver for HaproxyDriver {
    fn observe<'a>(
        &'a self,
        at: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>> {
        async move {
            let talk = self.talk(at);
            let seen = async {
                let backend = talk.look().await?;
                let names = talk.names.all(&backend);
                Ok((backend, names))
            };
            let site = at.read_only_context();
            let (epoch, seen) = futures::join!(at.machine.epoch(&site), seen);
            let generation = at.machine.generation();
            let (backend, names) = seen.inspect_err(|_| generation.forget())?;
            generation.note(&backend.generation);
            Ok(BalancerState {
                epoch: Some(epoch?),
                ..backend.view(&names?)
            })
        }
        .boxed()
    }

    fn admit<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        weight_percent: Option<u32>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        async move {
            at.machine.claim(&at.claim_site(change)).await?;
            self.talk(at).admit(change, weight_percent).await
        }
        .boxed()
    }

    fn drain<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        mode: DrainMode,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        async move {
            at.machine.claim(&at.claim_site(change)).await?;
            self.talk(at).drain(change, mode).await
        }
        .boxed()
    }

    fn cut<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        async move {
            at.machine.claim(&at.claim_site(change)).await?;
            self.talk(at).cut(change).await
        }
        .boxed()
    }

    fn problems<'a>(
        &'a self,
        at: DriverContext<'a>,
        view: &'a BalancerState,
    ) -> BoxFuture<'a, Result<Vec<String>, HostUnavailable>> {
        async move { self.talk(at).problems(view).await }.boxed()
    }

    fn server_template(&self) -> Option<&str> {
        Some(&self.settings.server)
    }
}

/// The conversation with the `HAProxy` of one machine.
struct Conversation<'a> {
    at: DriverContext<'a>,
    settings: &'a HaproxyConfig,
    names: ServerNames<'a>,
}

impl Conversation<'_> {
    async fn look(&self) -> Result<Backend, HostUnavailable> {
        let backend = &self.settings.backend;
        let (servers, counts) = (
            protocol::show_servers(backend),
            protocol::show_counts(backend),
        );
        let (info, servers, counts) = futures::try_join!(
            self.ask(protocol::SHOW_INFO),
            self.ask(&servers),
            self.ask(&counts)
        )?;
        answers::read(backend, &info, &servers, &counts)
            .map_err(|unreadable| self.unavailable(&unreadable.to_string()))
    }

    /// Problems that would make changes fail.
    async fn problems(&self, view: &BalancerState) -> Result<Vec<String>, HostUnavailable> {
        let mut problems = Vec::new();
        let level = self.ask(protocol::SHOW_LEVEL).await?;
        if level.trim() != "admin" {
            let words =
                "only lets itself be looked at; its `stats socket` line needs `level admin`";
            problems.push(format!("HAProxy at {} {words}", self.socket()));
        }
        problems.extend(match self.settings.servers {
            Servers::Dynamic => self.cannot_add().await?,
            Servers::Static => self.lacks_servers(view)?,
        });
        Ok(problems)
    }

    /// Why the backend does not accept new servers, if it does not.
    async fn cannot_add(&self) -> Result<Option<String>, HostUnavailable> {
        let backend = &self.settings.backend;
        let answer = self.ask(&protocol::try_to_add(backend)).await?;
        let objection = protocol::objection(&answer).unwrap_or_default();
        let help = protocol::TAKES_NO_SERVERS_HELP;
        Ok(protocol::takes_no_servers(&objection)
            .then(|| format!("no server can be added to backend {backend}: {objection}{help}")))
    }

    /// The servers that the configuration lacks, if any.
    fn lacks_servers(&self, view: &BalancerState) -> Result<Option<String>, HostUnavailable> {
        let names = self.names.offered()?;
        let all = names.len();
        let absent: Vec<_> = names
            .into_iter()
            .filter(|(slot, _)| !view.servers.contains_key(slot))
            .collect();
        Ok(absent.first().map(|(slot, name)| {
            let of = if absent.len() == all {
                "any".to_owned()
            } else {
                format!("{} of {all}", absent.len())
            };
            format!(
                "backend {} has no server for {of} slots; add `server {name} ADDRESS:{} \
                 check` and the like to its \
                 configuration, or write servers = \"dynamic\" in [traffic]",
                self.settings.backend, slot.port
            )
        }))
    }

    // ── changes ──────────────────────────────────────────────────────────────────────────────────

    async fn admit(
        &self,
        change: &SlotChange<'_>,
        weight_percent: Option<u32>,
    ) -> Result<BalancerState, SwitchError> {
        let seen = self.look().await?;
        let server = self.names.of(change.slot, &seen)?;
        let seen = self.open(change, &server, weight_percent, seen).await?;
        let view = self.view(&seen)?;
        if !view.is_open(change.slot) {
            return Err(self.disobeys(&server, "gets no"));
        }
        Ok(view)
    }

    /// A server that is unknown, or closed already, needs no change.
    async fn drain(
        &self,
        change: &SlotChange<'_>,
        mode: DrainMode,
    ) -> Result<BalancerState, SwitchError> {
        let seen = self.look().await?;
        let server = self.names.of(change.slot, &seen)?;
        let gate = gate_of(&self.view(&seen)?, change.slot);
        let is_drained = |view: &BalancerState| match mode {
            DrainMode::BoundClients => !view.is_open(change.slot),
            DrainMode::NoClients => view.is_closed(change.slot),
        };
        let seen = match (mode, gate) {
            (_, None | Some(SlotAdmission::Closed))
            | (DrainMode::BoundClients, Some(SlotAdmission::Bound)) => seen,
            (DrainMode::BoundClients, Some(SlotAdmission::Open)) => {
                self.tell_until(seen, change.slot, protocol::ease, is_drained)
                    .await?
            }
            (DrainMode::NoClients, Some(SlotAdmission::Open | SlotAdmission::Bound)) => {
                self.tell_until(seen, change.slot, protocol::close, is_drained)
                    .await?
            }
        };
        let view = self.view(&seen)?;
        if !is_drained(&view) {
            return Err(self.disobeys(&server, "still gets"));
        }
        Ok(view)
    }

    async fn cut(&self, change: &SlotChange<'_>) -> Result<BalancerState, SwitchError> {
        let mut seen = self.look().await?;
        let server = self.names.of(change.slot, &seen)?;
        if gate_of(&self.view(&seen)?, change.slot).is_some() {
            self.tell(&protocol::cut(&self.settings.backend, &server))
                .await?;
            seen = self.look().await?;
        }
        let view = self.view(&seen)?;
        if !view.is_closed(change.slot) {
            return Err(self.disobeys(&server, "still gets"));
        }
        Ok(view)
    }

    fn view(&self, seen: &Backend) -> Result<BalancerState, HostUnavailable> {
        Ok(seen.view(&self.names.all(seen)?))
    }

    fn disobeys(&self, server: &str, does: &str) -> SwitchError {
        let backend = &self.settings.backend;
        SwitchError::Failed(format!(
            "server {backend}/{server} {does} requests although it was told"
        ))
    }

    async fn open(
        &self,
        change: &SlotChange<'_>,
        server: &str,
        weight_percent: Option<u32>,
        mut seen: Backend,
    ) -> Result<Backend, SwitchError> {
        let backend = &self.settings.backend;
        let begun = Instant::now();
        if !seen.servers.contains_key(server) {
            self.add(change.slot, server).await?;
            seen = self.look().await?;
        }
        let mut before = None;
        loop {
            let step = seen.opening(backend, server, weight_percent);
            match &step {
                OpeningStep::Done => return Ok(seen),
                OpeningStep::Never(why) => return Err(SwitchError::Failed(why.clone())),
                OpeningStep::Tell(orders) => self.tell(orders).await?,
                OpeningStep::Wait => {}
            }
            if begun.elapsed() >= change.patience {
                return Err(SwitchError::Failed(format!(
                    "server {backend}/{server} was not up within {}: its own check has not \
                     passed; see `show servers \
                     state {backend}`, and what the check asks for",
                    Human(change.patience)
                )));
            }
            if step == OpeningStep::Wait || before.as_ref() == Some(&step) {
                sleep(POLL).await;
            }
            before = Some(step);
            seen = self.look().await?;
        }
    }

    /// Adds a slot's server, where ship may.
    async fn add(&self, slot: &Slot, server: &str) -> Result<(), SwitchError> {
        let backend = &self.settings.backend;
        if self.settings.servers == Servers::Static {
            return Err(SwitchError::Failed(format!(
                "backend {backend} has no server `{server}`; add `server {server} ADDRESS:{} \
                 check` to its \
                 configuration, or write servers = \"dynamic\" in [traffic]",
                slot.port
            )));
        }
        let address = self.address_of(slot).await?;
        let options = &self.settings.server_options;
        self.tell(&protocol::add(
            backend, server, &address, slot.port, options,
        ))
        .await
    }

    /// Gives orders about a slot's server, and again if they have no effect: at a reload what one
    /// process was told its successor does not know.
    async fn tell_until(
        &self,
        mut seen: Backend,
        slot: &Slot,
        orders: fn(&str, &str) -> Vec<String>,
        has_effect: impl Fn(&BalancerState) -> bool,
    ) -> Result<Backend, SwitchError> {
        let begun = Instant::now();
        loop {
            let server = self.names.of(slot, &seen)?;
            self.tell(&orders(&self.settings.backend, &server)).await?;
            seen = self.look().await?;
            if has_effect(&self.view(&seen)?) || begun.elapsed() >= QUESTION_DEADLINE {
                return Ok(seen);
            }
            sleep(POLL).await;
        }
    }

    /// The slot's IP address, since a server that is added has no name to resolve.
    async fn address_of(&self, slot: &Slot) -> Result<String, SwitchError> {
        let name = self.at.slots.address_of(slot).await?.address;
        let found = timeout(
            QUESTION_DEADLINE,
            tokio::net::lookup_host((name.as_str(), slot.port)),
        )
        .await;
        let address = found
            .ok()
            .and_then(Result::ok)
            .and_then(|mut found| found.next());
        let unknown = || {
            SwitchError::Failed(format!(
                "{slot}: `{name}` has no IP address; give the host one in the inventory"
            ))
        };
        address
            .map(|address| address.ip().to_string())
            .ok_or_else(unknown)
    }

    /// Gives orders one after the other, up to the first one that fails.
    async fn tell(&self, orders: &[String]) -> Result<(), SwitchError> {
        for order in orders {
            let begun = Instant::now();
            while let Some(objection) = protocol::objection(&self.ask(order).await?) {
                // At a reload the process before may still answer, and takes no orders any more;
                // its successor will.
                if protocol::is_leaving(&objection) && begun.elapsed() < QUESTION_DEADLINE {
                    sleep(POLL).await;
                    continue;
                }
                let help = if objection.contains("ermission denied") {
                    "; its `stats socket` line needs `level admin`"
                } else if protocol::takes_no_servers(&objection) {
                    protocol::TAKES_NO_SERVERS_HELP
                } else {
                    ""
                };
                return Err(SwitchError::Failed(format!("`{order}`: {objection}{help}")));
            }
        }
        Ok(())
    }

    // ── questions ────────────────────────────────────────────────────────────────────────────────

    async fn ask(&self, question: &str) -> Result<String, HostUnavailable> {
        let socket = &self.settings.socket;
        let why = match self
            .at
            .machine
            .ask(socket, question, QUESTION_DEADLINE)
            .await
        {
            Ok(answer) if answer.is_empty() => self.silence(),
            Ok(answer) => return Ok(answer),
            Err(SocketError::Unreachable(unavailable)) => return Err(unavailable),
            Err(SocketError::NotForwarded { why }) => why,
            Err(SocketError::Broken(error)) => format!("{} ({error})", self.silence()),
            Err(SocketError::Overdue) => format!(
                "HAProxy did not answer `{question}` at {} within {}",
                self.socket(),
                Human(QUESTION_DEADLINE)
            ),
        };
        Err(self.unavailable(&why))
    }

    fn socket(&self) -> String {
        match &self.settings.socket {
            AdminSocket::Path(path) => path.clone(),
            AdminSocket::Port { address, port } => format!("{address}:{port}"),
        }
    }

    fn silence(&self) -> String {
        format!(
            "HAProxy does not answer at {}; see that it runs, that its `stats socket` line names \
             this socket, and that \
             who logs in may use it",
            self.socket()
        )
    }

    fn unavailable(&self, why: &str) -> HostUnavailable {
        let name = self.at.name();
        let why = why.strip_prefix(&format!("{name}: ")).unwrap_or(why);
        HostUnavailable {
            why: format!("{name}: {why}"),
        }
    }
}

/// The gate of a slot's server, if it has one.
fn gate_of(view: &BalancerState, slot: &Slot) -> Option<SlotAdmission> {
    view.servers.get(slot).map(|server| server.gate)
}
