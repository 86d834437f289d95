//! Releases: an artifact and everything that is needed to run it, so that configuration rolls back
//! with the code.

pub mod hook;
pub mod link;
pub mod migration;
pub mod patch;
pub mod relay;
pub mod reload;
pub mod slots;
pub mod unit;
pub mod version;
pub mod waits;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::fleet::health::Thresholds;
use crate::core::ids::{Port, SlotNumber};
use crate::core::release::hook::{Hook, HookPoint, hook_time};
use crate::core::release::migration::Migration;
use crate::core::release::slots::{SlotPorts, Slots};
use crate::core::release::unit::{Directives, StopSignal};
use crate::core::release::waits::Waits;

/// The definition of a release. It contains only the digests of the artifact's bytes and of the
/// secrets.
///
/// A [`ReleaseId`](crate::core::ids::ReleaseId) is the SHA-256 of its canonical JSON. The history
/// keeps the definition, so that an old revision is run and probed with the settings of its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub service: String,
    /// The version, for people and templates.
    pub version: String,
    /// The program and its arguments, each a template with the values of the slot (`{{ port }}`).
    pub command: Vec<String>,
    /// The command that makes the server use the files after `current` was switched, each word a
    /// template with the values of the slot (driver `link`). If there is none, the JSON omits the
    /// field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub activate: Vec<String>,
    /// The command that makes a running instance read the files of another release, in the words of
    /// systemd's `ExecReload`. If there is none, the JSON omits the field, so that the id stays the
    /// same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reload: Vec<String>,
    /// The ports of the slots on each host. Empty in a release from an earlier version of ship,
    /// which runs on the ports of the playbook. The JSON then omits the field, so that the id stays
    /// the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<SlotPorts>,
    /// The number of slots on each host of a service without ports. The JSON omits the field
    /// otherwise, as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<SlotNumber>,
    /// The name of a slot's server at the balancers, a template with the values of the slot; `None`
    /// if the balancers have no names for servers. The JSON then omits the field, as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The environment. Each value is a template with the values of the slot.
    pub env: BTreeMap<String, String>,
    pub driver: Driver,
    /// The user of the instances; `None` for the driver's default.
    pub user: Option<String>,
    /// The signal that asks an instance to stop. The JSON omits SIGTERM, as above.
    #[serde(default, skip_serializing_if = "StopSignal::is_default")]
    pub stop_signal: StopSignal,
    /// The time from `stop_signal` to KILL.
    pub stop_timeout: Duration,
    /// How long a replaced instance may finish its work after `stop_signal`; `None` for
    /// `stop_timeout`. The JSON then omits the field, as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linger: Option<Duration>,
    /// Directives of the instances' units. If there are none, the JSON omits the field, as above.
    #[serde(default, skip_serializing_if = "Directives::is_empty")]
    pub systemd: Directives,
    /// Directories in the release that outlive it: links to directories that each host has once. If
    /// there are none, the JSON omits the field, as above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_dirs: Vec<String>,
    /// When an instance counts as ready.
    pub readiness: Readiness,
    /// When an instance counts as stuck; `None` without a liveness probe. The JSON then omits the
    /// field, as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// The hooks. If there are none, the JSON omits the field, as above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// The migrations, in their order. If there are none, the JSON omits the field, as above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub migrations: Vec<Migration>,
    /// The files that ship sends to the hosts.
    pub artifact: Artifact,
    /// SHA-256 of the secrets file on the hosts; `None` without secrets.
    pub secrets_sha256: Option<String>,
}

/// The mechanism that starts and supervises instances on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// systemd: each slot has a unit of its own.
    Systemd,
    /// No supervisor: a process in a session of its own, with a pid file and a log file.
    Process,
    /// No process of ship: a link to the files of the release, for a server that is already there.
    Link,
}

/// The user that ship creates for a service whose playbook names none.
pub fn own_user(service: &str) -> String {
    format!("ship-{service}")
}

/// The files that ship sends to the hosts, with their digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub form: ArtifactForm,
    /// The SHA-256 of the bytes sent, in lower-case hex.
    pub sha256: String,
    /// The number of bytes sent.
    pub size_bytes: u64,
    /// Leading path components to drop when unpacking.
    pub strip_components: u32,
}

impl Artifact {
    /// Below this size, a host receives the bytes faster than it copies and verifies files.
    const PATCHED_MIN_BYTES: u64 = 1 << 20;

    /// Whether a host that has another release should get the difference.
    pub fn is_worth_patching(&self) -> bool {
        self.size_bytes >= Self::PATCHED_MIN_BYTES
    }

    /// Whether the difference from this artifact to a new one, with this SHA-256 and size in bytes,
    /// is likely to be needed.
    pub fn is_worth_comparing_to(&self, sha256: &str, size_bytes: u64) -> bool {
        self.is_worth_patching() && self.sha256 != sha256 && size_bytes >= Self::PATCHED_MIN_BYTES
    }

    /// The size in bytes above which a difference is not sent instead.
    pub fn patch_max_bytes(&self) -> u64 {
        self.size_bytes / 2
    }
}

/// The form in which an artifact is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactForm {
    /// A gzipped tar archive, unpacked on the host.
    TarGz,
    /// A gzipped tar archive of a directory. Its files get their times when they are unpacked.
    Directory,
    /// One executable file of this name.
    File(String),
}

