//! The real world: hosts reached over SSH or on this machine, ordered by scripts, asked by probes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use tokio::sync::{Mutex, OnceCell, Semaphore};

use super::analysis;
use super::balancers::{Balancing, Succession};
use super::chore::{Attempted, Task};
use super::clock::Clock;
use super::hooks;
use super::traffic;
use super::world::{Order, Performed, Unusable, World};
use crate::config::{SlotVars, render};
use crate::core::analysis::Analysis;
use crate::core::analysis::measurement::Measurement;
use crate::core::fleet::health::Verdict;
use crate::core::fleet::owner::Owner;
use crate::core::fleet::traffic::View;
use crate::core::fleet::{Instance, Listener, Observation};
use crate::core::ids::{ActionId, Epoch, HostId, InstanceId, Port, ReleaseId, Revision, Slot};
use crate::core::release::{Check, Definition, Liveness, LivenessCheck, Readiness, Via};
use crate::core::rollout::action::Action;
use crate::core::time::Time;
use crate::probe;
use crate::remote::{self, Connection, Target};
use crate::script::{self, Script, Site};

/// How many connections are made together. Each costs this machine a key exchange.
const CONNECTS_TOGETHER: usize = 32;
/// How many questions are put to a balancer's runtime API together.
const QUESTIONS_TOGETHER: usize = 4;
/// How long a start waits on the host to see the instance listen or end, before it reports.
const SETTLE: Duration = Duration::from_millis(500);
/// The stop timeout of an instance when no release is known.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// What the network may add to a script's own deadline.
pub(super) const NETWORK: Duration = Duration::from_secs(10);

/// One host and what ship needs to know to work on it.
#[derive(Clone, Debug)]
pub struct HostSite {
    /// How it is reached.
    pub target: Target,
    /// What a person knows about it, for templates.
    pub labels: BTreeMap<String, String>,
    /// Below which ship keeps its directories.
    pub base_dir: String,
    /// The ports on which a stranger would be in the way.
    pub ports: Vec<Port>,
}

/// Every release that may be met, and where its bytes are.
#[derive(Clone)]
pub struct Releases {
    /// By digest.
    pub definitions: BTreeMap<ReleaseId, Definition>,
    /// The directory of artifacts, by their own digest.
    pub artifacts: PathBuf,
    /// The secrets' files that are known, by their SHA-256.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// The releases that have served on every replica, and when each was deployed.
    pub proven: BTreeMap<ReleaseId, Time>,
    /// The release that hosts download themselves, and from which URL; `None` where all are sent to
    /// them.
    pub pulled: Option<(ReleaseId, String)>,
}

/// All hosts of an inventory.
pub struct Hosts {
    pub(super) links: BTreeMap<HostId, Link>,
    releases: Releases,
    pub(super) service: String,
    pub(super) fleet: String,
    /// What the hosts record of who deploys.
    owner: Owner,
    pub(super) clock: Arc<dyn Clock>,
    client: probe::Client,
    connects: Semaphore,
    connector: remote::Connector,
    pub(super) balancing: Option<Balancing>,
    pub(super) control: Control,
}

/// How commands of the playbook's run on this machine.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// Where: the playbook's directory; `None` for where this process runs.
    pub dir: Option<PathBuf>,
    /// What they are told by their environment, whichever they are.
    pub env: BTreeMap<String, String>,
}

/// A host and the connection to it, made when it is first needed and again when it was lost.
pub(super) struct Link {
    pub(super) site: HostSite,
    connection: Mutex<Option<Arc<Connection>>>,
    network_address: OnceCell<String>,
    /// The newest epoch that a balancer's machine had seen at the first look.
    pub(super) epoch: OnceCell<Epoch>,
    /// Questions to a balancer's runtime API at one time: `HAProxy` takes ten connections there,
    /// and turns others away.
    pub(super) questions: Semaphore,
    /// Held while a balancer is told by a script: the next would only wait for the lock there, and
    /// give up in the end.
    pub(super) turn: Mutex<()>,
    /// Which process of a balancer answers there.
    pub(super) succession: Succession,
}

