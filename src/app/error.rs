//! Why a verb came to no outcome. The kinds are those that a caller tells apart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::exit::Exit;
use super::known_rollout::KnownRollout;
use crate::config::Diagnostics;
use crate::core::ids::{HostId, InstanceId, Slot};
use crate::core::policy::admission::refusal::{AdmissionRefusal, host_line};
use crate::core::policy::continuation::ContinuationRefusal;
use crate::core::policy::rollback::RollbackRefusal;
use crate::core::policy::service_state;
use crate::core::spec::impossible::Impossible;
use crate::engine::EngineError;
use crate::report::text::count;
use crate::script::quote;
use crate::store::StoreError;
use crate::system::accounts;
use crate::trust::{Distrust, Untrusted};

/// Why a verb came to no outcome.
#[derive(Debug, Error)]
pub enum Error {
    /// The files are wrong, or something that they name is.
    #[error("{}", .0.render(false).trim_end().trim_start_matches("error: "))]
    Files(Diagnostics),
    #[error("{}", store_text(.0))]
    Store(#[from] StoreError),
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Refused for now: it may be permitted later.
    #[error("{0}")]
    NotNow(String),
    #[error("{0}")]
    NotAdmitted(AdmissionRefusal),
    /// Hosts cannot be asked for their logs.
    #[error("{}", unreachable_text(.lost, *.all))]
    LogsUnreachable {
        /// By host: why.
        lost: BTreeMap<HostId, String>,
        /// How many hosts are asked.
        all: usize,
    },
    /// Something went wrong within ship or this machine.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl Error {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Files(_) | Self::Refused(_) | Self::Store(StoreError::Untrusted(_)) => {
                Exit::Refused
            }
            Self::NotNow(_) | Self::Store(StoreError::Held(_) | StoreError::LeaseLost) => {
                Exit::Locked
            }
            Self::NotAdmitted(refusal) => match refusal {
                AdmissionRefusal::UnusableHosts { .. }
                | AdmissionRefusal::UnusableBalancers { .. } => Exit::Unreachable,
                AdmissionRefusal::Closed { .. } => Exit::Locked,
                AdmissionRefusal::NoHostLeft
                | AdmissionRefusal::OneServer(_)
                | AdmissionRefusal::Impossible(_)
                | AdmissionRefusal::Unhealthy { .. } => Exit::Refused,
            },
            Self::LogsUnreachable { .. } => Exit::Unreachable,
            Self::Internal(_)
            | Self::Store(
                StoreError::Database { .. }
                | StoreError::Directory { .. }
                | StoreError::Unreadable { .. },
            ) => Exit::Internal,
        }
    }
}

impl From<Diagnostics> for Error {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Files(diagnostics)
    }
}

impl From<AdmissionRefusal> for Error {
    fn from(refusal: AdmissionRefusal) -> Self {
        Self::NotAdmitted(refusal)
    }
}

impl From<RollbackRefusal> for Error {
    fn from(refusal: RollbackRefusal) -> Self {
        Refused::Rollback(refusal).into()
    }
}

impl From<ContinuationRefusal> for Error {
    fn from(refusal: ContinuationRefusal) -> Self {
        Refused::Continuation(refusal).into()
    }
}

impl From<service_state::Refusal> for Error {
    fn from(refusal: service_state::Refusal) -> Self {
        if refusal.is_for_now {
            Self::NotNow(refusal.why)
        } else {
            Refused::NotPermitted(refusal.why).into()
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::MissingStartEvent => Internal::Other(error.to_string()).into(),
        }
    }
}

