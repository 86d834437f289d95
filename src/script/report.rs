//! Parses the report of a script. Everything that a host prints is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::address::decode;
use super::runs::{Runs, TaskRecords};
use crate::core::fleet::health::Health;
use crate::core::fleet::identity::Identity;
use crate::core::fleet::lingering::Lingering;
use crate::core::fleet::owner::Owner;
use crate::core::fleet::{Instance, Listener, Observation, Occupant, Process, Sighting};
use crate::core::ids::{Epoch, InstanceId, Port, ReleaseId, Revision, SlotNumber};
use crate::core::printable::strip_controls;
use crate::core::time::Time;
use crate::script::end::ScriptEnd;
use crate::script::facts::Facts;
use crate::script::unreadable::Unreadable;
use crate::script::values::{digest, end, epoch, malformed, missing, number, seconds};

/// The first line: the version of the format.
pub(super) const BEGINNING: &str = "ship=1";

/// The parsed output of a script.
pub(super) struct Report {
    pub(super) end: ScriptEnd,
    pub(super) observation: Observation,
    pub(super) facts: Facts,
    pub(super) task: TaskRecords,
}

/// The records of a report that have been parsed so far.
#[derive(Default)]
struct ReportDraft {
    uptime: Option<Duration>,
    boot: String,
    epoch: Option<Epoch>,
    free_kib: Option<u64>,
    owner: Option<Owner>,
    /// Slots that the same service uses in another directory, with a description.
    taken: BTreeMap<SlotNumber, String>,
    machine: Option<String>,
    directory: Option<String>,
    releases: BTreeSet<ReleaseId>,
    slots: BTreeMap<SlotNumber, SlotRecord>,
    armed: BTreeSet<SlotNumber>,
    listeners: BTreeMap<SlotNumber, BTreeMap<Port, Vec<Socket>>>,
    facts: Facts,
    runs: Runs,
    killed_after: Option<Duration>,
    end: Option<ScriptEnd>,
    /// The slot to which the following lines belong.
    open_slot: Option<SlotNumber>,
}

/// The records about a slot's instance.
#[derive(Default)]
struct SlotRecord {
    name: Option<InstanceId>,
    release: Option<ReleaseId>,
    revision: Option<Revision>,
    started: Option<Duration>,
    boot: String,
    process: Option<Process>,
    restarts: u32,
    main: String,
    killed: String,
    /// The state of the systemd unit, and its type.
    unit: String,
    /// How the previous process of the unit ended.
    exit: String,
    lingering: Option<LingerRecord>,
}

/// When an instance was asked to stop, when the host ends it, and when it ended, since the host's
/// start.
struct LingerRecord {
    asked: Duration,
    ends_by: Duration,
    ended: Option<Duration>,
}

/// A listening socket and its owner.
struct Socket {
    address: IpAddr,
    whose: SocketOwner,
}

#[derive(PartialEq, Eq)]
enum SocketOwner {
    Own,
    /// The server that serves the files of the instance.
    Server,
    /// Another process.
    Other(String),
    /// A child of the instance in another session.
    Stray(String),
}

impl Report {
    /// Parses the output of a script. Output of a login shell before it is ignored.
    pub(super) fn read(stdout: &str, now: Time) -> Result<Self, Unreadable> {
        let mut lines = stdout
            .split_inclusive('\n')
            .skip_while(|line| line.trim_end_matches('\n') != BEGINNING);
        lines.next().ok_or(Unreadable::NoBeginning)?;
        let mut draft = ReportDraft::default();
        for line in lines {
            let line = line.strip_suffix('\n').ok_or(Unreadable::NoEnd)?;
            if draft.end.is_some() {
                return Err(malformed(line, "follows the end"));
            }
            draft.take(line)?;
        }
        draft.finish(now)
    }
}