impl Link {
    /// The host's address as others than ssh know it.
    pub(super) async fn network_address(&self) -> &str {
        self.network_address
            .get_or_init(|| remote::network_address(&self.site.target))
            .await
    }
}

impl Hosts {
    /// Knows the hosts, and with them the balancers' machines, on which there are no ports;
    /// connects to none yet. `owner` names the fleet, the service, and the history that acts.
    pub fn new(
        sites: Vec<HostSite>,
        releases: Releases,
        owner: Owner,
        clock: Arc<dyn Clock>,
        balancing: Option<Balancing>,
        control: Control,
    ) -> Self {
        let link = |site: HostSite| {
            let name = site.target.name.clone();
            let (connection, network_address) = (Mutex::new(None), OnceCell::new());
            (
                name,
                Link {
                    site,
                    connection,
                    network_address,
                    epoch: OnceCell::new(),
                    questions: Semaphore::new(QUESTIONS_TOGETHER),
                    turn: Mutex::new(()),
                    succession: Succession::default(),
                },
            )
        };
        Self {
            links: sites.into_iter().map(link).collect(),
            releases,
            service: owner.service.clone(),
            fleet: owner.fleet.clone(),
            owner,
            clock,
            client: probe::Client::new(),
            connects: Semaphore::new(CONNECTS_TOGETHER),
            connector: remote::Connector::default(),
            balancing,
            control,
        }
    }

    /// Takes in what is known of the releases by now.
    pub fn know(&mut self, releases: Releases) {
        self.releases = releases;
    }

