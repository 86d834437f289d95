//! What a host that has one release needs in order to make the files of another.

mod archive;
mod blocks;
mod zstd;

use std::io;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::cache::Cache;
use super::unpacked::UnpackedArtifact;
use crate::core::release::Artifact;
use crate::core::release::patch::PatchMethod;

/// An archive of the difference between two artifacts, in a file that is removed when this is
/// dropped. `script/sh/patch.sh` applies it.
#[derive(Debug)]
pub struct ReleasePatch {
    file: NamedTempFile,
    /// The SHA-256 of the archive, in lower-case hex.
    pub sha256: String,
    pub size_bytes: u64,
    /// Whether the host needs zstd to apply it.
    pub needs_zstd: bool,
    /// The digest of the files that it makes, as
    /// `ReleaseContents::listing_sha256` computes it.
    pub listing_sha256: String,
}

impl ReleasePatch {
    /// Computes the difference between two artifacts of the cache.
    ///
    /// # Errors
    /// If an artifact is missing, has sparse files, or the cache cannot be written.
    pub async fn new(
        held: Artifact,
        new: Artifact,
        cache_dir: PathBuf,
        method: PatchMethod,
    ) -> io::Result<Self> {
        let made = tokio::task::spawn_blocking(move || Self::make(&held, &new, &cache_dir, method));
        made.await.map_err(io::Error::other)?
    }

    fn make(
        held: &Artifact,
        new: &Artifact,
        cache_dir: &Path,
        method: PatchMethod,
    ) -> io::Result<Self> {
        let cache = Cache::open(cache_dir).map_err(io::Error::other)?;
        let (held, new) = if held == new {
            (None, UnpackedArtifact::open(new, &cache)?)
        } else {
            let (held, new) = std::thread::scope(|scope| {
                let held = scope.spawn(|| UnpackedArtifact::open(held, &cache));
                let new = UnpackedArtifact::open(new, &cache);
                (held.join(), new)
            });
            let held = held.map_err(|_| io::Error::other("a thread has panicked"))?;
            (Some(held?), new?)
        };
        let (writer, needs_zstd) =
            archive::write(held.as_ref().unwrap_or(&new), &new, &cache, method)?;
        Ok(Self {
            sha256: writer.sha256(),
            size_bytes: writer.size_bytes(),
            needs_zstd,
            listing_sha256: new.contents.listing_sha256(),
            file: writer.into_file()?,
        })
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }
}
