//! The state directory `.ship`, found in the way git finds its own.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::store::error::StoreError;
use crate::store::records::RolloutId;
use crate::trust;

/// The state directory, and what lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    pub dir: PathBuf,
}

impl StateDir {
    pub fn database(&self) -> PathBuf {
        self.dir.join("ship.db")
    }

    /// Artifacts by digest.
    pub fn artifacts(&self) -> PathBuf {
        self.dir.join("artifacts")
    }

    /// The files of each rollout: its log and its page.
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

    /// Makes the directory and what ship keeps in it, private whatever the umask is, and makes
    /// private what an earlier version of ship has made. The directory ignores itself in git.
    ///
    /// # Errors
    /// If it cannot be made, or is not to be trusted.
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
            // Whoever writes there says why that is not possible.
            drop(trust::make_private_dir(&dir));
        }
        let ignored = self.dir.join(".gitignore");
        if !ignored.exists()
            && let Ok(mut file) = trust::private_file()
                .write(true)
                .create_new(true)
                .open(&ignored)
        {
            // A state directory that git sees is no reason to refuse a deploy.
            drop(file.write_all(b"*\n"));
        }
        Ok(())
    }

    /// Refuses a directory in which another user may have put something, and every link in it.
    ///
    /// # Errors
    /// [`StoreError::Untrusted`] names what is not trusted.
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
            // It may belong to root, or lie on a read-only file system.
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

    /// The files of ship itself; those below a local host's directory belong to that host.
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
        // A link among these is listed, and refused, before anything below it is.
        list(self.dir.clone()).chain(
            below
                .into_iter()
                .filter(|dir| !dir.is_symlink())
                .flat_map(list),
        )
    }
}

/// Who can use the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The user who runs ship.
    OwnerOnly,
    /// Services of local hosts, too, which run as users of their own and have their releases below
    /// it. They can pass through, and neither list nor read what is private.
    Services,
}

const NAME: &str = ".ship";
const HOSTS: &str = "hosts";
/// A directory that others can pass through if they know the way.
const TRAVERSABLE: u32 = 0o711;

/// The nearest `.ship` in `from` or a directory above it. The search ends at the root of a
/// repository, and does not go on into a directory of another user.
pub fn find(from: &Path) -> Option<StateDir> {
    for dir in from.ancestors() {
        if dir != from && !std::fs::metadata(dir).is_ok_and(|metadata| trust::is_own(&metadata)) {
            return None;
        }
        let place = dir.join(NAME);
        // A link is found, too: whoever opens it refuses it.
        if place.is_dir() || place.is_symlink() {
            return Some(StateDir { dir: place });
        }
        if is_repository(dir) {
            return None;
        }
    }
    None
}

/// Whether git's directory is here and belongs to this user.
fn is_repository(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir.join(".git")).is_ok_and(|metadata| trust::is_own(&metadata))
}

/// The `.ship` of an inventory: the nearest above it; where there is none yet, the repository's
/// root, or beside the folder named `inventory`, or beside the file. It never depends on the
/// directory that ship is called from, as cron calls from anywhere.
pub fn place_for(inventory: &Path) -> StateDir {
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
    fn an_existing_place_above_the_inventory_is_found() {
        let root = tree(&["a/.ship", "a/b/inventory"]);
        let inventory = root.path().join("a/b/inventory/x.toml");
        assert_eq!(place_for(&inventory).dir, root.path().join("a/.ship"));
        assert_eq!(
            find(&root.path().join("a/b")).unwrap().dir,
            root.path().join("a/.ship")
        );
    }

    #[test]
    fn a_new_place_is_the_repositorys_root_or_beside_the_inventory() {
        let root = tree(&[
            "repo/.git",
            "repo/deep/inventory",
            "plain/inventory",
            "flat",
        ]);
        let place = |path: &str| place_for(&root.path().join(path)).dir;
        assert_eq!(
            place("repo/deep/inventory/x.toml"),
            root.path().join("repo/.ship")
        );
        assert_eq!(
            place("plain/inventory/x.toml"),
            root.path().join("plain/.ship")
        );
        assert_eq!(place("flat/x.toml"), root.path().join("flat/.ship"));
    }

    #[test]
    fn search_ends_at_the_repositorys_root() {
        let root = tree(&[".ship", "repo/.git", "repo/deep"]);
        assert_eq!(find(&root.path().join("repo/deep")), None);
        assert_eq!(
            place_for(&root.path().join("repo/deep/x.toml")).dir,
            root.path().join("repo/.ship")
        );
        assert_eq!(find(root.path()).unwrap().dir, root.path().join(".ship"));
    }

    #[test]
    fn search_does_not_go_on_into_a_directory_of_another_user() {
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
    fn state_directory_and_what_lies_in_it_become_private() {
        let root = tree(&["a/.ship/runs", "a/.ship/artifacts"]);
        let place = StateDir {
            dir: root.path().join("a/.ship"),
        };
        let files = ["ship.db", "ship.db-wal", "runs/1.jsonl", "artifacts/0a"]
            .map(|file| place.dir.join(file));
        for file in &files {
            std::fs::write(file, "").unwrap();
            chmod(file, 0o644);
        }
        for dir in [place.dir.clone(), place.runs(), place.artifacts()] {
            chmod(&dir, 0o755);
        }
        place.make(Access::OwnerOnly).unwrap();
        assert_eq!(
            [&place.dir, &place.runs(), &place.artifacts()].map(|dir| mode(dir)),
            [0o700; 3]
        );
        assert_eq!(files.each_ref().map(|file| mode(file)), [0o600; 4]);
        assert_eq!(
            std::fs::read_to_string(place.dir.join(".gitignore")).unwrap(),
            "*\n"
        );

        place.make(Access::Services).unwrap();
        assert_eq!(mode(&place.dir), 0o711);
        place.make(Access::OwnerOnly).unwrap();
        assert_eq!(
            mode(&place.dir),
            0o711,
            "a service of another inventory may still pass through"
        );
    }

    #[test]
    fn links_in_the_state_directory_are_refused() {
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
            let place = StateDir {
                dir: root.path().join("a/.ship"),
            };
            let path = place.dir.join(link);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(root.path().join("elsewhere"), &path).unwrap();
            let refused = place.make(Access::OwnerOnly).unwrap_err().to_string();
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
