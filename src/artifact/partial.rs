//! A partial download. It is kept when the download is interrupted, so that this run or a later one
//! resumes it.
//!
//! ```text
//! downloads/KEY.part   the bytes; KEY is the SHA-256 of the URL
//! downloads/KEY.tag    the server's strong validator of the file to which the bytes belong
//! downloads/KEY.known  the result of the previous download, see `http_cache`
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::NamedTempFile;
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter};

use super::cache::Cache;
use super::error::ArtifactError;
use crate::trust::{make_private_dir, private_file};

/// Unfinished downloads older than this are removed.
const KEPT_FOR: Duration = Duration::from_hours(7 * 24);

/// A download in progress. Its files are removed when it is complete.
pub(super) struct Partial {
    storage: PartialFile,
    length: u64,
    tag: Option<String>,
    is_complete: bool,
}

enum PartialFile {
    /// Locked by this process; the lock ends with the process.
    Kept { file: File, path: PathBuf },
    /// Another ship process downloads the same source, so this file is not kept.
    Temporary(NamedTempFile),
}

/// The directory of a cache's downloads, which is created if it does not exist.
pub(super) fn directory(cache: &Cache) -> Result<PathBuf, ArtifactError> {
    let directory = cache.directory().join("downloads");
    make_private_dir(&directory).map_err(|why| cache.error(&why))?;
    Ok(directory)
}

/// Removes old downloads, because their URL may no longer be in use.
pub(super) fn remove_old(cache: &Cache) {
    for entry in fs::read_dir(cache.directory().join("downloads"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = modified.is_ok_and(|then| then.elapsed().is_ok_and(|age| age > KEPT_FOR));
        if is_old {
            // A file that cannot be removed only wastes space.
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Partial {
    /// Opens the partial download with this key.
    pub(super) fn open(directory: &Path, key: &str, cache: &Cache) -> Result<Self, ArtifactError> {
        let path = directory.join(format!("{key}.part"));
        match open_locked(&path).map_err(|why| cache.error(&why))? {
            Some(file) => {
                let tag = fs::read_to_string(path.with_extension("tag"))
                    .ok()
                    .filter(|tag| !tag.is_empty());
                let length = if tag.is_some() {
                    file.metadata().map_or(0, |metadata| metadata.len())
                } else {
                    0
                };
                Ok(Self {
                    storage: PartialFile::Kept { file, path },
                    length,
                    tag,
                    is_complete: false,
                })
            }
            None => Ok(Self {
                storage: PartialFile::Temporary(cache.temporary()?),
                length: 0,
                tag: None,
                is_complete: false,
            }),
        }
    }

    /// How many bytes have arrived. The download resumes there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The server's strong validator of the file; `None` if there is nothing to resume.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref().filter(|_| self.length > 0)
    }

    pub(super) fn path(&self) -> &Path {
        match &self.storage {
            PartialFile::Kept { path, .. } => path,
            PartialFile::Temporary(file) => file.path(),
        }
    }

    /// Restarts the download with an empty file and this validator.
    pub(super) fn restart(&mut self, tag: Option<String>) -> io::Result<()> {
        self.file().set_len(0)?;
        self.length = 0;
        if let PartialFile::Kept { path, .. } = &self.storage {
            let tag_path = path.with_extension("tag");
            match &tag {
                Some(tag) => {
                    private_file()
                        .write(true)
                        .create(true)
                        .truncate(true)
                        .open(tag_path)?
                        .write_all(tag.as_bytes())?;
                }
                None => remove(&tag_path)?,
            }
        }
        self.tag = tag;
        Ok(())
    }

    /// Opens the file for writing at its end.
    pub(super) async fn writer(&self) -> io::Result<PartialWriter> {
        let mut file = tokio::fs::File::from_std(self.file().try_clone()?);
        file.seek(io::SeekFrom::Start(self.length)).await?;
        Ok(PartialWriter {
            file: BufWriter::new(file),
            bytes: 0,
        })
    }

    /// Flushes `writer` and counts its bytes.
    pub(super) async fn finish_write(&mut self, mut writer: PartialWriter) -> io::Result<()> {
        writer.file.flush().await?;
        self.length += writer.bytes;
        Ok(())
    }

    /// Marks the download as complete.
    pub(super) fn into_complete(mut self) -> Self {
        self.is_complete = true;
        self
    }

    fn file(&self) -> &File {
        match &self.storage {
            PartialFile::Kept { file, .. } => file,
            PartialFile::Temporary(file) => file.as_file(),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // A download that cannot be resumed is of no use.
        let is_resumable = !self.is_complete && self.length > 0 && self.tag.is_some();
        if let (PartialFile::Kept { path, .. }, false) = (&self.storage, is_resumable) {
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(path.with_extension("tag"));
        }
    }
}

pub(super) struct PartialWriter {
    file: BufWriter<tokio::fs::File>,
    bytes: u64,
}

impl PartialWriter {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// Opens and locks the file at `path`; `None` if another process has locked it.
fn open_locked(path: &Path) -> io::Result<Option<File>> {
    loop {
        let open = private_file()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        // On file systems without locks, two processes may write to the same file; the digest check
        // finds that.
        if matches!(open.try_lock(), Err(TryLockError::WouldBlock)) {
            return Ok(None);
        }
        // The previous owner may have removed it in the meantime.
        let is_current = fs::metadata(path)
            .is_ok_and(|current| open.metadata().is_ok_and(|own| current.ino() == own.ino()));
        if is_current {
            return Ok(Some(open));
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}
