//! The files of an artifact, with access to any part of their contents.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::archive::{self, ContentSink};
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
            let place = Place {
                offset: 0,
                mtime_s: 0,
            };
            return Ok(Self {
                contents: ReleaseContents::of_file(name, size_bytes, sha256),
                store: file,
                places: [(sha256, place)].into(),
            });
        }
        let store = tempfile::tempfile_in(cache.directory())?;
        let mut writer = StoreWriter::new(store.try_clone()?);
        let tar = MultiGzDecoder::new(BufReader::new(file));
        let checked = archive::check(tar, artifact.strip_components, &mut writer);
        let checked = checked.map_err(|fault| match fault {
            Fault::Broken(why) | Fault::Refused(why) | Fault::Unsafe { why, .. } => {
                io::Error::other(why)
            }
            Fault::Empty => io::Error::other("it is empty"),
        })?;
        if checked.contents_sha256.is_none() {
            return Err(io::Error::other("it has sparse files"));
        }
        Ok(Self {
            contents: checked.contents,
            store,
            places: writer.finish()?,
        })
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

/// Writes contents one after the other, each once.
struct StoreWriter {
    file: BufWriter<File>,
    /// The beginning and the end of the entry that is being written.
    begin: u64,
    end: u64,
    places: BTreeMap<[u8; 32], Place>,
}

impl StoreWriter {
    fn new(file: File) -> Self {
        const BUFFER_BYTES: usize = 1 << 18;
        Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            begin: 0,
            end: 0,
            places: BTreeMap::new(),
        }
    }

    fn finish(mut self) -> io::Result<BTreeMap<[u8; 32], Place>> {
        self.file.flush()?;
        Ok(self.places)
    }
}

impl Write for StoreWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.end += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl ContentSink for StoreWriter {
    fn end_entry(&mut self, entry: &TarEntry) -> io::Result<()> {
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
