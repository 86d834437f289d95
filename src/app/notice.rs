//! Messages that a verb sends while it runs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::ids::{HostId, Revision};
use crate::core::release::patch::Transfer;
use crate::core::rollout::verb::Verb;
use crate::core::time::Human;
use crate::report::text::{self, count};

/// A message that does not change the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    ChannelResolved {
        channel: String,
        version: String,
    },
    /// Before the rollouts of a deployment begin, the hosts that lack the release get it.
    Staging {
        version: String,
        hosts: usize,
    },
    /// How the hosts received the release that was staged.
    Received {
        /// The host, if it received the whole artifact because it could not use the difference;
        /// `None` for all others together.
        host: Option<HostId>,
        transfer: Transfer,
    },
    /// Another process holds the lease; ship waits up to `wait` for it.
    WaitingForLease {
        holder: String,
        wait: Duration,
    },
    /// The playbook is invalid; ship uses the copy stored with this revision.
    PlaybookOfRevision(Revision),
    /// The command of `[hosts_from]` failed, and why; ship uses the hosts of this revision.
    HostsOfRevision {
        revision: Revision,
        why: String,
    },
    /// Neither the history nor the hosts have the definitions of these releases.
    UnknownReleases(Vec<String>),
    /// A host was removed from the inventory, and instances may still run there.
    OrphanedInstances {
        host: HostId,
        instances: Vec<String>,
    },
    /// The latest deploy came from another control directory: who, from where, when.
    DeployedElsewhere(String),
    /// A release that was found on the hosts was recorded as a revision.
    Adopted {
        version: String,
        revision: Revision,
    },
    /// The artifact of a version is neither here nor at its source: its files are copied from a
    /// host.
    RecoveringFromHost {
        version: String,
        host: HostId,
    },
    /// The shared state has no history of a service, and the state directory has one.
    HistoryNotShared {
        service: String,
        state_dir: PathBuf,
    },
    /// The files of a release cannot be copied from a host, and why.
    NotRecovered(String),
    /// The artifact of the rollback target is not available, and why: hosts that do not have the
    /// release cannot be rolled back to it.
    NoRollbackArtifact {
        version: String,
        why: String,
    },
    /// The new release no longer shares these directories; their data stays on the hosts.
    SharedDirsLeft(Vec<String>),
    /// An unfinished rollout is rolled back first.
    Unfinished {
        verb: Verb,
        version: String,
    },
    /// Connections are not kept for the next command, and why.
    ConnectionsNotKept(String),
    /// The log of the rollout cannot be written.
    NoLog {
        path: PathBuf,
        why: String,
    },
    NothingLogged,
    /// A host whose logs are followed is unreachable, and why.
    LogHostLost(String),
    /// The host is reachable again.
    LogHostRecovered(HostId),
    /// The rollout whose log is followed has not ended, but its controller is gone.
    RolloutAbandoned,
    /// A report, the metrics or a notification could not be written or sent.
    NotPublished(String),
    Accepted(Accepted),
}

