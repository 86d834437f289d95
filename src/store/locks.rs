//! Finds the processes that hold a lock on the database.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The processes that hold a lock on the database: `pid 4711 (sqlite3)`.
pub(super) fn holders(database: &Path) -> Vec<String> {
    let files = [
        database.to_owned(),
        PathBuf::from(format!("{}-shm", database.display())),
    ];
    let inodes: Vec<u64> = files
        .iter()
        .filter_map(|file| Some(fs::metadata(file).ok()?.ino()))
        .collect();
    let own = std::process::id();
    let mut pids = pids(
        &fs::read_to_string("/proc/locks").unwrap_or_default(),
        &inodes,
    );
    pids.retain(|pid| *pid != own);
    pids.into_iter().map(named).collect()
}

fn named(pid: u32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("pid {pid} ({})", name.trim_end()),
        Err(_) => format!("pid {pid}"),
    }
}

/// The processes that hold a lock on one of these files. A line is `1: POSIX  ADVISORY  WRITE 4711
/// 08:02:131074 128 128`; a waiting process has an arrow after the number.
fn pids(locks: &str, inodes: &[u64]) -> Vec<u32> {
    let holder = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, _, _, _, pid, file, ..] = fields[..] else {
            return None;
        };
        let inode = file.rsplit(':').next()?.parse().ok()?;
        inodes.contains(&inode).then(|| pid.parse().ok())?
    };
    let mut pids: Vec<u32> = locks.lines().filter_map(holder).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn lock_holders_include_another_process() {
        const HOLD: &str = "import fcntl, sys\nfile = open(sys.argv[1], 'r+')\nfcntl.lockf(file, \
                            fcntl.LOCK_EX)\n\
                            print('locked', flush=True)\nsys.stdin.read()";
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("ship.db");
        fs::write(&database, "").unwrap();
        let mut python = Command::new("python3");
        let held = python
            .args(["-c", HOLD])
            .arg(&database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut holder) = held else {
            eprintln!("SKIPPED: python3 is missing");
            return;
        };
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let named = holders(&database);
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert_eq!(named, [format!("pid {} (python3)", holder.id())]);
        assert!(holders(&database).is_empty());
    }

    #[test]
    fn lock_holders_are_parsed_from_proc_locks() {
        let locks = "1: POSIX  ADVISORY  WRITE 4711 08:02:131074 128 128\n1: -> POSIX  ADVISORY  \
                     WRITE 99 08:02:131074 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 08:02:7 0 EOF\n3: POSIX  ADVISORY  READ 4711 \
                     08:02:131075 1 1\nodd\n";
        assert_eq!(pids(locks, &[131_074, 131_075]), [4711]);
        assert_eq!(pids(locks, &[7]), [12]);
        assert!(pids(locks, &[]).is_empty());
    }
}