    /// Ends every connection.
    pub async fn close(&self) {
        let close = |link: &'_ Link| {
            let connection = link
                .connection
                .try_lock()
                .ok()
                .and_then(|mut connection| connection.take());
            async move {
                if let Some(connection) = connection.and_then(Arc::into_inner) {
                    connection.close().await;
                }
            }
        };
        join_all(self.links.values().map(close)).await;
        self.connector.close().await;
    }

    /// Runs a script that changes nothing, and gives what it printed.
    ///
    /// # Errors
    /// If the host cannot be reached, or the script did not come to its end.
    pub async fn query(
        &self,
        host: &HostId,
        script: impl FnOnce(&Site) -> Script,
    ) -> Result<String, Unusable> {
        let link = self.link(host)?;
        let script = script(&self.site(link, Epoch::default(), ActionId::default()));
        self.run(link, &script).await
    }

    /// Why readiness cannot be probed from this machine, where the playbook wants that.
    pub async fn unprobed(&self, host: &HostId, readiness: &Readiness) -> Option<String> {
        let link = self.links.get(host)?;
        let by_http = matches!(readiness.check, Check::Http { .. });
        match (&readiness.check, readiness.via) {
            (Check::Tcp | Check::Http { .. }, Via::Direct) => {
                remote::unreachable_directly(link.network_address().await, by_http).await
            }
            _ => None,
        }
    }

    /// How long the host makes scripts wait, if it is connected.
    pub async fn delays(&self, host: &HostId) -> Option<remote::Delays> {
        let link = self
            .links
            .get(host)
            .filter(|link| link.site.target.transport == remote::Transport::Ssh)?;
        link.connection
            .lock()
            .await
            .as_ref()
            .map(|connection| connection.delays())
    }

    pub(super) fn link(&self, host: &HostId) -> Result<&Link, Unusable> {
        self.links.get(host).ok_or_else(|| Unusable {
            why: format!("{host} is not in the inventory"),
        })
    }

    pub(super) fn site(&self, link: &Link, epoch: Epoch, order: ActionId) -> Site {
        Site {
            service: self.service.clone(),
            base_dir: link.site.base_dir.clone(),
            epoch,
            order,
            host_address: link.site.target.address.clone(),
            ports: link.site.ports.clone(),
            proven: self.releases.proven.clone(),
            owner: self.owner.clone(),
            is_remote: link.site.target.transport == remote::Transport::Ssh
                || link.site.target.sudo,
        }
    }

    // ── connections ──────────────────────────────────────────────────────────────────────────────

    pub(super) async fn connection(&self, link: &Link) -> Result<Arc<Connection>, Unusable> {
        let mut slot = link.connection.lock().await;
        if let Some(connection) = slot.as_ref() {
            return Ok(Arc::clone(connection));
        }
        let _turn = self.connects.acquire().await;
        let connected = self.connector.connect(&link.site.target).await;
        let connected =
            connected.inspect_err(|error| tracing::warn!(host = %link.site.target.name, "{error}"));
        let connection = Arc::new(connected.map_err(|error| Unusable {
            why: error.to_string(),
        })?);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }

    pub(super) async fn run(&self, link: &Link, script: &Script) -> Result<String, Unusable> {
        let connection = self.connection(link).await?;
        let command = remote::Command {
            script: &script.text,
            input: remote::Input {
                head: script.input.head.clone(),
                file: script.input.file.clone(),
            },
            deadline: script.deadline + NETWORK,
        };
        match connection.run(&command).await {
            Ok(output) if output.stdout.is_empty() && output.status != 0 => Err(Unusable {
                why: format!("{}: {}", link.site.target.name, output.complaint()),
            }),
            Ok(output) => Ok(output.stdout),
            Err(error) => {
                tracing::warn!(host = %link.site.target.name, "{error}");
                if error.is_unknown() {
                    self.forget(link, connection).await;
                }
                Err(Unusable {
                    why: error.to_string(),
                })
            }
        }
    }

    /// A connection that failed once is not trusted again.
    pub(super) async fn forget(&self, link: &Link, connection: Arc<Connection>) {
        let mut slot = link.connection.lock().await;
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

    // ── orders ───────────────────────────────────────────────────────────────────────────────────

    pub(super) async fn carry_out(&self, order: Order) -> Performed {
        let script = match self.script(&order) {
            Ok(script) => script,
            Err(error) => {
                return Performed::Failed {
                    error,
                    observation: None,
                };
            }
        };
        let link = match self.link(order.action.host()) {
            Ok(link) => link,
            Err(Unusable { why }) => {
                return Performed::Failed {
                    error: why,
                    observation: None,
                };
            }
        };
        let stdout = match self.run(link, &script).await {
            Ok(stdout) => stdout,
            Err(Unusable { why }) => return Performed::Unknown { why },
        };
        match script::read_reply(&stdout, self.clock.now()) {
            Ok(reply) => match reply.end {
                script::End::Done => Performed::Done(reply.observation),
                script::End::Fenced { seen } => Performed::Fenced { seen },
                script::End::Failed(error) => Performed::Failed {
                    error,
                    observation: Some(reply.observation),
                },
                // What it was to do may be wrong by now. Look, and plan again.
                script::End::Late { .. } => Performed::Unknown {
                    why: format!(
                        "{}: it has carried out a later order meanwhile",
                        order.action.host()
                    ),
                },
                // Another order is still at work there: neither done nor failed. Look, and plan
                // again.
                script::End::LockBusy { holder } => Performed::Busy {
                    why: format!(
                        "{}: another script holds the lock ({holder})",
                        order.action.host()
                    ),
                },
            },
            Err(unreadable) => Performed::Unknown {
                why: format!("{}: {unreadable}", link.site.target.name),
            },
        }
    }

    fn script(&self, order: &Order) -> Result<Script, String> {
        let link = self
            .link(order.action.host())
            .map_err(|unusable| unusable.why)?;
        let site = self.site(link, order.epoch, order.id);
        match &order.action {
            Action::Claim { .. } => Ok(script::claim(&site)),
            Action::Prune { releases, .. } => Ok(script::prune(&site, releases)),
            Action::Stage { release, .. } => self.stage(&site, release),
            Action::Stop {
                slot,
                instance,
                restore_after,
                ..
            } => {
                let releases = self.possible_releases(instance);
                let halt = script::Halt {
                    port: slot.port,
                    instance: instance.clone(),
                    stop_timeout: releases
                        .iter()
                        .map(|release| release.stop_timeout)
                        .max()
                        .unwrap_or(STOP_TIMEOUT),
                    hooks: hooks::time_to_stop(releases),
                    restore_after: *restore_after,
                };
                Ok(script::stop(&site, &halt))
            }
            Action::Disarm { slot } => Ok(script::disarm(&site, slot.port)),
            Action::Admit { .. } | Action::Drain { .. } => {
                Err("the balancers are told, not the host".to_owned())
            }
            Action::Start { slot, release } => {
                let (revision, instance) = order
                    .instance
                    .clone()
                    .ok_or("a start without an instance's name")?;
                let launch = self.launch(link, slot, release, revision, instance)?;
                Ok(script::start(
                    &site,
                    &script::Launch {
                        patience: order.progress_deadline,
                        ..launch
                    },
                ))
            }
        }
    }

    pub(super) fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.releases.definitions.values()
    }

    pub(super) fn definition(&self, release: &ReleaseId) -> Result<&Definition, String> {
        let known = self.releases.definitions.get(release);
        known.ok_or_else(|| format!("the history does not know release {}", release.short()))
    }

    fn stage(&self, site: &Site, release: &ReleaseId) -> Result<Script, String> {
        let definition = self.definition(release)?;
        let artifact = self.releases.artifacts.join(&definition.artifact.sha256);
        if !artifact.is_file() {
            return Err(format!(
                "this host does not have version {}, and its artifact is not kept at {}; deploy \
                 that version again",
                definition.version,
                artifact.display()
            ));
        }
        let secrets = match &definition.secrets_sha256 {
            None => None,
            Some(digest) => Some(self.releases.secrets.get(digest).ok_or_else(|| {
                format!(
                    "the secrets of version {} are no longer those that the playbook names, and \
                     this host never had \
                     them; deploy that version again with its secrets",
                    definition.version
                )
            })?),
        };
        let pulled = self
            .releases
            .pulled
            .as_ref()
            .filter(|(pulled, _)| pulled == release);
        let bytes = pulled.map_or(script::Bytes::Pushed(&artifact), |(_, url)| {
            script::Bytes::Pulled(url)
        });
        Ok(script::stage(
            site,
            definition,
            release,
            bytes,
            secrets.map(Vec::as_slice),
        ))
    }

    fn launch(
        &self,
        link: &Link,
        slot: &Slot,
        release: &ReleaseId,
        revision: Revision,
        instance: InstanceId,
    ) -> Result<script::Launch, String> {
        let definition = self.definition(release)?;
        let vars = self.vars(link, slot, definition);
        let hooks = hooks::of_slot(definition, &vars, revision, &instance)?;
        let env = definition
            .env
            .iter()
            .map(|(key, value)| Ok((key.clone(), render(value, &vars)?)));
        Ok(script::Launch {
            port: slot.port,
            instance,
            release: release.clone(),
            revision,
            version: definition.version.clone(),
            driver: definition.driver,
            user: definition.user.clone(),
            argv: definition
                .command
                .iter()
                .map(|word| render(word, &vars))
                .collect::<Result<_, _>>()?,
            env: env.collect::<Result<_, String>>()?,
            stop_timeout: definition.stop_timeout,
            liveness: definition
                .liveness
                .as_ref()
                .map(|liveness| rendered(liveness, &vars))
                .transpose()?,
            hooks,
            patience: Duration::ZERO,
            settle: SETTLE,
        })
    }

    pub(super) fn vars<'a>(
        &'a self,
        link: &'a Link,
        slot: &'a Slot,
        definition: &'a Definition,
    ) -> SlotVars<'a> {
        SlotVars {
            version: &definition.version,
            port: slot.port,
            address: &link.site.target.address,
            host: &slot.host,
            service: &self.service,
            fleet: &self.fleet,
            labels: &link.site.labels,
        }
    }

    /// The release of an instance, as its name tells. If the history does not know it, it may be
    /// any: all that are known.
    fn possible_releases(&self, instance: &InstanceId) -> Vec<&Definition> {
        let known = &self.releases.definitions;
        let own: Vec<_> = known
            .iter()
            .filter(|(id, _)| instance.is_of(&self.service, id))
            .map(|(_, known)| known)
            .collect();
        if own.is_empty() {
            known.values().collect()
        } else {
            own
        }
    }

    // ── questions ────────────────────────────────────────────────────────────────────────────────

    pub(super) async fn observe(&self, host: &HostId) -> Result<Observation, Unusable> {
        let stdout = self.query(host, script::observe).await?;
        let reply = script::read_reply(&stdout, self.clock.now());
        reply
            .map(|reply| reply.observation)
            .map_err(|error| Unusable {
                why: format!("{host}: {error}"),
            })
    }

    async fn question(&self, slot: &Slot, instance: &Instance) -> Verdict {
        let Ok(definition) = self.definition(&instance.release) else {
            return Verdict::Error("the history does not know its release".into());
        };
        let Ok(link) = self.link(&slot.host) else {
            return Verdict::Error("its host is not in the inventory".into());
        };
        let readiness = &definition.readiness;
        let vars = self.vars(link, slot, definition);
        let asked = match (&readiness.check, readiness.via) {
            (Check::Command(words), _) => {
                self.ask_by_command(link, slot, instance, definition, words)
                    .await
            }
            (Check::Tcp, Via::Ssh) => self.ask_by_look(slot, instance).await,
            (Check::Tcp, Via::Direct) => {
                self.ask_by_port(link, slot, instance, definition, probe::Question::Tcp)
                    .await
            }
            (
                Check::Http {
                    path,
                    status,
                    body,
                    host_header,
                },
                _,
            ) => {
                let body = body.as_ref().map(|text| render(text, &vars)).transpose();
                match body {
                    Ok(body) => {
                        let (path, status, host_header) =
                            (path.clone(), *status, host_header.clone());
                        let question = probe::Question::Http {
                            path,
                            status,
                            body,
                            host_header,
                        };
                        self.ask_by_port(link, slot, instance, definition, question)
                            .await
                    }
                    Err(error) => Err(error),
                }
            }
        };
        asked.unwrap_or_else(Verdict::Error)
    }

    async fn ask_by_port(
        &self,
        link: &Link,
        slot: &Slot,
        instance: &Instance,
        definition: &Definition,
        question: probe::Question,
    ) -> Result<Verdict, String> {
        let readiness = &definition.readiness;
        let route = match readiness.via {
            Via::Direct => {
                let address = link.network_address().await.to_owned();
                if let Some(why) =
                    remote::link_local(&address, matches!(question, probe::Question::Http { .. }))
                {
                    return Err(why);
                }
                probe::Route::Direct { address }
            }
            Via::Ssh => {
                let connection = self.connection(link).await.map_err(|broken| broken.why)?;
                let address = address_on_host(&instance.listener, &link.site.target.address);
                match connection
                    .forward(&address, slot.port)
                    .await
                    .map_err(|error| error.to_string())?
                {
                    Some(socket) => probe::Route::Socket(socket),
                    None => probe::Route::Direct { address },
                }
            }
        };
        Ok(probe::ask(
            &self.client,
            &question,
            &route,
            slot.port,
            readiness.timeout,
        )
        .await)
    }

    /// A port that is listened on accepts a connection: the host's own word is as good as one, and
    /// costs no detour.
    async fn ask_by_look(&self, slot: &Slot, instance: &Instance) -> Result<Verdict, String> {
        let observation = self
            .observe(&slot.host)
            .await
            .map_err(|unusable| unusable.why)?;
        let seen = match observation.slots.get(&slot.port) {
            Some(crate::core::fleet::Occupant::Instance(seen)) if seen.name == instance.name => {
                &seen.listener
            }
            _ => return Ok(Verdict::Fail("it is gone".into())),
        };
        Ok(match seen {
            Listener::Own { address } => Verdict::Pass(format!("listens on {address}")),
            Listener::Nobody => Verdict::Fail("nobody listens on the port".into()),
            Listener::Other { who } => Verdict::Fail(format!("the port is taken by {who}")),
            Listener::Stray { who } => Verdict::Fail(format!(
                "the port is taken by {who}, a child of the instance, in a session of its own: \
                 run it in the foreground"
            )),
        })
    }

    async fn ask_by_command(
        &self,
        link: &Link,
        slot: &Slot,
        instance: &Instance,
        definition: &Definition,
        words: &[String],
    ) -> Result<Verdict, String> {
        let vars = self.vars(link, slot, definition);
        let argv = words
            .iter()
            .map(|word| render(word, &vars))
            .collect::<Result<Vec<_>, _>>()?;
        let question = script::Question {
            port: slot.port,
            release: instance.release.clone(),
            driver: definition.driver,
            user: definition.user.clone(),
            argv,
            timeout: definition.readiness.timeout,
        };
        let asked = self
            .query(&slot.host, |site| script::probe_command(site, &question))
            .await;
        let stdout = asked.map_err(|unusable| unusable.why)?;
        let answer = script::read_answer(&stdout).map_err(|error| error.to_string())?;
        Ok(match answer.status {
            0 => Verdict::Pass(answer.line),
            124 | 137 => {
                let timeout = crate::core::time::Human(definition.readiness.timeout);
                Verdict::Fail(format!("the command took longer than {timeout}"))
            }
            status => Verdict::Fail(format!("the command ended with {status}: {}", answer.line)),
        })
    }

    async fn tail(&self, slot: &Slot, lines: u32) -> Vec<String> {
        let query = script::LogQuery {
            past: [slot.port].into(),
            lines_max: lines,
            since: None,
        };
        let printed = self
            .query(&slot.host, |site| script::logs(site, &query))
            .await;
        printed
            .map(|stdout| script::read_log_tail(&stdout, lines))
            .unwrap_or_default()
    }
}

