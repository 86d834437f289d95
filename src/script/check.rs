//! Checks whether a host has what ship needs.

use std::collections::BTreeSet;

use super::host_context::{HostContext, Input, Script, Text, WORK, driver_word};
use super::liveness::probe_tools;
use super::report::Report;
use crate::core::fleet::Observation;
use crate::core::release::{Driver, LivenessCheck};
use crate::core::time::Time;
use crate::script::facts::Facts;
use crate::script::unreadable::Unreadable;

/// The programs that every script needs, in addition to sh.
const TOOLS: &[&str] = &[
    "cat",
    "chmod",
    "cp",
    "dd",
    "df",
    "env",
    "flock",
    "grep",
    "gzip",
    "id",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "sha256sum",
    "sleep",
    "stat",
    "tail",
    "tar",
    "timeout",
    "wc",
];

/// Where hosts receive an artifact from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseSender {
    ControlMachine,
    /// From a URL, which they download.
    Url,
    /// From each other.
    Hosts,
}

/// The requirements of a service on its hosts.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    pub driver: Driver,
    /// The service's user; `None` for the driver's default.
    pub user: Option<&'a str>,
    /// The liveness check that runs on the host, if any.
    pub liveness: Option<&'a LivenessCheck>,
    /// Where hosts receive the artifact from.
    pub sender: ReleaseSender,
    /// Whether hooks or migrations of the playbook run on the host.
    pub runs_commands: bool,
    /// Whether instances run on this host.
    pub instances: bool,
    /// The directories that outlive releases.
    pub shared_dirs: &'a [&'a str],
    /// The unit of an instance, to be verified by systemd, if any.
    pub unit: Option<&'a str>,
    /// A program of the release that must be executable; `None` if all programs are the host's own.
    pub executes: Option<&'a str>,
}

impl Needs<'_> {
    /// For a machine without instances.
    pub const NONE: Self = Self {
        driver: Driver::Process,
        user: None,
        liveness: None,
        sender: ReleaseSender::ControlMachine,
        runs_commands: false,
        instances: false,
        shared_dirs: &[],
        unit: None,
        executes: None,
    };

    fn tools(&self) -> BTreeSet<&'static str> {
        let driver_tools: &[&str] = match (self.driver, self.user) {
            (Driver::Process, None) => &["setsid"],
            (Driver::Link, _) => &["ln", "mkfifo", "readlink", "setsid"],
            (Driver::Process, Some(_)) => &["setsid", "setpriv"],
            (Driver::Systemd, _) => &[
                "journalctl",
                "ln",
                "systemctl",
                "systemd-run",
                "tac",
                "useradd",
            ],
        };
        let command_tools: &[&str] = match (self.runs_commands, self.driver, self.user) {
            (false, ..) => &[],
            (true, Driver::Process | Driver::Link, None) => &["mkfifo", "setsid"],
            (true, ..) => &["mkfifo", "setsid", "setpriv"],
        };
        let relay_tools: &[&str] = match self.sender {
            ReleaseSender::Hosts => &["ssh"],
            ReleaseSender::ControlMachine | ReleaseSender::Url => &[],
        };
        TOOLS
            .iter()
            .chain(driver_tools)
            .chain(relay_tools)
            .chain(command_tools)
            .copied()
            .collect()
    }
}

/// Reports whether a host meets the requirements, and the state of the host. Changes nothing.
/// [`read_check`] parses the output.
pub fn check(context: &HostContext, needs: &Needs<'_>) -> Script {
    let tools: Vec<_> = needs.tools().into_iter().collect();
    let probe_tools = needs.liveness.map(probe_tools).unwrap_or_default();
    let ports: BTreeSet<_> = context.slots.values().flatten().collect();
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    let text = Text::observing(context)
        .set("PORTS", ports.join(" "))
        .set("TOOLS", tools.join(" "))
        .set("PROBE_TOOLS", probe_tools.join(" "));
    let download_tools = match needs.sender {
        ReleaseSender::Url => "curl wget",
        ReleaseSender::ControlMachine | ReleaseSender::Hosts => "",
    };
    let text = text.set("DOWNLOAD_TOOLS", download_tools);
    let text = text
        .set("RUNS_INSTANCES", if needs.instances { "yes" } else { "" })
        .set("DRIVER", driver_word(needs.driver))
        .set("SHARED_DIRS", needs.shared_dirs.join(" "))
        .set("UNIT", needs.unit.unwrap_or_default())
        .set("EXECUTES", needs.executes.unwrap_or_default())
        .running_as(context, needs.driver, needs.user)
        .add(include_str!("sh/unit.sh"));
    text.distinguishing_units(context)
        .add(include_str!("sh/taken_ports.sh"))
        .add(include_str!("sh/identity.sh"))
        .add(include_str!("sh/check.sh"))
        .script(Input::default(), WORK)
}

/// Parses the output of [`check`], printed at `now` by this machine's clock.
///
/// # Errors
/// If the output is incomplete or malformed.
pub fn read_check(stdout: &str, now: Time) -> Result<(Facts, Observation), Unreadable> {
    let report = Report::read(stdout, now)?;
    Ok((report.facts, report.observation))
}
