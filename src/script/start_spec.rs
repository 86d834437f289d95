//! The input of a start: an instance in its slot.

use crate::core::ids::{InstanceId, Port, ReleaseId, Revision, SlotNumber};
use crate::core::release::unit::{Directives, StopSignal};
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
    pub number: SlotNumber,
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
    /// The command after the switch of `current` and its arguments; empty for none.
    pub activate: Vec<String>,
    /// Its environment, which the release's secrets override.
    pub env: BTreeMap<String, String>,
    /// The ports on which it may listen; empty for a service without ports.
    pub ports: Vec<Port>,
    /// The directories of its release that outlive it.
    pub shared_dirs: Vec<String>,
    /// The signal that asks it to stop.
    pub stop_signal: StopSignal,
    /// The time between `stop_signal` and SIGKILL.
    pub stop_timeout: Duration,
    /// The instance in the slot that it continues with the files of its release; `None` for an empty
    /// slot.
    pub reloads: Option<InstanceId>,
    /// The command with which it reads other files; empty if it cannot.
    pub reload: Vec<String>,
    /// How long it may finish its work when it is replaced; `None` for `stop_timeout`.
    pub linger: Option<Duration>,
    /// The liveness probe; `None` if there is none, or if the driver does not restart instances.
    pub liveness: Option<Liveness>,
    /// The port that the liveness probe checks; `None` if the service has no ports.
    pub liveness_port: Option<Port>,
    /// Directives of its systemd unit.
    pub directives: Directives,
    /// Whether it reports `READY=1` to systemd.
    pub notifies: bool,
    /// The user's commands at the points of the instance's life.
    pub hooks: SlotHooks,
    /// The time limit for systemd to start it.
    pub start_timeout: Duration,
    /// How long to wait until the instance listens or has ended, before the script reports the
    /// state. A timeout is not a failure.
    pub settle: Duration,
}

/// Enters a release's directory with the environment of the instance in a slot.
pub(super) fn enter_release(
    context: &HostContext,
    number: SlotNumber,
    release: &ReleaseId,
) -> String {
    enter_with(
        context,
        release,
        &format!("{}/slots/{number}/env", context.root()),
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

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// An instance of the service `page` in slot 8081.
    pub(in crate::script) fn start_spec() -> StartSpec {
        StartSpec {
            number: 8081,
            instance: InstanceId::from("page-a"),
            release: ReleaseId::from("a".repeat(64)),
            revision: Revision(1),
            version: "1".into(),
            driver: Driver::Systemd,
            user: None,
            argv: vec!["./page".into()],
            activate: Vec::new(),
            env: BTreeMap::new(),
            ports: vec![8081],
            shared_dirs: Vec::new(),
            stop_signal: StopSignal::Term,
            stop_timeout: Duration::from_secs(30),
            reloads: None,
            reload: Vec::new(),
            linger: None,
            liveness: None,
            liveness_port: Some(8081),
            directives: Directives::default(),
            notifies: false,
            hooks: SlotHooks::default(),
            start_timeout: Duration::ZERO,
            settle: Duration::ZERO,
        }
    }
}
