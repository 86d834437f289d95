//! `HAProxy`, controlled through its runtime API.

mod backend;
pub mod protocol;
mod responses;
mod server_names;

use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt};
use tokio::time::{sleep, timeout};

use self::backend::{AdmitStep, Backend};
use self::server_names::ServerNames;
use super::driver::{BalancerDriver, DrainMode, DriverContext, SlotChange};
use super::error::SwitchError;
use super::link::SocketError;
use crate::config::{AdminSocket, HaproxyConfig, Servers};
use crate::core::fleet::traffic::{BalancerState, SlotAdmission};
use crate::core::ids::Slot;
use crate::core::time::Human;
use crate::remote::HostUnavailable;

/// The time limit of one command, from connecting to the end of the response.
const COMMAND_DEADLINE: Duration = Duration::from_secs(5);
/// The pause between two reads of the server's own check.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct HaproxyDriver {
    settings: HaproxyConfig,
}

impl HaproxyDriver {
    pub(super) fn new(settings: HaproxyConfig) -> Self {
        Self { settings }
    }

    fn session<'a>(&'a self, context: DriverContext<'a>) -> HaproxySession<'a> {
        HaproxySession {
            context,
            settings: &self.settings,
            names: ServerNames {
                slots: context.slots,
                template: &self.settings.server,
            },
        }
    }
}

impl BalancerDriver for HaproxyDriver {
    fn observe<'a>(
        &'a self,
        context: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>> {
        async move {
            let session = self.session(context);
            let seen = async {
                let backend = session.read_backend().await?;
                let names = session.names.all(&backend);
                Ok((backend, names))
            };
            let site = context.read_only_context();
            let (epoch, seen) = futures::join!(context.machine.epoch(&site), seen);
            let generation = context.machine.generation();
            let (backend, names) = seen.inspect_err(|_| generation.clear())?;
            generation.record(&backend.generation);
            Ok(BalancerState {
                epoch: Some(epoch?),
                ..backend.view(&names?)
            })
        }
        .boxed()
    }

    fn admit<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        weight_percent: Option<u32>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        async move {
            context
                .machine
                .claim(&context.claim_context(change))
                .await?;
            self.session(context).admit(change, weight_percent).await
        }
        .boxed()
    }

    fn drain<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        mode: DrainMode,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        async move {
            context
                .machine
                .claim(&context.claim_context(change))
                .await?;
            self.session(context).drain(change, mode).await
        }
        .boxed()
    }

    fn cut<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        async move {
            context
                .machine
                .claim(&context.claim_context(change))
                .await?;
            self.session(context).cut(change).await
        }
        .boxed()
    }

    fn problems<'a>(
        &'a self,
        context: DriverContext<'a>,
        view: &'a BalancerState,
    ) -> BoxFuture<'a, Result<Vec<String>, HostUnavailable>> {
        async move { self.session(context).problems(view).await }.boxed()
    }

    fn server_template(&self) -> Option<&str> {
        Some(&self.settings.server)
    }
}

/// A session with the `HAProxy` of one machine.
struct HaproxySession<'a> {
    context: DriverContext<'a>,
    settings: &'a HaproxyConfig,
    names: ServerNames<'a>,
}