impl ReportDraft {
    fn take(&mut self, line: &str) -> Result<(), Unreadable> {
        if let Some(line) = line.strip_prefix('.') {
            return self.slot(line)?.take(line);
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| malformed(line, "is not `key=value`"))?;
        match key {
            "now" => self.uptime = Some(seconds(line, value)?),
            "boot" => value.clone_into(&mut self.boot),
            "epoch" => self.epoch = Some(epoch(line, value)?),
            "free" => self.free_kib = Some(number(line, value)?),
            "taken" => {
                let (slot, who) = value
                    .split_once(' ')
                    .ok_or_else(|| malformed(line, "is incomplete"))?;
                self.taken.insert(number(line, slot)?, who.to_owned());
            }
            "machine" => self.machine = Some(value.to_owned()),
            "place" => self.directory = Some(value.to_owned()),
            "owner" => owner(self.owner.get_or_insert_default(), value),
            "staged" => {
                self.releases.insert(digest(line, value)?);
            }
            "armed" => {
                self.armed.insert(number(line, value)?);
            }
            "slot" => self.open_slot(line, value)?,
            "process" => self.slot(line)?.process = Some(process(line, value)?),
            "main" => value.clone_into(&mut self.slot(line)?.main),
            "killed" => {
                self.slot(line)?.killed = strip_controls(value).collect();
            }
            "unit" => value.clone_into(&mut self.slot(line)?.unit),
            "exit" => {
                self.slot(line)?.exit = strip_controls(value).collect();
            }
            "lingering" => self.slot(line)?.lingering = Some(LingerRecord::read(line, value)?),
            "lingered" => {
                let ended = seconds(line, value)?;
                if let Some(lingering) = &mut self.slot(line)?.lingering {
                    lingering.ended = Some(ended);
                }
            }
            "stopped" => self.killed_after = Some(killed_after(line, value)?),
            "restarts" => self.slot(line)?.restarts = number(line, value)?,
            "listen" => self.listen(line, value)?,
            "missing" => self.facts.missing.push(value.to_owned()),
            "hook" => self.runs.open_hook(line, value)?,
            "task" => self.runs.open_task(line, value)?,
            "made" => self.runs.set_done_before(value),
            "output" => self.runs.add_output(line, value)?,
            "left" => self.runs.add_leftover(line, value)?,
            "user" => value.clone_into(&mut self.facts.user),
            "systemd" => self.facts.systemd = Some(value.to_owned()),
            "shared" => self.facts.shared_dirs.extend(shared_dir(value)),
            "releases" => self.facts.releases_kib = Some(number(line, value)?),
            "problem" => self.facts.problems.push(value.to_owned()),
            "warning" => self.facts.warnings.push(value.to_owned()),
            "unseen" => return Err(Unreadable::ObservationFailed(value.to_owned())),
            "refused" => return Err(Unreadable::UnsafePath(value.to_owned())),
            "end" => self.end = Some(end(line, value)?),
            _ => return Err(malformed(line, "has an unknown key")),
        }
        Ok(())
    }

    fn slot(&mut self, line: &str) -> Result<&mut SlotRecord, Unreadable> {
        self.open_slot
            .and_then(|number| self.slots.get_mut(&number))
            .ok_or_else(|| malformed(line, "does not follow a slot"))
    }

    fn open_slot(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        let slot = number(line, value)?;
        self.open_slot = Some(slot);
        match self.slots.insert(slot, SlotRecord::default()) {
            None => Ok(()),
            Some(_) => Err(malformed(line, "is a duplicate")),
        }
    }

    fn listen(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        let mut words = value.splitn(5, ' ');
        let mut word = || words.next().ok_or_else(|| malformed(line, "is incomplete"));
        let (slot, port) = (number(line, word()?)?, number(line, word()?)?);
        let address =
            decode(word()?).ok_or_else(|| malformed(line, "does not contain an address"))?;
        let whose = match word()? {
            "own" => SocketOwner::Own,
            "server" => SocketOwner::Server,
            "other" => SocketOwner::Other(word()?.to_owned()),
            "stray" => SocketOwner::Stray(word()?.to_owned()),
            _ => {
                return Err(malformed(
                    line,
                    "is neither `own`, `server`, `other` nor `stray`",
                ));
            }
        };
        self.listeners
            .entry(slot)
            .or_default()
            .entry(port)
            .or_default()
            .push(Socket { address, whose });
        Ok(())
    }

