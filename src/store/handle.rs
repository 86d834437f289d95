//! A store that the control loop can use without waiting for it.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::oneshot;

use crate::store::contract::Store;
use crate::store::error::StoreError;
use crate::store::lease::Holder;
use crate::store::records::ServiceKey;

/// Work on the store, which takes as long as the store needs.
pub type StoreWork = Box<dyn FnOnce() + Send>;

/// Carries out work on the store while the caller does something else.
pub trait StoreRunner: Send + Sync {
    fn run(&self, work: StoreWork) -> BoxFuture<'static, ()>;
}

/// Carries out work on a thread of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadRunner;

impl StoreRunner for ThreadRunner {
    fn run(&self, work: StoreWork) -> BoxFuture<'static, ()> {
        async {
            let done = tokio::task::spawn_blocking(work).await;
            if let Err(error) = done
                && error.is_panic()
            {
                resume_unwind(error.into_panic());
            }
        }
        .boxed()
    }
}

/// A store and the means to use it in the background. Work is carried out in the order in which it
/// gets hold of the store.
#[derive(Clone)]
pub struct StoreHandle {
    store: Arc<Mutex<Box<dyn Store>>>,
    runner: Arc<dyn StoreRunner>,
    /// Whether another owner of the store holds the lease and releases it.
    is_lease_lent: bool,
}

impl StoreHandle {
    pub fn new(store: Box<dyn Store>, runner: Arc<dyn StoreRunner>) -> Self {
        let store = Arc::new(Mutex::new(store));
        Self {
            store,
            runner,
            is_lease_lent: false,
        }
    }

    /// The same store for work under the lease that it holds now. That work neither takes nor
    /// releases the lease.
    #[must_use]
    pub fn lend_lease(&self) -> Self {
        Self {
            is_lease_lent: true,
            ..self.clone()
        }
    }

    /// Takes the lease, unless it is lent.
    ///
    /// # Errors
    /// [`StoreError::Held`] contains the holder.
    pub fn acquire_lease(
        &self,
        service_key: &ServiceKey,
        holder: Holder,
        token: Option<&str>,
    ) -> Result<(), StoreError> {
        if self.is_lease_lent {
            return Ok(());
        }
        self.lock().acquire_lease(service_key, holder, token)
    }

    /// Releases the lease, unless it is lent.
    ///
    /// # Errors
    /// If the store cannot be written. The lease then expires.
    pub fn release_lease(&self) -> Result<(), StoreError> {
        if self.is_lease_lent {
            return Ok(());
        }
        self.lock().release_lease()
    }

    /// The store, for a caller that can wait.
    pub fn lock(&self) -> MutexGuard<'_, Box<dyn Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts work in the background. The future returns its result.
    pub fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Store) -> T + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (handle, runner) = (self.clone(), Arc::clone(&self.runner));
        let (sender, receiver) = oneshot::channel();
        async move {
            let work = move || {
                // The receiver is gone only if the result is not needed.
                drop(sender.send(work(&mut **handle.lock())));
            };
            runner.run(Box::new(work)).await;
            match receiver.await {
                Ok(done) => done,
                // The runtime is shutting down.
                Err(_) => std::future::pending().await,
            }
        }
        .boxed()
    }
}
