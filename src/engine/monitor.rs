//! The availability monitor, as the controller uses it.

use super::messages::Interrupts;
use crate::core::availability::AvailabilityReport;
use crate::probe::Monitor;

/// The availability monitor of a rollout, if it has one.
pub(super) struct MonitorHandle {
    monitor: Option<Monitor>,
}

impl MonitorHandle {
    pub(super) fn new(monitor: Option<Monitor>) -> Self {
        Self { monitor }
    }

    pub(super) fn is_on(&self) -> bool {
        self.monitor.is_some()
    }

    /// The requests and failures so far.
    pub(super) fn report(&self) -> Option<AvailabilityReport> {
        self.monitor.as_ref().map(Monitor::report)
    }

    /// The report, if more requests have failed than allowed.
    pub(super) fn breach(&self) -> Option<AvailabilityReport> {
        self.monitor.as_ref().and_then(Monitor::breach)
    }

    /// Stops sending requests and waits for the responses to the last ones. A signal ends the wait;
    /// its name is returned.
    pub(super) async fn settle(&mut self, interrupts: &mut Interrupts) -> Option<&'static str> {
        let monitor = self.monitor.as_mut()?;
        tokio::select! {
            biased;
            Some(signal) = interrupts.recv() => Some(signal),
            () = monitor.finish() => None,
        }
    }

    /// Sends requests again after [`Self::settle`].
    pub(super) fn resume(&mut self) {
        self.monitor.iter_mut().for_each(Monitor::resume);
    }
}
