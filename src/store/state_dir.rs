//! The state directory `.ship`, which ship finds as git finds `.git`.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::store::error::StoreError;
use crate::store::records::RolloutId;
use crate::trust;

/// The state directory and its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    pub dir: PathBuf,
}

impl StateDir {
    pub fn database(&self) -> PathBuf {
        self.dir.join("ship.db")
    }

    /// The artifacts, by digest.
    pub fn artifacts(&self) -> PathBuf {
        self.dir.join("artifacts")
    }

    /// The files of each rollout: its log and its report.
    pub fn runs(&self) -> PathBuf {
        self.dir.join("runs")
    }

    pub fn run_log(&self, rollout: RolloutId) -> PathBuf {
        self.runs().join(format!("{}.jsonl", rollout.0))
    }

    /// The base directory of a local host.
    pub fn local_host(&self, name: &str) -> PathBuf {
        self.dir.join(HOSTS).join(name)
    }

    /// Creates the directory and its subdirectories, with private permissions regardless of the
    /// umask, and makes existing files private. Adds a `.gitignore` that excludes the directory.
    ///
    /// # Errors
    /// If the directory cannot be created, or is not trusted.
    pub fn make(&self, access: Access) -> Result<(), StoreError> {
        self.check()?;
        let failed = |source| StoreError::Directory {
            path: self.dir.clone(),
            source,
        };
        if !self.dir.is_dir() {
            trust::make_private_dir(&self.dir).map_err(failed)?;
        }
        self.make_private(access);
        for dir in [self.runs(), self.artifacts()] {
            // A later write there reports why this failed.
            drop(trust::make_private_dir(&dir));
        }
        let ignored = self.dir.join(".gitignore");
        if !ignored.exists()
            && let Ok(mut file) = trust::private_file()
                .write(true)
                .create_new(true)
                .open(&ignored)
        {
            // A missing `.gitignore` is not a reason to refuse a deploy.
            drop(file.write_all(b"*\n"));
        }
        Ok(())
    }

    /// Rejects a directory to which another user may have added files, and every link in it.
    ///
    /// # Errors
    /// [`StoreError::Untrusted`] contains the path.
    pub fn check(&self) -> Result<(), StoreError> {
        trust::check_own(&self.dir)?;
        for path in self.own_files() {
            trust::check_own(&path)?;
        }
        Ok(())
    }

    fn make_private(&self, access: Access) {
        let mode = std::fs::metadata(&self.dir)
            .map_or(0, |metadata| metadata.permissions().mode() & 0o777);
        let wanted = match access {
            Access::OwnerOnly if mode & !TRAVERSABLE == 0 => mode,
            Access::OwnerOnly => 0o700,
            Access::Services => TRAVERSABLE,
        };
        if mode != wanted {
            // This fails if the directory belongs to root, or is on a read-only file system.
            drop(std::fs::set_permissions(
                &self.dir,
                std::fs::Permissions::from_mode(wanted),
            ));
        }
        let hosts = self.dir.join(HOSTS);
        self.own_files()
            .filter(|path| !path.starts_with(&hosts))
            .for_each(|path| trust::make_private(&path));
    }

    /// The files of ship itself; files below a local host's directory belong to that host.
    fn own_files(&self) -> impl Iterator<Item = PathBuf> {
        let list = |dir: PathBuf| {
            std::fs::read_dir(dir)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
        };
        let below = [
            self.runs(),
            self.artifacts(),
            self.artifacts().join("downloads"),
            self.dir.join(HOSTS),
        ];
        // A link among these directories is listed, and therefore rejected; nothing below it is
        // listed.
        list(self.dir.clone()).chain(
            below
                .into_iter()
                .filter(|dir| !dir.is_symlink())
                .flat_map(list),
        )
    }
}

/// Who can access the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The user who runs ship.
    OwnerOnly,
    /// Also services of local hosts, which run as other users and whose releases are below the
    /// directory. They can traverse it, but neither list it nor read private files.
    Services,
}

const NAME: &str = ".ship";
const HOSTS: &str = "hosts";
/// A directory that others can traverse but not list.
const TRAVERSABLE: u32 = 0o711;

/// The nearest `.ship` in `from` or a directory above it. The search ends at the root of a
/// repository and does not enter a directory of another user.
pub fn find(from: &Path) -> Option<StateDir> {
    for dir in from.ancestors() {
        if dir != from && !std::fs::metadata(dir).is_ok_and(|metadata| trust::is_own(&metadata)) {
            return None;
        }
        let state_dir = dir.join(NAME);
        // A link counts, too: opening it fails.
        if state_dir.is_dir() || state_dir.is_symlink() {
            return Some(StateDir { dir: state_dir });
        }
        if is_repository(dir) {
            return None;
        }
    }
    None
}

/// Whether the directory contains a `.git` of this user.
fn is_repository(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir.join(".git")).is_ok_and(|metadata| trust::is_own(&metadata))
}

