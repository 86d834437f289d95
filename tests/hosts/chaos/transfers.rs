//! What goes wrong while bytes are on their way to a disk: a host's, or the control machine's own.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use super::network::arriving;
use super::{DEADLINE, LARGE_BYTES, REPLICAS, leftovers, places, three_hosts};
use crate::reliability::Seen;
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::{self, until};
use ship_testing::probe_client::running;
use ship_testing::project::PAGE;
use ship_testing::traffic::Traffic;

#[test]
fn an_sshd_that_is_killed_while_a_release_arrives_gets_it_again() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        project.large_release("2", LARGE_BYTES);
        let began = Instant::now();
        project.deploy("1").exits(0);
        let traffic = Traffic::begin(places(&fleet));
        let mut deploy = project.start_deploy("2");
        let host = &fleet.hosts[0];
        until("the release is arriving", DEADLINE, || arriving(host));
        host.exec("pkill -KILL -x sshd; systemctl restart ssh")
            .exits(0);
        assert!(
            !deploy
                .stderr_so_far()
                .contains(&format!("{}       staged", host.name)),
            "it came too late"
        );
        let said = deploy.wait().exits(0).stderr;
        let served = traffic.end(REPLICAS).kept(REPLICAS, REPLICAS + 1);
        project.assert_settled("2", REPLICAS);
        leftovers::assert_none(&fleet);
        let broke_off = |line: &str| line.contains(&format!("{}       unknown ", host.name));
        assert!(
            said.lines().any(broke_off),
            "nothing happened to the transfer:\n{said}"
        );
        let seen = Seen::new("The transfer broke off, ship said so, and repeated it");
        seen.served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[0])
            .took(began.elapsed())
            .leave("sshd-killed");
    });
}

#[test]
fn a_disk_that_runs_full_while_a_release_arrives_stops_it_before_anything_else() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        let host = &fleet.hosts[0];
        host.small_disk("/var/lib/ship", "8m");
        project.large_release("2", LARGE_BYTES);
        project.release("3", Behaviour::Good);
        let began = Instant::now();
        project.deploy("1").exits(0);
        let traffic = Traffic::begin(places(&fleet));
        let done = project.deploy("2").exits(3).says(&[&host.name, "space"]);
        assert!(
            !done.stderr.contains("started") && !done.stderr.contains("stopped"),
            "{}",
            done.stderr
        );
        project.assert_settled("1", REPLICAS);
        let left = host.exec("ls /var/lib/ship/page/tmp").exits(0).stdout;
        assert_eq!(left, "", "litter");
        project.deploy("3").exits(0);
        let served = traffic.end(REPLICAS).kept(REPLICAS, REPLICAS + 1);
        project.assert_settled("3", REPLICAS);
        leftovers::assert_none(&fleet);
        let seen = Seen::new(
            "The message named the host and its lack of space; a smaller release succeeded at once",
        );
        let seen = seen.served(&served, REPLICAS, REPLICAS + 1).exits(&[3, 0]);
        seen.took(began.elapsed()).leave("disk-full-while-staging");
    });
}

#[test]
fn a_state_disk_that_runs_full_stops_ship_without_harm() {
    namespace::with_hosts(|| {
        let (fleet, project) = three_hosts();
        let state = project.path(".ship");
        fs::create_dir(&state).expect("our own directory");
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
        let traffic = Traffic::begin(places(&fleet));
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        fill(&state.join("ballast"));
        deploy
            .wait()
            .exits(1)
            .says(&["state database", "free space on the disk"]);
        project.ship("status", &[]).exits(0).says(&["was cut off"]);
        project
            .deploy("2")
            .exits(2)
            .says(&["free space on that disk"]);
        fs::remove_file(state.join("ballast")).expect("our own file");
        project.deploy("2").exits(0);
        let served = traffic.end(REPLICAS).kept(REPLICAS, REPLICAS + 1);
        project.assert_settled("2", REPLICAS);
        assert_eq!(running(PAGE), REPLICAS);
        leftovers::assert_none(&fleet);
        namespace::run("umount", &[&state.display().to_string()]);
        let seen = Seen::new("The message named the full disk; `ship status` still worked");
        let seen = seen
            .served(&served, REPLICAS, REPLICAS + 1)
            .exits(&[1, 2, 0]);
        seen.took(began.elapsed()).leave("state-disk-full");
    });
}

/// Writes until there is no room.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).expect("our own directory");
    while file.write_all(&[0; 512]).is_ok() {}
}