impl HaproxySession<'_> {
    async fn read_backend(&self) -> Result<Backend, HostUnavailable> {
        let backend = &self.settings.backend;
        let (servers, counts) = (
            protocol::show_servers(backend),
            protocol::show_counts(backend),
        );
        let (info, servers, counts) = futures::try_join!(
            self.send_command(protocol::SHOW_INFO),
            self.send_command(&servers),
            self.send_command(&counts)
        )?;
        responses::parse(backend, &info, &servers, &counts)
            .map_err(|unreadable| self.unavailable(&unreadable.to_string()))
    }

    /// Problems that would make changes fail.
    async fn problems(&self, view: &BalancerState) -> Result<Vec<String>, HostUnavailable> {
        let mut problems = Vec::new();
        let level = self.send_command(protocol::SHOW_LEVEL).await?;
        if level.trim() != "admin" {
            let error = "is read-only; its `stats socket` line needs `level admin`";
            problems.push(format!("HAProxy at {} {error}", self.socket()));
        }
        problems.extend(match self.settings.servers {
            Servers::Dynamic => self.check_add_server().await?,
            Servers::Static => self.missing_servers(view)?,
        });
        Ok(problems)
    }

    /// Why the backend does not accept new servers; `None` if it does.
    async fn check_add_server(&self) -> Result<Option<String>, HostUnavailable> {
        let backend = &self.settings.backend;
        let answer = self.send_command(&protocol::try_to_add(backend)).await?;
        let error = protocol::error(&answer).unwrap_or_default();
        let help = protocol::REJECTS_NEW_SERVERS_HELP;
        Ok(protocol::rejects_new_servers(&error)
            .then(|| format!("cannot add servers to backend {backend}: {error}{help}")))
    }

    /// The servers that are missing in the configuration, if any.
    fn missing_servers(&self, view: &BalancerState) -> Result<Option<String>, HostUnavailable> {
        let names = self.names.of_playbook()?;
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
                "backend {} has no server for {of} slots; add lines like `server {name} ADDRESS:{} \
                 check` to its configuration, or set servers = \"dynamic\" in [traffic]",
                self.settings.backend,
                self.context.slots.port_of(slot)
            )
        }))
    }

    // ── changes ──────────────────────────────────────────────────────────────────────────────────

    async fn admit(
        &self,
        change: &SlotChange<'_>,
        weight_percent: Option<u32>,
    ) -> Result<BalancerState, SwitchError> {
        let seen = self.read_backend().await?;
        let server = self.names.name_of(change.slot, &seen)?;
        let seen = self.open(change, &server, weight_percent, seen).await?;
        let view = self.view(&seen)?;
        if !view.is_open(change.slot) {
            return Err(self.change_ignored(&server, "gets no"));
        }
        Ok(view)
    }

    /// Stops new requests to a slot. A server that does not exist or is already closed needs no
    /// change.
    async fn drain(
        &self,
        change: &SlotChange<'_>,
        mode: DrainMode,
    ) -> Result<BalancerState, SwitchError> {
        let seen = self.read_backend().await?;
        let server = self.names.name_of(change.slot, &seen)?;
        let admission = admission_of(&self.view(&seen)?, change.slot);
        let is_drained = |view: &BalancerState| match mode {
            DrainMode::BoundClients => !view.is_open(change.slot),
            DrainMode::NoClients => view.is_closed(change.slot),
        };
        let seen = match (mode, admission) {
            (_, None | Some(SlotAdmission::Closed))
            | (DrainMode::BoundClients, Some(SlotAdmission::Bound)) => seen,
            (DrainMode::BoundClients, Some(SlotAdmission::Open)) => {
                self.run_until(seen, change.slot, protocol::drain, is_drained)
                    .await?
            }
            (DrainMode::NoClients, Some(SlotAdmission::Open | SlotAdmission::Bound)) => {
                self.run_until(seen, change.slot, protocol::close, is_drained)
                    .await?
            }
        };
        let view = self.view(&seen)?;
        if !is_drained(&view) {
            return Err(self.change_ignored(&server, "still gets"));
        }
        Ok(view)
    }

    async fn cut(&self, change: &SlotChange<'_>) -> Result<BalancerState, SwitchError> {
        let mut seen = self.read_backend().await?;
        let server = self.names.name_of(change.slot, &seen)?;
        if admission_of(&self.view(&seen)?, change.slot).is_some() {
            self.run(&protocol::cut(&self.settings.backend, &server))
                .await?;
            seen = self.read_backend().await?;
        }
        let view = self.view(&seen)?;
        if !view.is_closed(change.slot) {
            return Err(self.change_ignored(&server, "still gets"));
        }
        Ok(view)
    }

    fn view(&self, seen: &Backend) -> Result<BalancerState, HostUnavailable> {
        Ok(seen.view(&self.names.all(seen)?))
    }

    fn change_ignored(&self, server: &str, effect: &str) -> SwitchError {
        let backend = &self.settings.backend;
        SwitchError::Failed(format!(
            "HAProxy accepted the change, but server {backend}/{server} {effect} requests"
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
        let started = Instant::now();
        if !seen.servers.contains_key(server) {
            self.add(change.slot, server).await?;
            seen = self.read_backend().await?;
        }
        let mut before = None;
        loop {
            let step = seen.next_admit_step(backend, server, weight_percent);
            match &step {
                AdmitStep::Done => return Ok(seen),
                AdmitStep::Impossible(why) => return Err(SwitchError::Failed(why.clone())),
                AdmitStep::Run(commands) => self.run(commands).await?,
                AdmitStep::Wait => {}
            }
            if started.elapsed() >= change.check_timeout {
                return Err(SwitchError::Failed(format!(
                    "server {backend}/{server} is not up after {}: its own check has not passed; \
                     run `show servers state {backend}`, and compare what the check requests",
                    Human(change.check_timeout)
                )));
            }
            if step == AdmitStep::Wait || before.as_ref() == Some(&step) {
                sleep(POLL_INTERVAL).await;
            }
            before = Some(step);
            seen = self.read_backend().await?;
        }
    }

    /// Adds a slot's server, if the playbook allows it.
    async fn add(&self, slot: &Slot, server: &str) -> Result<(), SwitchError> {
        let backend = &self.settings.backend;
        if self.settings.servers == Servers::Static {
            return Err(SwitchError::Failed(format!(
                "backend {backend} has no server `{server}`; add `server {server} ADDRESS:{} \
                 check` to its configuration, or set servers = \"dynamic\" in [traffic]",
                self.context.slots.port_of(slot)
            )));
        }
        let address = self.address_of(slot).await?;
        let options = &self.settings.server_options;
        self.run(&protocol::add(
            backend,
            server,
            &address,
            self.context.slots.port_of(slot),
            options,
        ))
        .await
    }

    /// Runs commands for a slot's server and repeats them until they have an effect, for
    /// [`COMMAND_DEADLINE`] at most: after a reload, the new process does not know the changes that
    /// were made to the old one.
    async fn run_until(
        &self,
        mut seen: Backend,
        slot: &Slot,
        commands: fn(&str, &str) -> Vec<String>,
        has_effect: impl Fn(&BalancerState) -> bool,
    ) -> Result<Backend, SwitchError> {
        let started = Instant::now();
        loop {
            let server = self.names.name_of(slot, &seen)?;
            self.run(&commands(&self.settings.backend, &server)).await?;
            seen = self.read_backend().await?;
            if has_effect(&self.view(&seen)?) || started.elapsed() >= COMMAND_DEADLINE {
                return Ok(seen);
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// The slot's IP address, because `add server` does not resolve names.
    async fn address_of(&self, slot: &Slot) -> Result<String, SwitchError> {
        let name = self.context.slots.address_of(slot).await?.address;
        let found = timeout(
            COMMAND_DEADLINE,
            tokio::net::lookup_host((name.as_str(), slot.number)),
        )
        .await;
        let address = found
            .ok()
            .and_then(Result::ok)
            .and_then(|mut found| found.next());
        let unknown = || {
            SwitchError::Failed(format!(
                "{slot}: cannot resolve `{name}`; set `address` to an IP address in the inventory"
            ))
        };
        address
            .map(|address| address.ip().to_string())
            .ok_or_else(unknown)
    }

    /// Runs commands one after another until one fails.
    async fn run(&self, commands: &[String]) -> Result<(), SwitchError> {
        for command in commands {
            let started = Instant::now();
            while let Some(error) = protocol::error(&self.send_command(command).await?) {
                // During a reload, the old process may still respond but rejects commands. The new
                // process will accept them.
                if protocol::is_from_replaced_process(&error)
                    && started.elapsed() < COMMAND_DEADLINE
                {
                    sleep(POLL_INTERVAL).await;
                    continue;
                }
                let help = if error.contains("ermission denied") {
                    "; its `stats socket` line needs `level admin`"
                } else if protocol::rejects_new_servers(&error) {
                    protocol::REJECTS_NEW_SERVERS_HELP
                } else {
                    ""
                };
                return Err(SwitchError::Failed(format!("`{command}`: {error}{help}")));
            }
        }
        Ok(())
    }

    // ── commands ────────────────────────────────────────────────────────────────────────────────

    async fn send_command(&self, command: &str) -> Result<String, HostUnavailable> {
        let socket = &self.settings.socket;
        let why = match self
            .context
            .machine
            .send_command(socket, command, COMMAND_DEADLINE)
            .await
        {
            Ok(answer) if answer.is_empty() => self.not_responding(),
            Ok(answer) => return Ok(answer),
            Err(SocketError::Unreachable(unavailable)) => return Err(unavailable),
            Err(SocketError::NotForwarded { why }) => why,
            Err(SocketError::Broken(error)) => format!("{} ({error})", self.not_responding()),
            Err(SocketError::Overdue) => format!(
                "HAProxy at {} did not respond to `{command}` within {}",
                self.socket(),
                Human(COMMAND_DEADLINE)
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

    fn not_responding(&self) -> String {
        format!(
            "HAProxy does not respond at {}; check that it is running, that its `stats socket` line \
             names this socket, and that the login user may access it",
            self.socket()
        )
    }

    fn unavailable(&self, why: &str) -> HostUnavailable {
        let name = self.context.name();
        let why = why.strip_prefix(&format!("{name}: ")).unwrap_or(why);
        HostUnavailable {
            why: format!("{name}: {why}"),
        }
    }
}

/// The admission state of a slot's server, if it has one.
fn admission_of(view: &BalancerState, slot: &Slot) -> Option<SlotAdmission> {
    view.servers.get(slot).map(|server| server.admission)
}
