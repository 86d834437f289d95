//! The reasons why a rollout may not start.

use std::collections::BTreeMap;
use std::fmt;

use crate::core::ids::{HostId, Slot};
use crate::core::spec::impossible::Impossible;

/// Two slots that would be the same server of the balancers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerClash {
    /// The slot in which an instance runs.
    pub present: Slot,
    /// The slot of the instance that would replace it.
    pub next: Slot,
    /// The name of the server.
    pub name: String,
}

/// Why a rollout may not start or continue. ship has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionRefusal {
    /// All hosts are unusable, or more than `max_failed_hosts`.
    UnusableHosts {
        /// The hosts, and why each is unusable.
        unusable: BTreeMap<HostId, String>,
        /// How many hosts there are.
        of: usize,
    },
    /// Some balancers are unusable, so ship would not know which instances get requests.
    UnusableBalancers {
        /// The balancers, and why each is unusable.
        unusable: BTreeMap<HostId, String>,
        /// How many balancers there are.
        of: usize,
    },
    /// Every host is drained, but the user did not set the number of instances to 0.
    AllHostsDrained,
    /// Two slots would be the same server of the balancers.
    DuplicateServer(ServerClash),
    Impossible(Vec<Impossible>),
    /// The fleet is frozen, no deploy window is open, or the open one closes too early.
    Closed {
        /// The window, or who froze the fleet.
        why: String,
    },
    /// The fleet is not healthy, and the run is unattended.
    Unhealthy {
        /// The counts of instances.
        why: String,
    },
}

impl fmt::Display for AdmissionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnusableHosts { unusable, of } => write_unusable(f, "hosts", unusable, *of),
            Self::UnusableBalancers { unusable, of } => {
                write_unusable(f, "balancers", unusable, *of)
            }
            Self::AllHostsDrained => f.write_str(
                "every host of the inventory is drained, so no instance could run; no changes were \
                 made\nhint: add a host, or stop the service with `ship scale --replicas 0`",
            ),
            Self::DuplicateServer(ServerClash {
                present,
                next,
                name,
            }) => write!(
                f,
                "{present}, where an instance runs, and {next} have the same server name, \
                 `{name}`, at the load balancers; no changes were made\nhint: give each slot its \
                 own server, for example server = \"{{{{ host }}}}-{{{{ port }}}}\""
            ),
            Self::Impossible(obstacles) => {
                f.write_str("this rollout cannot work; no changes were made")?;
                obstacles.iter().try_for_each(|obstacle| {
                    let obstacle = obstacle.to_string().replace('\n', "\n    ");
                    write!(f, "\n  {obstacle}")
                })
            }
            Self::Closed { why } => {
                write!(
                    f,
                    "{why}; no changes were made\nhint: to deploy anyway, use --force"
                )
            }
            Self::Unhealthy { why } => write!(f, "{why}; no changes were made"),
        }
    }
}

fn write_unusable(
    f: &mut fmt::Formatter<'_>,
    noun: &str,
    unusable: &BTreeMap<HostId, String>,
    of: usize,
) -> fmt::Result {
    let count = unusable.len();
    let are = if count == 1 { "is" } else { "are" };
    write!(
        f,
        "{count} of {of} {noun} {are} unusable; no changes were made"
    )?;
    unusable
        .iter()
        .try_for_each(|(host, why)| write!(f, "\n  {}", host_line(host, why)))
}

/// The line for a host, without its name twice.
pub fn host_line(host: &HostId, why: &str) -> String {
    format!("{host}: {}", host.without_name(why).replace('\n', "\n    "))
}
