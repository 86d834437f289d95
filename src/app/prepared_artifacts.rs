//! The artifacts that a run has prepared.

use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use crate::artifact::{ArtifactError, Patches, Prepared, prepare_with_patch};
use crate::config::ArtifactConfig;
use crate::core::release::Artifact;

/// Prepares each artifact once, so that the services of a deployment that use the same one get the
/// same bytes.
#[derive(Default)]
pub(crate) struct PreparedArtifacts {
    known: Mutex<Vec<Known>>,
    /// Their differences from what hosts have.
    patches: Patches,
}

struct Known {
    config: ArtifactConfig,
    cache_dir: PathBuf,
    prepared: Prepared,
}

impl PreparedArtifacts {
    /// Like [`prepare_with_patch`], but does nothing if the artifact was prepared before and its bytes are
    /// still in the cache. `held` is the artifact that the hosts are expected to have, if they may
    /// need the difference from it.
    ///
    /// # Errors
    /// As for [`prepare_with_patch`].
    pub(crate) async fn prepare(
        &self,
        config: &ArtifactConfig,
        cache_dir: &Path,
        held: Option<&Artifact>,
    ) -> Result<Prepared, ArtifactError> {
        let mut all = self.known.lock().await;
        let same = all.iter().find(|known| {
            known.cache_dir == cache_dir
                && known.config.has_same_source(config)
                && known.prepared.path.is_file()
        });
        if let Some(known) = same {
            return Ok(known.prepared.clone());
        }
        let prepared = prepare_with_patch(config, cache_dir, held, &self.patches).await?;
        all.push(Known {
            config: config.clone(),
            cache_dir: cache_dir.to_owned(),
            prepared: prepared.clone(),
        });
        Ok(prepared)
    }

    pub(crate) fn patches(&self) -> Patches {
        self.patches.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config::{Fetch, Source};

    #[tokio::test]
    async fn artifact_that_changes_meanwhile_is_the_same_for_all_services() {
        let dir = TempDir::new().expect("a directory");
        let (app, cache) = (dir.path().join("app"), dir.path().join("cache"));
        fs::write(&app, "first").expect("a file");
        let config = ArtifactConfig::new(Source::Path(app.clone()));
        let artifacts = PreparedArtifacts::default();
        let first = artifacts
            .prepare(&config, &cache, None)
            .await
            .expect("first");

        fs::write(&app, "second").expect("a file");
        let pulling = ArtifactConfig {
            fetch: Fetch::Pull,
            ..config.clone()
        };
        let same = artifacts
            .prepare(&pulling, &cache, None)
            .await
            .expect("same");
        assert_eq!(same, first);

        let stripped = ArtifactConfig {
            strip_components: 1,
            ..config.clone()
        };
        let other = artifacts
            .prepare(&stripped, &cache, None)
            .await
            .expect("other");
        assert_ne!(other.artifact.sha256, first.artifact.sha256);

        // Another process may have removed it.
        fs::remove_file(&first.path).expect("the artifact");
        let again = artifacts
            .prepare(&config, &cache, None)
            .await
            .expect("again");
        assert_eq!(again.artifact.sha256, other.artifact.sha256);
    }
}
