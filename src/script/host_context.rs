//! The context in which a script runs, and the construction of scripts.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::address::loopback_forms;
use crate::core::fleet::owner::Owner;
use crate::core::ids::{ActionId, Epoch, Port, ReleaseId, SlotNumber};
use crate::core::release::{Driver, own_user};
use crate::core::time::Time;
use crate::script::quote::quote;

/// The host, the service and the epoch for which scripts are built.
#[derive(Clone, Debug)]
pub struct HostContext {
    /// The service: a name that is valid for a directory and a unit.
    pub service: String,
    /// The absolute path below which each service has its own directory.
    pub base_dir: String,
    /// The epoch of the actions.
    pub epoch: Epoch,
    /// The number of the action within its rollout. The host rejects an action after one of the
    /// same epoch with a higher number.
    pub order: ActionId,
    /// The host's address or name, as probes and clients use it.
    pub host_address: String,
    /// The slots, each with the ports on which the host looks for other processes.
    pub slots: BTreeMap<SlotNumber, Vec<Port>>,
    /// The releases that have become available on every replica, and when each was deployed. A host
    /// marks those that it has.
    pub proven: BTreeMap<ReleaseId, Time>,
    /// What a host records about the deployer. The host accepts actions only for the recorded
    /// fleet.
    pub owner: Owner,
    /// Whether the scripts may run as another user than the one who started ship: over SSH, or with
    /// sudo.
    pub is_remote: bool,
}

#[derive(Clone, Debug)]
pub struct Script {
    /// A POSIX sh script. It contains no secrets, so it may be logged.
    pub text: String,
    pub input: Input,
    /// The time limit for the whole script. The time limits within the script are shorter, so a
    /// healthy host ends the script earlier.
    pub deadline: Duration,
}

/// A script's standard input: some bytes, then a file. Empty by default.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Input {
    /// The first bytes, which may be secret.
    pub head: Vec<u8>,
    /// A file on this machine that follows them.
    pub file: Option<PathBuf>,
}

impl Input {
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.file.is_none()
    }
}

impl From<Vec<u8>> for Input {
    fn from(head: Vec<u8>) -> Self {
        Self { head, file: None }
    }
}

impl fmt::Debug for Input {
    /// Does not print the bytes, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("head_bytes", &self.head.len())
            .field("file", &self.file)
            .finish()
    }
}

/// The base directory of hosts for which the inventory names none.
pub const DEFAULT_BASE_DIR: &str = "/var/lib/ship";

/// How long a script waits for the lock of the service.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The time that a healthy host needs for the rest of a script, with a wide margin.
pub(super) const WORK: Duration = Duration::from_secs(20);

/// The `PATH` of an instance that sets none, as systemd sets it.
pub(super) const SERVICE_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The directory of the administrator's systemd units.
pub(super) const UNIT_DIR: &str = "/etc/systemd/system";

impl HostContext {
    /// The service's directory.
    pub(super) fn root(&self) -> String {
        service_dir(&self.base_dir, &self.service)
    }

    /// A suffix that distinguishes host-wide names from those of the same service in another
    /// directory; empty in the default directory.
    pub(super) fn suffix(&self) -> String {
        let base_dir = self.base_dir.trim_end_matches('/');
        if base_dir == DEFAULT_BASE_DIR {
            return String::new();
        }
        let digest = Sha256::digest(base_dir);
        format!(
            "_{:02x}{:02x}{:02x}{:02x}",
            digest[0], digest[1], digest[2], digest[3]
        )
    }

    /// The user as which an instance runs. `None` for the user who runs the scripts; if that is
    /// root, see `INSTEAD_OF_ROOT` in [`Text::running_as`].
    fn run_as(&self, driver: Driver, user: Option<&str>) -> Option<String> {
        match (user, driver) {
            (Some(user), _) => Some(user.to_owned()),
            (None, Driver::Systemd) => Some(own_user(&self.service)),
            (None, Driver::Process | Driver::Link) => None,
        }
    }
}

/// The directory of a service on a host.
pub fn service_dir(base_dir: &str, service: &str) -> String {
    format!("{}/{service}", base_dir.trim_end_matches('/'))
}

/// A script under construction: assignments and constant texts.
pub(super) struct Text(String);

impl Text {
    /// A script that can observe the host.
    pub(super) fn observing(context: &HostContext) -> Self {
        let slots: Vec<_> = context
            .slots
            .iter()
            .map(|(number, ports)| format!("{number}={}", port_list(ports)))
            .collect();
        Self::located(context)
            .set("SLOTS", slots.join(" "))
            .set("LOOPBACK", loopback_forms(&context.host_address))
            .add(include_str!("sh/base.sh"))
            .add(include_str!("sh/path.sh"))
            .add(include_str!("sh/process.sh"))
            .add(include_str!("sh/observe_slots.sh"))
            .add(include_str!("sh/ports.sh"))
            .add(include_str!("sh/systemd.sh"))
            .add(include_str!("sh/link.sh"))
    }

