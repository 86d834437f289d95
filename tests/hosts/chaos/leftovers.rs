//! Processes and files that must not remain after a ship process has exited or was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ship_testing::fleet::{Fleet, pids};
use ship_testing::namespace::until;

/// Connections end shortly after their ship process.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until no processes or files of ship are left on this machine and the hosts.
#[track_caller]
pub(crate) fn assert_none(fleet: &Fleet) {
    let end = Instant::now() + DEADLINE;
    loop {
        let left = find_leftovers(fleet);
        if left.is_empty() {
            return;
        }
        assert!(
            Instant::now() < end,
            "left after {DEADLINE:?}:\n{}",
            left.join("\n")
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// The ssh processes of all ship processes.
pub(crate) fn connections() -> Vec<u32> {
    pids()
        .into_iter()
        .filter(|pid| comm(*pid) == "ssh")
        .collect()
}

/// Waits until the connections and the scripts of a killed ship process have ended.
pub(crate) fn await_idle() {
    until("the connections end", DEADLINE, || {
        connections().is_empty().then_some(())
    });
    until("the scripts end", DEADLINE, || {
        (!pids().into_iter().any(is_script)).then_some(())
    });
}

fn find_leftovers(fleet: &Fleet) -> Vec<String> {
    let processes = pids().into_iter().filter_map(|pid| {
        let what = match comm(pid).as_str() {
            "ship" => "a ship",
            "ssh" => "an ssh process",
            "sshd" if command_line(pid).contains("@notty") => "a session of an sshd",
            _ if is_script(pid) => "a script",
            _ => return None,
        };
        Some(format!(
            "{what}: pid {pid}, {}",
            command_line(pid).chars().take(200).collect::<String>()
        ))
    });
    let is_ships = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("ship-"))
    };
    let here = entries(&std::env::temp_dir()).into_iter().filter(is_ships);
    let there = fleet
        .hosts
        .iter()
        .flat_map(|host| entries(&host.path("/var/lib/ship/page/tmp")));
    processes
        .chain(here.chain(there).map(|path| path.display().to_string()))
        .collect()
}

/// Every script of ship ends with a report, and so contains this text. The command of a service
/// does not.
fn is_script(pid: u32) -> bool {
    command_line(pid).contains("ship=1")
}

fn command_line(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}
