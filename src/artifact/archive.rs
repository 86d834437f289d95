//! Proves that a tar archive is complete and that unpacking it stays within its directory.
//!
//! Hosts may unpack as root, so ship does not rely on their tar: no entry is absolute or contains
//! `..`, no entry lies behind a symbolic link or replaces one, no relative link leads outside, and
//! there are only files, directories and links. An absolute symbolic link names a path of the host,
//! such as the interpreter of a virtual environment. It is unpacked as it is, and nothing is
//! unpacked, linked or changed through it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use tar::EntryType;

use super::contents_digest::{Content, ReleaseContents};
use super::tar_reader::{StrictTarReader, TarEntry};
use crate::artifact::archive_fault::{Fault, printable};

/// What an archive unpacks to.
pub(super) struct CheckedArchive {
    pub(super) unpacked_bytes: u64,
    pub(super) contents: ReleaseContents,
    /// The digest of its files; `None` if it contains a sparse file.
    pub(super) contents_sha256: Option<String>,
}

impl CheckedArchive {
    /// A release that is a single file, which is not unpacked.
    pub(super) fn of_file(name: &str, size_bytes: u64, sha256: [u8; 32]) -> Self {
        let contents = ReleaseContents::of_file(name, size_bytes, sha256);
        Self {
            unpacked_bytes: 0,
            contents_sha256: Some(contents.sha256()),
            contents,
        }
    }
}

/// Properties of an archive that can only be judged as a whole.
#[derive(Default)]
struct Contents {
    /// Every path that is written to or linked to.
    paths: BTreeSet<PathBuf>,
    symlinks: BTreeSet<PathBuf>,
    /// Hard links and their targets.
    links: Vec<(PathBuf, PathBuf)>,
    release: ReleaseContents,
    has_sparse_files: bool,
}

/// Receives the contents of the entries of an archive.
pub(super) trait ContentSink: Write {
    /// Called after the content of an entry was written.
    fn end_entry(&mut self, entry: &TarEntry);
}

impl ContentSink for io::Sink {
    fn end_entry(&mut self, _: &TarEntry) {}
}

