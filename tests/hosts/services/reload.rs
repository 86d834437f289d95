//! Instances that are reloaded with the files of another release.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace::{self, until};

use super::Service;
use super::steady_load::SteadyLoad;

/// Deploys, each with a rollback, under load.
const ROUNDS: usize = 5;
const WAIT: Duration = Duration::from_secs(30);

/// gunicorn finds its application in the working directory, also after SIGHUP.
const PLAYBOOK: &str = r#"version = "1"

[service]
name = "web"
command = "/usr/bin/gunicorn --bind 0.0.0.0:{{ port }} --workers 2 web:app"
ports = [8081]
reload = "./reload $MAINPID"
stop_timeout = "2s"

[artifact]
source = "app"

[readiness]
http = "/"
body = "version {{ version }}"

[liveness]
http = "/"
interval = "1s"

[rollout]
max_surge = 0
max_unavailable = 1
progress_deadline = "30s"
"#;

/// The application, of a version.
fn app(version: &str) -> String {
    format!(
        r#"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"version {version}\n"]
"#
    )
}

const RELOAD: &str = "#!/bin/sh\nexec kill -HUP \"$1\"\n";

/// It ends when a file is removed.
const WAITING_RELOAD: &str =
    "#!/bin/sh\nkill -HUP \"$1\"; while [ -e /run/hold ]; do sleep 0.1; done\n";

/// It ends when systemd has noticed the end of the process.
const KILLING_RELOAD: &str =
    "#!/bin/sh\nkill -KILL \"$1\"; while kill -0 \"$1\"; do sleep 0.1; done\n";

/// Moves the slot to a full file system.
const FILL_SLOT: &str = "cd /var/lib/ship/web/slots && mv 8081 moved && mkdir 8081 && \
    mount -t tmpfs -o size=1m slot 8081 && cp -a moved/. 8081/ && rm -r moved && \
    ! cat /dev/zero >8081/fill";

/// A service of version 1.
fn gunicorn(fleet: &Fleet) -> Service {
    let service = Service::new(fleet, PLAYBOOK, &[("web.py", &app("1"))]);
    write_reload(&service, RELOAD);
    service.deploy("1", &[]).exits(0).prints(&["started"]);
    service
}

fn write_reload(service: &Service, script: &str) {
    service.write("reload", script);
    let mode = Permissions::from_mode(0o755);
    fs::set_permissions(service.dir.path("app/reload"), mode).expect("a file of the test");
}

/// The main processes of the instances.
fn processes(fleet: &Fleet) -> Vec<String> {
    let process = |host: &Host| {
        host.exec("systemctl show ship-web@8081 -p MainPID -p NRestarts")
            .stdout
    };
    fleet.hosts.iter().map(process).collect()
}

fn answer(host: &Host) -> String {
    let url = format!("http://{}:8081/", host.address);
    host.exec(&format!("curl -sS -m 2 {url}")).stdout
}

#[test]
fn release_that_differs_only_in_files_is_reloaded_and_loses_no_request() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = gunicorn(&fleet);
        let before = processes(&fleet);
        let load = SteadyLoad::begin(&format!("{}:8081", fleet.hosts[0].address), "/");
        for round in 2..ROUNDS + 2 {
            let version = round.to_string();
            service.write("web.py", &app(&version));
            let plan = service
                .ship("plan", &["--version", &version])
                .exits(0)
                .stdout;
            assert!(
                plan.contains(&format!("reload {version} at h1:8081")),
                "{plan}"
            );
            service.deploy(&version, &[]).exits(0).prints(&["reloaded"]);
            service.ship("rollback", &[]).exits(0).prints(&["reloaded"]);
        }
        load.end().assert_none_failed(ROUNDS + 1);
        assert_eq!(processes(&fleet), before);
        service
            .ship("status", &[])
            .exits(0)
            .prints(&["1/1     Running   0"]);
    });
}

