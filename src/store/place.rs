//! Where the state lives: the directory `.ship`, found the way git finds its own.

use std::path::{Path, PathBuf};

use super::{RolloutId, StoreError};

/// The state directory, and what lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory itself.
    pub dir: PathBuf,
}

impl Place {
    /// The database.
    pub fn database(&self) -> PathBuf {
        self.dir.join("ship.db")
    }

    /// Artifacts by digest.
    pub fn artifacts(&self) -> PathBuf {
        self.dir.join("artifacts")
    }

    /// What is left of each rollout: its log, and its page.
    pub fn runs(&self) -> PathBuf {
        self.dir.join("runs")
    }

    /// The log of a rollout.
    pub fn run_log(&self, rollout: RolloutId) -> PathBuf {
        self.runs().join(format!("{}.jsonl", rollout.0))
    }

    /// The base directory of a local host.
    pub fn local_host(&self, name: &str) -> PathBuf {
        self.dir.join("hosts").join(name)
    }

    /// Makes the directory, for its owner alone.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(&self) -> Result<(), StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.dir)
            .map_err(|source| StoreError::Directory { path: self.dir.clone(), source })
    }
}

const NAME: &str = ".ship";

/// The nearest `.ship` in `from` or a directory above it.
pub fn find(from: &Path) -> Option<Place> {
    from.ancestors().map(|dir| dir.join(NAME)).find(|dir| dir.is_dir()).map(|dir| Place { dir })
}

/// The `.ship` of an inventory: the nearest above it; where there is none yet, the repository's root, or beside the
/// folder named `inventory`, or beside the file. It never depends on the directory that ship is called from, as cron
/// calls from anywhere.
pub fn place_for(inventory: &Path) -> Place {
    let absolute = std::path::absolute(inventory).unwrap_or_else(|_| inventory.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    find(folder).unwrap_or_else(|| {
        let repository = folder.ancestors().find(|dir| dir.join(".git").exists());
        let beside = || if folder.ends_with("inventory") { folder.parent() } else { None };
        Place { dir: repository.or_else(beside).unwrap_or(folder).join(NAME) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(dirs: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for dir in dirs {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        root
    }

    #[test]
    fn an_existing_place_above_the_inventory_is_found() {
        let root = tree(&["a/.ship", "a/b/inventory"]);
        let inventory = root.path().join("a/b/inventory/x.toml");
        assert_eq!(place_for(&inventory).dir, root.path().join("a/.ship"));
        assert_eq!(find(&root.path().join("a/b")).unwrap().dir, root.path().join("a/.ship"));
    }

    #[test]
    fn a_new_place_is_the_repositorys_root_or_beside_the_inventory() {
        let root = tree(&["repo/.git", "repo/deep/inventory", "plain/inventory", "flat"]);
        let place = |path: &str| place_for(&root.path().join(path)).dir;
        assert_eq!(place("repo/deep/inventory/x.toml"), root.path().join("repo/.ship"));
        assert_eq!(place("plain/inventory/x.toml"), root.path().join("plain/.ship"));
        assert_eq!(place("flat/x.toml"), root.path().join("flat/.ship"));
    }
}
