//! Services that a server serves which ship does not run: driver `link`.

use std::time::Duration;

use ship_testing::command::Done;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace::{self, until};

use super::Service;
use super::steady_load::SteadyLoad;

/// Deploys, each with a rollback, under load.
const ROUNDS: usize = 10;

const SITE: &str = r#"version = "1"

[service]
name = "site"
driver = "link"
ports = [80]
activate = "systemctl reload nginx"

[artifact]
source = "app"

[readiness]
http = "/version.txt"
body = "version {{ version }}"

[rollout]
progress_deadline = "30s"
"#;

/// nginx with workers of another user, as Debian configures it.
const NGINX: &str = "\
user www-data;
worker_processes 2;
pid /run/nginx.pid;
events { worker_connections 512; }
http {
    access_log off;
    server {
        listen 80;
        root /var/lib/ship/site/current;
        location ~ \\.php$ {
            fastcgi_pass unix:/run/php/php8.2-fpm.sock;
            include fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
            fastcgi_param DOCUMENT_ROOT $realpath_root;
        }
    }
}
";

fn start_nginx(host: &Host) {
    namespace::write(&host.path("/etc/nginx/nginx.conf"), NGINX);
    host.exec("systemctl enable --quiet --now nginx").exits(0);
}

/// The files of a version: a page of many lines, each with the version.
fn write_site(service: &Service, version: &str) {
    let line = format!("version {version}\n");
    service.write("version.txt", &line);
    service.write("index.html", &line.repeat(4000));
}

/// Hosts where nginx serves version 1 of a playbook.
fn site_of(hosts: usize, playbook: &str) -> (Fleet, Service) {
    let fleet = Fleet::boot(hosts);
    fleet.hosts.iter().for_each(start_nginx);
    let service = Service::new(&fleet, playbook, &[]);
    write_site(&service, "1");
    service.deploy("1", &[]).exits(0);
    (fleet, service)
}

fn site(hosts: usize) -> (Fleet, Service) {
    site_of(hosts, SITE)
}

/// What nginx serves.
fn page(host: &Host) -> String {
    host.exec(&format!(
        "curl -sS -m 2 http://{}/version.txt",
        host.address
    ))
    .stdout
}

fn deploy(service: &Service, version: &str, args: &[&str]) -> Done {
    write_site(service, version);
    service.deploy(version, args)
}

#[test]
fn static_site_behind_nginx_loses_no_request() {
    namespace::with_hosts(|| {
        let (fleet, service) = site(1);
        let load = SteadyLoad::begin(&format!("{}:80", fleet.hosts[0].address), "/index.html");
        for round in 2..ROUNDS + 2 {
            deploy(&service, &round.to_string(), &[]).exits(0);
            service.ship("rollback", &[]).exits(0);
        }
        assert_eq!(page(&fleet.hosts[0]), "version 1\n");
        load.end().assert_none_failed(ROUNDS + 1);
    });
}

const PHP: &str = r#"version = "1"

[service]
name = "site"
driver = "link"
ports = [80]
activate = "systemctl reload php8.2-fpm"
user = "www-data"
shared_dirs = ["storage"]

[artifact]
source = "app"

[readiness]
http = "/health.php"
header = "X-Version: {{ version }}"

[[hooks]]
on = "before_start"
command = "/bin/sh -c 'echo {{ version }} >>storage/started'"

[rollout]
progress_deadline = "30s"
"#;

/// The scripts of a version: a page of two files, which must be of one version.
fn write_scripts(service: &Service, version: &str) {
    let part = format!("<?php echo str_repeat(\"version {version}\\n\", 500);\n");
    service.write("first.php", &part);
    service.write("second.php", &part);
    let page = "<?php include 'first.php'; usleep(20000); include 'second.php';\n";
    service.write("index.php", page);
    let health = format!("<?php header('X-Version: {version}'); echo 'well';\n");
    service.write("health.php", &health);
}

