//! The colours of the live screen. Each colour only repeats the meaning of the word beside it, so
//! that the screen is readable without colours.

use anstyle::{AnsiColor, Style};

use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::InstanceStatus;
use crate::core::rollout::Direction;
use crate::core::rollout::failure::Outcome;

/// Between two words or columns.
pub(super) const GAP: &str = "  ";
pub(super) const NONE: Style = Style::new();
pub(super) const STRONG: Style = Style::new().bold();
pub(super) const FAINT: Style = Style::new().dimmed();
pub(super) const HEADING: Style = Style::new().bold().dimmed();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const WAITING: Style = AnsiColor::Yellow.on_default().bold();
pub(super) const CHANGING: Style = AnsiColor::Yellow.on_default();
/// The target version of the rollout. No state has this colour.
const NEW_VERSION: Style = AnsiColor::Cyan.on_default();
/// The other versions, in turn.
const OLD_VERSIONS: [Style; 2] = [
    AnsiColor::Magenta.on_default(),
    AnsiColor::Blue.on_default(),
];

pub(super) fn of_instance(status: InstanceStatus) -> Style {
    match status {
        InstanceStatus::Running => NONE,
        InstanceStatus::Creating
        | InstanceStatus::Starting
        | InstanceStatus::Draining
        | InstanceStatus::NoTraffic
        | InstanceStatus::Stopping
        | InstanceStatus::Lingering
        | InstanceStatus::Ended => CHANGING,
        InstanceStatus::NotReady | InstanceStatus::Exited | InstanceStatus::Unknown => BAD,
    }
}

/// The new version, or the `n`th old one.
pub(super) fn of_version(n: Option<usize>) -> Style {
    n.map_or(NEW_VERSION, |n| OLD_VERSIONS[n % OLD_VERSIONS.len()])
}

/// The state of the rollout in the header.
pub(super) fn of_rollout(rollout: &RolloutView, is_waiting: bool) -> Style {
    match (rollout.outcome(), rollout.direction()) {
        (Some(Outcome::Succeeded), _) => GOOD,
        (Some(Outcome::Interrupted | Outcome::WindowClosed { .. } | Outcome::Paused { .. }), _) => {
            WAITING
        }
        (Some(_), _) | (None, Direction::RollingBack(_) | Direction::Held { .. }) => BAD,
        (None, Direction::Forward) if is_waiting || rollout.rollout.requests.interrupted => WAITING,
        (None, Direction::Forward) => GOOD,
    }
}
