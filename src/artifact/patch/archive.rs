//! Writes the archive of a patch. It contains:
//!
//! - `release/app/`: the directories, the links, and the files that are sent as a whole;
//! - `kept`: the names of the files that the host copies, each with a NUL at its end;
//! - `edits`: how the host makes files from parts, line by line, see [`PatchArchive::edit`];
//! - `sent`: the bytes of the parts that are sent, one after the other.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use tar::{Builder, EntryType};

use super::blocks::{BlockIndex, UnpackedFile};
use super::zstd::{self, Compression};
use crate::artifact::cache::{ArtifactWriter, Cache};
use crate::artifact::contents_digest::Content;
use crate::artifact::pack::{EXECUTABLE, PLAIN, gzip, header};
use crate::artifact::unpacked::UnpackedArtifact;
use crate::core::release::patch::{FileEdit, PatchMethod};

/// Smaller files are sent as a whole.
const EDITED_MIN_BYTES: u64 = 64 << 10;
/// If the parts to send are less than this share of a file, zstd is not tried.
const FEW_PARTS: u64 = 16;

/// Writes the difference between two artifacts; returns also whether the host needs zstd.
///
/// # Errors
/// If the difference is larger than `max_bytes`, or the cache cannot be written.
pub(super) fn write(
    held: &UnpackedArtifact,
    new: &UnpackedArtifact,
    cache: &Cache,
    method: PatchMethod,
    max_bytes: u64,
) -> io::Result<(ArtifactWriter, bool)> {
    let mut index = BlockIndex::new(replaced_files(held, new));
    let writer = cache
        .new_limited_writer(max_bytes)
        .map_err(io::Error::other)?;
    let mut archive = PatchArchive {
        builder: Builder::new(gzip(writer)),
        cache,
        method,
        max_bytes,
        kept: Vec::new(),
        edits: String::new(),
        sent: Vec::new(),
        sent_bytes: 0,
        needs_zstd: false,
    };
    for (path, content) in new.contents.iter() {
        match content {
            Content::Directory => archive.directory(path)?,
            Content::Symlink(target) => archive.symlink(path, target)?,
            Content::File { .. } if held.contents.get(path) == Some(content) => archive.keep(path),
            Content::File { is_executable, .. } => {
                if let Some(file) = file(new, path, content) {
                    archive.file(&file, *is_executable, &mut index)?;
                }
            }
        }
    }
    let needs_zstd = archive.needs_zstd;
    Ok((archive.finish()?, needs_zstd))
}

/// The files of the old release that the new one does not have in the same place, and whose parts
/// may be in its files.
fn replaced_files<'a>(held: &'a UnpackedArtifact, new: &UnpackedArtifact) -> Vec<UnpackedFile<'a>> {
    let files = held
        .contents
        .iter()
        .filter(|(path, content)| new.contents.get(path) != Some(content));
    files
        .filter_map(|(path, content)| file(held, path, content))
        .filter(can_be_edited)
        .collect()
}

fn file<'a>(
    artifact: &'a UnpackedArtifact,
    path: &'a Path,
    content: &'a Content,
) -> Option<UnpackedFile<'a>> {
    match content {
        Content::File {
            size_bytes, sha256, ..
        } => Some(UnpackedFile {
            artifact,
            path,
            sha256,
            size_bytes: *size_bytes,
        }),
        _ => None,
    }
}

/// Whether a file is large enough, and its name fits into a line that a shell reads.
fn can_be_edited(file: &UnpackedFile<'_>) -> bool {
    let name = file.path.to_str();
    let is_plain =
        name.is_some_and(|name| name.trim() == name && !name.chars().any(char::is_control));
    is_plain && file.size_bytes >= EDITED_MIN_BYTES
}

struct PatchArchive<'a> {
    builder: Builder<GzEncoder<ArtifactWriter>>,
    cache: &'a Cache,
    method: PatchMethod,
    max_bytes: u64,
    kept: Vec<u8>,
    edits: String,
    sent: Vec<Box<dyn Read + 'a>>,
    sent_bytes: u64,
    needs_zstd: bool,
}

impl<'a> PatchArchive<'a> {
    fn directory(&mut self, path: &Path) -> io::Result<()> {
        let mut header = header(EntryType::Directory, EXECUTABLE, 0);
        self.builder
            .append_data(&mut header, entry_path(path), io::empty())
    }

    fn symlink(&mut self, path: &Path, target: &[u8]) -> io::Result<()> {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        let target = OsStr::from_bytes(target);
        self.builder
            .append_link(&mut header, entry_path(path), target)
    }

    fn keep(&mut self, path: &Path) {
        self.kept.extend(b"./");
        self.kept.extend(path.as_os_str().as_bytes());
        self.kept.push(0);
    }

    fn file(
        &mut self,
        file: &UnpackedFile<'a>,
        is_executable: bool,
        index: &mut BlockIndex<'_>,
    ) -> io::Result<()> {
        let mode = if is_executable { EXECUTABLE } else { PLAIN };
        if can_be_edited(file) {
            let edit = FileEdit::from_matches(&index.find(file)?, file.size_bytes);
            if self.method == PatchMethod::PartsOrZstd
                && edit.sent_bytes() > file.size_bytes / FEW_PARTS
                && self.compress(file, mode, &edit, index)?
            {
                return Ok(());
            }
            if edit.is_worth_it() {
                self.edit(file, mode, &edit, index);
                return Ok(());
            }
        }
        let mut header = header(EntryType::Regular, mode, file.size_bytes);
        header.set_mtime(file.artifact.mtime_s(file.sha256).max(0).cast_unsigned());
        let content = file.part(0, file.size_bytes);
        self.builder
            .append_data(&mut header, entry_path(file.path), content)
    }

