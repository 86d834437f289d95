//! The input of a start: an instance in its slot.

use crate::core::ids::{InstanceId, Port, ReleaseId, Revision};
use crate::core::release::{Driver, Liveness};

use crate::core::release::hook::Hook;
use crate::script::host_context::HostContext;
use crate::script::quote::quote;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a process of the process driver may take to record its process ID, in addition to the
/// settle time: a host that starts many processes at once may be slow.
pub(super) const PID_WAIT: Duration = Duration::from_secs(10);

/// What to start, with all templates rendered.
#[derive(Clone, Debug)]
pub struct StartSpec {
    pub port: Port,
    pub instance: InstanceId,
    /// The release, which has been staged.
    pub release: ReleaseId,
    pub revision: Revision,
    pub version: String,
    pub driver: Driver,
    /// The service's user; `None` for the driver's default.
    pub user: Option<String>,
    /// The program and its arguments, which other users of the host can see.
    pub argv: Vec<String>,
    /// Its environment, which the release's secrets override.
    pub env: BTreeMap<String, String>,
    /// The time between SIGTERM and SIGKILL.
    pub stop_timeout: Duration,
    /// The liveness probe; `None` if there is none, or if the driver does not restart instances.
    pub liveness: Option<Liveness>,
    /// The user's commands at the points of the instance's life.
    pub hooks: SlotHooks,
    /// The time limit for systemd to start it.
    pub start_timeout: Duration,
    /// How long to wait until the instance listens or has ended, before the script reports the
    /// state. A timeout is not a failure.
    pub settle: Duration,
}

/// Enters a release's directory with the environment of the instance in a slot.
pub(super) fn enter_release(context: &HostContext, port: Port, release: &ReleaseId) -> String {
    enter_with(
        context,
        release,
        &format!("{}/slots/{port}/env", context.root()),
    )
}

/// Enters a release's directory with the environment in a file, and the release's secrets.
pub(super) fn enter_with(context: &HostContext, release: &ReleaseId, env: &str) -> String {
    let root = context.root();
    let [app, secrets] =
        ["app", "secrets"].map(|name| quote(&format!("{root}/releases/{release}/{name}")));
    let env = quote(env);
    format!("cd {app} || exit 126\nset -a\n. {env}\n[ ! -f {secrets} ] || . {secrets}\nset +a")
}

/// The hooks of an instance, with all templates rendered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotHooks {
    /// The hooks of the four points in an instance's life, in order.
    pub hooks: Vec<Hook>,
    /// Variables that override the instance's environment.
    pub env: BTreeMap<String, String>,
}
