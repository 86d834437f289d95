//! Proves that a tar archive is whole and that unpacking it stays within its directory.
//!
//! Hosts unpack as root at times, so that nothing is left to their tar: no entry is absolute or climbs with `..`, no
//! link leads out, no entry lies behind a symbolic link, and there are only files, directories and links.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use tar::{Archive, EntryType};

/// Why an archive is not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not end, or is none.
    Broken(String),
    /// An entry that has no business there, to be read as "holds `entry`, why".
    Unsafe { entry: String, why: String },
    /// Nothing is in it.
    Empty,
}

/// What is remembered of an archive to judge it as a whole.
#[derive(Default)]
struct Contents {
    /// Everything that is written to or linked to.
    paths: BTreeSet<PathBuf>,
    symlinks: BTreeSet<PathBuf>,
}

/// Reads all of an archive. The first `strip` components of each path are dropped when it is unpacked.
pub(super) fn check(mut reader: impl Read, strip: u32) -> Result<(), Fault> {
    let strip = usize::try_from(strip).unwrap_or(usize::MAX);
    let mut contents = Contents::default();
    let mut archive = Archive::new(&mut reader);
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let path = OsStr::from_bytes(&entry.path_bytes()).to_owned();
        let link = entry.link_name_bytes().map(|link| OsStr::from_bytes(&link).to_owned());
        let kind = entry.header().entry_type();
        contents
            .add(Path::new(&path), kind, link.as_deref().map(Path::new), strip)
            .map_err(|why| Fault::Unsafe { entry: shown(Path::new(&path)), why })?;
    }
    // The archive's end is not the file's: the checksum comes after it.
    io::copy(&mut reader, &mut io::sink()).map_err(broken)?;
    contents.refuse_paths_through_symlinks()?;
    if contents.paths.is_empty() { Err(Fault::Empty) } else { Ok(()) }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn broken(why: io::Error) -> Fault {
    Fault::Broken(why.to_string())
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

impl Contents {
    fn add(&mut self, path: &Path, kind: EntryType, link: Option<&Path>, strip: usize) -> Result<(), String> {
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let whole = inside(path).ok_or_else(|| outside(path, "which lies outside the archive's directory"))?;
        let Some(stripped) = strip_components(&whole, strip) else { return Ok(()) };
        match (kind, link) {
            (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse | EntryType::Directory, _) => {}
            (EntryType::Symlink, Some(target)) => {
                if !stays_inside(target, stripped.components().count() - 1) {
                    return Err(format!("a symbolic link that leads outside: `{}`", shown(target)));
                }
                self.symlinks.insert(stripped.clone());
            }
            (EntryType::Link, Some(target)) => {
                let target_inside = inside(target).and_then(|target| strip_components(&target, strip));
                let target = target_inside.ok_or_else(|| format!("a link that leads outside: `{}`", shown(target)))?;
                self.paths.insert(target);
            }
            _ => return Err("which is neither a file, a directory nor a link".to_owned()),
        }
        self.paths.insert(stripped);
        Ok(())
    }

    /// What lies behind a symbolic link is unpacked wherever that leads.
    fn refuse_paths_through_symlinks(&self) -> Result<(), Fault> {
        for path in &self.paths {
            if let Some(link) = path.ancestors().skip(1).find(|ancestor| self.symlinks.contains(*ancestor)) {
                let why = format!("which lies behind the symbolic link `{}`", shown(link));
                return Err(Fault::Unsafe { entry: shown(path), why });
            }
        }
        Ok(())
    }
}

fn outside(path: &Path, why: &str) -> String {
    if path.is_absolute() { "whose path is absolute".to_owned() } else { why.to_owned() }
}

/// The path without `.`; `None` where it is absolute or climbs.
fn inside(path: &Path) -> Option<PathBuf> {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// The rest of a path; `None` where nothing is left.
fn strip_components(path: &Path, strip: usize) -> Option<PathBuf> {
    let rest: PathBuf = path.components().skip(strip).collect();
    (!rest.as_os_str().is_empty()).then_some(rest)
}

/// Whether a symbolic link's target, seen from `depth` directories below the top, stays below it.
///
/// It may climb at its beginning only: what `..` means behind a name depends on whether that name is a link itself.
fn stays_inside(target: &Path, depth: usize) -> bool {
    let mut parts = target.components().filter(|part| *part != Component::CurDir).peekable();
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
    fn a_link_may_climb_as_far_as_it_lies_deep_and_only_at_its_beginning() {
        let inside = |target: &str, depth| stays_inside(Path::new(target), depth);
        assert!(inside("b", 0) && inside("./b/c", 0) && inside("../b", 1) && inside("../../b", 2));
        assert!(!inside("../b", 0) && !inside("../../b", 1) && !inside("/etc", 5) && !inside("a/../../../b", 1));
        assert!(!inside("a/../b", 0), "a may be a link");
    }
}
