//! Whether a host has what ship needs.

use super::liveness::askers;
use super::reply::Unreadable;
use super::report::Report;
use super::site::{Input, Script, Site, Text, WORK};
use crate::core::fleet::Observation;
use crate::core::release::{Driver, LivenessCheck};
use crate::core::time::Time;

/// What every script needs, besides sh.
const TOOLS: &[&str] = &[
    "cat",
    "chmod",
    "cp",
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

/// What was found on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Programs that are needed and not there.
    pub missing: Vec<String>,
    /// Who runs the scripts; the systemd driver needs `root`.
    pub user: String,
    /// The state of systemd (`running`, `degraded`, …); `None` where it does not run.
    pub systemd: Option<String>,
    /// Why the base directory cannot be made or written to; `None` if it can.
    pub base_dir_problem: Option<String>,
}

/// Reports what ship would need to find on a host, and what is on it; `pulls` where hosts download the artifact. Changes
/// nothing. For [`read_check`].
pub fn check(site: &Site, driver: Driver, user: Option<&str>, liveness: Option<&LivenessCheck>, pulls: bool) -> Script {
    let of_driver: &[&str] = match (driver, user) {
        (Driver::Process, None) => &["setsid"],
        (Driver::Process, Some(_)) => &["setsid", "setpriv"],
        (Driver::Systemd, _) => &["journalctl", "ln", "systemctl", "systemd-run", "useradd"],
    };
    let tools: Vec<_> = TOOLS.iter().chain(of_driver).copied().collect();
    let askers = liveness.map(askers).unwrap_or_default();
    let text = Text::looking(site).set("TOOLS", tools.join(" ")).set("ASKERS", askers.join(" "));
    let text = text.set("PULLERS", if pulls { "curl wget" } else { "" });
    text.add(include_str!("sh/check.sh")).script(Input::default(), WORK)
}

/// Reads what [`check`] has printed, at `now` by this machine's clock.
///
/// # Errors
/// If it did not come to its end, or makes no sense.
pub fn read_check(stdout: &str, now: Time) -> Result<(Facts, Observation), Unreadable> {
    let report = Report::read(stdout, now)?;
    Ok((report.facts, report.observation))
}
