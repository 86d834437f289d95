//! The digest of the files of a release, whatever archive they are sent in.
//!
//! A host keeps only the unpacked files. The digest proves that an archive which a host has made
//! from them has the same content as the artifact of the release.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::hex;

/// The files of a release as a host lists them, in the order of the bytes.
#[derive(Default)]
struct Listing {
    /// The digest of each file, by its name.
    files: BTreeMap<Vec<u8>, String>,
    /// The kind, the name and the target of everything.
    entries: BTreeSet<Vec<u8>>,
}

impl Listing {
    fn add(&mut self, path: &Path, content: &Content) {
        let name = match path.as_os_str().as_bytes() {
            b"" => b".".to_vec(),
            path => [b"./", path].concat(),
        };
        let (kind, target): (&[u8], &[u8]) = match content {
            Content::Directory => (b"d ", b""),
            Content::Symlink(target) => (b"l ", target),
            Content::File {
                is_executable: true,
                ..
            } => (b"x ", b""),
            Content::File { .. } => (b"f ", b""),
        };
        self.entries
            .insert([kind, &name, b"//", target, b"\0"].concat());
        if let Content::File { sha256, .. } = content {
            self.files.insert(name, hex(sha256));
        }
    }

    fn into_text(self) -> Vec<u8> {
        let files = self.files.into_iter();
        let files = files.map(|(name, sha256)| [sha256.as_bytes(), b" *", &name, b"\n"].concat());
        files.chain(self.entries).flatten().collect()
    }
}

/// What is unpacked at a path. Of the permissions, only execution counts, as in git: hosts set the
/// others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Directory,
    File {
        is_executable: bool,
        size_bytes: u64,
        sha256: [u8; 32],
    },
    Symlink(Vec<u8>),
}

/// The content of every path, relative to the directory of the release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseContents(BTreeMap<PathBuf, Content>);

impl ReleaseContents {
    /// The content of a release that is a single file.
    pub(super) fn of_file(name: &str, size_bytes: u64, sha256: [u8; 32]) -> Self {
        let mut contents = Self::default();
        let file = Content::File {
            is_executable: true,
            size_bytes,
            sha256,
        };
        contents.add(Path::new(name), file);
        contents
    }

    /// Everything that is unpacked, in the order of the paths.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Path, &Content)> {
        let all = self.0.iter();
        all.map(|(path, content)| (path.as_path(), content))
    }

    /// What is unpacked at a path.
    pub(super) fn get(&self, path: &Path) -> Option<&Content> {
        self.0.get(path)
    }

    /// Adds an entry, and the directories in which it lies. It replaces an earlier entry of the
    /// same path.
    pub(super) fn add(&mut self, path: &Path, content: Content) {
        let parents = path.ancestors().skip(1);
        for parent in parents.filter(|parent| !parent.as_os_str().is_empty()) {
            let entry = self.0.entry(parent.to_owned());
            entry.or_insert(Content::Directory);
        }
        self.0.insert(path.to_owned(), content);
    }

    /// Adds a hard link, which unpacks to a copy of its target.
    pub(super) fn add_link(&mut self, path: &Path, target: &Path) {
        if let Some(content) = self.0.get(target).cloned() {
            self.add(path, content);
        }
    }

    /// The files and links that a link at `dir` would hide or could not replace: those at or below
    /// it, and any in which it would lie.
    pub fn hidden_by(&self, dir: &Path) -> Vec<&Path> {
        let is_hidden = |path: &Path| path.starts_with(dir) || dir.starts_with(path);
        let files = self
            .0
            .iter()
            .filter(|(_, content)| **content != Content::Directory);
        files
            .map(|(path, _)| path.as_path())
            .filter(|path| is_hidden(path))
            .collect()
    }

    /// The SHA-256 in lower-case hex of the text by which a host lists its files, see
    /// `script/sh/patch.sh`. A host cannot compute `sha256` with its own tools.
    pub(super) fn listing_sha256(&self) -> String {
        let mut listing = Listing::default();
        let root = (Path::new(""), &Content::Directory);
        for (path, content) in self.iter().chain([root]) {
            listing.add(path, content);
        }
        hex(&Sha256::digest(listing.into_text()))
    }

    /// The SHA-256 in lower-case hex of all paths and their contents, in the order of the paths.
    pub(super) fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |field: &[u8]| {
            // The length separates the fields, whatever they contain.
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field);
        };
        for (path, content) in &self.0 {
            add(path.as_os_str().as_bytes());
            match content {
                Content::Directory => add(b"directory"),
                Content::Symlink(target) => {
                    add(b"symlink");
                    add(target);
                }
                Content::File {
                    is_executable,
                    size_bytes,
                    sha256,
                } => {
                    add(if *is_executable { b"program" } else { b"file" });
                    add(&size_bytes.to_be_bytes());
                    add(sha256);
                }
            }
        }
        hex(&digest.finalize())
    }
}
