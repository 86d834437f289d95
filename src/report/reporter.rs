//! The interface of the reporters, which show a rollout.

use std::time::Duration;

use crate::core::ids::{HostId, Slot, SlotNumber};
use crate::core::journal::status::Status;
use crate::core::rollout::event::{Entry, RolloutStart};
use crate::core::stack::{Deployment, StackRun};
use crate::core::time::Time;
use crate::report::clock::LocalClock;
use crate::report::text::{Glyphs, Versions};

/// Shows a rollout while it runs. The first event must be `RolloutStarted`, which names the service
/// and the versions.
pub trait Reporter: Send {
    /// An event was recorded. `status` is the fleet after the event.
    fn event(&mut self, entry: &Entry, status: &Status);

    /// Time has passed. Called about five times per second during a rollout.
    fn tick(&mut self, _status: &Status, _now: Time) {}

    /// A probe passed; `text` is the first line of the answer.
    fn answer(&mut self, _slot: &Slot, _now: Time, _text: &str) {}

    /// The state store has failed. Nothing new starts until it works again, for at most `wait`.
    fn store_lost(&mut self, _at: Time, _error: &str, _wait: Duration) {}

    /// The state store works again.
    fn store_recovered(&mut self, _at: Time, _after: Duration) {}

    /// Ends the output and restores the terminal, even if the rollout has not ended. Dropping the
    /// reporter does the same.
    fn finish(&mut self) {}
}

/// Shows a deployment of several services while it runs. The rollout of each service has a
/// [`Reporter`] of its own.
pub trait DeploymentReporter: Send + Sync {
    /// Steps have begun or ended, or the deployment has.
    fn progress(&self, fleet: &str, deployment: &Deployment, run: &StackRun);

    /// Ends the output and restores the terminal, even if the deployment has not ended.
    fn finish(&self);
}

/// What a reporter needs besides the events.
#[derive(Clone, Debug)]
pub struct ReporterSetup {
    pub hosts: Vec<HostId>,
    /// The numbers of the slots that each host offers.
    pub slots: Vec<SlotNumber>,
    /// The versions of the releases in the history. Events add those of a new rollout.
    pub versions: Versions,
    /// The time zone of the reader.
    pub clock: LocalClock,
    /// The characters that the terminal can show.
    pub glyphs: Glyphs,
    /// The service, if several are shown together.
    pub service: Option<ServiceLabel>,
}

/// The name of a service in front of each of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLabel {
    pub name: String,
    /// The width of the longest name, in columns.
    pub width: usize,
}

impl ReporterSetup {
    /// Adds the versions of a rollout.
    pub(super) fn add_versions(&mut self, start: &RolloutStart) {
        for revision in std::iter::once(&start.target).chain(&start.rollback_target) {
            self.versions
                .insert(revision.release.clone(), revision.version.clone());
        }
    }

    /// The setup for the terminal of this process.
    pub fn for_terminal(hosts: Vec<HostId>, slots: Vec<SlotNumber>, versions: Versions) -> Self {
        let glyphs = Glyphs::of_locale(|name| std::env::var(name).ok());
        Self {
            hosts,
            slots,
            versions,
            clock: LocalClock::local(),
            glyphs,
            service: None,
        }
    }
}
