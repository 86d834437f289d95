//! Floor 1: decides which files of this machine ship trusts, and keeps ship's own files private.
//!
//! A path that a user names is the user's choice. A path that ship *finds* (`.ship` in a parent
//! directory, an inventory recorded in the database, the files that this inventory refers to) must
//! belong to the caller or to root, and no other user may be able to write to it, as with git's
//! `safe.directory`. The caller is the effective user: under `sudo`, that is root.
//!
//! Write permission for a group counts as write permission for other users, except for a user's
//! private group (the group with the user's name and without other members), because several
//! distributions have a umask of 002.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::fs::OFlags;
use thiserror::Error;

use crate::system::accounts::{effective_uid, is_private_group, user_name};

/// The mode of a private directory.
const DIRECTORY_MODE: u32 = 0o700;
/// The mode of a private file.
const FILE_MODE: u32 = 0o600;
const ROOT: u32 = 0;
const GROUP_MAY_WRITE: u32 = 0o020;
const OTHERS_MAY_WRITE: u32 = 0o002;
/// In a directory with this bit, users can rename and remove only their own files.
const STICKY: u32 = 0o1000;
/// The permissions of all users except the owner.
const BEYOND_OWNER: u32 = 0o077;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} {why}", path.display())]
pub struct Untrusted {
    pub path: PathBuf,
    pub why: Distrust,
}

/// Why ship does not trust a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The path belongs to another user.
    Owner {
        owner: u32,
        /// The user who runs ship.
        caller: u32,
    },
    /// Other users can write to the path.
    Writable { mode: u32, owner: u32 },
    /// The path is a symbolic link where ship does not follow links.
    Link,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Distrust::Owner {
                owner,
                caller: ROOT,
            } => write!(f, "belongs to {}, not to root", user(*owner)),
            Distrust::Owner { owner, caller } => {
                write!(
                    f,
                    "belongs to {}, not to {} or root",
                    user(*owner),
                    user(*caller)
                )
            }
            Distrust::Writable { mode, owner } => {
                write!(
                    f,
                    "belongs to {}, but other users can write to it (mode {mode:04o})",
                    user(*owner)
                )
            }
            Distrust::Link => {
                f.write_str("is a symbolic link, and ship does not follow links there")
            }
        }
    }
}

/// For messages: `anna (uid 1000)`.
fn user(uid: u32) -> String {
    user_name(uid).map_or_else(
        || format!("uid {uid}"),
        |name| format!("{name} (uid {uid})"),
    )
}

/// Whether the file belongs to the caller or to root.
pub fn is_own(metadata: &Metadata) -> bool {
    [ROOT, effective_uid()].contains(&metadata.uid())
}

/// Checks a path in ship's own directory, which must not be a link. A path that does not exist is
/// trusted.
///
/// # Errors
/// If another user owns the path or can write to it, or if it is a link.
pub fn check_own(path: &Path) -> Result<(), Untrusted> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if metadata.is_symlink() {
        return Err(Untrusted {
            path: path.to_owned(),
            why: Distrust::Link,
        });
    }
    check_one(path, &metadata)
}

/// Checks a file or directory that ship has found, every link on the path, and every directory
/// below `base` on the path. If the target is not below `base`, all directories up to the root are
/// checked. A path that does not exist is trusted.
///
/// # Errors
/// If another user owns the path or can replace it.
pub fn check_found(path: &Path, base: &Path) -> Result<(), Untrusted> {
    let Ok(target) = path.canonicalize() else {
        return Ok(());
    };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // The owner of a link decides where it leads, and the owner of a directory decides what it
    // contains.
    for link in links(&path) {
        check_owner(&link, fs::symlink_metadata(&link))?;
    }
    for dir in path
        .ancestors()
        .skip(1)
        .take_while(|dir| dir.starts_with(base))
    {
        check_owner(dir, fs::metadata(dir))?;
    }
    if let Ok(metadata) = fs::metadata(&target) {
        check_one(&target, &metadata)?;
    }
    let base = base.canonicalize().unwrap_or_else(|_| base.to_owned());
    let is_below = target.starts_with(&base);
    for dir in target.ancestors().skip(1) {
        if let Ok(metadata) = fs::metadata(dir) {
            // In a sticky directory, no user can replace the file of another user. Which groups may
            // write to a system directory is the administrator's choice, for example staff to
            // /usr/local.
            let is_sticky = metadata.mode() & STICKY != 0;
            let is_systems =
                !is_below && metadata.uid() == ROOT && metadata.mode() & OTHERS_MAY_WRITE == 0;
            if is_sticky || is_systems {
                check_owner(dir, Ok(metadata))?;
            } else {
                check_one(dir, &metadata)?;
            }
        }
        if dir == base {
            break;
        }
    }
    Ok(())
}

