//! A service with a fixed port: the old instance stops before the new one starts, and the host
//! restores it if ship does not finish.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use ship_testing::behaviour::Behaviour;
use ship_testing::command::Running;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};

/// The delay of the dead-man switch: the progress deadline of these tests and what ship adds.
const RESTORE_AFTER: Duration = Duration::from_secs(15);
/// An additional delay on a busy machine.
const MARGIN: Duration = Duration::from_secs(20);

/// Hosts with version 1 on one port each.
fn in_place(hosts: usize, driver: &str) -> (Fleet, Project) {
    let fleet = Fleet::boot(hosts);
    let project = Project::new(|playbook| fleet.inventory(playbook))
        .with("ports = [8081, 8082]", "ports = [8081]")
        .with("driver = \"systemd\"", &format!("driver = \"{driver}\""))
        .with("replicas = 3\n", "")
        .with("max_surge = 1", "max_surge = 0")
        .with("max_unavailable = 0", "max_unavailable = 1")
        .with("progress_deadline = \"1m\"", "progress_deadline = \"5s\"")
        .with("stop_timeout = \"5s\"", "stop_timeout = \"2s\"");
    project.deploy("1").exits(0);
    (fleet, project)
}

/// What the host itself gets from the service's port, even if it is disconnected.
fn page(host: &Host) -> String {
    host.exec(&format!("curl -sS -m 2 http://{}:8081/", host.address))
        .stdout
}

fn await_version(host: &Host, version: &str, within: Duration) {
    let expected = format!("I am: {}, the version is: {version}\n", host.address);
    namespace::until(&expected, within, || (page(host) == expected).then_some(()));
}

fn armed(host: &Host) -> String {
    host.exec("ls /var/lib/ship/page/armed; systemctl list-timers --all --no-legend 'ship-page*'")
        .stdout
}

/// Starts a deploy of a version, and returns when the host is about to stop the old instance. An
/// open connection delays the stop.
fn deploy_until_stopping(project: &Project, host: &Host, version: &str) -> (Running, TcpStream) {
    let client = TcpStream::connect(format!("{}:8081", host.address)).expect("the page");
    let deploy = project.start_deploy(version);
    let is_armed =
        || (host.exec("test -e /var/lib/ship/page/armed/8081/due").code == Some(0)).then_some(());
    namespace::until("the host is armed", Duration::from_secs(30), is_armed);
    (deploy, client)
}

fn await_empty_slot(host: &Host) {
    let is_empty = || {
        (host
            .exec("test -e /var/lib/ship/page/slots/8081/instance")
            .code
            == Some(1))
        .then_some(())
    };
    namespace::until(
        "the old instance has stopped",
        Duration::from_secs(10),
        is_empty,
    );
}

/// Starts a deploy of a version that never listens, and kills ship when the version runs.
fn deploy_unready_and_kill(project: &Project, host: &Host) {
    project.release("2", Behaviour::Deaf);
    let deploy = project.start_deploy("2");
    let starts =
        || host.exec("pgrep -f '[p]age.py' | xargs -I{} cat /proc/{}/environ | grep -z VERSION=2");
    namespace::until("version 2 runs", Duration::from_secs(30), || {
        (starts().code == Some(0)).then_some(())
    });
    deploy.signal("KILL");
    drop(deploy);
}

#[test]
fn disconnected_host_restores_old_instance() {
    namespace::with_hosts(|| {
        let (fleet, project) = in_place(2, "systemd");
        let host = &fleet.hosts[0];
        let (deploy, client) = deploy_until_stopping(&project, host, "2");
        let began = Instant::now();
        host.disconnect();
        await_empty_slot(host);
        drop(client);
        await_version(host, "1", RESTORE_AFTER + MARGIN);
        let took = began.elapsed();
        assert!(
            took + Duration::from_secs(5) > RESTORE_AFTER,
            "restored too early: {took:?}"
        );
        let done = deploy.wait();
        assert_ne!(done.code, Some(0), "{done:?}");

        host.reconnect();
        project.deploy("2").exits(0);
        project.assert_settled("2", 2);
        assert_eq!([&fleet.hosts[0], &fleet.hosts[1]].map(armed), ["", ""]);
        host.exec("journalctl --no-pager --output=cat")
            .prints(&["in slot 8081: its successor was not confirmed in time"]);
    });
}

