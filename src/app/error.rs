//! Errors of the verbs. Each kind has its own exit code or is handled separately by a caller.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::exit::Exit;
use super::known_rollout::KnownRollout;
use crate::config::{Diagnostics, SUDO_PASSWORD, UnitRefusal};
use crate::core::ids::{HostId, InstanceId, Slot};
use crate::core::policy::admission::refusal::{AdmissionRefusal, host_line};
use crate::core::policy::continuation::ContinuationRefusal;
use crate::core::policy::password_proof::PasswordRejection;
use crate::core::policy::rollback::RollbackRefusal;
use crate::core::policy::service_state;
use crate::core::spec::impossible::Impossible;
use crate::core::time::Human;
use crate::engine::EngineError;
use crate::remote::NotPrivate;
use crate::script::quote;
use crate::store::StoreError;
use crate::system::accounts;
use crate::trust::{Distrust, Untrusted};

/// Why a verb has no outcome.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration files are invalid, or something that they refer to is.
    #[error("{}", .0.render(false).trim_end().trim_start_matches("error: "))]
    Files(Diagnostics),
    #[error("{}", store_text(.0))]
    Store(#[from] StoreError),
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Refused for now; it may be permitted later.
    #[error("{0}")]
    NotNow(String),
    #[error("{0}")]
    NotAdmitted(AdmissionRefusal),
    /// The logs of some hosts cannot be read.
    #[error("{}", unreachable_text(.lost, *.all))]
    LogsUnreachable {
        /// The reason for each unreachable host.
        lost: BTreeMap<HostId, String>,
        /// Number of hosts whose logs were requested.
        all: usize,
    },
    /// The state store failed during a rollout, which was interrupted for that reason.
    #[error(
        "{error}\nnote: it has failed for {}; the rollout was interrupted, and what runs on the hosts \
         keeps running\nhint: `ship resume` continues the rollout once the state can be used again",
        Human(*.lasted)
    )]
    StoreLost { error: StoreError, lasted: Duration },
    /// A host rejected the password for sudo, so ship stopped before it changed anything.
    #[error("{}", rejection_text(.0))]
    SudoPassword(PasswordRejection),
    /// A signal interrupted a verb before it had changed any host.
    #[error("interrupted by {0}; no host was changed")]
    Interrupted(&'static str),
    /// An error of one service of a stack.
    #[error("{service}: {error}")]
    OfService { service: String, error: Box<Error> },
    /// A failure of ship or of the control machine.
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl Error {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused(Refused::NotStaged { .. })
            | Self::LogsUnreachable { .. }
            | Self::SudoPassword(_)
            | Self::Store(StoreError::Unavailable { .. }) => Exit::Unreachable,
            Self::Files(_)
            | Self::Refused(_)
            | Self::Store(StoreError::Untrusted(_) | StoreError::Rejected { .. }) => Exit::Refused,
            Self::NotNow(_) | Self::Store(StoreError::Held(_) | StoreError::LeaseLost) => {
                Exit::Locked
            }
            Self::NotAdmitted(refusal) => match refusal {
                AdmissionRefusal::UnusableHosts { .. }
                | AdmissionRefusal::UnusableBalancers { .. } => Exit::Unreachable,
                AdmissionRefusal::Closed { .. } => Exit::Locked,
                AdmissionRefusal::AllHostsDrained
                | AdmissionRefusal::DuplicateServer(_)
                | AdmissionRefusal::Impossible(_)
                | AdmissionRefusal::Unhealthy { .. } => Exit::Refused,
            },
            Self::OfService { error, .. } => error.exit(),
            Self::StoreLost { .. } | Self::Interrupted(_) => Exit::Interrupted,
            Self::Internal(_)
            | Self::Store(
                StoreError::Database { .. }
                | StoreError::Directory { .. }
                | StoreError::Unreadable { .. }
                | StoreError::Contended { .. },
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
        if refusal.is_temporary {
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
            EngineError::StoreLost { error, lasted } => Self::StoreLost { error, lasted },
            EngineError::MissingStartEvent => Internal::Other(error.to_string()).into(),
        }
    }
}

/// Why a verb was refused. No changes were made.
#[derive(Debug, Error)]
pub enum Refused {
    /// The state of the service or the settings of `[unattended]` do not permit the verb.
    #[error("{0}")]
    NotPermitted(String),
    /// An instance of a singleton may run on a host that was removed from the inventory.
    #[error(
        "an instance may still run on {host}, which was removed from the inventory, and two must \
         never run at once\nhint: stop it there, then pass `--force` to `ship deploy`"
    )]
    SingletonElsewhere { host: HostId },
    /// A release could not be staged on some hosts, before anything was changed.
    #[error(
        "cannot stage {version}; no instance was changed{}",
        host_lines(.failed)
    )]
    NotStaged {
        version: String,
        /// Why, for each host.
        failed: BTreeMap<HostId, String>,
    },
    /// The artifact of an earlier release is needed and cannot be fetched.
    #[error(
        "the artifact of version {version} is needed on {}: {why}\nhint: run this on the machine \
         that deployed the version, or deploy it again with `ship deploy --version`",
        joined(.hosts)
    )]
    ArtifactMissing {
        version: String,
        hosts: Vec<HostId>,
        why: String,
    },
    /// The secrets of an earlier release are needed and are not those of now.
    #[error(
        "the secrets of version {version} are needed on {}, and those of now are others: {}\nhint: \
         set them as they were for that version, or deploy it again with the present ones",
        joined(.hosts), .names.join(", ")
    )]
    SecretsChanged {
        version: String,
        hosts: Vec<HostId>,
        /// The variables, and the file.
        names: Vec<String>,
    },
    /// The URL of the state is not known or not valid.
    #[error(
        "cannot find the state: {0}\nhint: a URL is for example `postgres://ship@db.internal/ship` or \
             `etcd://10.0.0.1:2379,10.0.0.2:2379/ship`"
    )]
    UnknownStateUrl(String),
    #[error(
        "the URL contains a password, which other users can see among the arguments of a process\n\
         hint: leave it out; ship reads it from the environment (PGPASSWORD, ETCDCTL_PASSWORD) or \
         from ~/.pgpass"
    )]
    PasswordInArgument,
    #[error(
        "cannot ask for the sudo password of {machines}: {why}; no changes were made\nhint: set \
         {SUDO_PASSWORD} in the environment, or allow sudo without a password on the hosts and set \
         `sudo = true` in the inventory"
    )]
    NoSudoPassword { machines: String, why: &'static str },
    #[error("{0}, so it cannot be a password for sudo; no changes were made")]
    InvalidSudoPassword(String),
    #[error("the state is in {0} already")]
    StateIsThere(String),
    #[error("nothing has been deployed yet; run `ship deploy` first")]
    NothingDeployed,
    #[error("{}", unknown_rollout_text(.which, .service, .known))]
    UnknownRollout {
        /// The `--rollout` value.
        which: String,
        service: String,
        /// The rollouts of the history, the newest first.
        known: Vec<KnownRollout>,
    },
    #[error("{}", no_instance_text(.words, .known))]
    NoMatchingInstance {
        /// The arguments that match nothing.
        words: Vec<String>,
        /// The instances on all reachable hosts.
        known: Vec<(InstanceId, Slot)>,
    },
    #[error("{0}")]
    Rollback(RollbackRefusal),
    /// The latest rollout was a rollback already.
    #[error("{0}")]
    RolledBackAlready(String),
    /// A stopped rollout cannot continue in the requested way.
    #[error("{0}")]
    Continuation(ContinuationRefusal),
    #[error("service `{service}`: the rollout ended before it could pause: {outcome}")]
    EndedBeforePause {
        service: String,
        outcome: &'static str,
    },
    #[error(
        "service `{0}`: the rollout succeeded before it could be aborted\nhint: to undo it, run \
         `ship rollback`"
    )]
    SucceededBeforeAbort(String),
    #[error("--until is in the past")]
    FreezeIsOver,
    /// The numbers in the playbook do not fit the fleet.
    #[error("{0}")]
    Impossible(Impossible),
    /// Hosts belong to another fleet, or are listed twice.
    #[error("{}", misplaced_text(.problems, *.all))]
    Misplaced {
        /// The reason and the hint for each host.
        problems: BTreeMap<HostId, (String, String)>,
        /// Number of hosts in the fleet.
        all: usize,
    },
    /// The monitor's URL fails although instances are ready.
    #[error(
        "{} ready, but {attempts} of {attempts} requests to the monitor URL {url} failed; no \
         changes were made\n  last error: {why}\nhint: fix the load balancer or `url` in \
         [monitor], or roll out without the monitor: `--monitor off`",
        instances_are(*.ready)
    )]
    MonitorFails {
        ready: usize,
        /// Consecutive failed requests.
        attempts: u64,
        url: String,
        why: String,
    },
    #[error("cannot resolve channel `{channel}`: {why}")]
    NoVersion { channel: String, why: String },
    #[error("channel `{channel}` refers to the channel `{version}`; expected a version")]
    ChannelOfChannel { channel: String, version: String },
    #[error("cannot read the current directory: {0}")]
    NoDirectory(std::io::Error),
    #[error(
        "cannot write the inventory to {}, because a playbook goes there\nhint: give the inventory \
         another name",
        .0.display()
    )]
    InventoryIsPlaybook(PathBuf),
    #[error("{} already exists and was not changed\nhint: name another inventory", .0.display())]
    FileExists(PathBuf),
    #[error("cannot write {}: {why}", .path.display())]
    CannotWrite { path: PathBuf, why: std::io::Error },
    #[error("cannot adopt {unit} on {host}: {refusal}")]
    UnitNotAdopted {
        unit: String,
        host: String,
        refusal: Box<UnitRefusal>,
    },
    #[error(
        "`{0}` is not a host to log in at\nhint: write an address or a name of ~/.ssh/config, as in \
         web1 or deploy@192.0.2.11"
    )]
    InvalidHost(String),
    #[error("the host `{0}` is named twice")]
    HostNamedTwice(String),
    /// A path that cannot be written on one line of text.
    #[error(
        "the path {} contains a line break or is not valid UTF-8, so it cannot be used in a crontab \
         or systemd unit\nhint: rename it",
        .0.display()
    )]
    UnwritablePath(PathBuf),
    /// Several inventories are possible, or none was found.
    #[error("{}", no_inventory_text(.reason, .candidates, .here))]
    NoInventoryChosen {
        reason: &'static str,
        candidates: Vec<PathBuf>,
        here: PathBuf,
    },
    /// The directory of the kept connections belongs to another user, or others can use it.
    #[error(
        "{0}, so ship keeps no connections there\nhint: remove it, or make it yours with mode 0700"
    )]
    ConnectionsNotPrivate(NotPrivate),
    /// The user did not name the inventory, and one of its files is not trusted.
    #[error(
        "{untrusted}, and ship found it automatically\nhint: to use it anyway, name the \
         inventory, as in `ship status {}`; or make it yours with `{}`",
        quote(&.inventory.to_string_lossy()),
        remedy(.untrusted)
    )]
    FoundUntrusted {
        untrusted: Untrusted,
        /// The inventory that refers to it.
        inventory: PathBuf,
    },
}

