//! `HAProxy`, told through its runtime API: over the connection's own stream forwarding, or on this
//! machine.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::{Switch, Switched, Turn};
use crate::config::{AdminSocket, HaproxyConfig, Servers};
use crate::core::fleet::traffic::{Gate, View};
use crate::core::ids::Slot;
use crate::core::time::Human;
use crate::engine::hosts::{Hosts, Link};
use crate::engine::world::Unusable;
use crate::remote;
use crate::traffic::haproxy::{self, Backend, Step};

/// How long one question may take, from the connection to the end of the answer.
const QUESTION_DEADLINE: Duration = Duration::from_secs(5);
/// How often the server's own check is looked at.
const POLL: Duration = Duration::from_millis(100);
/// What is longer is no answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// One balancer.
#[derive(Clone, Copy)]
pub(super) struct Haproxy<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) link: &'a Link,
    pub(super) settings: &'a HaproxyConfig,
}

impl Haproxy<'_> {
    /// Looks at the service's backend.
    pub(super) async fn look(&self) -> Result<Backend, Unusable> {
        let backend = &self.settings.backend;
        let (servers, counts) = (
            haproxy::show_servers(backend),
            haproxy::show_counts(backend),
        );
        let (info, servers, counts) = futures::try_join!(
            self.ask(haproxy::SHOW_INFO),
            self.ask(&servers),
            self.ask(&counts)
        )?;
        haproxy::read(backend, &info, &servers, &counts)
            .map_err(|unreadable| self.unusable(&unreadable.to_string()))
    }

    /// What would be in the way of telling it.
    pub(super) async fn problems(&self, view: &View) -> Result<Vec<String>, Unusable> {
        let mut problems = Vec::new();
        let level = self.ask(haproxy::SHOW_LEVEL).await?;
        if level.trim() != "admin" {
            let words =
                "only lets itself be looked at; its `stats socket` line needs `level admin`";
            problems.push(format!("HAProxy at {} {words}", self.socket()));
        }
        if self.settings.servers == Servers::Dynamic {
            let backend = &self.settings.backend;
            let objection = haproxy::objection(&self.ask(&haproxy::try_to_add(backend)).await?)
                .unwrap_or_default();
            if haproxy::takes_no_servers(&objection) {
                let help = haproxy::TAKES_NO_SERVERS_HELP;
                problems.push(format!(
                    "no server can be added to backend {backend}: {objection}{help}"
                ));
            }
        } else {
            let names = self.hosts.playbook_names(self.settings)?;
            let all = names.len();
            let absent: Vec<_> = names
                .into_iter()
                .filter(|(slot, _)| !view.servers.contains_key(slot))
                .collect();
            if let Some((slot, name)) = absent.first() {
                let of = if absent.len() == all {
                    "any".to_owned()
                } else {
                    format!("{} of {all}", absent.len())
                };
                problems.push(format!(
                    "backend {} has no server for {of} slots; add `server {name} ADDRESS:{} \
                     check` and the like to its \
                     configuration, or write servers = \"dynamic\" in [traffic]",
                    self.settings.backend, slot.port
                ));
            }
        }
        Ok(problems)
    }

    /// Tells it what to do with a slot; what it says then.
    pub(super) async fn switch(&self, switch: &Switch<'_>) -> Result<View, Switched> {
        let seen = self.look().await?;
        let names = self.hosts.server_names(self.settings, &seen)?;
        let server = self.hosts.server_name(self.settings, switch.slot, &seen)?;
        let gate = seen
            .view(&names)
            .servers
            .get(switch.slot)
            .map(|server| server.gate);
        let backend = &self.settings.backend;
        let seen = match (switch.turn, gate) {
            (Turn::Open { weight_percent }, _) => {
                self.open(switch, &server, weight_percent, seen).await?
            }
            // What it does not know, or keeps closed already, gets nothing.
            (_, None)
            | (Turn::Ease | Turn::Close, Some(Gate::Closed))
            | (Turn::Ease, Some(Gate::Bound)) => seen,
            (Turn::Ease, Some(Gate::Open)) => {
                self.tell_until(seen, switch.slot, haproxy::ease, |view| {
                    !view.is_open(switch.slot)
                })
                .await?
            }
            (Turn::Close, Some(Gate::Open | Gate::Bound)) => {
                self.tell_until(seen, switch.slot, haproxy::close, |view| {
                    view.is_closed(switch.slot)
                })
                .await?
            }
            (Turn::Cut, Some(_)) => {
                self.tell(&haproxy::cut(backend, &server)).await?;
                self.look().await?
            }
        };
        let view = seen.view(&self.hosts.server_names(self.settings, &seen)?);
        let is_done = match switch.turn {
            Turn::Open { .. } => view.is_open(switch.slot),
            Turn::Ease => !view.is_open(switch.slot),
            Turn::Close | Turn::Cut => view.is_closed(switch.slot),
        };
        if !is_done {
            let does = if matches!(switch.turn, Turn::Open { .. }) {
                "gets no"
            } else {
                "still gets"
            };
            return Err(Switched::Failed(format!(
                "server {backend}/{server} {does} requests although it was told"
            )));
        }
        Ok(view)
    }

    async fn open(
        &self,
        switch: &Switch<'_>,
        server: &str,
        weight_percent: Option<u32>,
        mut seen: Backend,
    ) -> Result<Backend, Switched> {
        let backend = &self.settings.backend;
        let begun = Instant::now();
        if !seen.servers.contains_key(server) {
            let slot = switch.slot;
            if self.settings.servers == Servers::Static {
                return Err(Switched::Failed(format!(
                    "backend {backend} has no server `{server}`; add `server {server} ADDRESS:{} \
                     check` to its \
                     configuration, or write servers = \"dynamic\" in [traffic]",
                    slot.port
                )));
            }
            let address = self.address_of(slot).await?;
            self.tell(&haproxy::add(
                backend,
                server,
                &address,
                slot.port,
                &self.settings.server_options,
            ))
            .await?;
            seen = self.look().await?;
        }
        let mut before = None;
        loop {
            let step = seen.opening(backend, server, weight_percent);
            match &step {
                Step::Done => return Ok(seen),
                Step::Never(why) => return Err(Switched::Failed(why.clone())),
                Step::Tell(orders) => self.tell(orders).await?,
                Step::Wait => {}
            }
            if begun.elapsed() >= switch.patience {
                return Err(Switched::Failed(format!(
                    "server {backend}/{server} was not up within {}: its own check has not \
                     passed; see `show servers \
                     state {backend}`, and what the check asks for",
                    Human(switch.patience)
                )));
            }
            if step == Step::Wait || before.as_ref() == Some(&step) {
                sleep(POLL).await;
            }
            before = Some(step);
            seen = self.look().await?;
        }
    }

    /// Gives orders about a slot's server, and again if they have no effect: at a reload what one
    /// process was told its successor does not know.
    async fn tell_until(
        &self,
        mut seen: Backend,
        slot: &Slot,
        orders: fn(&str, &str) -> Vec<String>,
        has_effect: impl Fn(&View) -> bool,
    ) -> Result<Backend, Switched> {
        let begun = Instant::now();
        loop {
            let server = self.hosts.server_name(self.settings, slot, &seen)?;
            self.tell(&orders(&self.settings.backend, &server)).await?;
            seen = self.look().await?;
            let view = seen.view(&self.hosts.server_names(self.settings, &seen)?);
            if has_effect(&view) || begun.elapsed() >= QUESTION_DEADLINE {
                return Ok(seen);
            }
            sleep(POLL).await;
        }
    }

    /// The slot's IP address: what is added has no name to be looked up.
    async fn address_of(&self, slot: &Slot) -> Result<String, Switched> {
        let target = &self.hosts.link(&slot.host)?.site.target;
        let name = remote::network_address(target).await;
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
            Switched::Failed(format!(
                "{slot}: `{name}` has no IP address; give the host one in the inventory"
            ))
        };
        address
            .map(|address| address.ip().to_string())
            .ok_or_else(unknown)
    }

    /// Gives orders one after the other; the first to which it objects is the last.
    async fn tell(&self, orders: &[String]) -> Result<(), Switched> {
        for order in orders {
            let begun = Instant::now();
            while let Some(objection) = haproxy::objection(&self.ask(order).await?) {
                // At a reload the process before may still answer, and takes no orders any more;
                // its successor will.
                if haproxy::is_leaving(&objection) && begun.elapsed() < QUESTION_DEADLINE {
                    sleep(POLL).await;
                    continue;
                }
                let help = if objection.contains("ermission denied") {
                    "; its `stats socket` line needs `level admin`"
                } else if haproxy::takes_no_servers(&objection) {
                    haproxy::TAKES_NO_SERVERS_HELP
                } else {
                    ""
                };
                return Err(Switched::Failed(format!("`{order}`: {objection}{help}")));
            }
        }
        Ok(())
    }

    /// Asks one question, on a connection of its own.
    pub(super) async fn ask(&self, question: &str) -> Result<String, Unusable> {
        let _turn = self.link.questions.acquire().await;
        let connection = self.hosts.connection(self.link).await?;
        let forwarded = match &self.settings.socket {
            AdminSocket::Path(path) => connection.forward_path(Path::new(path)).await,
            AdminSocket::Port { address, port } => connection.forward(address, *port).await,
        };
        let (why, may_be_the_way) = match forwarded {
            Err(error) => (error.to_string(), error.is_unknown()),
            Ok(forwarded) => {
                let is_far = forwarded.is_some();
                match timeout(
                    QUESTION_DEADLINE,
                    self.converse(forwarded.as_deref(), question),
                )
                .await
                {
                    Ok(Ok(answer)) if answer.is_empty() => (self.silence(), false),
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) => (format!("{} ({error})", self.silence()), is_far),
                    Err(_) => (self.overdue(question), is_far),
                }
            }
        };
        if may_be_the_way {
            self.hosts.forget(self.link, connection).await;
        }
        Err(self.unusable(&why))
    }

    async fn converse(&self, forwarded: Option<&Path>, question: &str) -> std::io::Result<String> {
        match (forwarded, &self.settings.socket) {
            (Some(path), _) => converse(UnixStream::connect(path).await?, question).await,
            (None, AdminSocket::Path(path)) => {
                converse(UnixStream::connect(path).await?, question).await
            }
            (None, AdminSocket::Port { address, port }) => {
                converse(
                    TcpStream::connect((address.as_str(), *port)).await?,
                    question,
                )
                .await
            }
        }
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

    fn overdue(&self, question: &str) -> String {
        format!(
            "HAProxy did not answer `{question}` at {} within {}",
            self.socket(),
            Human(QUESTION_DEADLINE)
        )
    }

    fn unusable(&self, why: &str) -> Unusable {
        let name = &self.link.site.target.name;
        let why = why.strip_prefix(&format!("{name}: ")).unwrap_or(why);
        Unusable {
            why: format!("{name}: {why}"),
        }
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    question: &str,
) -> std::io::Result<String> {
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
