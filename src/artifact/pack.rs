//! Packs a directory so that the same content always has the same digest. The archive contains no
//! times: unpacked files get the time of their unpacking, so that tools which watch for changes
//! notice them.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use super::cache::{ArtifactWriter, Cache, is_cache_failure};
use super::error::ArtifactError;

/// Directories of tools, which change without changes to the artifact.
const EXCLUDED: [&str; 2] = [".git", ".ship"];
pub(super) const EXECUTABLE: u32 = 0o755;
pub(super) const PLAIN: u32 = 0o644;
/// The value of gzip's header for an unknown operating system.
const UNKNOWN_SYSTEM: u8 = 255;

/// A gzip writer whose output depends only on its input.
pub(super) fn gzip<W: Write>(writer: W) -> GzEncoder<W> {
    GzBuilder::new()
        .mtime(0)
        .operating_system(UNKNOWN_SYSTEM)
        .write(writer, Compression::fast())
}

/// A gzipped archive of the content of `directory`, sorted by name.
pub(super) fn pack(
    directory: &Path,
    shown: &str,
    cache: &Cache,
) -> Result<ArtifactWriter, ArtifactError> {
    let mut packing = Packing {
        shown,
        cache,
        builder: Builder::new(gzip(cache.new_writer()?)),
    };
    packing.directory(directory, Path::new(""))?;
    packing
        .builder
        .into_inner()
        .and_then(GzEncoder::finish)
        .map_err(|why| cache.error(&why))
}

struct Packing<'a, W: Write> {
    shown: &'a str,
    cache: &'a Cache,
    builder: Builder<W>,
}

impl<W: Write> Packing<'_, W> {
    fn directory(&mut self, directory: &Path, name: &Path) -> Result<(), ArtifactError> {
        for child in sorted_names(directory).map_err(|why| self.unreadable(directory, &why))? {
            let (path, name) = (directory.join(&child), name.join(&child));
            let metadata = path
                .symlink_metadata()
                .map_err(|why| self.unreadable(&path, &why))?;
            if metadata.is_dir() {
                self.append(
                    &path,
                    &name,
                    header(EntryType::Directory, EXECUTABLE, 0),
                    io::empty(),
                )?;
                self.directory(&path, &name)?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).map_err(|why| self.unreadable(&path, &why))?;
                let mut header = header(EntryType::Symlink, 0o777, 0);
                let appended = self.builder.append_link(&mut header, &name, target);
                appended.map_err(|why| self.unreadable(&path, &why))?;
            } else if metadata.is_file() {
                self.file(&path, &name, &metadata)?;
            } else {
                return Err(ArtifactError::special_file(
                    self.shown,
                    &name.display().to_string(),
                ));
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, name: &Path, metadata: &Metadata) -> Result<(), ArtifactError> {
        const OWNER_MAY_EXECUTE: u32 = 0o100;
        let executable = metadata.permissions().mode() & OWNER_MAY_EXECUTE != 0;
        let size = metadata.len();
        let mut reader = CountingReader {
            inner: File::open(path)
                .map_err(|why| self.unreadable(path, &why))?
                .take(size),
            read: 0,
        };
        let header = header(
            EntryType::Regular,
            if executable { EXECUTABLE } else { PLAIN },
            size,
        );
        self.append(path, name, header, &mut reader)?;
        if reader.read == size {
            Ok(())
        } else {
            Err(ArtifactError::changed(
                self.shown,
                &name.display().to_string(),
            ))
        }
    }

    fn append(
        &mut self,
        path: &Path,
        name: &Path,
        mut header: Header,
        data: impl Read,
    ) -> Result<(), ArtifactError> {
        self.builder
            .append_data(&mut header, name, data)
            .map_err(|why| self.unreadable(path, &why))
    }

    fn unreadable(&self, path: &Path, why: &io::Error) -> ArtifactError {
        if is_cache_failure(why) {
            return self.cache.error(why);
        }
        ArtifactError::unreadable(&path.display().to_string(), why)
    }
}

fn sorted_names(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.retain(|name| !EXCLUDED.iter().any(|excluded| name == excluded));
    names.sort();
    Ok(names)
}

pub(super) fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

struct CountingReader<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.read += length as u64;
        Ok(length)
    }
}