#[test]
fn dead_mans_switch_replaces_unconfirmed_instance() {
    namespace::with_hosts(|| {
        let (fleet, project) = in_place(1, "systemd");
        let host = &fleet.hosts[0];
        deploy_unready_and_kill(&project, host);
        await_version(host, "1", RESTORE_AFTER + MARGIN);
        assert_eq!(running(PAGE), 1);
        assert_eq!(armed(host), "");
        project.release("3", Behaviour::Good);
        project.deploy("3").exits(0);
        project.assert_settled("3", 1);
    });
}

#[test]
fn rebooted_host_restores_old_instance_at_boot() {
    namespace::with_hosts(|| {
        let (fleet, project) = in_place(1, "systemd");
        // With this deadline, the timer would expire after the test.
        let project = project.with("progress_deadline = \"5s\"", "progress_deadline = \"10m\"");
        let host = &fleet.hosts[0];
        let (deploy, client) = deploy_until_stopping(&project, host, "2");
        host.disconnect();
        deploy.signal("KILL");
        drop((deploy, client));
        await_empty_slot(host);
        host.exec("sync").exits(0);
        host.kill();
        host.reconnect();
        host.boot_again();
        await_version(host, "1", Duration::from_secs(30));
        namespace::until("nothing is armed", Duration::from_secs(10), || {
            armed(host).is_empty().then_some(())
        });
        project.deploy("2").exits(0);
        project.assert_settled("2", 1);
    });
}

#[test]
fn dead_mans_switch_restarts_its_timer_after_reboot() {
    namespace::with_hosts(|| {
        let (fleet, project) = in_place(1, "systemd");
        let host = &fleet.hosts[0];
        deploy_unready_and_kill(&project, host);
        host.exec("sync").exits(0);
        host.kill();
        host.boot_again();
        host.exec("systemctl is-active ship-page@8081")
            .prints(&["active"]);
        namespace::until("the timer is running", Duration::from_secs(10), || {
            armed(host).contains(".timer").then_some(())
        });
        await_version(host, "1", RESTORE_AFTER + MARGIN);
        assert_eq!((running(PAGE), armed(host).as_str()), (1, ""));
    });
}

#[test]
fn process_driver_restores_old_instance_without_systemd() {
    namespace::with_hosts(|| {
        let (fleet, project) = in_place(1, "process");
        let host = &fleet.hosts[0];
        let (deploy, client) = deploy_until_stopping(&project, host, "2");
        host.disconnect();
        deploy.signal("KILL");
        drop((deploy, client));
        await_empty_slot(host);
        await_version(host, "1", RESTORE_AFTER + MARGIN);
        host.reconnect();
        project.deploy("2").exits(0);
        project.assert_settled("2", 1);
        assert_eq!(host.exec("pgrep -f '[a]rmed/8081'").stdout, "");
    });
}

#[test]
fn finished_rollout_disarms_all_hosts() {
    namespace::with_hosts(|| {
        let (fleet, project) = in_place(2, "systemd");
        project.deploy("2").exits(0);
        project.assert_settled("2", 2);
        project.release("3", Behaviour::Exits);
        project.deploy("3").exits(3);
        project.assert_settled("2", 2);
        for host in &fleet.hosts {
            assert_eq!(armed(host), "");
            assert_eq!(
                host.exec("ls /etc/systemd/system/multi-user.target.wants | grep restore")
                    .stdout,
                ""
            );
            assert_eq!(host.exec("ls /var/lib/ship/page/tmp").stdout, "");
        }
    });
}
