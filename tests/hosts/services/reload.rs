//! Instances that are reloaded with the files of another release.

use ship_testing::fleet::Fleet;
use ship_testing::namespace;

use super::Service;

const PLAYBOOK: &str = r#"version = "1"

[service]
name = "web"
command = "/usr/sbin/nginx -c /var/lib/ship/web/slots/{{ port }}/release/app/nginx.conf"
ports = [8081]
user = "root"
stop_signal = "QUIT"
reload = "kill -HUP $MAINPID"

[artifact]
source = "app"

[readiness]
http = "/version"
body = "version {{ version }}"

[rollout]
max_surge = 0
max_unavailable = 1
progress_deadline = "30s"
"#;

const CONFIG: &str = r#"
daemon off;
pid /run/ship-web.pid;
events {}
http {
    access_log off;
    server {
        listen 8081;
        root /var/lib/ship/web/slots/8081/release/app;
    }
}
"#;

/// The main processes of the hosts' instances.
fn processes(fleet: &Fleet) -> Vec<String> {
    let pid = |host: &ship_testing::fleet::Host| {
        let shown = host.exec("systemctl show ship-web@8081 -p MainPID -p NRestarts");
        shown.stdout
    };
    fleet.hosts.iter().map(pid).collect()
}

fn write_version(service: &Service, version: &str) {
    service.write("version", &format!("version {version}\n"));
}

#[test]
fn release_that_differs_only_in_files_is_reloaded_and_loses_no_request() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = Service::new(&fleet, PLAYBOOK, &[("nginx.conf", CONFIG)]);
        write_version(&service, "1");
        service.deploy("1", &[]).exits(0).prints(&["started"]);
        let before = processes(&fleet);
        write_version(&service, "2");
        let plan = service.ship("plan", &["--version", "2"]).exits(0).stdout;
        assert!(plan.contains("reload 2 at h1:8081"), "{plan}");
        assert!(!plan.contains("stop "), "{plan}");
        service.deploy("2", &[]).exits(0).prints(&["reloaded  2"]);
        service.ship("rollback", &[]).exits(0);
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
        let broken = PLAYBOOK.replace(
            "reload = \"kill -HUP $MAINPID\"",
            "reload = \"/bin/sh -c 'test ! -e broken || exit 3; kill -HUP $MAINPID'\"",
        );
        let service = Service::new(&fleet, &broken, &[("nginx.conf", CONFIG)]);
        write_version(&service, "1");
        service.deploy("1", &[]).exits(0);
        let before = processes(&fleet);
        write_version(&service, "2");
        service.write("broken", "");
        service
            .deploy("2", &[])
            .exits(3)
            .prints(&["continues with its own files"]);
        assert_eq!(processes(&fleet), before);
        service.ship("status", &[]).exits(0).prints(&["Running"]);
    });
}

#[test]
fn changed_command_gets_new_instances() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        let service = Service::new(&fleet, PLAYBOOK, &[("nginx.conf", CONFIG)]);
        write_version(&service, "1");
        service.deploy("1", &[]).exits(0);
        let before = processes(&fleet);
        write_version(&service, "2");
        let env = "service.env={ TZ = \"UTC\" }";
        service
            .deploy("2", &["--set", env])
            .exits(0)
            .prints(&["stopped", "started"]);
        assert_ne!(processes(&fleet), before);
    });
}
