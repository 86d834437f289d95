//! What becomes of the requests that are made all the while.

use super::executor::Executor;
use super::run::Run;
use crate::core::availability::LossReport;
use crate::core::rollout::event::Event;
use crate::probe::Asker;
use crate::store::Store;

impl<W: Executor, S: Store> Run<W, S> {
    /// Whether more have failed than may: told once, as soon as it is known.
    pub(super) fn hear_of_loss(&mut self) {
        let breach = self
            .engine
            .loss
            .as_ref()
            .filter(|_| self.rollout.loss.is_none())
            .and_then(Asker::breach);
        if let Some(report) = breach {
            self.record(Event::Probed(report));
        }
    }

    /// What they come to so far.
    pub(super) fn record_loss(&mut self) {
        if let Some(report) = self.engine.loss.as_ref().map(Asker::report) {
            self.record(Event::Probed(report));
        }
    }

    /// The rollout is about to end: the answers to the last requests are waited for. Says whether
    /// only now too many have failed, so that it is decided anew; requests go on being made then.
    pub(super) async fn hears_of_loss_at_last(&mut self) -> bool {
        let Some(asker) = &mut self.engine.loss else {
            return false;
        };
        let signal = tokio::select! {
            biased;
            Some(signal) = self.engine.interrupts.recv() => Some(signal),
            () = asker.settle() => None,
        };
        let is_breached =
            |loss: &Option<LossReport>| loss.as_ref().is_some_and(LossReport::is_breached);
        let was_breached = is_breached(&self.rollout.loss);
        self.record_loss();
        if was_breached || !is_breached(&self.rollout.loss) {
            return false;
        }
        if let Some(signal) = signal {
            self.interrupt(signal);
        }
        self.engine.loss.iter_mut().for_each(Asker::go_on);
        true
    }
}
