//! Whether a host has what ship needs.

use std::collections::BTreeSet;

use super::liveness::askers;
use super::report::Report;
use super::site::{HostContext, Input, Script, Text, WORK, driver_word};
use crate::core::fleet::Observation;
use crate::core::release::{Driver, LivenessCheck};
use crate::core::time::Time;
use crate::script::facts::Facts;
use crate::script::unreadable::Unreadable;

/// The programs that every script needs, besides sh.
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
    "tail",
    "tar",
    "timeout",
    "wc",
];

/// What a service needs on its hosts.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    pub driver: Driver,
    /// The user that it runs as; `None` for the driver's default.
    pub user: Option<&'a str>,
    /// The liveness check that runs on the host; `None` where there is none.
    pub liveness: Option<&'a LivenessCheck>,
    /// Whether hosts download the artifact.
    pub pulls: bool,
    /// Whether hooks or migrations of the playbook run there.
    pub runs_commands: bool,
    /// Whether instances run on this host.
    pub instances: bool,
    /// A program that lies in the release and is executed from there; `None` where all programs are
    /// the host's.
    pub executes: Option<&'a str>,
}

impl Needs<'_> {
    /// For a machine that runs no instance.
    pub const NONE: Self = Self {
        driver: Driver::Process,
        user: None,
        liveness: None,
        pulls: false,
        runs_commands: false,
        instances: false,
        executes: None,
    };

    fn tools(&self) -> BTreeSet<&'static str> {
        let of_driver: &[&str] = match (self.driver, self.user) {
            (Driver::Process, None) => &["setsid"],
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
        let of_commands: &[&str] = match (self.runs_commands, self.driver, self.user) {
            (false, ..) => &[],
            (true, Driver::Process, None) => &["mkfifo", "setsid"],
            (true, ..) => &["mkfifo", "setsid", "setpriv"],
        };
        TOOLS
            .iter()
            .chain(of_driver)
            .chain(of_commands)
            .copied()
            .collect()
    }
}

/// Reports what ship would need to find on a host, and what is on it. Changes nothing. For
/// [`read_check`].
pub fn check(site: &HostContext, needs: &Needs<'_>) -> Script {
    let tools: Vec<_> = needs.tools().into_iter().collect();
    let askers = needs.liveness.map(askers).unwrap_or_default();
    let text = Text::looking(site)
        .set("TOOLS", tools.join(" "))
        .set("ASKERS", askers.join(" "));
    let text = text.set("PULLERS", if needs.pulls { "curl wget" } else { "" });
    let text = text
        .set("RUNS_INSTANCES", if needs.instances { "yes" } else { "" })
        .set("DRIVER", driver_word(needs.driver))
        .set("EXECUTES", needs.executes.unwrap_or_default())
        .running_as(site, needs.driver, needs.user)
        .add(include_str!("sh/unit.sh"));
    text.telling_units(site)
        .add(include_str!("sh/taken.sh"))
        .add(include_str!("sh/identity.sh"))
        .add(include_str!("sh/check.sh"))
        .script(Input::default(), WORK)
}

/// Reads what [`check`] has printed, at `now` by this machine's clock.
///
/// # Errors
/// If it did not come to its end, or makes no sense.
pub fn read_check(stdout: &str, now: Time) -> Result<(Facts, Observation), Unreadable> {
    let report = Report::read(stdout, now)?;
    Ok((report.facts, report.observation))
}
