//! The files of an artifact, with access to any part of their contents.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::thread::{self, JoinHandle};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::archive::{self, CheckedArchive, ContentSink};
use super::archive_fault::Fault;
use super::cache::{Cache, Hashed};
use super::contents_digest::ReleaseContents;
use super::tar_reader::TarEntry;
use crate::core::release::{Artifact, ArtifactForm};

/// The unpacked files of an artifact. Equal contents are kept once.
pub(super) struct UnpackedArtifact {
    pub(super) contents: ReleaseContents,
    store: File,
    places: BTreeMap<[u8; 32], Place>,
}

/// Where a content is, and the time of the file.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    mtime_s: i64,
}

impl UnpackedArtifact {
    /// Unpacks an artifact of the cache into an unnamed file there.
    ///
    /// # Errors
    /// If the artifact cannot be read, is not valid, has sparse files, or the cache is full.
    pub(super) fn open(artifact: &Artifact, cache: &Cache) -> io::Result<Self> {
        let mut file = File::open(cache.directory().join(&artifact.sha256))?;
        if let ArtifactForm::File(name) = &artifact.form {
            let mut reader = Hashed::new(&mut file);
            let size_bytes = io::copy(&mut reader, &mut io::sink())?;
            let sha256 = reader.digest();
            let contents = ReleaseContents::of_file(name, size_bytes, sha256);
            return Ok(Self::of_file(contents, sha256, file));
        }
        let mut store = ContentStore::create(cache)?;
        let tar = MultiGzDecoder::new(BufReader::new(file));
        let checked = archive::check(tar, artifact.strip_components, &mut store);
        let checked = checked.map_err(|fault| match fault {
            Fault::Broken(why) | Fault::Refused(why) | Fault::Unsafe { why, .. } => {
                io::Error::other(why)
            }
            Fault::Empty => io::Error::other("it is empty"),
        })?;
        store.finish(&checked)
    }

    /// An artifact that is a single file, with this SHA-256.
    pub(super) fn of_file(contents: ReleaseContents, sha256: [u8; 32], file: File) -> Self {
        let place = Place {
            offset: 0,
            mtime_s: 0,
        };
        Self {
            contents,
            store: file,
            places: [(sha256, place)].into(),
        }
    }

    /// The time of a file with this content, in seconds since 1970.
    pub(super) fn mtime_s(&self, sha256: &[u8; 32]) -> i64 {
        self.places.get(sha256).map_or(0, |place| place.mtime_s)
    }

    /// A reader of a part of a content.
    pub(super) fn part(&self, sha256: &[u8; 32], offset: u64, length: u64) -> PartReader<'_> {
        let begin = self.places.get(sha256).map(|place| place.offset + offset);
        PartReader {
            store: &self.store,
            offset: begin.unwrap_or_default(),
            left: if begin.is_some() { length } else { 0 },
        }
    }
}

/// An artifact that is being unpacked. The thread does not delay the end of the process.
pub(super) struct Unpacking {
    pub(super) artifact: Artifact,
    pub(super) cache: Cache,
    thread: JoinHandle<io::Result<UnpackedArtifact>>,
}

impl Unpacking {
    /// Starts to unpack an artifact of the cache.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub(super) fn start(artifact: &Artifact, cache: &Cache) -> io::Result<Self> {
        let (wanted, source) = (artifact.clone(), cache.clone());
        let unpack = move || UnpackedArtifact::open(&wanted, &source);
        Ok(Self {
            artifact: artifact.clone(),
            cache: cache.clone(),
            thread: thread::Builder::new().spawn(unpack)?,
        })
    }

    /// Waits for the unpacked artifact.
    ///
    /// # Errors
    /// As for [`UnpackedArtifact::open`].
    pub(super) fn finish(self) -> io::Result<UnpackedArtifact> {
        let joined = self.thread.join();
        joined.map_err(|_| io::Error::other("a thread has panicked"))?
    }
}

/// Reads a range of a file.
pub(super) struct PartReader<'a> {
    store: &'a File,
    offset: u64,
    left: u64,
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        let length = self
            .store
            .read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.offset)?;
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}

