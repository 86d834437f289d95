//! Tests whose hosts are all this machine: their addresses, and their processes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

/// The first three parts of loopback addresses that no other test uses. While the listener exists,
/// no other test takes the same addresses, not even one of another run.
pub fn free_addresses() -> (String, TcpListener) {
    const ATTEMPTS: u32 = 1000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..ATTEMPTS {
        let number = std::process::id()
            .wrapping_mul(37)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let net = format!("127.{}.{}", 100 + number / 100 % 100, 100 + number % 100);
        if let Ok(listener) = TcpListener::bind(format!("{net}.1:8080")) {
            return (net, listener);
        }
    }
    panic!("no free loopback addresses after {ATTEMPTS} attempts");
}

/// The processes that work in a directory: services, and `ship` itself.
pub fn processes_in(dir: &Path) -> Vec<u32> {
    let pids = fs::read_dir("/proc")
        .expect("procfs")
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            fs::read_link(entry.path().join("cwd"))
                .ok()?
                .starts_with(dir)
                .then_some(pid)
        });
    pids.collect()
}

/// Kills a process, unless it has just ended.
pub fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
}
