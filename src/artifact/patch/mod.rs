//! What a host that has one release needs in order to make the files of another.

mod archive;
mod blocks;
mod zstd;

use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

use super::cache::Cache;
use super::unpacked::{UnpackedArtifact, Unpacking};
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
    /// If an artifact is missing, has sparse files, or has so little in common with the other one
    /// that the difference is not worth it, or if the cache cannot be written.
    pub fn of_artifacts(
        held: &Artifact,
        new: &Artifact,
        cache_dir: &Path,
        method: PatchMethod,
    ) -> io::Result<Self> {
        let cache = Cache::open(cache_dir).map_err(io::Error::other)?;
        let max_bytes = new.patch_max_bytes();
        if held == new {
            let unpacked = UnpackedArtifact::open(new, &cache)?;
            return Self::between(&unpacked, &unpacked, &cache, method, max_bytes);
        }
        let held = Unpacking::start(held, &cache)?;
        let new = UnpackedArtifact::open(new, &cache)?;
        Self::between(&held.finish()?, &new, &cache, method, max_bytes)
    }

    /// Computes the difference between two unpacked artifacts.
    ///
    /// # Errors
    /// If the difference is larger than `max_bytes`, or the cache cannot be written.
    pub(super) fn between(
        held: &UnpackedArtifact,
        new: &UnpackedArtifact,
        cache: &Cache,
        method: PatchMethod,
        max_bytes: u64,
    ) -> io::Result<Self> {
        let (writer, needs_zstd) = archive::write(held, new, cache, method, max_bytes)?;
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
