//! Lanes below each other on a time axis: shapes with texts on them. Heights are in pixels, widths in
//! percent.

use serde::Serialize;

use super::time_axis::{Band, Tick};

/// The lanes of all hosts or services.
#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    pub(super) ticks: Vec<Tick>,
    /// Lines through all lanes: failures and steps.
    pub(super) marks: Vec<Tick>,
    /// Times at which the rollout waited.
    pub(super) bands: Vec<Band>,
    pub(super) boards: Vec<LaneChart>,
    pub(super) versions: Vec<VersionLegend>,
    /// The classes of the shapes that occur, for the legend.
    pub(super) classes: Vec<&'static str>,
}

/// The meaning of a colour: `0.9, new`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct VersionLegend {
    pub(super) class: &'static str,
    pub(super) name: String,
    pub(super) meaning: &'static str,
}

/// Lanes below each other.
#[derive(Debug, Serialize)]
pub(super) struct LaneChart {
    /// A heading; empty if all hosts are at full height.
    pub(super) label: String,
    pub(super) class: &'static str,
    pub(super) is_folded: bool,
    pub(super) tracks: Vec<Track>,
}

/// The lane of a host, or a group of thin lanes, with one name.
#[derive(Debug, Serialize)]
pub(super) struct Track {
    pub(super) name: String,
    pub(super) height: u32,
    pub(super) lanes: Vec<Lane>,
}

#[derive(Debug, Serialize)]
pub(super) struct Lane {
    pub(super) shapes: Vec<Shape>,
    pub(super) labels: Vec<Label>,
    /// For screen readers and tooltips.
    pub(super) words: String,
}

/// A part of a bar, or a sign.
#[derive(Debug, Serialize)]
pub(super) struct Shape {
    pub(super) class: String,
    pub(super) x: String,
    pub(super) width: String,
    pub(super) y: u32,
    pub(super) height: u32,
    pub(super) sign: &'static str,
}

/// The text on a bar. Parts that do not fit are not shown.
#[derive(Debug, Serialize)]
pub(super) struct Label {
    pub(super) class: String,
    /// The CSS of its position.
    pub(super) position: String,
    pub(super) y: u32,
    pub(super) parts: Vec<String>,
}
