//! A service that must never run twice.

use ship_testing::fleet::Fleet;
use ship_testing::namespace;
use ship_testing::rng::SeededRng;

use super::Service;

/// The kills in a usual run, and with `SHIP_LONG`.
const KILLS: u32 = 12;
const LONG_KILLS: u32 = 200;

const PLAYBOOK: &str = r#"version = "1"

[service]
name = "scheduler"
command = "/usr/bin/python3 scheduler.py"
slots = 2
singleton = true
user = "root"
stop_timeout = "5s"

[artifact]
source = "app"

[readiness]
running = "300ms"

[rollout]
progress_deadline = "20s"
"#;

/// Records that it is alive, every 10 ms. All hosts of the test share one clock. After SIGTERM, it
/// needs some time to end.
const SCHEDULER: &str = r#"
import os, signal, sys, time
ends_at = None
def end(*_):
    global ends_at
    ends_at = ends_at or time.monotonic() + 0.5
signal.signal(signal.SIGTERM, end)
with open("/srv/beats", "a", buffering=1) as beats:
    while ends_at is None or time.monotonic() < ends_at:
        beats.write(f"{os.getpid()}.{os.stat('/proc/self').st_ctime_ns} {time.monotonic_ns()}\n")
        time.sleep(0.01)
"#;

/// When each process was alive for the first and the last time, in nanoseconds.
fn lives(fleet: &Fleet) -> Vec<(u64, u64)> {
    let mut lives = Vec::new();
    for host in &fleet.hosts {
        let beats = host.exec("cat /srv/beats 2>/dev/null").stdout;
        let mut of_host: Vec<(&str, u64, u64)> = Vec::new();
        for line in beats.lines() {
            let Some((process, at)) = line.split_once(' ') else {
                continue;
            };
            // The power may have failed within a line.
            let Ok(at) = at.parse() else { continue };
            match of_host.iter_mut().find(|(known, ..)| *known == process) {
                Some((_, _, last)) => *last = at,
                None => of_host.push((process, at, at)),
            }
        }
        lives.extend(of_host.into_iter().map(|(_, first, last)| (first, last)));
    }
    lives.sort_unstable();
    lives
}

fn assert_never_two(fleet: &Fleet) -> usize {
    let lives = lives(fleet);
    for pair in lives.windows(2) {
        let ((first, last), next) = (pair[0], pair[1]);
        assert!(
            last < next.0,
            "two instances were alive: one from {first} to {last}, another from {} to {}",
            next.0,
            next.1
        );
    }
    lives.len()
}

#[test]
fn singleton_never_runs_twice_through_random_kills() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = Service::new(&fleet, PLAYBOOK, &[("scheduler.py", SCHEDULER)]);
        service.deploy("0", &[]).exits(0);
        let kills = if std::env::var_os("SHIP_LONG").is_some() {
            LONG_KILLS
        } else {
            KILLS
        };
        let mut rng = SeededRng::new(14);
        for round in 1..=kills {
            let version = round.to_string();
            let ship = match rng.below(4) {
                0 => service.start_ship("resume", &[]),
                1 => service.start_ship("abort", &[]),
                _ => service.start_ship("deploy", &["--version", &version]),
            };
            let host = &fleet.hosts[usize::from(rng.chance(500))];
            let is_cut = rng.below(4) == 0;
            if is_cut {
                std::thread::sleep(rng.millis(0..=1500));
                host.disconnect();
            }
            std::thread::sleep(rng.millis(0..=2500));
            ship.signal("KILL");
            ship.wait();
            if is_cut {
                host.reconnect();
            }
        }
        let done = service.ship("resume", &["--progress", "plain"]);
        assert!(matches!(done.code, Some(0 | 2 | 3)), "{}", done.stderr);
        service.deploy("last", &[]).exits(0);
        let ran = assert_never_two(&fleet);
        assert!(ran > 2, "only {ran} processes ran");
    });
}

#[test]
fn singleton_starts_nowhere_while_its_host_is_unreachable() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = Service::new(&fleet, PLAYBOOK, &[("scheduler.py", SCHEDULER)]);
        service.deploy("1", &[]).exits(0);
        let status = service.ship("status", &[]).exits(0).stdout;
        let (with, without) = if status.contains(" h1 ") {
            (0, 1)
        } else {
            (1, 0)
        };
        fleet.hosts[with].disconnect();
        let deadline = "rollout.progress_deadline=\"5s\"";
        let failed = service.deploy(
            "2",
            &["--set", deadline, "--set", "rollout.max_failed_hosts=1"],
        );
        assert_ne!(failed.code, Some(0), "{}", failed.stderr);
        let units = fleet.hosts[without].exec("systemctl list-units --state=running 'ship-*'");
        assert!(
            !units.stdout.contains("ship-scheduler@"),
            "{}",
            units.stdout
        );
        fleet.hosts[with].reconnect();
        service.deploy("3", &[]).exits(0);
        assert_never_two(&fleet);
    });
}
