//! The test hosts themselves: the other tests rely on them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ship_testing::fleet::{Fleet, pids};
use ship_testing::loopback::Loopback;
use ship_testing::probe_client::{Counter, Monitor, get};
use ship_testing::{command::Running, namespace};

#[test]
fn four_hosts_boot_with_systemd_running() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(4);
        for host in &fleet.hosts {
            let state = namespace::until("systemd has booted", Duration::from_secs(30), || {
                let state = host.exec("systemctl is-system-running").stdout;
                (state.trim() != "starting" && state.trim() != "initializing").then_some(state)
            });
            assert_eq!(
                state.trim(),
                "running",
                "{}",
                host.exec("systemctl --failed").stdout
            );
        }
    });
}

#[test]
fn host_has_its_own_units() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        for host in &fleet.hosts {
            host.exec("systemd-run --unit=twin sh -c 'echo I am $(hostname); exec sleep 600'")
                .exits(0);
        }
        // With shared control groups, stopping the unit of one host would wait for or kill the unit
        // of the other.
        let [first, second] = &fleet.hosts[..] else {
            panic!("two hosts")
        };
        let stopped = first
            .exec("systemctl stop twin && journalctl --unit=twin")
            .exits(0)
            .prints(&["I am h1"]);
        assert!(
            stopped.took < Duration::from_secs(5),
            "stopping took {:?}",
            stopped.took
        );
        second.exec("systemctl is-active twin").exits(0);
    });
}

#[test]
fn ssh_works_with_strict_known_hosts_and_sudo() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        for host in &fleet.hosts {
            fleet
                .ssh(host, "id -un; hostname; sudo -n id -un")
                .exits(0)
                .prints(&["deploy", &host.name, "root"]);
        }
        fs::write(fleet.known_hosts(), "").expect("a file of the test");
        fleet
            .ssh(&fleet.hosts[0], "true")
            .exits(255)
            .prints(&["Host key verification failed"]);
    });
}

#[test]
fn disconnected_host_is_unreachable_until_reconnected() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let [disconnected, other] = &fleet.hosts[..] else {
            panic!("two hosts")
        };
        disconnected.disconnect();
        let failed = fleet.ssh(disconnected, "true").exits(255);
        assert!(
            failed.took < Duration::from_secs(10),
            "ssh gave up only after {:?}",
            failed.took
        );
        fleet.ssh(other, "true").exits(0);
        disconnected.exec("true").exits(0);
        disconnected.reconnect();
        fleet.ssh(disconnected, "true").exits(0);
    });
}

#[test]
fn frozen_host_is_unreachable_until_thawed() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let host = &fleet.hosts[0];
        host.freeze();
        fleet.ssh(host, "true").exits(255);
        host.thaw();
        fleet.ssh(host, "true").exits(0);
    });
}

#[test]
fn killed_host_keeps_its_disk() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let host = &fleet.hosts[0];
        host.exec("echo kept > /var/lib/note && sync").exits(0);
        host.kill();
        fleet.ssh(host, "true").exits(255);
        host.boot_again();
        fleet
            .ssh(host, "cat /var/lib/note")
            .exits(0)
            .prints(&["kept"]);
    });
}

#[test]
fn small_disk_is_filled_and_freed() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let host = &fleet.hosts[0];
        host.small_disk("/var/lib/small", "1m");
        host.fill_disk("/var/lib/small");
        fleet
            .ssh(host, "sudo -n cp /etc/passwd /var/lib/small/")
            .exits(1)
            .prints(&["No space left on device"]);
        host.free_disk("/var/lib/small");
        fleet
            .ssh(host, "sudo -n cp /etc/passwd /var/lib/small/")
            .exits(0);
    });
}

#[test]
fn dropped_fleet_leaves_no_processes_mounts_or_files() {
    namespace::with_hosts(|| {
        let (processes, mounts, links) = (pids().len(), mounts(), links());
        drop(Fleet::boot(2));
        // Process 1 reaps orphans with a delay.
        namespace::until("every process has ended", Duration::from_secs(10), || {
            (pids().len() <= processes).then_some(())
        });
        assert_eq!(mounts, self::mounts(), "a mount is left");
        assert_eq!(links, self::links(), "a link is left");
        let namespaces = fs::read_dir("/run/netns")
            .expect("a directory in the sandbox")
            .count();
        assert_eq!(namespaces, 0, "a network namespace is left");
        assert!(!Path::new("/run/fleet").exists(), "files are left");
    });
}