/// Why something was refused. Nothing was touched then.
#[derive(Debug, Error)]
pub enum Refused {
    /// As the service stands, or as somebody wants it who is not there.
    #[error("{0}")]
    NotPermitted(String),
    /// There is nothing to act on.
    #[error("nothing was deployed yet; `ship deploy` comes first")]
    NothingDeployed,
    /// The history has no such rollout.
    #[error("{}", unknown_rollout_text(.which, .service, .known))]
    UnknownRollout {
        /// What the user named.
        which: String,
        service: String,
        /// The rollouts of the history; the newest comes first.
        known: Vec<KnownRollout>,
    },
    /// A rollout has no log any more.
    #[error(
        "there is no log of that rollout at {}: it was removed, could not be written, or is of a \
         ship that wrote none; `ship history` tells how it ended",
        .0.display()
    )]
    NoLog(PathBuf),
    /// Words that mean no instance.
    #[error("{}", no_instance_text(.words, .known))]
    NoInstanceMeant {
        words: Vec<String>,
        /// The instances that there are.
        known: Vec<(InstanceId, Slot)>,
    },
    /// There is no revision to roll back to.
    #[error("{0}")]
    Rollback(RollbackRefusal),
    /// A rollback was made just before.
    #[error("{0}")]
    RolledBackAlready(String),
    /// A stopped rollout cannot go on so.
    #[error("{0}")]
    Continuation(ContinuationRefusal),
    /// A rollout ended before it could pause.
    #[error("deployment \"{service}\" had ended before it could pause: {outcome}")]
    EndedBeforePause {
        service: String,
        outcome: &'static str,
    },
    /// A rollout succeeded before it could be aborted.
    #[error(
        "deployment \"{0}\" had succeeded before it could be aborted; `ship rollback` goes back"
    )]
    SucceededBeforeAbort(String),
    /// A freeze that is over already.
    #[error("--until names a moment that has passed already")]
    FreezeIsOver,
    /// The numbers of the playbook fit no fleet.
    #[error("{0}")]
    Impossible(Impossible),
    /// Hosts are another fleet's, or listed twice.
    #[error("{}", misplaced_text(.problems, *.all))]
    Misplaced {
        /// By host: why, and what to do.
        problems: BTreeMap<HostId, (String, String)>,
        /// How many hosts there are.
        all: usize,
    },
    /// The monitor's URL fails although instances are ready.
    #[error(
        "{} ready, but {attempts} of {attempts} requests to the probe's {url} failed; nothing was \
         touched\n  the last: {why}\n  mend what stands before the instances, or `url` in \
         [monitor]; `--monitor off` goes on without",
        instances_are(*.ready)
    )]
    MonitorFails {
        ready: usize,
        /// Requests that failed, one after another.
        attempts: u64,
        url: String,
        why: String,
    },
    #[error("channel {channel} has no version: {why}")]
    NoVersion { channel: String, why: String },
    #[error("channel {channel} leads to {version}, which is a channel; it must say a version")]
    ChannelOfChannel { channel: String, version: String },
    #[error("no current directory: {0}")]
    NoDirectory(std::io::Error),
    /// The inventory is to be written where the playbook goes.
    #[error("the playbook is to be playbook.toml; give the inventory another name")]
    InventoryIsPlaybook,
    /// A file that is to be written is there already.
    #[error("{} is there already, and stays as it is; name another inventory", .0.display())]
    FileExists(PathBuf),
    /// A file cannot be written.
    #[error("cannot write {}: {why}", .path.display())]
    CannotWrite { path: PathBuf, why: std::io::Error },
    /// A path that does not fit on one line of text.
    #[error(
        "neither a crontab nor a unit can hold the path {}: it has a line end or is no UTF-8; \
         rename it",
        .0.display()
    )]
    UnwritablePath(PathBuf),
    /// Several inventories may be meant, or none was found.
    #[error("{}", which_text(.reason, .candidates, .here))]
    WhichInventory {
        reason: &'static str,
        candidates: Vec<PathBuf>,
        here: PathBuf,
    },
    /// A file that nobody named is another user's.
    #[error(
        "{untrusted}, and ship has found it by itself\nhint: to use it all the same, name the \
         inventory, as in `ship status {}`; or make it yours with `{}`",
        quote(&.inventory.to_string_lossy()),
        remedy(.untrusted)
    )]
    FoundUntrusted {
        untrusted: Untrusted,
        /// The inventory that leads to it.
        inventory: PathBuf,
    },
}

