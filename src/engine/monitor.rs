//! The requests that ship makes to the service during a rollout.

use super::messages::Interrupts;
use crate::core::availability::AvailabilityReport;
use crate::probe::Monitor;

pub(super) struct MonitorHandle {
    asker: Option<Monitor>,
}

impl MonitorHandle {
    /// `None` where nobody makes requests.
    pub(super) fn new(asker: Option<Monitor>) -> Self {
        Self { asker }
    }

    pub(super) fn is_on(&self) -> bool {
        self.asker.is_some()
    }

    /// The requests and failures so far.
    pub(super) fn report(&self) -> Option<AvailabilityReport> {
        self.asker.as_ref().map(Monitor::report)
    }

    /// The report, if more requests have failed than allowed.
    pub(super) fn breach(&self) -> Option<AvailabilityReport> {
        self.asker.as_ref().and_then(Monitor::breach)
    }

    /// Waits for the answers to the last requests, or for a signal, and says which that was. No
    /// more requests are made.
    pub(super) async fn settle(&mut self, interrupts: &mut Interrupts) -> Option<&'static str> {
        let asker = self.asker.as_mut()?;
        tokio::select! {
            biased;
            Some(signal) = interrupts.recv() => Some(signal),
            () = asker.finish() => None,
        }
    }

    pub(super) fn resume(&mut self) {
        self.asker.iter_mut().for_each(Monitor::resume);
    }
}
