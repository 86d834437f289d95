//! The cache of artifacts, named by the SHA-256 of the bytes that are sent. It never holds an
//! incomplete artifact.

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
const PARTIAL_PREFIX: &str = "partial-";

/// A directory of artifacts, by digest.
#[derive(Clone)]
pub(super) struct Cache(PathBuf);

/// An artifact that is being written, in a file of mode 0600 that is removed unless the cache keeps
/// it.
pub(super) struct ArtifactWriter {
    file: BufWriter<NamedTempFile>,
    sha256: Sha256,
    size_bytes: u64,
    max_bytes: u64,
}

/// A reader that computes the SHA-256 of what passes through it.
pub(super) struct Hashed<R> {
    inner: R,
    sha256: Sha256,
}

/// Distinguishes a failure to write the cache from a failure to read the source.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct CacheFailed(io::Error);

/// Whether writing the cache failed, rather than reading the source.
pub(super) fn is_cache_failure(why: &io::Error) -> bool {
    why.get_ref()
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<CacheFailed>)
}

impl Cache {
    /// The cache in `directory`, which is created if it does not exist.
    pub(super) fn open(directory: &Path) -> Result<Self, ArtifactError> {
        let cache = Self(directory.to_owned());
        make_private_dir(directory).map_err(|why| cache.error(&why))?;
        Ok(cache)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    /// Creates an empty artifact.
    pub(super) fn new_writer(&self) -> Result<ArtifactWriter, ArtifactError> {
        self.new_limited_writer(u64::MAX)
    }

    /// Creates an empty artifact, which cannot become larger than `max_bytes`.
    pub(super) fn new_limited_writer(
        &self,
        max_bytes: u64,
    ) -> Result<ArtifactWriter, ArtifactError> {
        let file = self.temporary()?;
        Ok(ArtifactWriter {
            file: BufWriter::new(file),
            sha256: Sha256::new(),
            size_bytes: 0,
            max_bytes,
        })
    }

    /// A private file that is removed when it is dropped. This also removes the files of ship
    /// processes that were killed.
    ///
    /// The process that creates a file locks it; the lock ends with the process.
    pub(super) fn temporary(&self) -> Result<NamedTempFile, ArtifactError> {
        self.remove_abandoned();
        loop {
            let made = tempfile::Builder::new()
                .prefix(PARTIAL_PREFIX)
                .tempfile_in(&self.0);
            let file = made.map_err(|why| self.error(&why))?;
            // On file systems without locks, no file is removed.
            let is_ours = !matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
            // Another ship process may have removed the file before it was locked, or may be
            // removing it.
            if is_ours && file.path().exists() {
                return Ok(file);
            }
        }
    }

    fn remove_abandoned(&self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if !entry
                .file_name()
                .as_bytes()
                .starts_with(PARTIAL_PREFIX.as_bytes())
            {
                continue;
            }
            // The lock is held until the file is removed. A file that cannot be opened or removed
            // only wastes space.
            let Ok(file) = File::open(entry.path()) else {
                continue;
            };
            if file.try_lock().is_ok() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Carries out work that only reads the artifact. Meanwhile, its bytes are written to disk,
    /// unless the cache has it already.
    pub(super) fn sync_during<T>(&self, writer: &ArtifactWriter, work: impl FnOnce() -> T) -> T {
        if self.0.join(writer.sha256()).exists() {
            return work();
        }
        std::thread::scope(|scope| {
            // A failure is reported when the artifact is kept.
            scope.spawn(|| writer.file.get_ref().as_file().sync_all());
            work()
        })
    }

    /// Adds the artifact to the cache and returns its path, SHA-256 and size in bytes.
    pub(super) fn keep(
        &self,
        writer: ArtifactWriter,
    ) -> Result<(PathBuf, String, u64), ArtifactError> {
        let sha256 = writer.sha256();
        let size_bytes = writer.size_bytes;
        let path = self.0.join(&sha256);
        if self.find(&sha256).is_none() {
            self.persist(writer, &path)
                .map_err(|why| self.error(&why))?;
        }
        Ok((path, sha256, size_bytes))
    }

    /// The artifact with this SHA-256, if it exists and is unchanged.
    pub(super) fn find(&self, sha256: &str) -> Option<PathBuf> {
        let path = self.0.join(sha256);
        let mut file = Hashed::new(open_own(&path).ok()?);
        io::copy(&mut file, &mut io::sink()).ok()?;
        (file.sha256() == sha256).then_some(path)
    }

    /// Syncs the bytes to disk before the file gets its name.
    fn persist(&self, writer: ArtifactWriter, path: &Path) -> io::Result<()> {
        let file = writer
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
    /// The SHA-256 of what has been written, in lower-case hex.
    pub(super) fn sha256(&self) -> String {
        hex(&self.digest())
    }

    /// The SHA-256 of what has been written.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.sha256.clone().finalize().into()
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The file with what has been written, outside the cache: it is removed when it is dropped.
    pub(super) fn into_file(self) -> io::Result<NamedTempFile> {
        let file = self.file.into_inner();
        file.map_err(io::IntoInnerError::into_error)
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
        if self.size_bytes > self.max_bytes {
            let why = format!("it is larger than {} bytes", self.max_bytes);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
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

    /// The SHA-256 of what has been read, in lower-case hex.
    pub(super) fn sha256(self) -> String {
        hex(&self.digest())
    }

    /// The SHA-256 of what has been read.
    pub(super) fn digest(self) -> [u8; 32] {
        self.sha256.finalize().into()
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
    fn cache_keeps_temporary_files_of_concurrent_processes() {
        let directory = tempfile::tempdir().expect("a directory");
        let make = || {
            let cache =
                Cache::open(directory.path()).unwrap_or_else(|_| panic!("our own directory"));
            for _ in 0..300 {
                let file = cache
                    .temporary()
                    .unwrap_or_else(|_| panic!("our own directory"));
                std::thread::yield_now();
                assert!(file.path().exists(), "another thread has removed it");
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