    fn finish(mut self, now: Time) -> Result<Report, Unreadable> {
        let end = self.end.ok_or(Unreadable::NoEnd)?;
        let uptime = self.uptime.ok_or_else(|| missing("the host's time"))?;
        let epoch = self.epoch.ok_or_else(|| missing("the epoch"))?;
        let mut slots = BTreeMap::new();
        for (number, record) in self.slots {
            let listeners = self.listeners.remove(&number).unwrap_or_default();
            let listeners = listeners
                .into_iter()
                .map(|(port, rows)| (port, listener(rows)))
                .collect();
            // An instance that was started before the host's last start cannot be older than that
            // start.
            let age = match record.started {
                Some(started) if record.boot == self.boot => uptime.saturating_sub(started),
                _ => uptime,
            };
            slots.insert(
                number,
                Occupant::Instance(record.instance(number, now - age, listeners, (now, uptime))?),
            );
        }
        for (number, ports) in self.listeners {
            let mut rows = ports
                .into_iter()
                .flat_map(|(port, rows)| rows.into_iter().map(move |row| (port, row)));
            let who = rows.find_map(|(port, row)| match row.whose {
                SocketOwner::Own | SocketOwner::Server => None,
                SocketOwner::Other(who) | SocketOwner::Stray(who) if port == number => Some(who),
                SocketOwner::Other(who) | SocketOwner::Stray(who) => {
                    Some(format!("{who} on port {port}"))
                }
            });
            if let Some(who) = who {
                slots.insert(number, Occupant::OtherProcess(who));
            }
        }
        for (number, who) in self.taken {
            if !matches!(slots.get(&number), Some(Occupant::Instance(_))) {
                slots.insert(number, Occupant::OtherProcess(who));
            }
        }
        let (hooks, task) = self.runs.finish();
        let observation = Observation {
            epoch,
            releases: self.releases,
            slots,
            armed: self.armed,
            free_kib: self.free_kib,
            owner: self.owner,
            identity: self
                .machine
                .zip(self.directory)
                .map(|(machine, directory)| Identity { machine, directory }),
            hooks,
            killed_after: self.killed_after,
            transfer: None,
        };
        Ok(Report {
            end,
            observation,
            facts: self.facts,
            task,
        })
    }
}

impl SlotRecord {
    /// Adds a line of a slot's record. Unknown lines are ignored, because later versions may add
    /// some.
    fn take(&mut self, line: &str) -> Result<(), Unreadable> {
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| malformed(line, "is not `key=value`"))?;
        match key {
            "name"
                if value.is_empty()
                    || value.contains(|c: char| c.is_whitespace() || c.is_control()) =>
            {
                return Err(malformed(line, "is not the name of an instance"));
            }
            "name" => self.name = Some(InstanceId::from(value)),
            "release" => self.release = Some(digest(line, value)?),
            "revision" => self.revision = Some(Revision(number(line, value)?)),
            "started" => self.started = Some(seconds(line, value)?),
            "boot" => value.clone_into(&mut self.boot),
            _ => {}
        }
        Ok(())
    }

    fn instance(
        self,
        number: SlotNumber,
        started: Time,
        listeners: BTreeMap<Port, Listener>,
        (now, uptime): (Time, Duration),
    ) -> Result<Instance, Unreadable> {
        let booted = now - uptime;
        let missing_field =
            |what: &str| missing(&format!("the {what} of the instance in slot {number}"));
        Ok(Instance {
            name: self.name.ok_or_else(|| missing_field("name"))?,
            release: self.release.ok_or_else(|| missing_field("release"))?,
            revision: self.revision.ok_or_else(|| missing_field("revision"))?,
            started,
            process: self.process.ok_or_else(|| missing_field("process"))?,
            lingering: self.lingering.map(|lingering| lingering.times(booted)),
            restarts: self.restarts,
            listeners,
            health: Health::default(),
            sighting: Sighting {
                at: Time::default(),
                // After a reload, the process is older than the instance.
                running_for: running_for(&self.main, uptime).min(now.since(started)),
                process: self.main,
                is_starting: self.unit.starts_with("activating"),
                has_notified: self.unit.starts_with("active notify"),
                last_exit: self.exit,
                failed_liveness: self.killed,
            },
        })
    }
}

