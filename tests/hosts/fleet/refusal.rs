//! Deploys that ship refuses before any change, with a hint.

use std::time::Duration;

use super::rollout::on_disk;
use super::{four_hosts, monitor_all};
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::PAGE;

#[test]
fn deploy_makes_no_changes_if_host_is_unreachable() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        project.deploy("1").exits(0);
        let before = on_disk(&fleet);
        let monitor = monitor_all(&fleet);
        fleet.hosts[2].disconnect();
        project.deploy("2").exits(7).prints(&["h3", "10.80.0.13"]);
        fleet.hosts[2].reconnect();
        let answers = monitor.stop();
        assert!(
            answers.pages().iter().all(|page| page.ends_with("is: 1")),
            "{:?}",
            answers.pages()
        );
        assert_eq!(on_disk(&fleet), before, "no changes were made");
    });
}

#[test]
fn deploy_reports_frozen_host_as_unreachable() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        fleet.hosts[1].freeze();
        let done = project.deploy("1").exits(7).prints(&["h2"]);
        assert!(
            done.took < Duration::from_secs(20),
            "the refusal took {:?}",
            done.took
        );
        fleet.hosts[1].thaw();
        assert_eq!(running(PAGE), 0);
    });
}

#[test]
fn deploy_refuses_unknown_host_key() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let known = std::fs::read_to_string(fleet.known_hosts()).expect("a file of the test");
        let others: Vec<_> = known
            .lines()
            .filter(|line| !line.starts_with("10.80.0.12 "))
            .collect();
        namespace::write(&fleet.known_hosts(), &format!("{}\n", others.join("\n")));
        project
            .deploy("1")
            .exits(7)
            .prints(&["h2", "key", "known_hosts"]);
        assert_eq!(running(PAGE), 0);
        let after = std::fs::read_to_string(fleet.known_hosts()).expect("a file of the test");
        assert!(!after.contains("10.80.0.12 "), "the key was accepted");
    });
}

#[test]
fn deploy_reports_missing_sudo() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        fleet.hosts[1].exec("rm /etc/sudoers.d/deploy").exits(0);
        let done = project.deploy("1").prints(&["h2", "sudo"]);
        assert!(matches!(done.code, Some(2 | 7)), "{done:?}");
        assert_eq!(running(PAGE), 0);
    });
}

#[test]
fn deploy_names_process_that_uses_port() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let host = &fleet.hosts[1];
        host.exec("systemd-run --unit=stranger /usr/bin/python3 -m http.server 8081")
            .exits(0);
        let listens = || {
            host.exec("ss -Htln sport = :8081")
                .stdout
                .contains("8081")
                .then_some(())
        };
        namespace::until("the stranger listens", Duration::from_secs(20), listens);
        let pid = host
            .exec("systemctl show --property=MainPID --value stranger")
            .stdout;
        project
            .deploy("1")
            .exits(2)
            .prints(&["h2", "8081", pid.trim()]);
        assert_eq!(running(PAGE), 0);
        host.exec("systemctl is-active stranger").exits(0);
    });
}

#[test]
fn deploy_refuses_artifact_with_wrong_checksum() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let wrong = format!("[artifact]\nsha256 = \"{}\"\n", "0".repeat(64));
        let project = project.with("[artifact]\n", &wrong);
        project
            .deploy("1")
            .exits(2)
            .prints(&["sha256", &"0".repeat(64)]);
        assert_eq!(running(PAGE), 0);
        assert!(
            on_disk(&fleet).iter().all(String::is_empty),
            "nothing was sent"
        );
    });
}

#[test]
fn second_deploy_names_lock_holder() {
    namespace::with_hosts(|| {
        let (_fleet, project) = four_hosts();
        let project = project.with("min_ready = \"0s\"", "min_ready = \"2s\"");
        project.deploy("1").exits(0);
        let first = project.start_deploy("2");
        let running = || (project.status()["state"] == "running").then_some(());
        namespace::until("the first deploy runs", Duration::from_secs(30), running);
        project.deploy("1").exits(6).prints(&["since"]);
        first.wait().exits(0);
        project.assert_settled("2", 3);
    });
}