/// The `.ship` of an inventory: the nearest one above it. If there is none yet, the new one is in
/// the root of the repository, or next to the directory named `inventory`, or next to the file. The
/// result does not depend on the working directory, because cron starts ship anywhere.
pub fn state_dir_for(inventory: &Path) -> StateDir {
    let absolute = std::path::absolute(inventory).unwrap_or_else(|_| inventory.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    find(folder).unwrap_or_else(|| {
        let repository = folder.ancestors().find(|dir| is_repository(dir));
        let beside = || {
            if folder.ends_with("inventory") {
                folder.parent()
            } else {
                None
            }
        };
        StateDir {
            dir: repository.or_else(beside).unwrap_or(folder).join(NAME),
        }
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
    fn state_dir_is_found_above_the_inventory() {
        let root = tree(&["a/.ship", "a/b/inventory"]);
        let inventory = root.path().join("a/b/inventory/x.toml");
        assert_eq!(state_dir_for(&inventory).dir, root.path().join("a/.ship"));
        assert_eq!(
            find(&root.path().join("a/b")).unwrap().dir,
            root.path().join("a/.ship")
        );
    }

    #[test]
    fn new_state_dir_is_in_the_repository_root_or_next_to_the_inventory() {
        let root = tree(&[
            "repo/.git",
            "repo/deep/inventory",
            "plain/inventory",
            "flat",
        ]);
        let state_dir = |path: &str| state_dir_for(&root.path().join(path)).dir;
        assert_eq!(
            state_dir("repo/deep/inventory/x.toml"),
            root.path().join("repo/.ship")
        );
        assert_eq!(
            state_dir("plain/inventory/x.toml"),
            root.path().join("plain/.ship")
        );
        assert_eq!(state_dir("flat/x.toml"), root.path().join("flat/.ship"));
    }

    #[test]
    fn state_dir_search_ends_at_the_repository_root() {
        let root = tree(&[".ship", "repo/.git", "repo/deep"]);
        assert_eq!(find(&root.path().join("repo/deep")), None);
        assert_eq!(
            state_dir_for(&root.path().join("repo/deep/x.toml")).dir,
            root.path().join("repo/.ship")
        );
        assert_eq!(find(root.path()).unwrap().dir, root.path().join(".ship"));
    }

    #[test]
    fn state_dir_search_does_not_enter_a_directory_of_another_user() {
        let root = tree(&["theirs/.ship", "theirs/mine"]);
        if std::os::unix::fs::chown(root.path().join("theirs"), Some(4711), None).is_err() {
            eprintln!("SKIPPED: only root can give a directory away");
            return;
        }
        assert_eq!(find(&root.path().join("theirs/mine")), None);
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn state_dir_and_its_files_become_private() {
        let root = tree(&["a/.ship/runs", "a/.ship/artifacts"]);
        let state_dir = StateDir {
            dir: root.path().join("a/.ship"),
        };
        let files = ["ship.db", "ship.db-wal", "runs/1.jsonl", "artifacts/0a"]
            .map(|file| state_dir.dir.join(file));
        for file in &files {
            std::fs::write(file, "").unwrap();
            chmod(file, 0o644);
        }
        for dir in [
            state_dir.dir.clone(),
            state_dir.runs(),
            state_dir.artifacts(),
        ] {
            chmod(&dir, 0o755);
        }
        state_dir.make(Access::OwnerOnly).unwrap();
        assert_eq!(
            [&state_dir.dir, &state_dir.runs(), &state_dir.artifacts()].map(|dir| mode(dir)),
            [0o700; 3]
        );
        assert_eq!(files.each_ref().map(|file| mode(file)), [0o600; 4]);
        assert_eq!(
            std::fs::read_to_string(state_dir.dir.join(".gitignore")).unwrap(),
            "*\n"
        );

        state_dir.make(Access::Services).unwrap();
        assert_eq!(mode(&state_dir.dir), 0o711);
        state_dir.make(Access::OwnerOnly).unwrap();
        assert_eq!(
            mode(&state_dir.dir),
            0o711,
            "a service of another inventory may still traverse it"
        );
    }

    #[test]
    fn state_dir_rejects_links() {
        for link in [
            "ship.db",
            "runs",
            "artifacts",
            "hosts",
            "hosts/web1",
            "runs/1.jsonl",
            ".gitignore",
        ] {
            let root = tree(&["a/.ship/", "elsewhere"]);
            let state_dir = StateDir {
                dir: root.path().join("a/.ship"),
            };
            let path = state_dir.dir.join(link);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(root.path().join("elsewhere"), &path).unwrap();
            let refused = state_dir.make(Access::OwnerOnly).unwrap_err().to_string();
            assert!(
                refused.contains(link) && refused.contains("is a symbolic link"),
                "{refused}"
            );
        }
        let root = tree(&["elsewhere"]);
        std::os::unix::fs::symlink(root.path().join("elsewhere"), root.path().join(".ship"))
            .unwrap();
        assert!(find(root.path()).unwrap().check().is_err());
        assert_eq!(
            std::fs::read_dir(root.path().join("elsewhere"))
                .unwrap()
                .count(),
            0
        );
    }
}