/// Checks the whole archive, and writes the contents of its entries to `sink`. When it is unpacked,
/// the first `strip` components of each path are dropped.
pub(super) fn check(
    reader: impl Read,
    strip: u32,
    sink: &mut impl ContentSink,
) -> Result<CheckedArchive, Fault> {
    let strip = usize::try_from(strip).unwrap_or(usize::MAX);
    let mut contents = Contents::default();
    let mut reader = StrictTarReader::new(reader);
    while let Some(entry) = reader.next(sink)? {
        sink.end_entry(&entry);
        contents.add(&entry, strip).map_err(|why| Fault::Unsafe {
            entry: printable(&entry.path),
            why,
        })?;
    }
    contents.check_symlinks()?;
    if contents.paths.is_empty() {
        Err(Fault::Empty)
    } else {
        Ok(CheckedArchive {
            unpacked_bytes: reader.unpacked_bytes(),
            contents_sha256: (!contents.has_sparse_files).then(|| contents.release.sha256()),
            contents: contents.release,
        })
    }
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl Contents {
    fn add(&mut self, entry: &TarEntry, strip: usize) -> Result<(), String> {
        let path = path_of(&entry.path);
        let link = entry.link.as_deref().map(path_of);
        if !is_inside(path) {
            let why = if path.is_absolute() {
                "which has an absolute path"
            } else {
                "which is outside the archive's directory"
            };
            return Err(why.to_owned());
        }
        let Some(stripped) = strip_components(path, strip) else {
            return Ok(());
        };
        match (entry.kind, link) {
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, _) => {
                self.has_sparse_files |= entry.kind == EntryType::GNUSparse;
                self.release.add(
                    &stripped,
                    Content::File {
                        is_executable: entry.is_executable,
                        size_bytes: entry.size_bytes,
                        sha256: entry.sha256,
                    },
                );
            }
            (EntryType::Directory, _) => self.release.add(&stripped, Content::Directory),
            (EntryType::Symlink, Some(target)) => {
                if !target.is_absolute() && !stays_inside(target, stripped.components().count() - 1)
                {
                    return Err(format!(
                        "a symbolic link that leads outside: `{}`",
                        printable_path(target)
                    ));
                }
                if self.paths.contains(&stripped) {
                    return Err("a symbolic link that replaces another entry".to_owned());
                }
                let content = Content::Symlink(target.as_os_str().as_bytes().to_vec());
                self.release.add(&stripped, content);
                self.symlinks.insert(stripped.clone());
                self.paths.insert(stripped);
                return Ok(());
            }
            (EntryType::Link, Some(target)) => {
                let target_inside = Some(target).filter(|target| is_inside(target));
                let target_inside =
                    target_inside.and_then(|target| strip_components(target, strip));
                let target = target_inside.ok_or_else(|| {
                    format!(
                        "a hard link that leads outside: `{}`",
                        printable_path(target)
                    )
                })?;
                if !self.paths.contains(&target) {
                    return Err(format!(
                        "a hard link to `{}`, which is not in the archive before it",
                        printable_path(&target)
                    ));
                }
                self.release.add_link(&stripped, &target);
                self.links.push((stripped.clone(), target));
            }
            _ => return Err("which is neither a file, a directory nor a link".to_owned()),
        }
        if self.symlinks.contains(&stripped) {
            return Err("which replaces a symbolic link".to_owned());
        }
        self.paths.insert(stripped);
        Ok(())
    }

    /// Rejects paths behind a symbolic link, which would be unpacked wherever the link leads, and
    /// hard links to a symbolic link, which would lead to a different target if it is relative.
    fn check_symlinks(&self) -> Result<(), Fault> {
        if let Some((link, target)) = self
            .links
            .iter()
            .find(|(_, target)| self.symlinks.contains(target))
        {
            let why = format!(
                "which is a hard link to the symbolic link `{}`",
                printable_path(target)
            );
            return Err(Fault::Unsafe {
                entry: printable_path(link),
                why,
            });
        }
        // In sorted order, all paths below a path follow it directly.
        let mut symlink: Option<&Path> = None;
        for path in &self.paths {
            if let Some(symlink) =
                symlink.filter(|symlink| path != symlink && path.starts_with(symlink))
            {
                let why = format!(
                    "which is behind the symbolic link `{}`",
                    printable_path(symlink)
                );
                return Err(Fault::Unsafe {
                    entry: printable_path(path),
                    why,
                });
            }
            if self.symlinks.contains(path) {
                symlink = Some(path);
            }
        }
        Ok(())
    }
}

fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// Whether a path is relative and contains no `..`.
fn is_inside(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The rest of a path; `None` if nothing is left. A `.` counts as a component, as in every tar.
fn strip_components(path: &Path, strip: usize) -> Option<PathBuf> {
    let parts = path
        .as_os_str()
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty());
    let rest: PathBuf = parts
        .skip(strip)
        .filter(|part| *part != b".")
        .map(OsStr::from_bytes)
        .collect();
    (!rest.as_os_str().is_empty()).then_some(rest)
}

/// Whether a symbolic link's target, seen from `depth` directories below the top, stays inside.
///
/// The target may contain `..` only at its beginning: what `..` means after a name depends on
/// whether that name is a link.
fn stays_inside(target: &Path, depth: usize) -> bool {
    let mut parts = target
        .components()
        .filter(|part| *part != Component::CurDir)
        .peekable();
    let mut climbed = 0;
    while parts.next_if_eq(&Component::ParentDir).is_some() {
        climbed += 1;
    }
    climbed <= depth && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlink_target_may_start_with_as_many_parent_dirs_as_its_depth() {
        let inside = |target: &str, depth| stays_inside(Path::new(target), depth);
        assert!(inside("b", 0) && inside("./b/c", 0) && inside("../b", 1) && inside("../../b", 2));
        assert!(
            !inside("../b", 0)
                && !inside("../../b", 1)
                && !inside("/etc", 5)
                && !inside("a/../../../b", 1)
        );
        assert!(!inside("a/../b", 0), "a may be a link");
    }
}
