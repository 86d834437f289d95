//! The actions of a batch of `ship plan`.

use std::fmt::Write;

use crate::core::fleet::Fleet;
use crate::core::ids::{HostId, InstanceId, Slot};
use crate::core::rollout::action::{Action, StopReason};
use crate::report::Versions;
use crate::report::text::{count, width};

/// The largest number of equal actions that have a line each.
const LINES_MAX: usize = 8;
/// Aligned with the versions.
const INDENT: &str = "         ";
const COLUMNS_MAX: usize = 100;

/// Whether an action is a choice of the user. Claims and disarming are part of every rollout.
pub(super) fn is_choice(action: &Action) -> bool {
    !matches!(action, Action::Claim { .. } | Action::Disarm { .. })
}

/// A line about an action: what is done, where, and how.
#[derive(Debug)]
pub(super) struct ActionLine {
    what: WhatIsDone,
    place: String,
}

/// What actions have in common that can be shown together.
#[derive(Debug, PartialEq, Eq)]
struct WhatIsDone {
    /// Ends with the preposition of the place.
    text: String,
    /// What a place is: a host or a slot.
    noun: &'static str,
    /// Follows the place.
    how: String,
}

impl ActionLine {
    /// An existing instance runs a known version; an instance that the plan starts runs `version`.
    pub(super) fn of(action: &Action, versions: &Versions, fleet: &Fleet, version: &str) -> Self {
        let version_of = |slot: &Slot, name: &InstanceId| {
            let instance = fleet
                .instance(slot)
                .filter(|instance| instance.name == *name);
            instance.map_or_else(
                || version.to_owned(),
                |instance| versions.of(&instance.release).to_owned(),
            )
        };
        match action {
            Action::Claim { host } => Self::on_host("claim ", host),
            Action::Disarm { slot } => Self::at_slot("disarm", slot),
            Action::Stage { host, .. } => Self::on_host(&format!("stage  {version} on"), host),
            Action::Start {
                slot,
                reloads: Some(_),
                ..
            } => Self::at_slot(&format!("reload {version} at"), slot),
            Action::Start { slot, .. } => Self::at_slot(&format!("start  {version} at"), slot),
            Action::Admit {
                slot,
                instance,
                weight_percent,
            } => {
                let share = weight_percent.map(|weight| format!(" with {weight} % of the weight"));
                let text = format!("admit  {} at", version_of(slot, instance));
                Self::at_slot(&text, slot).how(share.unwrap_or_default())
            }
            Action::Drain { slot, instance, .. } => {
                Self::at_slot(&format!("drain  {} at", version_of(slot, instance)), slot)
            }
            Action::Stop {
                slot,
                instance,
                why,
                ..
            } => {
                let why = match why {
                    StopReason::Replaced => String::new(),
                    other => format!(" ({other})"),
                };
                let text = format!("stop   {} at", version_of(slot, instance));
                Self::at_slot(&text, slot).how(why)
            }
            Action::Prune { host, releases } => {
                let names = releases.iter().map(|release| versions.of(release));
                let names: Vec<_> = names.collect();
                Self::on_host(&format!("prune  {} on", names.join(", ")), host)
            }
        }
    }

    fn on_host(text: &str, host: &HostId) -> Self {
        Self::new(text, "host", host.to_string())
    }

    fn at_slot(text: &str, slot: &Slot) -> Self {
        Self::new(text, "slot", slot.to_string())
    }

    fn new(text: &str, noun: &'static str, place: String) -> Self {
        let what = WhatIsDone {
            text: text.to_owned(),
            noun,
            how: String::new(),
        };
        Self { what, place }
    }

    fn how(mut self, how: String) -> Self {
        self.what.how = how;
        self
    }
}

/// The lines of a batch. Many equal actions become one line with all their places.
pub(super) fn text(lines: impl Iterator<Item = ActionLine>) -> String {
    let mut groups: Vec<(WhatIsDone, Vec<String>)> = Vec::new();
    for ActionLine { what, place } in lines {
        match groups.iter_mut().find(|(known, _)| *known == what) {
            Some((_, places)) => places.push(place),
            None => groups.push((what, vec![place])),
        }
    }
    let mut out = String::new();
    for (WhatIsDone { text, noun, how }, places) in groups {
        // Writing to a string does not fail.
        if places.len() > LINES_MAX {
            let number = count(places.len(), noun);
            let _ = writeln!(out, "  {text} {number}{how}:\n{}", wrapped(&places));
            continue;
        }
        for place in places {
            let _ = writeln!(out, "  {text} {place}{how}");
        }
    }
    out
}

/// The places, separated by commas, on as many indented lines as necessary.
fn wrapped(places: &[String]) -> String {
    let mut lines = vec![String::new()];
    for place in places {
        let columns = lines.last().map_or(0, |line| width(line));
        if columns > 0 && columns + width(place) + 2 > COLUMNS_MAX {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if line.is_empty() { INDENT } else { " " });
            line.push_str(place);
            line.push(',');
        }
    }
    lines.join("\n").trim_end_matches(',').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(number: usize) -> String {
        let slot = |host: usize| Slot {
            host: format!("web{host}").into(),
            number: 8080,
        };
        let starts = (1..=number).map(|host| ActionLine::at_slot("start  0.9 at", &slot(host)));
        let stage = ActionLine::on_host("stage  0.9 on", &"web1".into());
        text([stage].into_iter().chain(starts))
    }

    #[test]
    fn few_actions_have_a_line_each() {
        assert_eq!(
            starts(2),
            "  stage  0.9 on web1\n  start  0.9 at web1:8080\n  start  0.9 at web2:8080\n"
        );
    }

    #[test]
    fn many_equal_actions_share_a_line_with_all_places() {
        let lines = [
            "  stage  0.9 on web1",
            "  start  0.9 at 12 slots:",
            "         web1:8080, web2:8080, web3:8080, web4:8080, web5:8080, web6:8080, web7:8080, \
             web8:8080,",
            "         web9:8080, web10:8080, web11:8080, web12:8080",
            "",
        ];
        assert_eq!(starts(12), lines.join("\n"));
    }
}
