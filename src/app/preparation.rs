//! What happens between the lock and the first event of a rollout: it can take long, because hosts
//! are slow or an artifact is large.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;

use super::error::Error;
use crate::engine::Interrupts;
use crate::store::{LEASE_EXPIRES_AFTER, StoreHandle};

/// How often the lease is renewed. Several attempts may fail before it expires.
const RENEW_INTERVAL: Duration = LEASE_EXPIRES_AFTER.checked_div(6).expect("6 is not 0");

/// Renews the lease during some work.
pub(super) async fn keep_lease<T>(store: &StoreHandle, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        never = renew(store) => match never {},
    }
}

/// Renews several leases during some work.
pub(super) async fn keep_leases<T>(stores: &[StoreHandle], work: impl Future<Output = T>) -> T {
    if stores.is_empty() {
        return work.await;
    }
    let renewals = futures::future::select_all(stores.iter().map(|store| Box::pin(renew(store))));
    tokio::select! {
        done = work => done,
        (never, ..) = renewals => match never {},
    }
}

/// Renews the lease during some work, until a signal interrupts it.
///
/// # Errors
/// Those of the work; or that it was interrupted.
pub(super) async fn prepare<T>(
    store: &StoreHandle,
    interrupts: &mut Interrupts,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        done = keep_lease(store, work) => done,
        Some(signal) = interrupts.recv() => Err(Error::Interrupted(signal)),
    }
}

async fn renew(store: &StoreHandle) -> Infallible {
    loop {
        sleep(RENEW_INTERVAL).await;
        // The next write under the lease reports that it was lost.
        if let Err(error) = store.start(|store| store.renew_lease()).await {
            tracing::debug!(%error, "the lease was not renewed");
        }
    }
}
