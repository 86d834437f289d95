//! The bar of a rollout: new and old available instances against the floor and the ceiling.

use anstyle::Style;

use super::line::ScreenLine;
use super::style;
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::report::text::Glyphs;

const CELLS_MAX: usize = 40;
const CELLS_PER_INSTANCE_MAX: usize = 6;

/// The lengths of the parts, in cells.
pub(super) struct CapacityBar {
    new: usize,
    /// Where the old instances end.
    available: usize,
    floor: usize,
    cells: usize,
}

impl CapacityBar {
    /// A bar of at most `room` cells. Its end is the ceiling.
    pub(super) fn of(rollout: &RolloutView, status: &Status, room: usize) -> Self {
        let replicas = &status.replicas;
        let whole = replicas
            .total
            .max(replicas.max_running)
            .max(replicas.available)
            .max(1) as usize;
        let cells = (whole.saturating_mul(CELLS_PER_INSTANCE_MAX))
            .min(CELLS_MAX)
            .min(room);
        let at = |instances: u32| cells * (instances as usize).min(whole) / whole;
        // In a rollback, the counts of updated instances are those of the old version.
        let updated = replicas.updated_available.min(replicas.available);
        let new = if rollout.rollout.is_rolling_back() {
            replicas.available - updated
        } else {
            updated
        };
        Self {
            new: at(new),
            available: at(replicas.available),
            floor: at(replicas.min_available),
            cells,
        }
    }

    pub(super) fn line(&self, glyphs: &Glyphs, old: Style) -> ScreenLine {
        let mut line = ScreenLine::default();
        for cell in 0..self.cells {
            if cell == self.floor && self.floor > 0 {
                line = line.and(&glyphs.floor.to_string(), style::STRONG);
            }
            let (glyph, style) = if cell < self.new {
                (glyphs.new, style::of_version(None))
            } else if cell < self.available {
                (glyphs.old, old)
            } else {
                (glyphs.empty, style::FAINT)
            };
            line = line.and(&glyph.to_string(), style);
        }
        if self.floor == self.cells && self.cells > 0 {
            line = line.and(&glyphs.floor.to_string(), style::STRONG);
        }
        line
    }
}
