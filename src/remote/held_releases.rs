//! The releases that a host holds, as far as the runs that share its link know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::core::release::Artifact;
use crate::script::HeldRelease;

/// The releases of every service that the runs of this process have seen on a host, so that an
/// artifact that several services use is sent to the host once.
#[derive(Default)]
pub struct HeldReleases {
    /// By the directory of the service, the newest first.
    known: Mutex<BTreeMap<String, Vec<HeldRelease>>>,
    /// By the SHA-256 of the artifact.
    transfers: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl HeldReleases {
    /// Records the releases that the host has reported for one service, the newest first.
    pub fn record(&self, service_dir: String, held: Vec<HeldRelease>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(service_dir, held);
    }

    /// The releases from which a host can make one with this artifact: first those that have the
    /// same artifact, then the others of the service.
    pub fn bases(&self, service_dir: &str, artifact: &Artifact) -> Vec<HeldRelease> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.values().flatten();
        let same = same.filter(|held| held.artifact == *artifact);
        let own = known.get(service_dir).into_iter().flatten();
        let others = own.filter(|held| held.artifact != *artifact);
        same.chain(others).cloned().collect()
    }

    /// Waits until no other run transfers this artifact to the host. The next one waits until the
    /// guard is dropped.
    pub async fn lock_transfer(&self, artifact: &Artifact) -> OwnedMutexGuard<()> {
        let transfer = {
            let transfers = self.transfers.lock();
            let mut transfers = transfers.unwrap_or_else(PoisonError::into_inner);
            Arc::clone(transfers.entry(artifact.sha256.clone()).or_default())
        };
        transfer.lock_owned().await
    }
}
