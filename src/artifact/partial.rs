//! A partial download, kept when it breaks off, so that the next attempt resumes it, in this run or
//! in a later one.
//!
//! ```text
//! downloads/KEY.part   the bytes; KEY is the SHA-256 of the URL
//! downloads/KEY.tag    by what the server knows the very file that they are the beginning of
//! downloads/KEY.known  what the URL led to the last time, see `recollection`
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

/// An unfinished download that is older is removed.
const KEPT_FOR: Duration = Duration::from_hours(7 * 24);

/// A download under way. It is removed when it is complete.
pub(super) struct Partial {
    place: PartialFile,
    length: u64,
    tag: Option<String>,
    is_whole: bool,
}

enum PartialFile {
    /// Locked by this process; the lock ends with the process.
    Kept { file: File, path: PathBuf },
    /// Another ship process downloads the same source, so this file is not kept.
    Alone(NamedTempFile),
}

/// The directory of a cache's downloads, which is made if it is not there.
pub(super) fn directory(cache: &Cache) -> Result<PathBuf, ArtifactError> {
    let directory = cache.directory().join("downloads");
    make_private_dir(&directory).map_err(|why| cache.error(&why))?;
    Ok(directory)
}

/// Removes old downloads, since the playbook may not name their URL any more.
pub(super) fn sweep(cache: &Cache) {
    for entry in fs::read_dir(cache.directory().join("downloads"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = modified.is_ok_and(|then| then.elapsed().is_ok_and(|age| age > KEPT_FOR));
        if is_old {
            // Only litter: that it cannot be removed is no reason to stop.
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Partial {
    /// Opens what has arrived of a download, by its key.
    pub(super) fn open(directory: &Path, key: &str, cache: &Cache) -> Result<Self, ArtifactError> {
        let path = directory.join(format!("{key}.part"));
        match locked(&path).map_err(|why| cache.error(&why))? {
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
                    place: PartialFile::Kept { file, path },
                    length,
                    tag,
                    is_whole: false,
                })
            }
            None => Ok(Self {
                place: PartialFile::Alone(cache.temporary()?),
                length: 0,
                tag: None,
                is_whole: false,
            }),
        }
    }

    /// Bytes that are there, which is where the download goes on.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// By what the server knows the file that they are of; `None` where there is nothing to go on
    /// with.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref().filter(|_| self.length > 0)
    }

    pub(super) fn path(&self) -> &Path {
        match &self.place {
            PartialFile::Kept { path, .. } => path,
            PartialFile::Alone(file) => file.path(),
        }
    }

    /// Starts again with an empty file that has this tag.
    pub(super) fn begin(&mut self, tag: Option<String>) -> io::Result<()> {
        self.file().set_len(0)?;
        self.length = 0;
        if let PartialFile::Kept { path, .. } = &self.place {
            let note = path.with_extension("tag");
            match &tag {
                Some(tag) => {
                    private_file()
                        .write(true)
                        .create(true)
                        .truncate(true)
                        .open(note)?
                        .write_all(tag.as_bytes())?;
                }
                None => remove(&note)?,
            }
        }
        self.tag = tag;
        Ok(())
    }

    /// Opens the file to write at its end.
    pub(super) async fn writer(&self) -> io::Result<Writer> {
        let mut file = tokio::fs::File::from_std(self.file().try_clone()?);
        file.seek(io::SeekFrom::Start(self.length)).await?;
        Ok(Writer {
            file: BufWriter::new(file),
            bytes: 0,
        })
    }

    /// Flushes `writer` and counts its bytes.
    pub(super) async fn take(&mut self, mut writer: Writer) -> io::Result<()> {
        writer.file.flush().await?;
        self.length += writer.bytes;
        Ok(())
    }

    /// Marks the download as complete.
    pub(super) fn whole(mut self) -> Self {
        self.is_whole = true;
        self
    }

    fn file(&self) -> &File {
        match &self.place {
            PartialFile::Kept { file, .. } => file,
            PartialFile::Alone(file) => file.as_file(),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // A download that cannot be resumed is of no use.
        let is_of_use = !self.is_whole && self.length > 0 && self.tag.is_some();
        if let (PartialFile::Kept { path, .. }, false) = (&self.place, is_of_use) {
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(path.with_extension("tag"));
        }
    }
}

pub(super) struct Writer {
    file: BufWriter<tokio::fs::File>,
    bytes: u64,
}

impl Writer {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// The file at `path`, locked; `None` where another has it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    loop {
        let open = private_file()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        // Where files cannot be locked, two may write to one; what comes of it is checked.
        if matches!(open.try_lock(), Err(TryLockError::WouldBlock)) {
            return Ok(None);
        }
        // Whoever had it may have removed it meanwhile.
        let is_there = fs::metadata(path)
            .is_ok_and(|there| open.metadata().is_ok_and(|own| there.ino() == own.ino()));
        if is_there {
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
