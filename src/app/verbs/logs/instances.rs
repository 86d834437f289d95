//! Reads and follows the logs of the instances of all hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::filter::{self, HostSlots, SlotSelection};
use super::host_logs::{BATCH_LINES_MAX, HostLogs, InstanceLine};
use super::request::LogRequest;
use super::sink::LineSink;
use crate::app::environment::{Environment, Reading};
use crate::app::error::{Error, Refused};
use crate::app::notice::Notice;
use crate::app::ownership;
use crate::app::session::Session;
use crate::config::Overrides;
use crate::core::fleet::{Observation, Occupant};
use crate::core::ids::{HostId, InstanceId, Slot, SlotNumber};
use crate::engine::{Executor as _, FleetExecutor};
use crate::remote::HostUnavailable;
use crate::script;
use crate::store::StoreAccess;

/// How long a line waits for older lines of other hosts.
const REORDER_WINDOW: Duration = Duration::from_millis(150);

/// The logs of the selected instances.
pub struct InstanceLogs {
    env: Arc<dyn Environment>,
    executor: FleetExecutor,
    hosts: Vec<HostId>,
    slots: Vec<SlotNumber>,
    has_ports: bool,
    /// The selected slots by host.
    selections: BTreeMap<HostId, SlotSelection>,
    /// Why hosts were unreachable at first.
    lost: BTreeMap<HostId, String>,
    drivers: BTreeSet<&'static str>,
    request: LogRequest,
}

impl InstanceLogs {
    /// Finds the instances that match the words; without words, all of them.
    ///
    /// # Errors
    /// If a word matches nothing, or hosts belong to another fleet.
    pub async fn open(
        env: &Arc<dyn Environment>,
        words: &[String],
        request: LogRequest,
    ) -> Result<Self, Error> {
        let overrides = Overrides::default();
        let session = Session::open(env, &overrides, Reading::LastKnownGood, StoreAccess::Read)?;
        let executor = session.fleet_executor()?;
        let hosts = session.hosts();
        let has_ports = session.project.playbook.service.slots.has_ports();
        let slots: Vec<_> = session.slots(&session.definitions()).into_keys().collect();
        let observations = join_all(hosts.iter().map(|host| executor.observe_host(host))).await;
        session.check_sudo_password()?;
        permit(&session, &hosts, &observations)?;
        let mut lost = BTreeMap::new();
        let mut fleet = Vec::new();
        for (host, observation) in hosts.iter().zip(observations) {
            let slots = observation
                .map(instances)
                .map_err(|unusable| lost.insert(host.clone(), unusable.why))
                .ok();
            fleet.push(HostSlots {
                host: host.clone(),
                slots,
            });
        }
        // With --since, include slots that are empty now: the log of an instance that failed and
        // was stopped still exists.
        let selections = filter::select_slots(words, &slots, &fleet, request.since.is_some())
            .map_err(|unknown| no_match(unknown, fleet))?;
        lost.retain(|host, _| selections.contains_key(host));
        Ok(Self {
            env: Arc::clone(env),
            executor,
            hosts,
            slots,
            has_ports,
            selections,
            lost,
            drivers: drivers(&session),
            request,
        })
    }

    /// All hosts of the fleet, in the inventory's order.
    pub fn hosts(&self) -> &[HostId] {
        &self.hosts
    }

    /// Whether the service of the playbook has ports.
    pub fn has_ports(&self) -> bool {
        self.has_ports
    }

    /// The slots of all releases.
    pub fn slots(&self) -> &[SlotNumber] {
        &self.slots
    }

    /// Shows the past lines, and follows the logs on request.
    ///
    /// # Errors
    /// If hosts are unreachable, or the lines cannot be written.
    pub async fn show(&self, sink: &dyn LineSink<InstanceLine>) -> Result<(), Error> {
        if self.request.follow {
            self.follow(sink).await
        } else {
            self.show_once(sink).await
        }
    }

