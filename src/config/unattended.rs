//! `[unattended]`: decisions of an unattended deploy.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::core::policy::unattended::OnInterrupted;
use crate::core::spec::step::OnGate;
use crate::core::spec::windows::Window;

use super::fields::Fields;
use super::toml_tree::{Node, Value};
use super::value::{Faults, ValueError, choice, duration, line, quoted, string};

const SOAK: Duration = Duration::from_mins(1);
const EXAMPLE: &str =
    "for example \"02:00-05:00\", or [\"Mon-Fri 02:00-05:00\", \"Sat,Sun 00:00-24:00\"]";

/// Decisions of an unattended deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnattendedConfig {
    /// What to do at a step that pauses.
    pub on_gate: OnGate,
    /// How long the first new instance soaks before ship starts others.
    pub soak: Duration,
    /// When a rollout may start replacements; without windows, at any time.
    pub windows: Vec<Window>,
    /// The time zone of the windows; `None` for the one of this machine.
    pub time_zone: Option<TimeZone>,
    /// What to do with an unfinished rollout of an earlier run.
    pub on_interrupted: OnInterrupted,
}

pub(super) fn read(fields: &Fields<'_>) -> Option<UnattendedConfig> {
    let on_gate = fields.optional_or(
        "on_gate",
        OnGate::Exit,
        choice(&[("exit", OnGate::Exit), ("promote", OnGate::Promote)]),
    );
    let soak = fields.optional_or("soak", SOAK, duration);
    let windows = fields.optional_or("windows", Vec::new(), windows);
    let time_zone = fields.optional("time_zone", time_zone);
    let on_interrupted = fields.optional_or(
        "on_interrupted",
        OnInterrupted::Resume,
        choice(&[
            ("resume", OnInterrupted::Resume),
            ("abort", OnInterrupted::Abort),
        ]),
    );
    fields.finish();
    Some(UnattendedConfig {
        on_gate: on_gate?,
        soak: soak?,
        windows: windows?,
        time_zone: time_zone?,
        on_interrupted: on_interrupted?,
    })
}

/// One window, or a list of them.
fn windows(node: &Node) -> Result<Vec<Window>, Faults> {
    let Value::Array(items) = &node.value else {
        return Ok(vec![window(node)?]);
    };
    if items.is_empty() {
        return Err(ValueError::new("must contain at least one window")
            .help(format!("{EXAMPLE}; or leave it out to permit any time"))
            .into());
    }
    let mut windows = Vec::new();
    let mut faults = Vec::new();
    for item in items {
        match window(item) {
            Ok(window) => windows.push(window),
            Err(wrong) => faults.extend(wrong.into_iter().map(|fault| fault.place(&item.place))),
        }
    }
    if faults.is_empty() {
        Ok(windows)
    } else {
        Err(faults)
    }
}

fn window(node: &Node) -> Result<Window, Faults> {
    let text = string(node)?;
    text.parse().map_err(|why| {
        ValueError::new(format!("is not a valid window: {}: {why}", quoted(&text)))
            .help(EXAMPLE)
            .into()
    })
}

fn time_zone(node: &Node) -> Result<TimeZone, Faults> {
    let name = line(node)?;
    let known = TimeZone::get(&name);
    known.map_err(|_| {
        ValueError::new(format!("is not a known time zone: {}", quoted(&name)))
            .help("for example \"Europe/Zurich\"")
            .into()
    })
}