    /// A script that makes changes, under the lock and after the fence.
    pub(super) fn changing(context: &HostContext, verb: &str) -> Self {
        Self::observing(context).locking(context, verb)
    }

    /// Adds the functions for the lock and the fence.
    pub(super) fn locking(self, context: &HostContext, verb: &str) -> Self {
        self.set("VERB", verb)
            .set("EPOCH", context.epoch)
            .set("ORDER", context.order.0)
            .set("FLEET", &context.owner.fleet)
            .set("OWNER", owner_record(context))
            .set("LOCK_WAIT_CS", centiseconds(LOCK_WAIT))
            .add(include_str!("sh/lock.sh"))
    }

    /// Adds the function that recognizes units of the same service in another directory.
    pub(super) fn distinguishing_units(self, context: &HostContext) -> Self {
        let root = context.root().replace('%', "%%");
        self.set("UNIT_DIR", UNIT_DIR)
            .set("UNIT_ROOT", root)
            .add(include_str!("sh/elsewhere.sh"))
    }

    /// Ends an observation if the directory is not safe.
    pub(super) fn refusing_unsafe(self) -> Self {
        self.add(include_str!("sh/refuse_unsafe.sh"))
    }

    /// Ends the script with a report.
    pub(super) fn finishing(self) -> Self {
        self.add("finish 'done'")
    }

    /// Lets the script mark the proven releases, if it is the first of its epoch.
    pub(super) fn marking_proven(self, context: &HostContext) -> Self {
        let marks: Vec<_> = context
            .proven
            .iter()
            .map(|(release, at)| format!("{release}:{}", at.0))
            .collect();
        self.set("PROVEN", marks.join(" "))
    }

    /// A script that knows nothing about a service of ship.
    pub(super) fn empty() -> Self {
        Self(String::new())
    }

    /// A script that only knows the directories.
    pub(super) fn located(context: &HostContext) -> Self {
        Self::empty()
            .set("ROOT", context.root())
            .set("SERVICE", &context.service)
    }

    /// Assigns a value to a variable.
    pub(super) fn set(mut self, variable: &str, value: impl Display) -> Self {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{variable}={}", quote(&value.to_string()));
        self
    }

    /// Adds a text without its comments and its indentation, which no value in `sh/` contains.
    pub(super) fn add(mut self, text: &str) -> Self {
        for line in text
            .lines()
            .map(str::trim_start)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            self.0.push_str(line);
            self.0.push('\n');
        }
        self
    }

    /// Sets the service's user: `RUN_AS`, empty for the user who runs the scripts; `OWN_USER`, set
    /// if ship creates that user; and `INSTEAD_OF_ROOT`, the service's user if `RUN_AS` is empty
    /// and root runs the scripts.
    pub(super) fn running_as(
        self,
        context: &HostContext,
        driver: Driver,
        user: Option<&str>,
    ) -> Self {
        let run_as = context.run_as(driver, user);
        let instead_of_root = if run_as.is_none() && context.is_remote {
            own_user(&context.service)
        } else {
            String::new()
        };
        self.set("OWN_USER", if user.is_none() { "yes" } else { "" })
            .set("RUN_AS", run_as.unwrap_or_default())
            .set("INSTEAD_OF_ROOT", instead_of_root)
            .add(include_str!("sh/user.sh"))
    }

    /// The text, for a script that the host runs on its own.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn script(self, input: Input, deadline: Duration) -> Script {
        Script {
            text: self.0,
            input,
            deadline,
        }
    }
}

/// The record of the deployer, as stored on a host, without its last newline.
fn owner_record(context: &HostContext) -> String {
    let Owner {
        fleet,
        service,
        history,
        who,
        dir,
        at,
        ..
    } = &context.owner;
    let (epoch, at) = (context.epoch.to_string(), at.0.to_string());
    let lines = [
        ("fleet", fleet),
        ("service", service),
        ("history", history),
        ("who", who),
        ("dir", dir),
        ("epoch", &epoch),
        ("at", &at),
    ];
    lines
        .map(|(key, value)| format!("{key}={}", one_line(value)))
        .join("\n")
}

/// The number of lines that a script must read from its input to get exactly this text.
pub(super) fn line_count(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

/// Converts to 1/100 s, because sh has only integers.
pub(super) fn centiseconds(duration: Duration) -> u128 {
    duration.as_millis().div_ceil(10)
}

/// Ports as scripts read them: `8081,9081`
pub(super) fn port_list(ports: &[Port]) -> String {
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    ports.join(",")
}

/// A driver's name in the records.
pub(super) fn driver_word(driver: Driver) -> &'static str {
    match driver {
        Driver::Systemd => "systemd",
        Driver::Process => "process",
        Driver::Link => "link",
    }
}

/// A value for one line of a record.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
