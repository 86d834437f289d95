//! Why a rollout may not begin.

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

/// Why a rollout may not start or continue. Nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionRefusal {
    /// More hosts are unusable than may fail, or all are.
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
    /// Every host is drained, but the number of instances was not set to 0.
    NoHostLeft,
    /// The balancers could not distinguish two slots.
    OneServer(ServerClash),
    Impossible(Vec<Impossible>),
    /// The fleet is frozen, or it is outside of its windows or too late in one.
    Closed {
        /// The reason, with the name of the window or of who froze the fleet.
        why: String,
    },
    /// The fleet is not healthy, and the run is unattended.
    Unhealthy {
        /// The numbers of instances.
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
            Self::NoHostLeft => f.write_str(
                "every host of the inventory is drained, so no instance could run anywhere; \
                 nothing was touched\nhint: add a host first, or stop the service with `ship \
                 scale --replicas 0`",
            ),
            Self::OneServer(ServerClash {
                present,
                next,
                name,
            }) => write!(
                f,
                "{present}, where an instance runs, and {next} would be one server, `{name}`, at \
                 the balancers; nothing was touched\nhint: give each slot a server of its own, as \
                 in server = \"{{{{ host }}}}-{{{{ port }}}}\""
            ),
            Self::Impossible(obstacles) => {
                f.write_str("this rollout cannot work; nothing was touched")?;
                obstacles
                    .iter()
                    .try_for_each(|obstacle| write!(f, "\n  {obstacle}"))
            }
            Self::Closed { why } => {
                write!(
                    f,
                    "{why}; nothing was touched; --force goes ahead all the same"
                )
            }
            Self::Unhealthy { why } => write!(f, "{why}; nothing was touched"),
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
    write!(
        f,
        "{count} of {of} {noun} cannot be used; nothing was touched"
    )?;
    unusable
        .iter()
        .try_for_each(|(host, why)| write!(f, "\n  {}", host_line(host, why)))
}

/// The line for a host, without its name twice.
pub fn host_line(host: &HostId, why: &str) -> String {
    format!("{host}: {}", host.unnamed(why).replace('\n', "\n    "))
}
