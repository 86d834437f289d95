//! Floor 1: which files of this machine ship trusts, and how it keeps its own private.
//!
//! A path that a user names is the user's choice. A path that ship *finds* (`.ship` in a parent
//! directory, the inventory that the database remembers, the files that this inventory leads to)
//! must belong to the caller or to root, and nobody else may be able to write to it, as with git's
//! `safe.directory`. The caller is the effective user: under `sudo` that is root, whoever called
//! it.
//!
//! Group permission to write counts as somebody else's, except for a user's private group (the
//! group of the user's name without any other member), because a umask of 002 is the default of
//! several distributions.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use rustix::fs::OFlags;
use thiserror::Error;

use crate::system::accounts::{caller, is_private_group, name_of};

/// The mode of a private directory.
const DIRECTORY_MODE: u32 = 0o700;
/// The mode of a private file.
const FILE_MODE: u32 = 0o600;
const ROOT: u32 = 0;
const GROUP_MAY_WRITE: u32 = 0o020;
const OTHERS_MAY_WRITE: u32 = 0o002;
/// In such a directory, users can rename and remove only what they own.
const STICKY: u32 = 0o1000;
/// The permissions of everybody but the owner.
const BEYOND_OWNER: u32 = 0o077;

/// A path that ship does not trust.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} {why}", path.display())]
pub struct Untrusted {
    pub path: PathBuf,
    pub why: Distrust,
}

/// Why ship does not trust a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It belongs to another user.
    Owner {
        owner: u32,
        /// The user who runs ship.
        caller: u32,
    },
    /// Other users can write to it.
    Writable { mode: u32, owner: u32 },
    /// It is a symbolic link in a place where ship does not follow one.
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

/// `anna (uid 1000)`.
fn user(uid: u32) -> String {
    name_of(uid).map_or_else(
        || format!("uid {uid}"),
        |name| format!("{name} (uid {uid})"),
    )
}

/// Whether the caller or root owns it.
pub fn is_own(metadata: &Metadata) -> bool {
    [ROOT, caller()].contains(&metadata.uid())
}

/// Checks one path of ship's own directory, which must be no link. Nothing is wrong with a path
/// that does not exist.
///
/// # Errors
/// If another user owns it or can write to it, or it is a link.
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

/// Checks a file or directory that was found, every link on the way to it, and every directory
/// below `base` that leads there; all directories up to the root where it is not below `base`.
/// Nothing is wrong with a path that does not exist.
///
/// # Errors
/// If another user owns it or can replace it.
pub fn check_found(path: &Path, base: &Path) -> Result<(), Untrusted> {
    let Ok(target) = path.canonicalize() else {
        return Ok(());
    };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // The owner of a link decides where it leads, and the owner of a directory what lies there.
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
            // In a sticky directory nobody can replace the file of another user. Which groups may
            // write to a directory of the system is for its administrator to say: that of staff to
            // /usr/local, for example.
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

/// Every symbolic link on the way to a path, those that other links lead to among them. At most as
/// many as the kernel follows.
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

/// Refuses a file of another user. A path that does not exist is fine.
fn check_owner(path: &Path, metadata: io::Result<Metadata>) -> Result<(), Untrusted> {
    match metadata {
        Ok(metadata) if !is_own(&metadata) => {
            let why = Distrust::Owner {
                owner: metadata.uid(),
                caller: caller(),
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

/// Whether an access control list may let further users write: its mask shows as the group's
/// permissions.
fn has_acl(path: &Path) -> bool {
    let mut nothing: [u8; 0] = [];
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut nothing).is_ok()
}

/// Makes a directory, and those above it that are missing, for the caller alone. One that is there
/// already is made private, whatever the umask was.
///
/// # Errors
/// If it cannot be made.
pub fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)?;
    make_private(path);
    Ok(())
}

/// Takes all permissions from everybody but the owner, and gives the owner those to read and write.
/// Where that is not possible, because the file belongs to root or lies on a read-only file system,
/// it stays as it is.
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

/// Options that open a file for the caller alone, follow no link, and wait for nobody at a named
/// pipe.
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(FILE_MODE).custom_flags(own_flags());
    options
}

/// Opens a file to read it; a link is an error, and a named pipe is empty.
///
/// # Errors
/// If it cannot be opened or is a link.
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

    const STRANGER: u32 = 4711;

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
    fn a_found_file_is_refused_when_others_can_write_to_it_or_to_a_directory_on_the_way() {
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
    fn a_sticky_directory_may_be_writable() {
        let (_root, project) = tree();
        mode(&project, 0o1777);
        assert_eq!(
            check_found(&project.join("inventory/a.toml"), &project),
            Ok(())
        );
    }

    #[test]
    fn a_file_that_is_reached_by_a_link_is_judged_where_it_lies() {
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
    fn ships_own_directory_holds_no_links() {
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
    fn a_strangers_file_is_refused() {
        let (_root, project) = tree();
        let file = project.join("inventory/a.toml");
        if chown(&file, Some(STRANGER), None).is_err() {
            eprintln!("SKIPPED: only root can give a file away");
            return;
        }
        let refused = check_found(&file, &project).unwrap_err();
        assert_eq!(
            refused.why,
            Distrust::Owner {
                owner: STRANGER,
                caller: caller()
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
    fn found_file_is_refused_if_another_user_owns_a_link_or_a_directory_on_the_way() {
        let (root, project) = tree();
        let (other, chain) = (root.path().join("other"), project.join("chain.toml"));
        fs::create_dir(&other).unwrap();
        // A link of the caller's to a link of the stranger's to a file of the caller's.
        symlink(project.join("inventory/a.toml"), other.join("link")).unwrap();
        symlink(other.join("link"), &chain).unwrap();
        check_found(&chain, &project).unwrap();
        if std::os::unix::fs::lchown(other.join("link"), Some(STRANGER), None).is_err() {
            return;
        }
        assert_eq!(
            check_found(&chain, &project).unwrap_err().path,
            other.join("link")
        );
        // A directory of the stranger's with a link of the caller's in it.
        symlink(project.join("inventory/a.toml"), other.join("own")).unwrap();
        check_found(&other.join("own"), &other).unwrap();
        chown(&other, Some(STRANGER), None).unwrap();
        assert_eq!(
            check_found(&other.join("own"), &other).unwrap_err().path,
            other
        );
    }

    #[test]
    fn private_files_are_private_whatever_they_were() {
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