/// Something went wrong within ship or this machine.
#[derive(Debug, Error)]
pub enum Internal {
    #[error("cannot make a temporary directory: {0}")]
    NoTemporaryDirectory(std::io::Error),
    /// The log of a rollout cannot be read.
    #[error("the log of the rollout cannot be read ({}: {error})", .path.display())]
    UnreadableLog {
        path: PathBuf,
        error: std::io::Error,
    },
    /// This program does not know where it lies.
    #[error("where is this program? {0}")]
    NoProgram(std::io::Error),
    #[error("cannot listen for signals: {0}")]
    NoSignals(std::io::Error),
    #[error("this machine cannot ask {url}: {why}")]
    NoMonitor { url: String, why: String },
    #[error("{0}")]
    Other(String),
}

fn instances_are(ready: usize) -> String {
    if ready == 1 {
        "1 instance is".to_owned()
    } else {
        format!("{ready} instances are")
    }
}

fn unknown_rollout_text(which: &str, service: &str, known: &[KnownRollout]) -> String {
    let mut text = format!("the history of {service} has no rollout `{which}`; it has:");
    for rollout in known {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {rollout}");
    }
    text
}

fn no_instance_text(words: &[String], known: &[(InstanceId, Slot)]) -> String {
    let mut text = format!("no instance, host or slot is meant by {}", words.join(", "));
    if known.is_empty() {
        text.push_str("; no instance is there");
        return text;
    }
    text.push_str("; there is:");
    for (name, slot) in known {
        let _ = write!(text, "\n  {name} at {slot}");
    }
    text
}

fn unreachable_text(lost: &BTreeMap<HostId, String>, all: usize) -> String {
    let mut text = format!(
        "{} of {all} hosts cannot be asked for their logs",
        lost.len()
    );
    for (host, why) in lost {
        text.push_str("\n  ");
        text.push_str(&host_line(host, why));
    }
    text
}

fn misplaced_text(problems: &BTreeMap<HostId, (String, String)>, all: usize) -> String {
    let hosts = count(problems.len(), "host");
    let mut message = format!("{hosts} of {all} cannot be used; nothing was touched");
    for (host, (why, hint)) in problems {
        // Writing to a string does not fail.
        let _ = write!(message, "\n  {host}: {why}\n    hint: {hint}");
    }
    message
}

fn which_text(reason: &str, candidates: &[PathBuf], here: &Path) -> String {
    let mut text = format!("which inventory? {reason}; name one");
    if candidates.is_empty() {
        text.push_str(", as in `ship deploy inventory.toml`");
        return text;
    }
    text.push(':');
    for candidate in candidates {
        let shown = candidate.strip_prefix(here).unwrap_or(candidate);
        text.push_str("\n  ");
        text.push_str(&shown.to_string_lossy());
    }
    text
}

fn store_text(error: &StoreError) -> String {
    let StoreError::Untrusted(untrusted) = error else {
        return error.to_string();
    };
    format!(
        "{untrusted}; ship keeps its state only where nobody else can change it\nhint: if you know \
         what it holds, make it yours with `{}`; or begin with a state directory of your own, \
         beside the inventory: `mkdir -m 700 .ship`",
        remedy(untrusted)
    )
}

/// The command that makes a path trusted, for those who know what it holds.
fn remedy(untrusted: &Untrusted) -> String {
    let path = quote(&untrusted.path.to_string_lossy());
    match untrusted.why {
        Distrust::Owner { caller, .. } => {
            format!(
                "chown -R {} {path}",
                accounts::name_of(caller).unwrap_or_else(|| caller.to_string())
            )
        }
        Distrust::Writable { .. } => format!("chmod go-w {path}"),
        Distrust::Link => format!("rm {path}"),
    }
}