/// Every symbolic link on a path, including links that other links lead to. At most as many as the
/// kernel follows.
fn links(path: &Path) -> Vec<PathBuf> {
    const LINKS_MAX: usize = 40;
    let mut found = Vec::new();
    let mut rest = path.to_owned();
    while found.len() < LINKS_MAX {
        let mut from_root: Vec<_> = rest.ancestors().collect();
        from_root.reverse();
        let Some((link, target)) = from_root
            .into_iter()
            .find_map(|link| Some((link, fs::read_link(link).ok()?)))
        else {
            break;
        };
        let mut next = link.parent().unwrap_or(Path::new("/")).join(target);
        // With nothing to add, `extend` adds no slash, which would follow the link.
        next.extend(rest.strip_prefix(link).unwrap_or(Path::new("")));
        found.push(link.to_owned());
        rest = next;
    }
    found
}

/// Rejects a file of another user. A path that does not exist is trusted.
fn check_owner(path: &Path, metadata: io::Result<Metadata>) -> Result<(), Untrusted> {
    match metadata {
        Ok(metadata) if !is_own(&metadata) => {
            let why = Distrust::Owner {
                owner: metadata.uid(),
                caller: effective_uid(),
            };
            Err(Untrusted {
                path: path.to_owned(),
                why,
            })
        }
        _ => Ok(()),
    }
}

fn check_one(path: &Path, metadata: &Metadata) -> Result<(), Untrusted> {
    check_owner(path, Ok(metadata.clone()))?;
    let mode = metadata.mode();
    let group_is_private = || is_private_group(metadata.gid(), metadata.uid()) && !has_acl(path);
    if mode & OTHERS_MAY_WRITE != 0 || mode & GROUP_MAY_WRITE != 0 && !group_is_private() {
        let why = Distrust::Writable {
            mode: mode & 0o7777,
            owner: metadata.uid(),
        };
        return Err(Untrusted {
            path: path.to_owned(),
            why,
        });
    }
    Ok(())
}

/// Whether the file has an access control list, which may allow more users to write: its mask
/// appears as the group permissions.
fn has_acl(path: &Path) -> bool {
    let mut nothing: [u8; 0] = [];
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut nothing).is_ok()
}

/// Creates a directory and its missing parents, accessible only to the caller. An existing
/// directory is made private, whatever the umask was.
///
/// # Errors
/// If the directory cannot be created.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)?;
    make_private(path);
    Ok(())
}

/// Removes all permissions of other users, and grants the owner read and write. If that fails,
/// because the file belongs to root or is on a read-only file system, it stays unchanged.
pub fn make_private(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    let least = if metadata.is_dir() {
        DIRECTORY_MODE
    } else {
        FILE_MODE
    };
    let mode = metadata.mode() & 0o7777;
    if metadata.is_symlink() || mode & BEYOND_OWNER == 0 && mode & least == least {
        return;
    }
    drop(fs::set_permissions(
        path,
        Permissions::from_mode(mode & !BEYOND_OWNER | least),
    ));
}

/// Options to open a file that only the caller can access, without following a link and without
/// waiting at a named pipe.
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE).custom_flags(own_flags());
    options
}

/// Opens a file for reading; a link is an error, and a named pipe is empty.
///
/// # Errors
/// If the file cannot be opened or is a link.
pub fn open_own(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(own_flags())
        .open(path)
}

