//! A reporter that forwards to several others.

use std::time::Duration;

use super::reporter::Reporter;
use crate::core::ids::Slot;
use crate::core::journal::status::Status;
use crate::core::rollout::event::Entry;
use crate::core::time::Time;

/// Forwards each call to all its reporters, in order.
pub struct Tee(pub Vec<Box<dyn Reporter>>);

impl Reporter for Tee {
    fn event(&mut self, entry: &Entry, status: &Status) {
        self.0.iter_mut().for_each(|it| it.event(entry, status));
    }

    fn tick(&mut self, status: &Status, now: Time) {
        self.0.iter_mut().for_each(|it| it.tick(status, now));
    }

    fn answer(&mut self, slot: &Slot, now: Time, text: &str) {
        self.0.iter_mut().for_each(|it| it.answer(slot, now, text));
    }

    fn store_lost(&mut self, at: Time, error: &str, wait: Duration) {
        self.0
            .iter_mut()
            .for_each(|it| it.store_lost(at, error, wait));
    }

    fn store_recovered(&mut self, at: Time, after: Duration) {
        self.0
            .iter_mut()
            .for_each(|it| it.store_recovered(at, after));
    }

    fn finish(&mut self) {
        self.0.iter_mut().for_each(|it| it.finish());
    }
}
