//! The cache of artifacts, named by the SHA-256 of the bytes that are sent. An incomplete artifact
//! is never in it.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::config::hex;
use crate::trust::{make_private_dir, open_own};

use super::error::ArtifactError;

/// The prefix of the names of unfinished artifacts.
const PARTIAL: &str = "partial-";

/// A directory of artifacts, by digest.
pub(super) struct Cache(PathBuf);

/// An artifact that is still being written, in a file of mode 0600 that goes away unless it is
/// kept.
pub(super) struct ArtifactWriter {
    file: BufWriter<NamedTempFile>,
    sha256: Sha256,
    size_bytes: u64,
}

/// A reader that digests what passes through it.
pub(super) struct Hashed<R> {
    inner: R,
    sha256: Sha256,
}

/// Distinguishes a failure to write the cache from a failure to read the source.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CacheFailed(io::Error);

/// Whether the cache cannot be written, rather than the source read.
pub(super) fn is_cache_failure(why: &io::Error) -> bool {
    why.get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<CacheFailed>)
}

impl Cache {
    /// The cache in `directory`, which is made if it is not there.
    pub(super) fn open(directory: &Path) -> Result<Self, ArtifactError> {
        let cache = Self(directory.to_owned());
        make_private_dir(directory).map_err(|why| cache.error(&why))?;
        Ok(cache)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    /// Creates an empty artifact to write to.
    pub(super) fn draft(&self) -> Result<ArtifactWriter, ArtifactError> {
        let file = self.temporary()?;
        Ok(ArtifactWriter {
            file: BufWriter::new(file),
            sha256: Sha256::new(),
            size_bytes: 0,
        })
    }

    /// A file that nobody else can read and that goes away by itself. Those of ships that were
    /// killed go now.
    ///
    /// Whoever makes one holds a lock on it, which ends with its holder, however that ends.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, ArtifactError> {
        self.sweep();
        loop {
            let made = tempfile::Builder::new()
                .prefix(PARTIAL)
                .tempfile_in(&self.0);
            let file = made.map_err(|why| self.error(&why))?;
            // Where files cannot be locked, nothing is swept away.
            let is_ours = !matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
            // Another ship may have swept it away before it was locked, or be about to.
            if is_ours && file.path().exists() {
                return Ok(file);
            }
        }
    }

    fn sweep(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if !entry.file_name().as_bytes().starts_with(PARTIAL.as_bytes()) {
                continue;
            }
            // Locked until it is gone. That it cannot be opened or removed is no reason to stop: it
            // is only litter.
            let Ok(file) = File::open(entry.path()) else {
                continue;
            };
            if file.try_lock().is_ok() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Keeps what has been written: its path, SHA-256 and size in bytes.
    pub(super) fn keep(
        &self,
        draft: ArtifactWriter,
    ) -> Result<(PathBuf, String, u64), ArtifactError> {
        let sha256 = draft.sha256();
        let size_bytes = draft.size_bytes;
        let path = self.0.join(&sha256);
        if self.kept(&sha256).is_none() {
            self.persist(draft, &path).map_err(|why| self.error(&why))?;
        }
        Ok((path, sha256, size_bytes))
    }

    /// The artifact of this SHA-256, if it is there and unchanged.
    pub(super) fn kept(&self, sha256: &str) -> Option<PathBuf> {
        let path = self.0.join(sha256);
        let mut file = Hashed::new(open_own(&path).ok()?);
        io::copy(&mut file, &mut io::sink()).ok()?;
        (file.sha256() == sha256).then_some(path)
    }

    /// The bytes must reach the disk before the name does.
    fn persist(&self, draft: ArtifactWriter, path: &Path) -> io::Result<()> {
        let file = draft
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(&self.0)?.sync_all()
    }

    /// The error for a cache that cannot be written.
    pub(super) fn error(&self, why: &io::Error) -> ArtifactError {
        ArtifactError::cache(&self.0.display().to_string(), why)
    }
}

impl ArtifactWriter {
    /// SHA-256 of what has been written, in lower-case hex.
    pub(super) fn sha256(&self) -> String {
        hex(&self.sha256.clone().finalize())
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// A reader of what has been written, from the beginning.
    pub(super) fn reopen(&mut self) -> io::Result<File> {
        self.file.flush()?;
        self.file.get_ref().reopen()
    }
}

impl Write for ArtifactWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self
            .file
            .write(bytes)
            .map_err(|why| io::Error::new(why.kind(), CacheFailed(why)))?;
        self.sha256.update(bytes.get(..length).unwrap_or_default());
        self.size_bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl<R> Hashed<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            sha256: Sha256::new(),
        }
    }

    /// SHA-256 of what has been read, in lower-case hex.
    pub(super) fn sha256(self) -> String {
        hex(&self.sha256.finalize())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.sha256.update(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_who_make_something_at_once_nobody_loses_it_to_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let make = || {
            let cache =
                Cache::open(directory.path()).unwrap_or_else(|_| panic!("our own directory"));
            for _ in 0..300 {
                let file = cache
                    .temporary()
                    .unwrap_or_else(|_| panic!("our own directory"));
                std::thread::yield_now();
                assert!(file.path().exists(), "somebody has swept it away");
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(make);
            }
        });
        assert_eq!(
            fs::read_dir(directory.path())
                .expect("our own directory")
                .count(),
            0
        );
    }
}