#[test]
fn php_fpm_loses_no_request() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        let host = &fleet.hosts[0];
        start_nginx(host);
        // Without it, php-fpm ends its processes in the middle of a request when it is reloaded.
        let graceful = "[global]\nprocess_control_timeout = 10s\n";
        namespace::write(
            &host.path("/etc/php/8.2/fpm/pool.d/zz-global.conf"),
            graceful,
        );
        host.exec("systemctl enable --quiet --now php8.2-fpm")
            .exits(0);
        let service = Service::new(&fleet, PHP, &[]);
        let deploy = |version: &str| {
            write_scripts(&service, version);
            service.deploy(version, &[]).exits(0)
        };
        deploy("1");
        let load = SteadyLoad::begin(&format!("{}:80", host.address), "/index.php");
        for round in 2..ROUNDS + 2 {
            deploy(&round.to_string());
            service.ship("rollback", &[]).exits(0);
        }
        load.end().assert_none_failed(ROUNDS + 1);
        let started = host
            .exec("cat /var/lib/ship/site/shared/storage/started")
            .stdout;
        assert_eq!(started.lines().count(), 2 * ROUNDS + 1, "{started}");
        host.exec("stat -c %U /var/lib/ship/site/shared/storage")
            .prints(&["www-data"]);
    });
}

#[test]
fn failed_activate_is_rolled_back_with_its_output() {
    namespace::with_hosts(|| {
        let (fleet, service) = site(2);
        let fails = "service.activate=\"/bin/sh -c 'echo unknown directive; exit 7'\"";
        deploy(&service, "2", &["--set", fails])
            .exits(3)
            .prints(&["h1", "exited with status 7: unknown directive"]);
        for host in &fleet.hosts {
            assert_eq!(page(host), "version 1\n");
        }
        let status = service.ship("status", &[]).exits(0).stdout;
        assert_eq!(status.matches(" Running ").count(), 2, "{status}");
    });
}

#[test]
fn release_that_is_never_ready_is_rolled_back() {
    namespace::with_hosts(|| {
        let (fleet, service) = site(1);
        // The files are those of version 1, so the server answers, but not as version 2.
        service
            .deploy("2", &["--set", "rollout.progress_deadline=\"5s\""])
            .exits(3)
            .prints(&["expected a body that contains \"version 2\", found \"version 1\""]);
        let host = &fleet.hosts[0];
        assert_eq!(page(host), "version 1\n");
        let link = host.exec("readlink /var/lib/ship/site/current").stdout;
        let record = host.exec("cat /var/lib/ship/site/slots/80/instance").stdout;
        let release = link.split('/').nth(1).unwrap_or_default();
        assert!(
            record.contains(&format!("release={release}")),
            "{link} {record}"
        );
        assert!(record.contains("version=1\n"), "{record}");
    });
}

#[test]
fn linked_instance_outlives_a_restart_of_its_host() {
    namespace::with_hosts(|| {
        let (fleet, service) = site(1);
        let host = &fleet.hosts[0];
        host.exec("sync").exits(0);
        host.kill();
        host.boot_again();
        until("nginx serves", Duration::from_secs(20), || {
            (page(host) == "version 1\n").then_some(())
        });
        let status = service.ship("status", &[]).exits(0).stdout;
        assert!(status.contains(" Running "), "{status}");
        service.deploy("1", &[]).exits(0).prints(&["nothing to do"]);
        deploy(&service, "2", &[]).exits(0);
        assert_eq!(page(host), "version 2\n");
    });
}

/// Starts a deploy of version 2 and kills ship while the host stops the instance of version 1.
fn kill_between_stop_and_start(fleet: &Fleet, service: &Service) {
    let host = &fleet.hosts[0];
    write_site(service, "2");
    let args = ["--version", "2", "--progress", "plain"];
    let deploy = service.start_ship("deploy", &args);
    until("the stop has begun", Duration::from_secs(30), || {
        (host.exec("test -e /run/stopping").code == Some(0)).then_some(())
    });
    deploy.signal("KILL");
    drop(deploy);
    host.exec("touch /run/go").exits(0);
    until("the slot is empty", Duration::from_secs(20), || {
        (host
            .exec("test -e /var/lib/ship/site/slots/80/instance")
            .code
            == Some(1))
        .then_some(())
    });
    assert_eq!(page(host), "version 1\n", "still served");
}

