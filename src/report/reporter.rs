//! Who is shown the events of a rollout.

use crate::core::ids::{HostId, Port, Slot};
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, RolloutStart};
use crate::core::time::Time;
use crate::report::clock::LocalClock;
use crate::report::text::{Glyphs, Versions};

/// Follows a rollout and shows it. The first event must be its `RolloutStarted`: plain and live
/// know from it what the others are about.
pub trait Reporter: Send {
    /// Something has happened and is recorded; the status is that of the moment after it.
    fn event(&mut self, entry: &Entry, status: &Status);

    /// Time has passed. Called about five times a second while a rollout is on its way.
    fn tick(&mut self, _status: &Status, _now: Time) {}

    /// A probe passed, and this is the first line of what the instance answered.
    fn answer(&mut self, _slot: &Slot, _now: Time, _text: &str) {}

    /// Nothing more comes. Leaves the screen in order, also where the rollout did not end; dropping
    /// does the same.
    fn finish(&mut self) {}
}

/// What a reporter needs to know besides the events.
#[derive(Clone, Debug)]
pub struct ReporterSetup {
    pub hosts: Vec<HostId>,
    /// The ports that each host offers.
    pub ports: Vec<Port>,
    /// The versions of the history's releases; those of a rollout come with its events.
    pub versions: Versions,
    /// The time zone of the reader.
    pub clock: LocalClock,
    /// The signs that the reader's terminal can show.
    pub glyphs: Glyphs,
}

impl ReporterSetup {
    /// Adds the versions that a rollout is about.
    pub(super) fn add_versions(&mut self, start: &RolloutStart) {
        for generation in std::iter::once(&start.target).chain(&start.fallback) {
            self.versions
                .insert(generation.release.clone(), generation.version.clone());
        }
    }

    /// For the reader at this process' terminal.
    pub fn here(hosts: Vec<HostId>, ports: Vec<Port>, versions: Versions) -> Self {
        let glyphs = Glyphs::of_locale(|name| std::env::var(name).ok());
        Self {
            hosts,
            ports,
            versions,
            clock: LocalClock::local(),
            glyphs,
        }
    }
}