/// A failure of ship or of the control machine.
#[derive(Debug, Error)]
pub enum Internal {
    #[error("cannot create a temporary directory: {0}")]
    NoTemporaryDirectory(std::io::Error),
    #[error("cannot read the log of the rollout at {}: {error}", .path.display())]
    UnreadableLog {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("cannot determine the path of the ship program: {0}")]
    NoProgram(std::io::Error),
    #[error("cannot ask for a password on the terminal: {0}")]
    NoPrompt(std::io::Error),
    #[error("cannot listen for signals: {0}")]
    NoSignals(std::io::Error),
    #[error("cannot send requests to {url}: {why}")]
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
    let mut text = format!("service `{service}` has no rollout `{which}`; known rollouts:");
    for rollout in known {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {rollout}");
    }
    text
}

fn no_instance_text(words: &[String], known: &[(InstanceId, Slot)]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    let mut text = format!("no instance, host or slot matches {}", words.join(", "));
    if known.is_empty() {
        text.push_str("; there are no instances");
        return text;
    }
    text.push_str("; known instances:");
    for (name, slot) in known {
        let _ = write!(text, "\n  {name} at {slot}");
    }
    text
}

fn unreachable_text(lost: &BTreeMap<HostId, String>, all: usize) -> String {
    let text = format!("cannot read the logs of {} of {all} hosts", lost.len());
    text + &host_lines(lost)
}