#[test]
fn light_hosts_accept_ssh_as_ordinary_user() {
    namespace::with_sshd(|| {
        let fleet = Loopback::boot(20);
        for host in [&fleet.hosts[0], &fleet.hosts[19]] {
            let base_dir = host.base_dir.display();
            let command = format!("id -un; mkdir -p {base_dir} && echo $SSH_CONNECTION");
            fleet
                .ssh(host, &command)
                .exits(0)
                .prints(&["shipper", &host.address]);
        }
    });
}

#[test]
fn monitor_counts_failures_only_during_life_of_instance() {
    namespace::with_sshd(|| {
        let endpoint = "127.0.0.1:8081";
        let serve = |version| serve("127.0.0.1", version);
        let first = serve("1");
        let monitor = Monitor::start([endpoint]);
        monitor.await_answers(3);
        drop(first);
        let second = serve("2");
        monitor.await_answers(3);
        let answers = monitor.stop();
        assert_eq!(
            answers.failures(),
            Vec::<String>::new(),
            "failures between two versions count"
        );
        assert_eq!(
            answers.pages(),
            [
                "I am: 127.0.0.1, the version is: 1",
                "I am: 127.0.0.1, the version is: 2"
            ]
        );
        assert_eq!(
            answers.fewest(1),
            0,
            "an outage between two versions does not count"
        );

        let monitor = Monitor::start([endpoint]);
        monitor.await_answers(3);
        drop(second);
        let _second = serve("2");
        monitor.await_answers(3);
        let answers = monitor.stop();
        assert!(
            !answers.failures().is_empty(),
            "an outage of one version does not count as a failure"
        );
    });
}

#[test]
fn measurements_detect_stop_before_start() {
    namespace::with_sshd(|| {
        let addresses = ["127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"];
        let mut instances: Vec<_> = addresses[..3]
            .iter()
            .map(|address| (*address, serve(address, "1")))
            .collect();
        let monitor = Monitor::start(addresses.map(|address| format!("{address}:8081")));
        let counter = Counter::start("page.py");
        monitor.await_answers(20);
        let mut spare = addresses[3];
        for _ in 0..3 {
            let next = serve(spare, "2");
            monitor.await_answers(20);
            let (freed, old) = instances.remove(0);
            drop(old);
            instances.push((spare, next));
            spare = freed;
        }
        monitor.await_answers(20);
        let (answers, most) = (monitor.stop(), counter.most());
        assert_eq!(answers.failures(), Vec::<String>::new());
        assert_eq!((answers.fewest(3), most), (3, 4), "start before stop");

        let monitor = Monitor::start(addresses.map(|address| format!("{address}:8081")));
        monitor.await_answers(20);
        drop(instances.remove(0));
        monitor.await_answers(20);
        instances.push((spare, serve(spare, "3")));
        monitor.await_answers(20);
        assert_eq!(
            monitor.stop().fewest(3),
            2,
            "stop before start is not detected"
        );
    });
}

/// Serves the test page at an address; returns when it answers.
fn serve(address: &str, version: &str) -> Running {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/page.py");
    let mut command = Command::new("/usr/bin/python3");
    command
        .arg(page)
        .env("HOST", address)
        .env("PORT", "8081")
        .env("VERSION", version);
    let service = Running::spawn(command);
    let endpoint = format!("{address}:8081").parse().expect("an address");
    namespace::until("the page answers", Duration::from_secs(20), || {
        get(endpoint).ok()
    });
    service
}

/// Not a test: the next test kills its sandbox.
#[test]
#[ignore = "only for the test that kills it"]
fn sandbox_waits_to_be_killed() {
    namespace::with_hosts(|| {
        let _fleet = Fleet::boot(1);
        std::thread::sleep(Duration::from_mins(1));
    });
}

#[test]
fn killed_test_ends_its_hosts() {
    if !namespace::can_boot_hosts() {
        return;
    }
    let mut command = Command::new(std::env::current_exe().expect("the path of the test"));
    command.args([
        "--exact",
        "test_hosts::sandbox_waits_to_be_killed",
        "--ignored",
    ]);
    let victim = Running::spawn(command);
    let group = format!(
        "/{}",
        namespace::control_group(&format!("{}-0", victim.pid()))
    );
    let members = || {
        pids()
            .into_iter()
            .filter(|pid| is_in_group(*pid, &group))
            .count()
    };
    namespace::until("the host is up", Duration::from_mins(2), || {
        (members() > 5).then_some(())
    });
    victim.signal("KILL");
    namespace::until("the host is gone", Duration::from_secs(10), || {
        (members() == 0).then_some(())
    });
}

fn is_in_group(pid: u32, group: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(group))
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mounts")
        .expect("proc is mounted")
        .lines()
        .count()
}

fn links() -> String {
    namespace::run("ip", &["-brief", "link"])
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}