    /// Shows all lines ordered by time. Lines without a timestamp come first, host by host.
    async fn show_once(&self, sink: &dyn LineSink<InstanceLine>) -> Result<(), Error> {
        let mut lost = self.lost.clone();
        let reached: Vec<_> = self
            .hosts
            .iter()
            .filter(|host| !lost.contains_key(*host))
            .filter_map(|host| Some(self.host_logs(host, self.selections.get(host)?)))
            .collect();
        let read = join_all(reached.iter().map(HostLogs::read)).await;
        let mut lines = Vec::new();
        for (logs, read) in reached.iter().zip(read) {
            match read {
                Ok(read) => lines.extend(read),
                Err(why) => {
                    lost.insert(logs.host.clone(), why);
                }
            }
        }
        lines.sort_by_key(|line| line.at);
        if lines.is_empty() && lost.is_empty() {
            self.env.notify(&Notice::NothingLogged);
        }
        // Even if the reader has closed the pipe, the exit code shows that hosts are missing.
        let _ = sink.write(&lines)?;
        if lost.is_empty() {
            return Ok(());
        }
        let all = self.selections.len();
        Err(Error::LogsUnreachable { lost, all })
    }

    /// Follows the logs until a signal arrives or the reader closes the pipe.
    async fn follow(&self, sink: &dyn LineSink<InstanceLine>) -> Result<(), Error> {
        let mut interrupts = self.env.listen()?;
        let (sender, mut receiver) = mpsc::channel(BATCH_LINES_MAX);
        let followed = self.selections.iter().map(|(host, selection)| {
            let why = self.lost.get(host).map(String::as_str);
            let (logs, sender) = (self.host_logs(host, selection), sender.clone());
            async move { logs.follow(why, sender).await }
        });
        tokio::select! {
            _ = join_all(followed) => Ok(()),
            shown = show_new_lines(sink, &mut receiver) => shown,
            _ = interrupts.recv() => Ok(()),
        }
    }

    fn host_logs<'a>(&'a self, host: &'a HostId, selection: &'a SlotSelection) -> HostLogs<'a> {
        HostLogs {
            env: &*self.env,
            executor: &self.executor,
            host,
            selection,
            drivers: &self.drivers,
            request: &self.request,
        }
    }
}

/// Refuses hosts of another fleet, and machines that are listed twice.
fn permit(
    session: &Session,
    hosts: &[HostId],
    observations: &[Result<Observation, HostUnavailable>],
) -> Result<(), Error> {
    let seen = hosts
        .iter()
        .zip(observations)
        .filter_map(|(host, observation)| Some((host, observation.as_ref().ok()?)));
    let owners = seen
        .clone()
        .filter_map(|(host, seen)| Some((host.clone(), seen.owner.clone()?)))
        .collect();
    let identities = seen
        .filter_map(|(host, seen)| Some((host.clone(), seen.identity.clone()?)))
        .collect();
    ownership::permit(session, &owners, &identities)
}

fn instances(observation: Observation) -> BTreeMap<SlotNumber, InstanceId> {
    let named = |(number, occupant)| match occupant {
        Occupant::Instance(instance) => Some((number, instance.name)),
        Occupant::OtherProcess(_) => None,
    };
    observation.slots.into_iter().filter_map(named).collect()
}

fn no_match(words: Vec<String>, fleet: Vec<HostSlots>) -> Error {
    let known = fleet.into_iter().flat_map(|seen| {
        let HostSlots { host, slots } = seen;
        let slots = slots.unwrap_or_default().into_iter();
        slots.map(move |(number, name)| {
            (
                name,
                Slot {
                    host: host.clone(),
                    number,
                },
            )
        })
    });
    let known = known.collect();
    Refused::NoMatchingInstance { words, known }.into()
}

/// The drivers of the instances of all revisions and of the playbook.
fn drivers(session: &Session) -> BTreeSet<&'static str> {
    let known = session
        .definitions()
        .into_values()
        .map(|definition| definition.driver);
    known
        .chain([session.project.playbook.service.driver])
        .map(script::log_driver)
        .collect()
}

async fn show_new_lines(
    sink: &dyn LineSink<InstanceLine>,
    lines: &mut mpsc::Receiver<InstanceLine>,
) -> Result<(), Error> {
    while let Some(first) = lines.recv().await {
        let mut batch = vec![first];
        let until = tokio::time::Instant::now() + REORDER_WINDOW;
        while batch.len() < BATCH_LINES_MAX {
            let Ok(Some(line)) = timeout_at(until, lines.recv()).await else {
                break;
            };
            batch.push(line);
        }
        // If a line has no timestamp, the order is unknown.
        if batch.iter().all(|line| line.at.is_some()) {
            batch.sort_by_key(|line| line.at);
        }
        if sink.write(&batch)?.is_break() {
            return Ok(());
        }
    }
    Ok(())
}