/// A line for each host, with the reason.
fn host_lines<'a>(hosts: impl IntoIterator<Item = (&'a HostId, &'a String)>) -> String {
    let mut text = String::new();
    for (host, why) in hosts {
        text.push_str("\n  ");
        text.push_str(&host_line(host, why));
    }
    text
}

fn misplaced_text(problems: &BTreeMap<HostId, (String, String)>, all: usize) -> String {
    let mut message = unusable_hosts(problems.len(), all);
    for (host, (why, hint)) in problems {
        // Writing to a string does not fail.
        let _ = write!(message, "\n  {host}: {why}\n    hint: {hint}");
    }
    message
}

fn unusable_hosts(unusable: usize, all: usize) -> String {
    let are = if unusable == 1 { "is" } else { "are" };
    format!("{unusable} of {all} hosts {are} unusable; no changes were made")
}

fn rejection_text(rejection: &PasswordRejection) -> String {
    let PasswordRejection {
        host,
        accepted_by,
        output,
    } = rejection;
    let output = match output.as_str() {
        "" => String::new(),
        output => format!(" ({output})"),
    };
    match accepted_by {
        None => format!(
            "{host}: sudo rejected the password{output}; no other host got it, and no changes were \
             made\nhint: run the command again with the right password (from the terminal, or in \
             {SUDO_PASSWORD}); sudo asks for that of the login user, or of root with `rootpw` or \
             `targetpw` in sudoers"
        ),
        Some(other) => format!(
            "{host}: sudo rejected the password that {other} accepted{output}; no changes were made\nhint: \
             set the same password on every host, or set `sudo = true` for {host} and allow sudo \
             without a password there"
        ),
    }
}

fn no_inventory_text(reason: &str, candidates: &[PathBuf], here: &Path) -> String {
    let mut text = format!("cannot choose an inventory: {reason}\nhint: name one");
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
        "{untrusted}; ship keeps its state only where no other user can change it\nhint: if you \
         trust its contents, make it yours with `{}`; or start with a state directory of your own, \
         beside the inventory: `mkdir -m 700 .ship`",
        remedy(untrusted)
    )
}

fn joined(hosts: &[HostId]) -> String {
    let names: Vec<_> = hosts.iter().map(HostId::as_str).collect();
    names.join(", ")
}

/// The command that makes a path trusted, for a user who knows its contents.
fn remedy(untrusted: &Untrusted) -> String {
    let path = quote(&untrusted.path.to_string_lossy());
    match untrusted.why {
        Distrust::Owner { caller, .. } => {
            format!(
                "chown -R {} {path}",
                accounts::user_name(caller).unwrap_or_else(|| caller.to_string())
            )
        }
        Distrust::Writable { .. } => format!("chmod go-w {path}"),
        Distrust::Link => format!("rm {path}"),
    }
}
