//! A user's directory with a playbook that tests change.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::namespace::{run, write};

pub struct ProjectDir {
    dir: TempDir,
    playbook: String,
}

impl ProjectDir {
    /// Makes a temporary directory with this `playbook.toml`.
    pub fn new(playbook: &str) -> Self {
        let dir = Self {
            dir: TempDir::new().expect("a temporary directory"),
            playbook: playbook.to_owned(),
        };
        write(&dir.path("playbook.toml"), playbook);
        dir
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Replaces the first occurrence of a part of the playbook. Panics if there is none.
    #[track_caller]
    pub fn change_playbook(&mut self, old: &str, new: &str) {
        assert!(self.playbook.contains(old), "the playbook has no {old:?}");
        self.playbook = self.playbook.replacen(old, new, 1);
        write(&self.path("playbook.toml"), &self.playbook);
    }

    /// A copy of the directory and its files.
    pub fn copy(&self) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let (from, to) = (self.path("."), dir.path());
        run(
            "cp",
            &["-a", &from.display().to_string(), &to.display().to_string()],
        );
        Self {
            dir,
            playbook: self.playbook.clone(),
        }
    }
}
