//! What a release is: an artifact and all that is needed to run it, so that configuration rolls
//! back with code.

pub mod hook;
pub mod migration;
pub mod version;
pub mod waits;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::fleet::health::Thresholds;
use crate::core::ids::Port;
use crate::core::release::hook::{Hook, HookPoint, hook_time};
use crate::core::release::migration::Migration;
use crate::core::release::waits::Waits;

/// The whole of a release but the artifact's bytes and the secrets' values, of which it holds
/// digests.
///
/// Its canonical JSON is what a [`ReleaseId`](crate::core::ids::ReleaseId) is the SHA-256 of; the
/// history keeps it, so that an older revision runs and is probed as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub service: String,
    /// Its version, for people and templates.
    pub version: String,
    /// The program and its arguments, each a template over the slot (`{{ port }}`).
    pub command: Vec<String>,
    /// The slots that each host offers to it. Empty in a release from before they belonged to one,
    /// and left out of the JSON then: such a release runs where the playbook says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// The name of a slot's server at the balancers, a template over the slot; `None` where they
    /// know no names. Left out of the JSON then, as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The environment, each value a template over the slot.
    pub env: BTreeMap<String, String>,
    pub driver: Driver,
    /// The user that it runs as; `None` for the driver's default.
    pub user: Option<String>,
    /// The time from TERM to KILL.
    pub stop_timeout: Duration,
    /// When it counts as ready.
    pub readiness: Readiness,
    /// When an instance counts as stuck; `None` if ship does not probe liveness. The JSON then
    /// omits this field, so that a release from before liveness probes existed keeps its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
    /// The user's commands at certain points; left out of the JSON where there are none, as above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// The changes to what all instances share, in their order; left out where there are none, as
    /// above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub migrations: Vec<Migration>,
    /// What is sent to the hosts.
    pub artifact: Artifact,
    /// SHA-256 of the secrets file on the hosts; `None` without secrets.
    pub secrets_sha256: Option<String>,
}

/// What supervises an instance on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// systemd: each slot has a unit of its own.
    Systemd,
    /// No supervisor: a process in a session of its own, with a pid file and a log file.
    Process,
}

/// The user that ship makes for a service whose playbook names none.
pub fn own_user(service: &str) -> String {
    format!("ship-{service}")
}

/// What is sent to the hosts, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The form in which it is sent.
    pub form: ArtifactForm,
    /// SHA-256 of the bytes sent, in lower-case hex.
    pub sha256: String,
    /// Bytes sent.
    pub size_bytes: u64,
    /// Leading path components to drop when unpacking.
    pub strip_components: u32,
}

/// The form in which an artifact is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactForm {
    /// A gzipped tar archive, unpacked on the host.
    TarGz,
    /// The same, made of a directory, whose files get their times when they are unpacked.
    Directory,
    /// One executable file of this name.
    File(String),
}

/// When an instance counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    pub check: Check,
    pub via: Via,
    /// The time between probes.
    pub interval: Duration,
    /// The time limit of one probe.
    pub timeout: Duration,
    /// Consecutive passes that make it ready.
    // The digests of releases depend on the serialized names.
    #[serde(rename = "successes")]
    pub success_threshold: u32,
    /// Consecutive failures that make it not ready.
    #[serde(rename = "failures")]
    pub failure_threshold: u32,
    /// The time from its start to the first probe.
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
        /// A text that the body must contain: a template over the slot.
        body: Option<String>,
        /// The `Host` header; `None` for the address of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_header: Option<String>,
    },
    /// A command on the host ends with 0; each word a template over the slot.
    Command(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// From the control machine to the host's address.
    Direct,
    /// Through the SSH connection, from the host itself.
    Ssh,
}

/// When an instance that runs counts as stuck. Its own host asks it, and ends it then; its
/// supervisor starts it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    pub check: LivenessCheck,
    /// The time between questions.
    pub interval: Duration,
    /// The time limit of one answer; hosts count in whole seconds.
    pub timeout: Duration,
    /// Consecutive failures that end it.
    #[serde(rename = "failures")]
    pub failure_threshold: u32,
    /// The time from any start of its process to the first question.
    pub initial_delay: Duration,
    /// The `Host` header of a GET; `None` for the address of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_header: Option<String>,
}

/// How a stuck instance is detected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LivenessCheck {
    /// Its port accepts a connection.
    Tcp,
    /// A GET of this path and query is answered with 200 to 399.
    Http(String),
    /// A command ends with 0; each word a template over the slot.
    Command(Vec<String>),
}

impl Definition {
    /// The time that its keys allow an instance.
    pub fn waits(&self) -> Waits {
        let hooks = |points: [HookPoint; 2]| hook_time(&self.hooks, &points);
        Waits {
            start: hooks([HookPoint::BeforeStart, HookPoint::AfterStart]),
            stop: hooks([HookPoint::BeforeStop, HookPoint::AfterStop]) + self.stop_timeout,
            ..self.readiness.waits()
        }
    }
}

impl Readiness {
    /// The time that it adds for an instance.
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
            ..Waits::default()
        }
    }

    /// The thresholds for [`Health`](crate::core::fleet::health::Health). A verdict is good until the next could
    /// have failed.
    pub fn thresholds(&self) -> Thresholds {
        const SLACK: Duration = Duration::from_secs(5);
        Thresholds {
            success_threshold: self.success_threshold,
            failure_threshold: self.failure_threshold,
            stale_after: self.interval + self.timeout + SLACK,
        }
    }
}