/// Writes the contents of an archive that is being checked into an unnamed file, one after the
/// other, each once. A failure to write does not end the check.
pub(super) struct ContentStore {
    file: BufWriter<File>,
    /// The beginning and the end of the entry that is being written.
    begin: u64,
    end: u64,
    places: BTreeMap<[u8; 32], Place>,
    /// The number of bytes after which the space on the disk is checked again.
    unchecked_bytes: u64,
    /// Why nothing more is written.
    failure: Option<io::Error>,
}

impl ContentStore {
    /// Creates the file, in the cache.
    ///
    /// # Errors
    /// If the cache cannot be written.
    pub(super) fn create(cache: &Cache) -> io::Result<Self> {
        const BUFFER_BYTES: usize = 1 << 18;
        let file = tempfile::tempfile_in(cache.directory())?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            begin: 0,
            end: 0,
            places: BTreeMap::new(),
            unchecked_bytes: 0,
            failure: None,
        })
    }

    /// The artifact, after its archive was checked.
    ///
    /// # Errors
    /// If a content could not be written, or the archive has sparse files.
    pub(super) fn finish(self, checked: &CheckedArchive) -> io::Result<UnpackedArtifact> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if checked.contents_sha256.is_none() {
            return Err(io::Error::other("it has sparse files"));
        }
        let store = self.file.into_inner();
        Ok(UnpackedArtifact {
            contents: checked.contents.clone(),
            store: store.map_err(io::IntoInnerError::into_error)?,
            places: self.places,
        })
    }

    /// Leaves space for the state of ship, which is often on the same disk.
    fn add_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        const CHECKED_BYTES: u64 = 16 << 20;
        let length = bytes.len() as u64;
        if length > self.unchecked_bytes {
            self.unchecked_bytes = CHECKED_BYTES;
            if is_almost_full(self.file.get_ref())? {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        self.unchecked_bytes = self.unchecked_bytes.saturating_sub(length);
        self.file.write_all(bytes)?;
        self.end += length;
        Ok(())
    }

    fn add_place(&mut self, entry: &TarEntry) -> io::Result<()> {
        let is_file = matches!(entry.kind, EntryType::Regular | EntryType::Continuous);
        match self.places.entry(entry.sha256) {
            Entry::Vacant(vacant) if is_file => {
                vacant.insert(Place {
                    offset: self.begin,
                    mtime_s: entry.mtime_s,
                });
            }
            _ if self.end > self.begin => {
                self.file.seek(SeekFrom::Start(self.begin))?;
                self.end = self.begin;
            }
            _ => {}
        }
        self.begin = self.end;
        Ok(())
    }
}

/// Whether the disk of a file has little space: less than 5 %, and less than 256 MB.
fn is_almost_full(file: &File) -> io::Result<bool> {
    const FREE_MIN_BYTES: u64 = 256 << 20;
    let disk = rustix::fs::fstatvfs(file)?;
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    Ok(bytes(disk.f_bavail) < FREE_MIN_BYTES.min(bytes(disk.f_blocks) / 20))
}

impl Write for ContentStore {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failure.is_none() {
            self.failure = self.add_bytes(bytes).err();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ContentSink for ContentStore {
    fn end_entry(&mut self, entry: &TarEntry) {
        if self.failure.is_none() {
            self.failure = self.add_place(entry).err();
        }
    }
}

#[cfg(test)]
mod tests {
    use tar::{Builder, Header};

    use super::*;

    #[test]
    fn contents_that_cannot_be_kept_do_not_end_the_check() {
        let mut archive = Builder::new(Vec::new());
        let mut header = Header::new_ustar();
        header.set_size(5);
        header.set_mode(0o644);
        let appended = archive.append_data(&mut header, "page", &b"hello"[..]);
        appended.expect("an entry");
        let bytes = archive.into_inner().expect("an archive");
        let mut full = ContentStore {
            file: BufWriter::with_capacity(1, File::open("/dev/null").expect("a file")),
            begin: 0,
            end: 0,
            places: BTreeMap::new(),
            unchecked_bytes: u64::MAX,
            failure: None,
        };
        let checked = archive::check(bytes.as_slice(), 0, &mut full);
        let checked = checked.unwrap_or_else(|_| panic!("the archive is valid"));
        assert!(full.finish(&checked).is_err());
    }
}