impl LingerRecord {
    /// `120050 2280050`: in 1/100 s.
    fn read(line: &str, value: &str) -> Result<Self, Unreadable> {
        let (asked, ends_by) = value
            .split_once(' ')
            .ok_or_else(|| malformed(line, "is incomplete"))?;
        Ok(Self {
            asked: hundredths(line, asked)?,
            ends_by: hundredths(line, ends_by)?,
            ended: None,
        })
    }

    /// The times, if the host started at `booted`.
    fn times(&self, booted: Time) -> Lingering {
        Lingering {
            since: booted + self.asked,
            ends_by: booted + self.ends_by,
            ended: self.ended.map(|ended| booted + ended),
        }
    }
}

/// `killed 3000`: the stop timeout after which an instance was killed, in 1/100 s.
fn killed_after(line: &str, value: &str) -> Result<Duration, Unreadable> {
    let after = value
        .strip_prefix("killed ")
        .ok_or_else(|| malformed(line, "is not a result of a stop"))?;
    hundredths(line, after)
}

fn hundredths(line: &str, value: &str) -> Result<Duration, Unreadable> {
    let hundredths: u64 = number(line, value)?;
    Ok(Duration::from_millis(hundredths.saturating_mul(10)))
}

/// The age of a process, from its id and its start time in ticks since the start of the host. The
/// kernel reports 100 ticks a second to every program.
fn running_for(process: &str, uptime: Duration) -> Duration {
    let ticks = process
        .split_once('.')
        .and_then(|(_, ticks)| ticks.parse().ok());
    ticks
        .map(|ticks: u64| uptime.saturating_sub(Duration::from_millis(ticks.saturating_mul(10))))
        .unwrap_or_default()
}

/// The owner of the port. If another process listens at the same address, requests may reach either
/// of the two.
fn listener(rows: Vec<Socket>) -> Listener {
    let is_served = rows.iter().any(|row| row.whose == SocketOwner::Server);
    let (own, others): (Vec<_>, Vec<_>) = rows
        .into_iter()
        .partition(|row| matches!(row.whose, SocketOwner::Own | SocketOwner::Server));
    let best = own
        .iter()
        .map(|row| row.address)
        .max_by_key(|address| (address.is_unspecified(), address.is_ipv4()));
    let other = others
        .into_iter()
        .find(|row| best.is_none_or(|best| best == row.address));
    match (other.map(|row| row.whose), best) {
        (Some(SocketOwner::Other(who)), _) => Listener::Other { who },
        (Some(SocketOwner::Stray(who)), _) => Listener::Stray { who },
        (_, Some(address)) if is_served => Listener::Server {
            address: address.to_string(),
        },
        (_, Some(address)) => Listener::Own {
            address: address.to_string(),
        },
        (_, None) => Listener::Closed,
    }
}

fn process(line: &str, value: &str) -> Result<Process, Unreadable> {
    match value.split_once(' ') {
        None if value == "running" => Ok(Process::Running),
        Some(("ended", how)) => Ok(Process::Ended {
            how: how.to_owned(),
        }),
        _ => Err(malformed(line, "is not a process state")),
    }
}

/// A shared directory and its size; `None` for the size if the host could not measure it in time.
fn shared_dir(value: &str) -> Option<(String, Option<u64>)> {
    let (dir, kib) = value.split_once(' ')?;
    let dir = strip_controls(dir).collect();
    Some((dir, kib.parse().ok()))
}

/// Adds a line of the record of the last deploy. Unknown lines are ignored, because later versions
/// may add some.
fn owner(owner: &mut Owner, line: &str) {
    let Some((key, value)) = line.split_once('=') else {
        return;
    };
    let value: String = strip_controls(value).collect();
    match key {
        "fleet" => owner.fleet = value,
        "service" => owner.service = value,
        "history" => owner.history = value,
        "who" => owner.who = value,
        "dir" => owner.dir = value,
        "epoch" => owner.epoch = Epoch(value.parse().unwrap_or_default()),
        "at" => owner.at = Time(value.parse().unwrap_or_default()),
        _ => {}
    }
}