/// When an instance counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    pub check: Check,
    /// The name of the port to probe; `None` for the first. The JSON then omits the field, so that
    /// the id stays the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    pub via: Via,
    /// The time between probes.
    pub interval: Duration,
    /// The time limit of one probe.
    pub timeout: Duration,
    /// Consecutive passes that make an instance ready.
    // The digests of releases depend on the serialized names.
    #[serde(rename = "successes")]
    pub success_threshold: u32,
    /// Consecutive failures that make an instance not ready.
    #[serde(rename = "failures")]
    pub failure_threshold: u32,
    /// The time from the start of an instance to its first probe.
    pub initial_delay: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The port accepts a connection.
    Tcp,
    /// A GET returns the expected answer.
    Http {
        /// The path and query.
        path: String,
        /// The status that passes; `None` for any of 200 to 399.
        status: Option<u16>,
        /// A text that the body must contain, a template with the values of the slot.
        body: Option<String>,
        /// The `Host` header; `None` for the address of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_header: Option<String>,
        /// A header that the answer must have, as `Name: value`: a template with the values of the
        /// slot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        header: Option<String>,
    },
    /// A command on the host exits with 0. Each word is a template with the values of the slot.
    Command(Vec<String>),
    /// The same process has been running for this long.
    Running(Duration),
    /// The service has reported `READY=1` to systemd.
    Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Directly from the control machine to the host's address.
    Direct,
    /// From the host itself, through the SSH connection.
    Ssh,
}

/// When a running instance counts as stuck. Its own host probes it and kills a stuck instance, and
/// the supervisor starts it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    pub check: LivenessCheck,
    /// The name of the port to probe; `None` for the first. The JSON then omits the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The time between probes.
    pub interval: Duration,
    /// The time limit of one probe. Hosts count in whole seconds.
    pub timeout: Duration,
    /// Consecutive failures after which the host kills an instance.
    #[serde(rename = "failures")]
    pub failure_threshold: u32,
    /// The time from each start of the process to the first probe.
    pub initial_delay: Duration,
    /// The `Host` header of a GET; `None` for the address of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_header: Option<String>,
}

/// How a stuck instance is detected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LivenessCheck {
    /// The port accepts a connection.
    Tcp,
    /// A GET of this path and query returns a status from 200 to 399.
    Http(String),
    /// A command exits with 0. Each word is a template with the values of the slot.
    Command(Vec<String>),
}

impl Definition {
    /// The slots on each host; `None` for a release from an earlier version of ship, which runs in
    /// the slots of the playbook.
    pub fn slots(&self) -> Option<Slots> {
        match self.slots {
            Some(count) => Some(Slots::Count(count)),
            None if self.ports.is_empty() => None,
            None => Some(Slots::Ports(self.ports.clone())),
        }
    }

    /// The port in a slot that readiness probes; `None` if the service has no such port.
    pub fn readiness_port(&self, slot: SlotNumber) -> Option<Port> {
        self.port(slot, self.readiness.port.as_deref())
    }

    /// The port in a slot that liveness probes; `None` if the service has no such port.
    pub fn liveness_port(&self, slot: SlotNumber) -> Option<Port> {
        let liveness = self.liveness.as_ref()?;
        self.port(slot, liveness.port.as_deref())
    }

    /// All ports of a slot; empty in a service without ports.
    pub fn ports_of(&self, slot: SlotNumber) -> Vec<Port> {
        match self.slots() {
            Some(slots) => slots.ports_of(slot).map(SlotPorts::all).unwrap_or_default(),
            None => vec![slot],
        }
    }

    /// The port of a slot with this name, or its first port.
    pub fn port(&self, slot: SlotNumber, name: Option<&str>) -> Option<Port> {
        match self.slots() {
            Some(slots) => slots.port(slot, name),
            None => Some(slot),
        }
    }

    /// The ports of a slot that have names.
    pub fn named_ports(&self, slot: SlotNumber) -> &[(String, Port)] {
        let found = self.ports.iter().find(|ports| ports.first() == slot);
        found.map_or(&[], SlotPorts::named)
    }

    /// The times that this definition allows its instances.
    pub fn waits(&self) -> Waits {
        let hooks = |points: [HookPoint; 2]| hook_time(&self.hooks, &points);
        Waits {
            start: hooks([HookPoint::BeforeStart, HookPoint::AfterStart])
                + link::activation_time(&self.activate),
            stop: hooks([HookPoint::BeforeStop, HookPoint::AfterStop]) + self.stop_timeout,
            linger: self.linger.unwrap_or_default(),
            ..self.readiness.waits()
        }
    }
}

impl Readiness {
    /// The times that readiness probes need.
    pub fn waits(&self) -> Waits {
        let Self {
            initial_delay,
            success_threshold,
            interval,
            ..
        } = *self;
        Waits {
            initial_delay,
            success_threshold,
            interval,
            running: match self.check {
                Check::Running(time) => time,
                _ => Duration::ZERO,
            },
            ..Waits::default()
        }
    }

    /// The thresholds for [`Health`](crate::core::fleet::health::Health). A verdict is valid until
    /// the next probe must have ended.
    pub fn thresholds(&self) -> Thresholds {
        const SLACK: Duration = Duration::from_secs(5);
        Thresholds {
            success_threshold: self.success_threshold,
            failure_threshold: self.failure_threshold,
            stale_after: self.interval + self.timeout + SLACK,
        }
    }
}
