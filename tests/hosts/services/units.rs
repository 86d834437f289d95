//! Settings of the units, and services that report their readiness to systemd.

use std::time::Duration;

use ship_testing::fleet::Fleet;
use ship_testing::namespace;
use ship_testing::probe_client::Monitor;

use super::Service;

const PLAYBOOK: &str = r#"version = "1"

[service]
name = "web"
command = "/usr/bin/gunicorn --bind {{ address }}:{{ port }} --workers 2 web:app"
ports = [8081, 8082]
env = { VERSION = "{{ version }}", ADDRESS = "{{ address }}" }

[systemd.Service]
LimitNOFILE = 4096

[artifact]
source = "app"

[readiness]
notify = true

[rollout]
replicas = 2
progress_deadline = "1m"
"#;

const WEB: &str = r#"
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"I am: {os.environ['ADDRESS']}, the version is: {os.environ['VERSION']}\n".encode()]
"#;

fn gunicorn(fleet: &Fleet) -> Service {
    Service::new(fleet, PLAYBOOK, &[("web.py", WEB)])
}

#[test]
fn gunicorn_is_ready_when_it_notifies_systemd() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = gunicorn(&fleet);
        service
            .deploy("1", &[])
            .exits(0)
            .prints(&["\"reported READY=1\""]);
        let endpoints = fleet
            .hosts
            .iter()
            .flat_map(|host| [8081, 8082].map(|port| format!("{}:{port}", host.address)));
        let monitor = Monitor::start(endpoints);
        monitor.await_answers(20);
        service.deploy("2", &[]).exits(0);
        monitor.await_answers(20);
        assert!(monitor.stop().fewest(2) >= 2, "an instance was missing");
        let host = &fleet.hosts[0];
        host.exec("systemctl show 'ship-web@8082.service' -p Type -p LimitNOFILE")
            .prints(&["Type=notify", "LimitNOFILE=4096"]);
    });
}

#[test]
fn service_that_never_notifies_is_rolled_back_at_the_progress_deadline() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = gunicorn(&fleet);
        service.deploy("1", &[]).exits(0);
        // systemd itself must not end it earlier, although its default is shorter.
        let host = &fleet.hosts[0];
        let silent = "service.command=\"/bin/sleep 3600\"";
        let deadline = "rollout.progress_deadline=\"8s\"";
        let done = service
            .deploy("2", &["--set", silent, "--set", deadline])
            .exits(3)
            .prints(&["has not reported READY=1 yet"]);
        assert!(done.took >= Duration::from_secs(8), "{:?}", done.took);
        host.exec("systemctl list-units --no-legend 'ship-web@*'")
            .prints(&["active"]);
    });
}

#[test]
fn check_reports_unknown_directives_and_drop_ins() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = gunicorn(&fleet);
        let host = &fleet.hosts[0];
        let one = ["--set", "rollout.replicas=1"];
        service.ship("check", &one).exits(0);
        let unknown = "systemd.Service.MemoryMx=\"1G\"";
        service
            .deploy("1", &[&one[..], &["--set", unknown]].concat())
            .exits(4)
            .prints(&["systemd does not accept `MemoryMx=1G`, from [systemd]"]);
        service
            .ship("check", &[&one[..], &["--set", unknown]].concat())
            .exits(2)
            .prints(&["systemd does not accept `MemoryMx=1G`, from [systemd]"]);
        let file = "/etc/systemd/system/ship-web@8081.service.d/nice.conf";
        namespace::write(&host.path(file), "[Service]\nNice=5\n");
        service
            .ship("check", &one)
            .exits(0)
            .prints(&[file, "ship leaves it in place"]);
        service.deploy("1", &one).exits(0);
        service.deploy("2", &one).exits(0);
        host.exec(&format!("test -f {file}")).exits(0);
    });
}

#[test]
fn settings_of_the_unit_roll_back_with_the_release() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = gunicorn(&fleet);
        let one = ["--set", "rollout.replicas=1"];
        service.deploy("1", &one).exits(0);
        let more = "systemd.Service.LimitNOFILE=8192";
        service
            .deploy("2", &[&one[..], &["--set", more]].concat())
            .exits(0);
        let limit = || {
            let host = &fleet.hosts[0];
            let pid = host.exec("pgrep -o gunicorn").stdout;
            host.exec(&format!("grep 'open files' /proc/{}/limits", pid.trim()))
                .stdout
        };
        assert!(limit().contains("8192"), "{}", limit());
        service
            .ship("history", &["--revision", "1"])
            .exits(0)
            .prints(&[
                "systemd   Service.LimitNOFILE=4096",
                "systemd.Service.LimitNOFILE",
            ]);
        service.ship("rollback", &[]).exits(0);
        assert!(limit().contains("4096"), "{}", limit());
    });
}

#[test]
fn commands_before_the_start_may_take_long() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = gunicorn(&fleet);
        let args = [
            "--set",
            "rollout.replicas=1",
            "--set",
            "systemd.Service.ExecStartPre=\"/bin/sleep 3\"",
        ];
        service
            .deploy("1", &args)
            .exits(0)
            .prints(&["\"reported READY=1\""]);
    });
}

#[test]
fn unit_that_systemd_refuses_is_not_started_and_does_no_harm() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let service = gunicorn(&fleet);
        let one = ["--set", "rollout.replicas=1"];
        service.deploy("1", &one).exits(0);
        // systemd demands an absolute path.
        let bad = "systemd.Service.ExecStartPre=\"bin/migrate\"";
        let with_bad = [&one[..], &["--set", bad]].concat();
        service
            .ship("check", &with_bad)
            .exits(2)
            .prints(&["systemd does not accept `ExecStartPre=bin/migrate`"]);
        service
            .deploy("2", &with_bad)
            .exits(3)
            .prints(&["systemd does not accept the unit ship-web@8082.service"]);
        service.deploy("3", &one).exits(0);
        // An instance whose unit has become invalid can still be stopped.
        let host = &fleet.hosts[0];
        host.exec(
            "sed -i 's|^ExecStart=.*|ExecStart=bin/web|' /etc/systemd/system/ship-web@*.service \
             && systemctl daemon-reload",
        )
        .exits(0);
        service.deploy("4", &one).exits(0);
        let left = host
            .exec("pgrep -c -f '^/usr/bin/python3 /usr/bin/gunicorn'")
            .stdout;
        assert_eq!(left.trim(), "3", "a master and two workers");
    });
}
