//! Reboots and manual changes on the hosts during a deploy.

use std::time::Instant;

use super::{REPLICAS, endpoints_on, leftovers, three_hosts};
use crate::reliability::ReportRow;
use ship_testing::command::Done;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;
use ship_testing::project::Project;
use ship_testing::traffic::{Served, Traffic};

#[test]
fn rollout_waits_for_rebooting_host() {
    namespace::with_hosts(|| {
        let (fleet, project) = slow_hosts();
        let began = Instant::now();
        let (done, served) = deploy_with_change(&fleet, &project, |host| {
            host.exec("sync").exits(0);
            host.kill();
            host.boot_again();
        });
        let output = done.exits(0).stderr;
        assert_settled(&fleet, &project, "2");
        let found = output
            .lines()
            .find_map(|line| line.split_once(" back "))
            .expect("a line about the host");
        let row = ReportRow::new(format!(
            "It was {}, and the deploy succeeded",
            found.1.trim()
        ));
        save_row(row, &served, 0, began, "host-reboots");
    });
}

#[test]
fn deploy_succeeds_after_instance_was_killed() {
    namespace::with_hosts(|| {
        let (fleet, project) = slow_hosts();
        let began = Instant::now();
        let (done, served) = deploy_with_change(&fleet, &project, |host| {
            host.exec("pkill -KILL -f page[.]py").exits(0);
        });
        done.exits(0);
        assert_settled(&fleet, &project, "2");
        let row = ReportRow::new("The others kept serving, and the deploy succeeded");
        save_row(row, &served, 0, began, "instance-killed");
    });
}

#[test]
fn deploy_replaces_manually_stopped_instance() {
    namespace::with_hosts(|| {
        let (fleet, project) = slow_hosts();
        let began = Instant::now();
        let (done, served) = deploy_with_change(&fleet, &project, |host| {
            host.exec("systemctl stop 'ship-page@*'").exits(0);
        });
        done.exits(0);
        assert_settled(&fleet, &project, "2");
        let row = ReportRow::new("The others kept serving, and the deploy succeeded");
        save_row(row, &served, 0, began, "instance-stopped-by-hand");
    });
}

#[test]
fn deploy_names_and_spares_program_on_slot_port() {
    namespace::with_hosts(|| {
        let (fleet, project) = slow_hosts();
        let began = Instant::now();
        let (done, served) = deploy_with_change(&fleet, &project, |host| {
            // The slot is empty, so the unit of the service has nothing to start.
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
        host.exec("systemctl is-active stranger").exits(0);
        // Usually ship finds the program when it starts the instance. If it has observed the host
        // before, it uses another slot.
        let (row, code) = if done.code == Some(0) {
            assert_settled(&fleet, &project, "2");
            (
                "It used another slot, and the deploy succeeded".to_owned(),
                0,
            )
        } else {
            let done = done
                .exits(3)
                .prints(&[&host.name, "is already in use by", pid.trim()]);
            assert_settled(&fleet, &project, "1");
            let mut lines = done.stderr.lines().rev();
            let why = lines.find_map(|line| line.trim_start().strip_prefix("reason: "));
            (why.expect("a reason").trim().to_owned(), 3)
        };
        save_row(
            ReportRow::new(row),
            &served,
            code,
            began,
            "instance-started-by-hand",
        );
    });
}

/// Three hosts, and a deploy slow enough to be disturbed.
fn slow_hosts() -> (Fleet, Project) {
    let (fleet, project) = three_hosts();
    (
        fleet,
        project.with("min_ready = \"0s\"", "min_ready = \"1s\""),
    )
}

/// Deploys version 2 over version 1, and changes the last host when the first new instance is
/// ready. Observes the other hosts.
fn deploy_with_change(
    fleet: &Fleet,
    project: &Project,
    change: impl FnOnce(&Host),
) -> (Done, Served) {
    project.deploy("1").exits(0);
    let (last, others) = fleet.hosts.split_last().expect("three hosts");
    let traffic = Traffic::begin(endpoints_on(others));
    let mut deploy = project.start_deploy("2");
    deploy.await_words(" ready ");
    assert!(
        !deploy.stderr_so_far().contains(&format!("{}:", last.name)),
        "the deploy has reached the host already"
    );
    change(last);
    let done = deploy.wait();
    (
        done,
        traffic
            .end(REPLICAS - 1)
            .assert_within(REPLICAS - 1, REPLICAS + 1),
    )
}

fn assert_settled(fleet: &Fleet, project: &Project, version: &str) {
    project.assert_settled(version, REPLICAS);
    leftovers::assert_none(fleet);
}

fn save_row(row: ReportRow, served: &Served, code: i32, began: Instant, key: &str) {
    row.served(served, REPLICAS - 1, REPLICAS + 1)
        .exits(&[code])
        .took(began.elapsed())
        .save(key);
}
