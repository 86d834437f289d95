//! Saves events before their effects, and waits while the state store fails.

use super::{Controller, EngineError, SUSPEND_THRESHOLD, TICK};
use std::time::Duration;

use crate::core::rollout::event::Event;
use crate::core::rollout::failure::Outcome;
use crate::core::time::{Human, Time};
use crate::engine::dispatcher::UnsentOrders;
use crate::engine::executor::{ActionOrder, ActionResult};
use crate::engine::requests;
use crate::engine::store_calls::StoreAnswer;
use crate::store::StoreError;

/// The pause before a further attempt to record the end of the rollout.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

impl Controller {
    /// Records the end of the rollout.
    pub(super) async fn finish(&mut self, outcome: Outcome) -> Result<Outcome, EngineError> {
        let outcome = outcome.redacted(self.recorder.redactor());
        self.recorder.record(Event::RolloutFinished {
            outcome: outcome.clone(),
        });
        self.start_save();
        while self.calls.is_saving() {
            self.wait_while_saving().await?;
        }
        let proven = outcome == Outcome::Succeeded && self.progress.updated_available > 0;
        let (id, now) = (self.recorder.id(), self.clock.now());
        let ended = outcome.clone();
        loop {
            let ended = ended.clone();
            let end = self
                .store
                .start(move |store| store.end_rollout(id, &ended, proven, now));
            match end.await {
                Ok(()) => return Ok(outcome),
                Err(error) if error.may_be_temporary() => {
                    let lasted = self.clock.now().since(now);
                    if lasted >= self.spec.progress_deadline || self.interrupted_twice {
                        return Err(EngineError::StoreLost { error, lasted });
                    }
                    self.wait_until(self.clock.now() + RETRY_INTERVAL).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Starts to save the recorded events, unless earlier ones are being saved.
    pub(super) fn start_save(&mut self) {
        if self.calls.is_saving() {
            return;
        }
        if let Some((first, entries)) = self.recorder.take_unsaved() {
            self.saving = UnsentOrders {
                actions: self.actions.take_unsent(),
                task: self.tasks.take_unsent(),
            };
            self.calls.start_save(first, entries);
            self.save_started = self.clock.now();
        }
    }

    /// Waits for a message, a signal or the store while events are being saved. Nothing new is
    /// sent: the effects of the events wait until these are durable.
    pub(super) async fn wait_while_saving(&mut self) -> Result<(), EngineError> {
        let started = self.clock.now();
        while self.calls.is_saving() {
            self.wait_until(self.clock.now() + TICK).await?;
            self.check_store_deadline()?;
        }
        let now = self.clock.now();
        if now.since(started) >= SUSPEND_THRESHOLD {
            // No observation was started meanwhile.
            self.analyses.invalidate(now);
            self.observer.expire_all();
        }
        Ok(())
    }

    /// Gives up if the store has failed for too long, or a user does not want to wait for it. The
    /// actions in flight end before.
    pub(super) fn check_store_deadline(&mut self) -> Result<(), EngineError> {
        let Some((since, _)) = self.calls.failure() else {
            return Ok(());
        };
        let lasted = self.clock.now().since(since);
        let is_over =
            lasted >= self.spec.progress_deadline || self.recorder.rollout().requests.interrupted;
        if self.interrupted_twice || (is_over && self.sent == 0) {
            let error = self.calls.give_up().unwrap_or(StoreError::LeaseLost);
            return Err(EngineError::StoreLost { error, lasted });
        }
        Ok(())
    }

    /// Reports the saved events, and sends their actions and tasks.
    pub(super) fn saved(&mut self, result: Result<(), StoreError>) -> Result<(), EngineError> {
        let now = self.clock.now();
        let lost_since = self.calls.failure().map(|(since, _)| since);
        let Some(entries) = self.calls.saved(result, now)? else {
            if let Some((_, error)) = self.calls.failure() {
                let why = error.to_string();
                self.status.all_wait_for_store(&why);
                if lost_since.is_none() {
                    let wait = self.spec.progress_deadline;
                    self.reporter.store_lost(now, &why, wait);
                }
            }
            return Ok(());
        };
        if let Some(since) = lost_since {
            self.reporter.store_recovered(now, now.since(since));
        }
        let fleet = self.observer.fleet();
        let status = self.status.status(&self.spec, &self.recorder, fleet, now);
        for entry in &entries {
            self.reporter.event(entry, &status);
        }
        let mut orders = std::mem::take(&mut self.saving);
        if now.since(self.save_started) >= SUSPEND_THRESHOLD {
            self.withdraw(std::mem::take(&mut orders.actions), now);
        }
        self.sent += self.dispatcher.send(orders);
        Ok(())
    }

    /// Ends actions that were not sent, because the fleet may have changed since they were planned.
    fn withdraw(&mut self, orders: Vec<ActionOrder>, now: Time) {
        let took = Human(now.since(self.save_started));
        for order in orders {
            let host = order.action.host().clone();
            let why = format!("not sent: the state store was out of reach for {took}");
            self.action_ended(order.id, host, ActionResult::Busy { why }, now);
        }
    }

    pub(super) fn answered(&mut self, answer: StoreAnswer) -> Result<(), EngineError> {
        match answer {
            StoreAnswer::Saved(result) => self.saved(result)?,
            StoreAnswer::Renewed(result) => self.calls.renewed(result)?,
            StoreAnswer::Requested(result) => {
                let request = self.calls.requested(result)?;
                let event =
                    request.and_then(|request| requests::event(request, self.recorder.rollout()));
                if let Some(event) = event {
                    self.recorder.record(event);
                }
            }
            StoreAnswer::RequestReported => self.calls.request_reported(self.clock.now()),
        }
        Ok(())
    }
}
