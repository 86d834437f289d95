//! The differences between artifacts.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::patch::ReleasePatch;
use crate::core::release::Artifact;
use crate::core::release::patch::PatchMethod;
use crate::core::time::Human;

/// Computes each difference once, for all hosts and for all services of a stack.
#[derive(Clone, Default)]
pub struct Patches(Arc<Mutex<Vec<Difference>>>);

struct Difference {
    held: Artifact,
    new: Artifact,
    method: PatchMethod,
    patch: Arc<OnceCell<Option<Arc<ReleasePatch>>>>,
}

impl Patches {
    /// The difference between two artifacts in this directory; `None` if it cannot be computed.
    pub async fn get(
        &self,
        held: &Artifact,
        new: &Artifact,
        method: PatchMethod,
        artifacts_dir: &Path,
    ) -> Option<Arc<ReleasePatch>> {
        let compute = || async {
            let began = Instant::now();
            let dir = artifacts_dir.to_owned();
            let patch = ReleasePatch::new(held.clone(), new.clone(), dir, method);
            let patch = patch
                .await
                .inspect_err(|error| tracing::info!(%error, "cannot compute the difference"))
                .ok()?;
            let took = Human(began.elapsed());
            tracing::debug!(
                bytes = patch.size_bytes,
                "computed the difference in {took}"
            );
            Some(Arc::new(patch))
        };
        let patch = self.cell(held, new, method);
        patch.get_or_init(compute).await.clone()
    }

    fn cell(
        &self,
        held: &Artifact,
        new: &Artifact,
        method: PatchMethod,
    ) -> Arc<OnceCell<Option<Arc<ReleasePatch>>>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all
            .iter()
            .find(|known| known.held == *held && known.new == *new && known.method == method);
        if let Some(known) = known {
            return Arc::clone(&known.patch);
        }
        let patch = Arc::default();
        all.push(Difference {
            held: held.clone(),
            new: new.clone(),
            method,
            patch: Arc::clone(&patch),
        });
        patch
    }
}
