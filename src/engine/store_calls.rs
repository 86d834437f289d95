//! The calls of the controller to the state store. They run in the background, so that a slow store
//! never blocks the control loop.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::watch;

use crate::core::rollout::event::Entry;
use crate::core::time::Time;
use crate::store::{Request, RolloutId, StoreError, StoreHandle};

/// The pause before an attempt that follows a failed one.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The interval at which requests are read from a store that reports them. Reports can be lost.
const REPORTED_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The result of a call.
pub(super) enum StoreAnswer {
    /// The events of the current save.
    Saved(Result<(), StoreError>),
    Renewed(Result<(), StoreError>),
    Requested(Result<Option<Request>, StoreError>),
    /// A request may have arrived.
    RequestReported,
}

/// Events that are being saved.
struct Save {
    first: u64,
    entries: Arc<Vec<Entry>>,
}

/// The calls in progress, at most one of each kind.
pub(super) struct StoreCalls {
    store: StoreHandle,
    rollout: RolloutId,
    running: FuturesUnordered<BoxFuture<'static, StoreAnswer>>,
    save: Option<Save>,
    /// When the current save failed for the first time, and the latest error.
    failed: Option<(Time, StoreError)>,
    is_renewing: bool,
    is_requesting: bool,
    reports: Option<watch::Receiver<u64>>,
    requests_read: Time,
}

impl StoreCalls {
    pub(super) fn new(store: StoreHandle, rollout: RolloutId) -> Self {
        Self {
            store,
            rollout,
            running: FuturesUnordered::new(),
            save: None,
            failed: None,
            is_renewing: false,
            is_requesting: false,
            reports: None,
            requests_read: Time::default(),
        }
    }

    /// Starts to listen for reports of requests.
    pub(super) fn watch_requests(&mut self) {
        self.reports = self.store.lock().watch_requests(self.rollout);
        self.await_report();
    }

    /// Waits for the next answer; forever if no call is in progress.
    pub(super) async fn next(&mut self) -> StoreAnswer {
        match self.running.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    // ── saving ───────────────────────────────────────────────────────────────────────────────────

    pub(super) fn is_saving(&self) -> bool {
        self.save.is_some()
    }

    /// When the current save failed for the first time, and the latest error.
    pub(super) fn failure(&self) -> Option<(Time, &StoreError)> {
        self.failed.as_ref().map(|(since, error)| (*since, error))
    }

    /// Starts to save events, of which the first has the number `first`.
    pub(super) fn start_save(&mut self, first: u64, entries: Vec<Entry>) {
        let entries = Arc::new(entries);
        self.save = Some(Save { first, entries });
        self.attempt_save(Duration::ZERO);
    }

    /// Handles the answer to a save. Returns the events if they are saved now. After an error that
    /// may be temporary, the save is repeated.
    ///
    /// # Errors
    /// If no further attempt can succeed.
    pub(super) fn saved(
        &mut self,
        result: Result<(), StoreError>,
        now: Time,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        match result {
            Ok(()) => {
                self.failed = None;
                let save = self.save.take();
                Ok(save.map(|save| Arc::unwrap_or_clone(save.entries)))
            }
            Err(error) if error.may_be_temporary() => {
                let since = self.failed.take().map_or(now, |(since, _)| since);
                self.failed = Some((since, error));
                self.attempt_save(RETRY_INTERVAL);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives up the current save; returns the error for which it failed.
    pub(super) fn give_up(&mut self) -> Option<StoreError> {
        self.save = None;
        self.failed.take().map(|(_, error)| error)
    }

    fn attempt_save(&mut self, delay: Duration) {
        let Some(save) = &self.save else {
            return;
        };
        let (rollout, first, entries) = (self.rollout, save.first, Arc::clone(&save.entries));
        let append = self
            .store
            .start(move |store| store.append(rollout, first, &entries));
        self.running.push(
            async move {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                StoreAnswer::Saved(append.await)
            }
            .boxed(),
        );
    }

    // ── the lease ────────────────────────────────────────────────────────────────────────────────

    /// Starts to renew the lease, unless a renewal is in progress.
    pub(super) fn start_renewal(&mut self) {
        if std::mem::replace(&mut self.is_renewing, true) {
            return;
        }
        let renewal = self.store.start(|store| store.renew_lease());
        self.running.push(renewal.map(StoreAnswer::Renewed).boxed());
    }

    /// Handles the answer to a renewal. A lease that cannot be renewed for now does not matter: it
    /// expires if that lasts.
    ///
    /// # Errors
    /// If another controller has taken it over.
    pub(super) fn renewed(&mut self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        self.is_renewing = false;
        match result {
            Err(error) if error.may_be_temporary() => {
                tracing::warn!(%error, "the lease was not renewed");
                Ok(())
            }
            result => result,
        }
    }

    // ── requests ─────────────────────────────────────────────────────────────────────────────────

    /// Starts to read the requests of other processes, if that is due.
    pub(super) fn poll_requests(&mut self, now: Time) {
        let is_due =
            self.reports.is_none() || now.since(self.requests_read) >= REPORTED_POLL_INTERVAL;
        if is_due {
            self.read_requests(now);
        }
    }

    fn read_requests(&mut self, now: Time) {
        if std::mem::replace(&mut self.is_requesting, true) {
            return;
        }
        self.requests_read = now;
        let rollout = self.rollout;
        let request = self.store.start(move |store| store.request(rollout));
        self.running
            .push(request.map(StoreAnswer::Requested).boxed());
    }

    /// Handles the answer to a read of the requests. A failed read is repeated later.
    ///
    /// # Errors
    /// If no further attempt can succeed.
    pub(super) fn requested(
        &mut self,
        result: Result<Option<Request>, StoreError>,
    ) -> Result<Option<Request>, StoreError> {
        self.is_requesting = false;
        match result {
            Err(error) if error.may_be_temporary() => {
                tracing::debug!(%error, "the requests were not read");
                Ok(None)
            }
            result => result,
        }
    }

    /// Reads the requests because one was reported.
    pub(super) fn request_reported(&mut self, now: Time) {
        self.read_requests(now);
        self.await_report();
    }

    fn await_report(&self) {
        let Some(mut reports) = self.reports.clone() else {
            return;
        };
        reports.mark_unchanged();
        self.running.push(
            async move {
                match reports.changed().await {
                    Ok(()) => StoreAnswer::RequestReported,
                    Err(_) => std::future::pending().await,
                }
            }
            .boxed(),
        );
    }
}
