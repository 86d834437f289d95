//! The artifacts that a run has prepared.

use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use crate::artifact::{ArtifactError, Prepared, prepare};
use crate::config::ArtifactConfig;

/// Prepares each artifact once, so that the services of a deployment that use the same one get the
/// same bytes.
#[derive(Default)]
pub(crate) struct PreparedArtifacts(Mutex<Vec<Known>>);

struct Known {
    config: ArtifactConfig,
    cache_dir: PathBuf,
    prepared: Prepared,
}

impl PreparedArtifacts {
    /// Like [`prepare`], but does nothing if the artifact was prepared before and its bytes are
    /// still in the cache.
    ///
    /// # Errors
    /// As for [`prepare`].
    pub(crate) async fn prepare(
        &self,
        config: &ArtifactConfig,
        cache_dir: &Path,
    ) -> Result<Prepared, ArtifactError> {
        let mut all = self.0.lock().await;
        let same = all.iter().find(|known| {
            known.cache_dir == cache_dir
                && known.config.has_same_source(config)
                && known.prepared.path.is_file()
        });
        if let Some(known) = same {
            return Ok(known.prepared.clone());
        }
        let prepared = prepare(config, cache_dir).await?;
        all.push(Known {
            config: config.clone(),
            cache_dir: cache_dir.to_owned(),
            prepared: prepared.clone(),
        });
        Ok(prepared)
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
        let first = artifacts.prepare(&config, &cache).await.expect("first");

        fs::write(&app, "second").expect("a file");
        let pulling = ArtifactConfig {
            fetch: Fetch::Pull,
            ..config.clone()
        };
        let same = artifacts.prepare(&pulling, &cache).await.expect("same");
        assert_eq!(same, first);

        let stripped = ArtifactConfig {
            strip_components: 1,
            ..config.clone()
        };
        let other = artifacts.prepare(&stripped, &cache).await.expect("other");
        assert_ne!(other.artifact.sha256, first.artifact.sha256);

        // Another process may have removed it.
        fs::remove_file(&first.path).expect("the artifact");
        let again = artifacts.prepare(&config, &cache).await.expect("again");
        assert_eq!(again.artifact.sha256, other.artifact.sha256);
    }
}