fn own_flags() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    const OTHER_USER: u32 = 4711;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// A directory `project` with a file `inventory/a.toml`.
    fn tree() -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let project = root.path().join("project");
        fs::create_dir_all(project.join("inventory")).unwrap();
        fs::write(project.join("inventory/a.toml"), "").unwrap();
        for path in ["", "inventory"] {
            mode(&project.join(path), 0o755);
        }
        mode(&project.join("inventory/a.toml"), 0o644);
        (root, project)
    }

    #[test]
    fn found_file_is_rejected_if_others_can_write_to_it_or_to_a_parent_directory() {
        for (changed, permissions) in [
            ("inventory/a.toml", 0o646),
            ("inventory", 0o757),
            ("", 0o757),
        ] {
            let (_root, project) = tree();
            let file = project.join("inventory/a.toml");
            assert_eq!(check_found(&file, &project), Ok(()));
            let changed = project.join(changed);
            mode(&changed, permissions);
            let refused = check_found(&file, &project).unwrap_err();
            assert_eq!(refused.path, changed.canonicalize().unwrap());
            assert!(
                refused
                    .to_string()
                    .contains(&format!("can write to it (mode {permissions:04o})")),
                "{refused}"
            );
        }
    }

    #[test]
    fn found_file_is_trusted_in_a_sticky_directory() {
        let (_root, project) = tree();
        mode(&project, 0o1777);
        assert_eq!(
            check_found(&project.join("inventory/a.toml"), &project),
            Ok(())
        );
    }

    #[test]
    fn found_link_is_checked_at_its_target() {
        let (root, project) = tree();
        let elsewhere = root.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        mode(&elsewhere, 0o777);
        fs::write(elsewhere.join("b.toml"), "").unwrap();
        symlink(elsewhere.join("b.toml"), project.join("b.toml")).unwrap();
        let refused = check_found(&project.join("b.toml"), &project).unwrap_err();
        assert_eq!(refused.path, elsewhere.canonicalize().unwrap());
    }

    #[test]
    fn own_directory_rejects_links() {
        let (_root, project) = tree();
        symlink(project.join("inventory"), project.join("runs")).unwrap();
        assert_eq!(
            check_own(&project.join("runs")).unwrap_err().why,
            Distrust::Link
        );
        assert_eq!(check_own(&project.join("nothing")), Ok(()));
        assert!(open_own(&project.join("runs")).is_err());
    }

    #[test]
    fn found_file_of_another_user_is_rejected() {
        let (_root, project) = tree();
        let file = project.join("inventory/a.toml");
        if chown(&file, Some(OTHER_USER), None).is_err() {
            eprintln!("SKIPPED: only root can give a file away");
            return;
        }
        let refused = check_found(&file, &project).unwrap_err();
        assert_eq!(
            refused.why,
            Distrust::Owner {
                owner: OTHER_USER,
                caller: effective_uid()
            }
        );
        assert_eq!(
            check_own(&file),
            Err(Untrusted {
                path: file.clone(),
                why: refused.why.clone()
            })
        );
        assert!(
            refused
                .to_string()
                .ends_with("belongs to uid 4711, not to root"),
            "{refused}"
        );
    }

    #[test]
    fn found_file_is_rejected_if_another_user_owns_a_link_or_parent_directory() {
        let (root, project) = tree();
        let (other, chain) = (root.path().join("other"), project.join("chain.toml"));
        fs::create_dir(&other).unwrap();
        // A link of the caller to a link of the other user to a file of the caller.
        symlink(project.join("inventory/a.toml"), other.join("link")).unwrap();
        symlink(other.join("link"), &chain).unwrap();
        check_found(&chain, &project).unwrap();
        if std::os::unix::fs::lchown(other.join("link"), Some(OTHER_USER), None).is_err() {
            return;
        }
        assert_eq!(
            check_found(&chain, &project).unwrap_err().path,
            other.join("link")
        );
        // A directory of the other user with a link of the caller in it.
        symlink(project.join("inventory/a.toml"), other.join("own")).unwrap();
        check_found(&other.join("own"), &other).unwrap();
        chown(&other, Some(OTHER_USER), None).unwrap();
        assert_eq!(
            check_found(&other.join("own"), &other).unwrap_err().path,
            other
        );
    }

    #[test]
    fn make_private_sets_private_permissions() {
        let (_root, project) = tree();
        let file = project.join("inventory/a.toml");
        for permissions in [0o644, 0o666, 0o000, 0o440] {
            mode(&file, permissions);
            make_private(&file);
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        }
        make_private(&project);
        assert_eq!(fs::metadata(&project).unwrap().mode() & 0o777, 0o700);
    }
}
