//! The differences between artifacts.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use futures::future::{BoxFuture, FutureExt as _, Shared};
use tokio::sync::oneshot;

use super::patch::ReleasePatch;
use super::unpacked::{UnpackedArtifact, Unpacking};
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
    patch: SharedPatch,
}

/// `None` if the difference cannot be computed or is not worth it.
type SharedPatch = Shared<BoxFuture<'static, Option<Arc<ReleasePatch>>>>;

impl Patches {
    /// The difference between two artifacts in this directory; `None` if it cannot be computed or is
    /// not worth it.
    pub async fn get(
        &self,
        held: &Artifact,
        new: &Artifact,
        method: PatchMethod,
        artifacts_dir: &Path,
    ) -> Option<Arc<ReleasePatch>> {
        let patch = self.find_or_insert(held, new, method, || {
            let (held, new, dir) = (held.clone(), new.clone(), artifacts_dir.to_owned());
            compute(move || ReleasePatch::of_artifacts(&held, &new, &dir, method))
        });
        patch.await
    }

    /// Starts to compute the difference to an artifact that is unpacked already.
    pub(super) fn expect(&self, held: Unpacking, new: &Artifact, unpacked: UnpackedArtifact) {
        let (artifact, method) = (held.artifact.clone(), PatchMethod::PartsOrZstd);
        // The hosts that need it wait for it.
        drop(self.find_or_insert(&artifact, new, method, || {
            let (cache, max_bytes) = (held.cache.clone(), new.patch_max_bytes());
            compute(move || {
                let held = held.finish()?;
                ReleasePatch::between(&held, &unpacked, &cache, method, max_bytes)
            })
        }));
    }

    fn find_or_insert(
        &self,
        held: &Artifact,
        new: &Artifact,
        method: PatchMethod,
        begin: impl FnOnce() -> SharedPatch,
    ) -> SharedPatch {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all
            .iter()
            .find(|known| known.held == *held && known.new == *new && known.method == method);
        if let Some(known) = known {
            return known.patch.clone();
        }
        let patch = begin();
        all.push(Difference {
            held: held.clone(),
            new: new.clone(),
            method,
            patch: patch.clone(),
        });
        patch
    }
}

/// Computes a difference on a thread of its own, which does not delay the end of the process.
fn compute(work: impl FnOnce() -> io::Result<ReleasePatch> + Send + 'static) -> SharedPatch {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        let began = Instant::now();
        let patch = work().inspect_err(report).ok().inspect(|patch| {
            let took = Human(began.elapsed());
            tracing::debug!(
                bytes = patch.size_bytes,
                "computed the difference in {took}"
            );
        });
        // The receiver is gone if no host needs the difference.
        drop(sender.send(patch.map(Arc::new)));
    };
    if let Err(error) = thread::Builder::new().spawn(work) {
        report(&error);
    }
    receiver.map(|patch| patch.ok().flatten()).boxed().shared()
}

fn report(error: &io::Error) {
    tracing::info!(%error, "the difference is not used");
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::artifact::{prepare, prepare_with_patch};
    use crate::config::{ArtifactConfig, Source};

    #[tokio::test]
    async fn expected_difference_is_computed_from_the_files_that_were_checked() {
        let dir = TempDir::new().expect("a directory");
        let (app, cache) = (dir.path().join("app"), dir.path().join("cache"));
        fs::create_dir(&app).expect("a directory");
        let bytes: Vec<_> = (0_u32..1 << 19).flat_map(u32::to_be_bytes).collect();
        fs::write(app.join("data"), bytes).expect("a file");
        fs::write(app.join("page"), "old").expect("a file");
        let config = ArtifactConfig::new(Source::Path(app.clone()));
        let old = prepare(&config, &cache).await.expect("the old artifact");

        fs::write(app.join("page"), "new").expect("a file");
        let patches = Patches::default();
        let new = prepare_with_patch(&config, &cache, Some(&old.artifact), &patches).await;
        let new = new.expect("the new artifact");
        fs::remove_file(&new.path).expect("the new artifact");
        let get = |method| patches.get(&old.artifact, &new.artifact, method, &cache);
        let patch = get(PatchMethod::PartsOrZstd).await.expect("a difference");
        assert!(patch.size_bytes < 1000, "{}", patch.size_bytes);
        // Any other one needs the artifact.
        assert!(get(PatchMethod::Parts).await.is_none());
    }
}