/// A request that was accepted. It is announced once it can no longer be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    Resume {
        service: String,
    },
    Restart {
        service: String,
    },
    Scale {
        service: String,
    },
    /// `ship promote`; `fully` skips all remaining steps.
    Promote {
        service: String,
        fully: bool,
    },
    Abort {
        service: String,
        version: String,
        revision: Revision,
    },
    /// `ship rollback` with a number of instances that differs from the target's or the current
    /// one.
    Rollback {
        note: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChannelResolved { channel, version } => {
                write!(f, "channel {channel} resolved to {version}")
            }
            Self::Staging { version, hosts } => {
                write!(f, "staging {version} on {}", count(*hosts, "host"))
            }
            Self::Received { host, transfer } => {
                let subject = host.as_ref().map_or("the hosts", HostId::as_str);
                write!(f, "{subject} received {}", text::transfer(transfer))
            }
            Self::WaitingForLease { holder, wait } => {
                write!(f, "{holder}\nwaiting for up to {}", Human(*wait))
            }
            Self::PlaybookOfRevision(revision) => write!(
                f,
                "warning: the playbook is invalid; using the copy of revision {revision}\nhint: \
                 `ship check` shows the errors"
            ),
            Self::HostsOfRevision { revision, why } => write!(
                f,
                "warning: {why}; using the hosts of revision {revision}\nhint: `ship inventory` \
                 shows the error"
            ),
            Self::UnknownReleases(names) => write!(
                f,
                "note: unknown releases are running ({}); probing them with the new version's \
                 readiness check",
                names.join(", ")
            ),
            Self::OrphanedInstances { host, instances } => write!(
                f,
                "warning: {host} was removed from the inventory but may still run {}\nhint: to stop \
                 it, re-add {host} with `drain = true` and deploy",
                instances.join(", ")
            ),
            Self::DeployedElsewhere(owner) => {
                write!(f, "note: {}", deployed_elsewhere(owner))
            }
            Self::Adopted { version, revision } => write!(
                f,
                "note: adopted {version} from the hosts as revision {revision}"
            ),
            Self::RecoveringFromHost { version, host } => write!(
                f,
                "note: the artifact of {version} is not available here; copying its files from {host}"
            ),
            Self::HistoryNotShared { service, state_dir } => write!(
                f,
                "warning: the shared state has no history of service `{service}`, and {} has one\n\
                 hint: to take it along, remove `[state]` from the inventory and run `ship state move \
                 URL`",
                state_dir.display()
            ),
            Self::SharedDirsLeft(dirs) => {
                let places = dirs.iter().map(|dir| format!("shared/{dir}"));
                write!(
                    f,
                    "note: the release no longer shares {}; the data stays on the hosts, in {} of the \
                     service's directory",
                    dirs.join(", "),
                    places.collect::<Vec<_>>().join(", ")
                )
            }
            Self::Unfinished { verb, version } => write!(
                f,
                "the {} of {version} is unfinished; rolling it back",
                verb.noun()
            ),
            Self::ConnectionsNotKept(why) => {
                write!(f, "warning: {why}; connections are closed at the end")
            }
            Self::NoLog { path, why } => write!(
                f,
                "warning: cannot write the log of this rollout ({}: {why}); continuing without it",
                path.display()
            ),
            Self::NoRollbackArtifact { version, why } => write!(
                f,
                "warning: hosts that do not have {version} cannot be rolled back to it, because its \
                 artifact is missing: {why}"
            ),
            Self::NotRecovered(why) => write!(f, "warning: {why}"),
            Self::NothingLogged => f.write_str("no log output"),
            Self::LogHostLost(why) => write!(f, "{why}; retrying"),
            Self::LogHostRecovered(host) => write!(f, "{host}: reachable again"),
            Self::RolloutAbandoned => f.write_str(
                "the rollout has not ended, but its controller is gone\nhint: see its state with \
                 `ship status`",
            ),
            Self::NotPublished(what) => f.write_str(what),
            Self::Accepted(accepted) => accepted.fmt(f),
        }
    }
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resume { service } => write!(f, "service `{service}` resumed"),
            Self::Restart { service } => write!(f, "service `{service}` restarted"),
            Self::Scale { service } => write!(f, "service `{service}` scaled"),
            Self::Promote { service, fully } => {
                let how = if *fully { " through all steps" } else { "" };
                write!(f, "service `{service}` promoted{how}")
            }
            Self::Abort {
                service,
                version,
                revision,
            } => write!(
                f,
                "service `{service}` aborted; rolling back to {version} (revision {revision})"
            ),
            Self::Rollback { note } => f.write_str(note),
        }
    }
}

/// The message about a latest deploy from another control directory.
pub fn deployed_elsewhere(owner: &str) -> String {
    format!("the latest deploy came from another control directory: {owner}")
}
