//! The colours of the live screen. None of them means anything that a word beside it does not say
//! too.

use anstyle::{AnsiColor, Style};

use crate::core::journal::status::InstanceStatus;

pub(super) const NONE: Style = Style::new();
pub(super) const STRONG: Style = Style::new().bold();
pub(super) const FAINT: Style = Style::new().dimmed();
pub(super) const HEADING: Style = Style::new().bold().dimmed();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
const CHANGING: Style = AnsiColor::Yellow.on_default();
/// For the versions other than the one that the rollout goes to, in turn.
const OTHERS: [Style; 3] = [
    AnsiColor::Cyan.on_default(),
    AnsiColor::Magenta.on_default(),
    AnsiColor::Blue.on_default(),
];

pub(super) fn of_word(word: InstanceStatus) -> Style {
    match word {
        InstanceStatus::Running => NONE,
        InstanceStatus::Creating
        | InstanceStatus::Starting
        | InstanceStatus::Draining
        | InstanceStatus::NoTraffic
        | InstanceStatus::Stopping => CHANGING,
        InstanceStatus::NotReady | InstanceStatus::Exited | InstanceStatus::Unknown => BAD,
    }
}

/// A version: the target's, or the `n`th of the others.
pub(super) fn of_version(n: Option<usize>) -> Style {
    n.map_or(GOOD, |n| OTHERS[n % OTHERS.len()])
}
