//! Messages that a verb sends while it runs.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::ids::{HostId, Revision};
use crate::core::rollout::verb::Verb;
use crate::core::time::Human;

/// Something that a person should know, and that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A channel was asked for its version.
    ChannelResolved { channel: String, version: String },
    /// Somebody else holds the lease, which is waited for.
    WaitingForLease { holder: String, wait: Duration },
    /// The playbook is wrong, and was read as a revision has it.
    PlaybookOfRevision(Revision),
    /// Neither the history nor the hosts have the definitions of these releases.
    UnknownReleases(Vec<String>),
    /// A host has left the inventory, and instances may still run there.
    OrphanedInstances {
        host: HostId,
        instances: Vec<String>,
    },
    /// Another control directory deployed last: who, from where, when.
    DeployedElsewhere(String),
    /// A release that was found on the hosts is a revision now.
    Adopted { version: String, revision: Revision },
    /// A rollout was left unfinished, and is rolled back first.
    Unfinished { verb: Verb, version: String },
    /// The log of the rollout cannot be written.
    NoLog { path: PathBuf, why: String },
    /// The instances have written nothing.
    NothingLogged,
    /// A host whose logs are followed cannot be reached: why.
    LogHostLost(String),
    /// It can be reached again.
    LogHostFound(HostId),
    /// The rollout whose log is followed has not ended, and its process is gone.
    RolloutAbandoned,
    /// Something that should be left for later readers could not be.
    NotPublished(String),
    /// What was asked for was accepted.
    Accepted(Accepted),
}

/// What was accepted, once nothing can refuse it any more.
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
    /// `ship promote`; `fully` through all steps that are left.
    Promote {
        service: String,
        fully: bool,
    },
    Abort {
        service: String,
        version: String,
        revision: Revision,
    },
    /// `ship rollback` with another number of instances than the target ran with, or than now.
    Rollback {
        number: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChannelResolved { channel, version } => {
                write!(f, "channel {channel} is {version}")
            }
            Self::WaitingForLease { holder, wait } => {
                write!(f, "{holder}; waiting for up to {}", Human(*wait))
            }
            Self::PlaybookOfRevision(revision) => write!(
                f,
                "note: the playbook is wrong (`ship check` says how); it is read as revision \
                 {revision} has it"
            ),
            Self::UnknownReleases(names) => write!(
                f,
                "note: neither the history nor the hosts tell how {} is to be probed; it is \
                 probed as the new version is",
                names.join(", ")
            ),
            Self::OrphanedInstances { host, instances } => write!(
                f,
                "note: {host} is not in the inventory any more, and what ran there was left as it \
                 was ({}): to end it, put {host} back with `drain = true` and deploy once more",
                instances.join(", ")
            ),
            Self::DeployedElsewhere(owner) => {
                write!(f, "note: {}", deployed_elsewhere(owner))
            }
            Self::Adopted { version, revision } => write!(
                f,
                "note: adopted {version} from the hosts as revision {revision}"
            ),
            Self::Unfinished { verb, version } => write!(
                f,
                "the {} of {version} was left unfinished, and goes back",
                verb.noun()
            ),
            Self::NoLog { path, why } => write!(
                f,
                "the log of this rollout cannot be written ({}: {why}); it goes on without",
                path.display()
            ),
            Self::NothingLogged => f.write_str("nothing was written by what is there"),
            Self::LogHostLost(why) => write!(f, "{why}; it is tried again"),
            Self::LogHostFound(host) => write!(f, "{host}: found again"),
            Self::RolloutAbandoned => f.write_str(
                "nobody carries it out any more, and it has not ended; `ship status` shows how it \
                 stands",
            ),
            Self::NotPublished(what) => f.write_str(what),
            Self::Accepted(accepted) => accepted.fmt(f),
        }
    }
}

impl fmt::Display for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resume { service } => write!(f, "deployment \"{service}\" resumed"),
            Self::Restart { service } => write!(f, "deployment \"{service}\" restarted"),
            Self::Scale { service } => write!(f, "deployment \"{service}\" scaled"),
            Self::Promote { service, fully } => {
                let how = if *fully { " through all steps" } else { "" };
                write!(f, "deployment \"{service}\" promoted{how}")
            }
            Self::Abort {
                service,
                version,
                revision,
            } => write!(
                f,
                "deployment \"{service}\" aborted: it goes back to {version} (revision {revision})"
            ),
            Self::Rollback { number } => f.write_str(number),
        }
    }
}

/// Says who deployed last, where that was another history.
pub fn deployed_elsewhere(owner: &str) -> String {
    format!("another control directory deployed last: {owner}")
}
