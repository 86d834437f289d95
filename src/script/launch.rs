//! The input of a start: an instance in its slot.

use crate::core::ids::{InstanceId, Port, ReleaseId, Revision};
use crate::core::release::{Driver, Liveness};

use crate::core::release::hook::Hook;
use crate::script::quote::quote;
use crate::script::site::HostContext;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a process of the process driver may take until it has noted its number, beyond the time
/// to settle: on a host that starts many things at once it is not its turn yet.
pub(super) const NUMBER_WAIT: Duration = Duration::from_secs(10);

/// What to start, with all templates filled in.
#[derive(Clone, Debug)]
pub struct StartSpec {
    pub port: Port,
    pub instance: InstanceId,
    /// The release, which has been staged.
    pub release: ReleaseId,
    pub revision: Revision,
    pub version: String,
    pub driver: Driver,
    /// The user that it runs as; `None` for the driver's default.
    pub user: Option<String>,
    /// The program and its arguments. Other users of the host can see them.
    pub argv: Vec<String>,
    /// Its environment, which the release's secrets override.
    pub env: BTreeMap<String, String>,
    /// The time from TERM to KILL.
    pub stop_timeout: Duration,
    /// When it counts as stuck; `None` where nobody asks, as for a driver that starts nothing
    /// again.
    pub liveness: Option<Liveness>,
    /// The user's commands at the points of its life.
    pub hooks: SlotHooks,
    /// The time limit for its supervisor to start it.
    pub patience: Duration,
    /// How long to wait for it to listen or to end before reporting what is seen. Neither is a
    /// failure.
    pub settle: Duration,
}

/// Enters a release's directory with the environment of the instance in a slot.
pub(super) fn enter_release(site: &HostContext, port: Port, release: &ReleaseId) -> String {
    enter_with(site, release, &format!("{}/slots/{port}/env", site.root()))
}

/// Enters a release's directory with the environment of a file and the release's secrets.
pub(super) fn enter_with(site: &HostContext, release: &ReleaseId, env: &str) -> String {
    let root = site.root();
    let [app, secrets] =
        ["app", "secrets"].map(|name| quote(&format!("{root}/releases/{release}/{name}")));
    let env = quote(env);
    format!("cd {app} || exit 126\nset -a\n. {env}\n[ ! -f {secrets} ] || . {secrets}\nset +a")
}

/// The hooks of an instance, with all templates filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotHooks {
    /// Those of the four points of a slot, in their order.
    pub hooks: Vec<Hook>,
    /// Variables that override the instance's environment.
    pub env: BTreeMap<String, String>,
}