    /// Adds the lines about one file that is compressed with its old one as the dictionary; returns
    /// whether that is less than its parts. Parts are compressed with gzip, which would not make
    /// them much smaller: if zstd does not reach `max_bytes`, they are not tried.
    ///
    /// ```text
    /// new PATH
    /// zstd LENGTH OFFSET PATH-OF-THE-OLD-RELEASE
    /// end SIZE MODE MTIME
    /// ```
    fn compress(
        &mut self,
        file: &UnpackedFile<'a>,
        mode: u32,
        edit: &FileEdit,
        index: &BlockIndex<'_>,
    ) -> io::Result<bool> {
        let Some(held) = index.most_similar(file, edit) else {
            return Ok(false);
        };
        let compressed = zstd::compress(held, file, edit.sent_bytes() / 2, self.cache)
            .inspect_err(|error| tracing::debug!(%error, "cannot compress with zstd"));
        let compressed = match compressed {
            Ok(Compression::Done(compressed)) => compressed,
            Ok(Compression::TooLarge(bytes)) if bytes > self.max_bytes => {
                let why = format!(
                    "{} has little in common with the old one",
                    file.path.display()
                );
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
            }
            Ok(Compression::TooLarge(_) | Compression::NotTried) | Err(_) => return Ok(false),
        };
        let length = compressed.metadata()?.len();
        self.begin_file(file);
        let (offset, path) = (self.sent_bytes, held.path.display());
        let _ = writeln!(self.edits, "zstd {length} {offset} {path}");
        self.send(length, Box::new(compressed));
        self.needs_zstd = true;
        self.end_file(file, mode);
        Ok(true)
    }

    fn send(&mut self, length: u64, content: Box<dyn Read + 'a>) {
        self.sent_bytes += length;
        self.sent.push(content);
    }

    fn begin_file(&mut self, file: &UnpackedFile<'_>) {
        // Writing to a string does not fail, here as below.
        let _ = writeln!(self.edits, "new {}", file.path.display());
    }

    fn end_file(&mut self, file: &UnpackedFile<'_>, mode: u32) {
        let (size, mtime_s) = (file.size_bytes, file.artifact.mtime_s(file.sha256));
        let _ = writeln!(self.edits, "end {size} {mode:o} {mtime_s}");
    }

    /// Adds the lines about one file that is made from parts:
    ///
    /// ```text
    /// new PATH
    /// base PATH-OF-THE-OLD-RELEASE
    /// sent AT LENGTH OFFSET
    /// held AT LENGTH OFFSET PATH-OF-THE-OLD-RELEASE
    /// end SIZE MODE MTIME
    /// ```
    fn edit(
        &mut self,
        file: &UnpackedFile<'a>,
        mode: u32,
        edit: &FileEdit,
        index: &BlockIndex<'_>,
    ) {
        let name = |number: usize| {
            let held = index.file(number);
            held.map(|held| held.path.display()).into_iter()
        };
        self.begin_file(file);
        for base in edit.base.into_iter().flat_map(name) {
            let _ = writeln!(self.edits, "base {base}");
        }
        for part in &edit.parts {
            let (at, length) = (part.at, part.length);
            let Some(held) = part.held else {
                let _ = writeln!(self.edits, "sent {at} {length} {}", self.sent_bytes);
                self.send(length, Box::new(file.part(at, length)));
                continue;
            };
            for path in name(held.file) {
                let _ = writeln!(self.edits, "held {at} {length} {} {path}", held.offset);
            }
        }
        self.end_file(file, mode);
    }

    fn finish(mut self) -> io::Result<ArtifactWriter> {
        let (kept, edits) = (
            std::mem::take(&mut self.kept),
            std::mem::take(&mut self.edits),
        );
        for (name, content) in [("kept", kept.as_slice()), ("edits", edits.as_bytes())] {
            self.append(name, content.len() as u64, content)?;
        }
        let parts = std::mem::take(&mut self.sent);
        let content = ConcatenatedReader::new(parts.into_iter());
        self.append("sent", self.sent_bytes, content)?;
        self.builder.into_inner().and_then(GzEncoder::finish)
    }

    fn append(&mut self, name: &str, size_bytes: u64, content: impl Read) -> io::Result<()> {
        let mut header = header(EntryType::Regular, PLAIN, size_bytes);
        self.builder.append_data(&mut header, name, content)
    }
}

fn entry_path(path: &Path) -> PathBuf {
    Path::new("release/app").join(path)
}

/// Reads several readers one after the other.
struct ConcatenatedReader<I: Iterator> {
    current: Option<I::Item>,
    rest: I,
}

impl<I: Iterator> ConcatenatedReader<I> {
    fn new(mut readers: I) -> Self {
        Self {
            current: readers.next(),
            rest: readers,
        }
    }
}

impl<I: Iterator<Item: Read>> Read for ConcatenatedReader<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(reader) = &mut self.current {
            let length = reader.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            self.current = self.rest.next();
        }
        Ok(0)
    }
}
