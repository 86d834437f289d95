//! Hosts that go, instances that go, and other people's hands on them, in the middle of a deploy.

use std::time::Instant;

use super::{REPLICAS, leftovers, places_on, three_hosts};
use crate::reliability::Seen;
use ship_testing::command::Done;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;
use ship_testing::project::Project;
use ship_testing::traffic::{Served, Traffic};

#[test]
fn a_host_that_reboots_is_waited_for() {
    namespace::with_hosts(|| {
        let (fleet, project) = slow_hosts();
        let began = Instant::now();
        let (done, served) = disturbed(&fleet, &project, |host| {
            host.exec("sync").exits(0);
            host.kill();
            host.boot_again();
        });
        let said = done.exits(0).stderr;
        settled(&fleet, &project, "2");
        let found = said
            .lines()
            .find_map(|line| line.split_once(" found "))
            .expect("it says so");
        let seen = Seen::new(format!(
            "It was back {}, and the deploy succeeded",
            found.1.trim()
        ));
        leave(seen, &served, 0, began, "host-reboots");
    });
}

#[test]
fn an_instance_that_is_killed_by_hand_is_missed_by_nobody_but_its_users() {
    namespace::with_hosts(|| {
        let (fleet, project) = slow_hosts();
        let began = Instant::now();
        let (done, served) = disturbed(&fleet, &project, |host| {
            host.exec("pkill -KILL -f page[.]py").exits(0);
        });
        done.exits(0);
        settled(&fleet, &project, "2");
        let seen = Seen::new("The others kept serving, and the deploy succeeded");
        leave(seen, &served, 0, began, "instance-killed");
    });
}

#[test]
fn an_instance_that_is_stopped_by_hand_is_replaced_all_the_same() {
    namespace::with_hosts(|| {
        let (fleet, project) = slow_hosts();
        let began = Instant::now();
        let (done, served) = disturbed(&fleet, &project, |host| {
            host.exec("systemctl stop 'ship-page@*'").exits(0);
        });
        done.exits(0);
        settled(&fleet, &project, "2");
        let seen = Seen::new("The others kept serving, and the deploy succeeded");
        leave(seen, &served, 0, began, "instance-stopped-by-hand");
    });
}

#[test]
fn a_stranger_on_the_next_slot_is_named_and_left_alone() {
    namespace::with_hosts(|| {
        let (fleet, project) = slow_hosts();
        let began = Instant::now();
        let (done, served) = disturbed(&fleet, &project, |host| {
            // Nothing is in the slot: the service's own unit has nothing to start.
            let free = if host.exec("ls /var/lib/ship/page/slots/8081/instance").code == Some(0) {
                8082
            } else {
                8081
            };
            host.exec(&format!(
                "systemctl start ship-page@{free}; ! systemctl is-active ship-page@{free}"
            ))
            .exits(0);
            let listen = format!(
                "import socket, time; s = socket.create_server(('', {free})); time.sleep(600)"
            );
            host.exec(&format!(
                "systemd-run --unit=stranger /usr/bin/python3 -c \"{listen}\""
            ))
            .exits(0);
        });
        let host = &fleet.hosts[REPLICAS - 1];
        let pid = host
            .exec("systemctl show --property=MainPID --value stranger")
            .stdout;
        let done = done
            .exits(3)
            .says(&[&host.name, "is already in use by", pid.trim()]);
        host.exec("systemctl is-active stranger").exits(0);
        settled(&fleet, &project, "1");
        let why = done
            .stderr
            .lines()
            .rev()
            .find_map(|line| line.trim_start().strip_prefix("why "));
        leave(
            Seen::new(why.expect("a reason").trim()),
            &served,
            3,
            began,
            "instance-started-by-hand",
        );
    });
}

/// Three hosts, and a deploy that takes its time.
fn slow_hosts() -> (Fleet, Project) {
    let (fleet, project) = three_hosts();
    (
        fleet,
        project.with("min_ready = \"0s\"", "min_ready = \"1s\""),
    )
}

/// Deploys version 2 over version 1, and lays a hand on the last host when the first new instance
/// is ready. The other hosts are asked all the while.
fn disturbed(fleet: &Fleet, project: &Project, hand: impl FnOnce(&Host)) -> (Done, Served) {
    project.deploy("1").exits(0);
    let (last, others) = fleet.hosts.split_last().expect("three hosts");
    let traffic = Traffic::begin(places_on(others));
    let mut deploy = project.start_deploy("2");
    deploy.await_words(" ready ");
    assert!(
        !deploy.stderr_so_far().contains(&format!("{}:", last.name)),
        "its turn has come already"
    );
    hand(last);
    let done = deploy.wait();
    (
        done,
        traffic.end(REPLICAS - 1).kept(REPLICAS - 1, REPLICAS + 1),
    )
}

fn settled(fleet: &Fleet, project: &Project, version: &str) {
    project.assert_settled(version, REPLICAS);
    leftovers::assert_none(fleet);
}

fn leave(seen: Seen, served: &Served, code: i32, began: Instant, key: &str) {
    seen.served(served, REPLICAS - 1, REPLICAS + 1)
        .exits(&[code])
        .took(began.elapsed())
        .leave(key);
}