/// A site whose stop waits for a file.
fn site_with_slow_stop(progress_deadline: &str) -> (Fleet, Service) {
    let hook = "[[hooks]]\non = \"after_stop\"\ntimeout = \"20s\"\n\
                command = \"/bin/sh -c 'touch /run/stopping; until [ -e /run/go ]; do sleep 0.05; done'\"\n";
    // The hook runs as this user.
    let playbook = SITE
        .replace("ports = [80]", "ports = [80]\nuser = \"root\"")
        .replace("activate = \"systemctl reload nginx\"\n", "")
        .replace("\"30s\"", &format!("\"{progress_deadline}\""));
    site_of(1, &(playbook + hook))
}

#[test]
fn dead_mans_switch_restores_the_link() {
    namespace::with_hosts(|| {
        let (fleet, service) = site_with_slow_stop("5s");
        kill_between_stop_and_start(&fleet, &service);
        let host = &fleet.hosts[0];
        until("the instance is restored", Duration::from_mins(4), || {
            (host.exec("test -e /var/lib/ship/site/armed/80").code == Some(1)).then_some(())
        });
        host.exec("journalctl --no-pager --output=cat")
            .prints(&["in slot 80: its successor was not confirmed in time"]);
        assert_eq!(page(host), "version 1\n");
        let status = service.ship("status", &[]).stdout;
        assert!(status.contains(" Running "), "{status}");
        deploy(&service, "3", &[]).exits(0);
        assert_eq!(page(host), "version 3\n");
    });
}

#[test]
fn host_that_restarts_in_the_gap_restores_the_link_at_boot() {
    namespace::with_hosts(|| {
        // With this deadline, the timer would expire after the test.
        let (fleet, service) = site_with_slow_stop("10m");
        kill_between_stop_and_start(&fleet, &service);
        let host = &fleet.hosts[0];
        host.exec("sync").exits(0);
        host.kill();
        host.boot_again();
        until("the instance is restored", Duration::from_secs(30), || {
            (host.exec("test -e /var/lib/ship/site/armed/80").code == Some(1)).then_some(())
        });
        let status = service.ship("status", &[]).stdout;
        assert!(status.contains(" Running "), "{status}");
        assert_eq!(page(host), "version 1\n");
    });
}

#[test]
fn resume_finishes_a_switch_of_the_link() {
    namespace::with_hosts(|| {
        let (fleet, service) = site_with_slow_stop("5s");
        kill_between_stop_and_start(&fleet, &service);
        service.ship("resume", &["--progress", "plain"]).exits(0);
        let host = &fleet.hosts[0];
        assert_eq!(page(host), "version 2\n");
        let armed = host
            .exec("ls /var/lib/ship/site/armed; ls /etc/systemd/system/multi-user.target.wants");
        assert!(!armed.stdout.contains("restore"), "{}", armed.stdout);
    });
}

#[test]
fn linked_service_is_explained_by_check_plan_and_logs() {
    namespace::with_hosts(|| {
        let (fleet, service) = site(1);
        let note = "only the body that [readiness] names shows which release is served";
        service.ship("plan", &[]).exits(0).prints(&[note]);
        service.ship("check", &[]).exits(0).prints(&[note]);
        service
            .ship("logs", &[])
            .exits(0)
            .prints(&["the log of the server that serves /var/lib/ship/site/current"]);
        let host = &fleet.hosts[0];
        host.exec("chmod o-x /var/lib/ship").exits(0);
        service
            .ship(
                "check",
                &[
                    "--set",
                    "readiness.http=\"/\"",
                    "--set",
                    "readiness.body=\"x\"",
                ],
            )
            .exits(0)
            .prints(&[
                "only the owner and the group of /var/lib/ship can enter it",
                "a probe also passes while the server serves another release",
            ]);
        host.exec("chmod o+x /var/lib/ship").exits(0);
        // A manual switch is an instance that has ended.
        host.exec("ln -sfn /srv /var/lib/ship/site/current")
            .exits(0);
        let status = service.ship("status", &[]).stdout;
        assert!(status.contains(" Exited "), "{status}");
        service.ship("restart", &[]).exits(0);
        assert_eq!(page(host), "version 1\n");
    });
}
