//! Faults during writes to a disk, of a host or of the control machine.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use super::network::is_arriving;
use super::{DEADLINE, LARGE_BYTES, REPLICAS, endpoints, leftovers, three_hosts};
use crate::reliability::ReportRow;
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::{self, until};
use ship_testing::probe_client::running;
use ship_testing::project::PAGE;
use ship_testing::traffic::Traffic;

#[test]
fn transfer_is_repeated_after_sshd_was_killed() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        project.large_release("2", LARGE_BYTES);
        let began = Instant::now();
        project.deploy("1").exits(0);
        let traffic = Traffic::begin(endpoints(&fleet));
        let mut deploy = project.start_deploy("2");
        let host = &fleet.hosts[0];
        until("the release is arriving", DEADLINE, || is_arriving(host));
        host.exec("pkill -KILL -x sshd; systemctl restart ssh")
            .exits(0);
        assert!(
            !deploy
                .stderr_so_far()
                .contains(&format!("{}       staged", host.name)),
            "sshd was killed too late"
        );
        let output = deploy.wait().exits(0).stderr;
        let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let is_unknown = |line: &str| line.contains(&format!("{}       unknown ", host.name));
        assert!(
            output.lines().any(is_unknown),
            "the transfer was not interrupted:\n{output}"
        );
        let row = ReportRow::new("The transfer broke off, ship reported it and repeated it");
        row.served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[0])
            .took(began.elapsed())
            .save("sshd-killed");
    });
}

#[test]
fn deploy_fails_before_any_start_if_disk_fills_up() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        let host = &fleet.hosts[0];
        host.small_disk("/var/lib/ship", "8m");
        project.large_release("2", LARGE_BYTES);
        project.release("3", Behaviour::Good);
        let began = Instant::now();
        project.deploy("1").exits(0);
        let traffic = Traffic::begin(endpoints(&fleet));
        let done = project.deploy("2").exits(3).prints(&[&host.name, "space"]);
        assert!(
            !done.stderr.contains("started") && !done.stderr.contains("stopped"),
            "{}",
            done.stderr
        );
        project.assert_settled("1", REPLICAS);
        let left = host.exec("ls /var/lib/ship/page/tmp").exits(0).stdout;
        assert_eq!(left, "", "temporary files are left");
        project.deploy("3").exits(0);
        let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
        project.assert_settled("3", REPLICAS);
        leftovers::assert_none(&fleet);
        let row = ReportRow::new(
            "The message named the host and its lack of space; a smaller release succeeded at once",
        );
        let row = row.served(&served, REPLICAS, REPLICAS + 1).exits(&[3, 0]);
        row.took(began.elapsed()).save("disk-full-while-staging");
    });
}

#[test]
fn deploy_stops_safely_if_state_disk_is_full() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        let state = project.path(".ship");
        fs::create_dir(&state).expect("a directory of the test");
        namespace::run(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                "mode=700,size=1m",
                "state",
                &state.display().to_string(),
            ],
        );
        let began = Instant::now();
        project.deploy("1").exits(0);
        let traffic = Traffic::begin(endpoints(&fleet));
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        fill(&state.join("ballast"));
        deploy.wait().exits(130).prints(&[
            "state database",
            "free space on the disk",
            "ship resume",
        ]);
        project
            .ship("status", &[])
            .exits(0)
            .prints(&["was interrupted"]);
        project
            .deploy("2")
            .exits(2)
            .prints(&["free space on that disk"]);
        fs::remove_file(state.join("ballast")).expect("our own file");
        project.deploy("2").exits(0);
        let served = traffic.end(REPLICAS).assert_within(REPLICAS, REPLICAS + 1);
        project.assert_settled("2", REPLICAS);
        assert_eq!(running(PAGE), REPLICAS);
        leftovers::assert_none(&fleet);
        namespace::run("umount", &[&state.display().to_string()]);
        let row = ReportRow::new("The message named the full disk; `ship status` still worked");
        let row = row
            .served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[130, 2, 0]);
        row.took(began.elapsed()).save("state-disk-full");
    });
}

/// Writes until the disk is full.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).expect("a directory of the test");
    while file.write_all(&[0; 512]).is_ok() {}
}