#[test]
fn failed_reload_continues_with_the_old_files() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = gunicorn(&fleet);
        let before = processes(&fleet);
        service.write("web.py", &app("2"));
        write_reload(&service, "#!/bin/sh\necho no reload today; exit 3\n");
        service.deploy("2", &[]).exits(3).prints(&[
            "cannot reload with 2",
            "`reload` exited with status 3",
            "continues with its own files",
        ]);
        assert_eq!(processes(&fleet), before);
        assert_eq!(answer(&fleet.hosts[0]), "version 1\n");
        service.ship("status", &[]).exits(0).prints(&["Running"]);
    });
}

#[test]
fn instance_whose_files_are_not_certain_is_replaced() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        // The command of version 1 fails, also when the instance returns to it.
        let service = Service::new(&fleet, PLAYBOOK, &[("web.py", &app("1"))]);
        write_reload(&service, "#!/bin/sh\nexit 3\n");
        service.deploy("1", &[]).exits(0);
        let before = processes(&fleet);
        service.write("web.py", &app("2"));
        write_reload(&service, "#!/bin/sh\nkill -HUP \"$1\"; exit 3\n");
        service
            .deploy("2", &[])
            .exits(3)
            .prints(&["may use the files of either release"]);
        assert_ne!(processes(&fleet)[0], before[0]);
        assert_eq!(answer(&fleet.hosts[0]), "version 1\n");
    });
}

#[test]
fn reload_that_ends_the_process_is_reported() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = gunicorn(&fleet);
        service.write("web.py", &app("2"));
        write_reload(&service, KILLING_RELOAD);
        service
            .deploy("2", &[])
            .exits(3)
            .prints(&["the process ended during `reload`"]);
        assert_eq!(answer(&fleet.hosts[0]), "version 1\n");
    });
}

#[test]
fn full_disk_leaves_the_instance_alone() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = gunicorn(&fleet);
        let before = processes(&fleet);
        service.write("web.py", &app("2"));
        let host = &fleet.hosts[0];
        host.exec(FILL_SLOT).exits(0);
        let reason = "cannot reload with 2";
        service.deploy("2", &[]).exits(3).prints(&[reason, "space"]);
        assert_eq!(processes(&fleet), before);
        assert_eq!(answer(host), "version 1\n");
        service
            .ship("status", &[])
            .exits(0)
            .prints(&["1/1     Running"]);
    });
}

#[test]
fn reload_with_broken_files_is_rolled_back() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = gunicorn(&fleet);
        service.write("web.py", "raise SystemExit(7)\n");
        service
            .deploy("2", &["--set", "rollout.progress_deadline=\"10s\""])
            .exits(3);
        for host in &fleet.hosts {
            assert_eq!(answer(host), "version 1\n");
        }
    });
}

#[test]
fn interrupted_reload_is_noticed_and_undone() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = gunicorn(&fleet);
        service.write("web.py", &app("2"));
        write_reload(&service, WAITING_RELOAD);
        let host = &fleet.hosts[0];
        host.exec("touch /run/hold").exits(0);
        let deploy = service.start_ship("deploy", &["--version", "2", "--progress", "plain"]);
        until("the new files are served", WAIT, || {
            (answer(host) == "version 2\n").then_some(())
        });
        deploy.signal("KILL");
        deploy.wait();
        host.exec("kill -KILL $(sed 's/.* pid //' /var/lib/ship/web/lock)")
            .exits(0);
        service.ship("status", &[]).prints(&["0/1     Exited"]);
        host.exec("rm /run/hold").exits(0);
        let interrupted = "its reload was interrupted";
        service.ship("abort", &[]).exits(0).prints(&[interrupted]);
        assert_eq!(answer(host), "version 1\n");
    });
}

#[test]
fn changed_environment_gets_new_instances() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = gunicorn(&fleet);
        let before = processes(&fleet);
        service.write("web.py", &app("2"));
        let env = "service.env={ TZ = \"UTC\" }";
        service
            .deploy("2", &["--set", env])
            .exits(0)
            .prints(&["stopped", "started"]);
        assert_ne!(processes(&fleet), before);
    });
}
