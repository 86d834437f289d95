//! The users and groups of this machine, and its name.
//!
//! Users and groups come from the system (`getpwuid`, `getgrgid`), so that those of LDAP and other
//! directories count as well as those in `/etc/passwd`.

use std::fs;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User};

/// The effective user id of ship.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of a user of this machine.
pub fn user_name(uid: u32) -> Option<String> {
    account(uid).map(|account| account.name)
}

/// The home directory of a user of this machine, which ssh uses instead of `HOME`.
pub fn home_dir(uid: u32) -> Option<PathBuf> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(user.dir)
}

/// The name of this machine; `localhost` if it has none.
pub fn host_name() -> String {
    let uname = rustix::system::uname();
    match uname.nodename().to_string_lossy().trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// Whether a group has the name of a user and no other member.
pub fn is_private_group(gid: u32, uid: u32) -> bool {
    // A lookup finds the user and the group wherever they are stored. But only a complete list
    // shows which other users have this primary group and which other groups have this number, and
    // not every directory service provides a list. So this also reads the files of this machine.
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (users, groups) = (read("/etc/passwd"), read("/etc/group"));
    let mut users: Vec<_> = users.lines().filter_map(PasswdEntry::parse).collect();
    let mut groups: Vec<_> = groups.lines().filter_map(GroupEntry::parse).collect();
    users.extend(account(uid));
    groups.extend(members(gid));
    is_private_group_of(&users, &groups, gid, uid)
}

/// The fields of a user that matter for ownership.
struct PasswdEntry {
    name: String,
    uid: u32,
    gid: u32,
}

/// A group and its members, without users who have it as their primary group.
struct GroupEntry {
    group: String,
    gid: u32,
    users: Vec<String>,
}

impl PasswdEntry {
    /// Parses a line of `/etc/passwd`.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split(':').collect();
        Some(Self {
            name: (*fields.first()?).to_owned(),
            uid: fields.get(2)?.parse().ok()?,
            gid: fields.get(3)?.parse().ok()?,
        })
    }
}

impl GroupEntry {
    /// Parses a line of `/etc/group`.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split(':').collect();
        let users = fields.get(3)?.split(',').filter(|name| !name.is_empty());
        Some(Self {
            group: (*fields.first()?).to_owned(),
            gid: fields.get(2)?.parse().ok()?,
            users: users.map(str::to_owned).collect(),
        })
    }
}

fn account(uid: u32) -> Option<PasswdEntry> {
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    Some(PasswdEntry {
        name: user.name,
        uid,
        gid: user.gid.as_raw(),
    })
}

fn members(gid: u32) -> Option<GroupEntry> {
    let group = Group::from_gid(Gid::from_raw(gid)).ok()??;
    Some(GroupEntry {
        group: group.name,
        gid,
        users: group.mem,
    })
}

fn is_private_group_of(users: &[PasswdEntry], groups: &[GroupEntry], gid: u32, uid: u32) -> bool {
    let Some(owner) = users.iter().find(|user| user.uid == uid) else {
        return false;
    };
    let mut groups = groups.iter().filter(|group| group.gid == gid).peekable();
    owner.gid == gid
        && groups.peek().is_some()
        && groups.all(|group| {
            group.group == owner.name && group.users.iter().all(|name| *name == owner.name)
        })
        && users
            .iter()
            .filter(|user| user.gid == gid)
            .all(|user| user.uid == uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_group_has_the_name_of_the_user_and_no_other_member() {
        let users = "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\nben:x:1001:1001::/:/bin/sh\n";
        let is_private = |users: &str, groups: &str, gid, uid| {
            let users: Vec<_> = users.lines().filter_map(PasswdEntry::parse).collect();
            let groups: Vec<_> = groups.lines().filter_map(GroupEntry::parse).collect();
            is_private_group_of(&users, &groups, gid, uid)
        };
        let private = |groups: &str| is_private(users, groups, 1000, 1000);
        assert!(private("anna:x:1000:\n"));
        assert!(private("anna:x:1000:anna\n"));
        assert!(!private("anna:x:1000:ben\n"));
        assert!(!private("staff:x:1000:\n"));
        assert!(!private("anna:x:1000:\nstaff:x:1000:\n"));
        assert!(
            !private(""),
            "a group that is not listed may have any members"
        );
        assert!(
            !is_private(users, "ben:x:1001:\n", 1001, 1000),
            "the group of another user"
        );
        let shared = users.replace("1001:1001", "1001:1000");
        assert!(!is_private(&shared, "anna:x:1000:\n", 1000, 1000));
    }

    #[test]
    fn root_has_a_name_and_an_unknown_number_has_none() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(4_000_000_123), None);
        assert_ne!(host_name(), "");
    }
}