/// Liveness with the templates filled in.
fn rendered(liveness: &Liveness, vars: &SlotVars<'_>) -> Result<Liveness, String> {
    let check = match &liveness.check {
        LivenessCheck::Command(words) => LivenessCheck::Command(
            words
                .iter()
                .map(|word| render(word, vars))
                .collect::<Result<_, _>>()?,
        ),
        check => check.clone(),
    };
    Ok(Liveness {
        check,
        ..liveness.clone()
    })
}

/// Where on its own host an instance is reached: where it listens, if that is one address.
fn address_on_host(listener: &Listener, address: &str) -> String {
    match listener {
        Listener::Own { address } if address == "0.0.0.0" => "127.0.0.1".to_owned(),
        Listener::Own { address } if address == "::" => "localhost".to_owned(),
        Listener::Own { address } => address.clone(),
        _ => address.to_owned(),
    }
}

impl World for Hosts {
    fn look<'a>(&'a self, host: &'a HostId) -> BoxFuture<'a, Result<Observation, Unusable>> {
        self.observe(host).boxed()
    }

    fn perform(&self, order: Order) -> BoxFuture<'_, Performed> {
        match &self.balancing {
            Some(balancing) => traffic::perform(self, &balancing.traffic, order).boxed(),
            None => self.carry_out(order).boxed(),
        }
    }

    fn view<'a>(&'a self, balancer: &'a HostId) -> BoxFuture<'a, Result<View, Unusable>> {
        self.look_at_balancer(balancer).boxed()
    }

    fn ask<'a>(&'a self, slot: &'a Slot, instance: &'a Instance) -> BoxFuture<'a, Verdict> {
        self.question(slot, instance).boxed()
    }

    fn measure<'a>(&'a self, analysis: &'a Analysis) -> BoxFuture<'a, Measurement> {
        analysis::measure(analysis).boxed()
    }

    fn attempt(&self, task: Task) -> BoxFuture<'_, Attempted> {
        self.do_once(task).boxed()
    }

    fn log_tail<'a>(&'a self, slot: &'a Slot, lines: u32) -> BoxFuture<'a, Vec<String>> {
        self.tail(slot, lines).boxed()
    }
}
