//! Services that ran under a unit of their own before ship deployed them.

use std::time::Duration;

use ship_testing::command::{Done, ship};
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace::{self, run, write};
use ship_testing::probe_client::get;
use ship_testing::project_dir::ProjectDir;

const WEB_UNIT: &str = r#"[Unit]
Description=gunicorn
After=network.target

[Service]
Type=notify
User=www-data
WorkingDirectory=/srv/web
Environment="GREETING=hello from the unit" API_TOKEN=s3cr3t
ExecStart=/usr/bin/gunicorn --bind 0.0.0.0:8000 \
    --workers 2 web:app
ExecReload=/bin/kill -s HUP $MAINPID
KillMode=mixed
LimitNOFILE=1024

[Install]
WantedBy=multi-user.target
"#;

const WEB: &str = r#"
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['GREETING']} {os.environ['API_TOKEN']}\n".encode()]
"#;

/// Lets ssh without options log in at the hosts, as a user's own configuration does. The sandbox
/// keeps the mount from the machine.
fn configure_ssh(fleet: &Fleet) {
    let config = fleet.ssh_config().display().to_string();
    run("mount", &["--bind", &config, "/etc/ssh/ssh_config"]);
}

/// A directory without files.
fn empty_dir() -> ProjectDir {
    let dir = ProjectDir::new("");
    std::fs::remove_file(dir.path("playbook.toml")).expect("our own file");
    dir
}

fn adopt(dir: &ProjectDir, unit: &str, hosts: &[Host], args: &[&str]) -> Done {
    let hosts = hosts.iter().flat_map(|host| ["--host", &host.address]);
    let args: Vec<_> = ["adopt", unit]
        .into_iter()
        .chain(hosts)
        .chain(args.iter().copied())
        .collect();
    ship(dir.root(), &args)
}

fn read(dir: &ProjectDir, name: &str) -> String {
    std::fs::read_to_string(dir.path(name)).expect("a file that ship wrote")
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    run(
        "cp",
        &["-r", &from.display().to_string(), &to.display().to_string()],
    );
}

fn start_web(host: &Host, unit: &str) {
    write(&host.path("etc/systemd/system/web.service"), unit);
    write(&host.path("srv/web/web.py"), WEB);
    host.exec("systemctl daemon-reload && systemctl enable --now web")
        .exits(0);
}

#[test]
fn unit_on_two_hosts_is_adopted_and_deployed() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(2);
        configure_ssh(&fleet);
        let [first, second] = &fleet.hosts[..] else {
            panic!("two hosts")
        };
        start_web(first, WEB_UNIT);
        start_web(
            second,
            &WEB_UNIT.replace("LimitNOFILE=1024", "LimitNOFILE=2048"),
        );
        let state = || {
            let state = "systemctl show web; ls -lR --time-style=full-iso /etc /srv /var/lib; id";
            fleet
                .hosts
                .iter()
                .map(|host| host.exec(state).stdout)
                .collect::<Vec<_>>()
        };
        let before = state();
        let dir = empty_dir();
        adopt(&dir, "web", &fleet.hosts, &["--sudo"])
            .exits(0)
            .prints(&[
                "runs /usr/bin/gunicorn as www-data on port 8000",
                "the values of API_TOKEN were not copied",
                "for which the playbook is: LimitNOFILE",
            ]);
        assert!(before == state(), "a host was changed");
        let playbook = read(&dir, "playbook.toml");
        assert!(!playbook.contains("s3cr3t"), "{playbook}");
        adopt(&dir, "web", &fleet.hosts, &["--sudo"])
            .exits(2)
            .prints(&["already exists and was not changed"]);

        copy(&first.path("srv/web"), &dir.path("web"));
        write(
            &dir.path("playbook.toml"),
            &playbook.replace("secrets = [\"API_TOKEN\"]", "env_file = \"secrets.env\""),
        );
        write(&dir.path("secrets.env"), "API_TOKEN=another\n");
        run(
            "chmod",
            &["600", &dir.path("secrets.env").display().to_string()],
        );
        ship(dir.root(), &["check", "inventory.toml"])
            .exits(2)
            .prints(&["slot 8000 is taken by pid", "(gunicorn)"]);
        for host in &fleet.hosts {
            host.exec("systemctl disable --now web").exits(0);
        }
        ship(dir.root(), &["check", "inventory.toml"]).exits(0);
        ship(
            dir.root(),
            &["deploy", "inventory.toml", "--progress", "plain"],
        )
        .exits(0)
        .prints(&["\"reported READY=1\"", "2 of 2 available"]);
        for host in &fleet.hosts {
            let endpoint = format!("{}:8000", host.address)
                .parse()
                .expect("an address");
            let page = namespace::until("the page answers", Duration::from_secs(10), || {
                get(endpoint).ok()
            });
            assert_eq!(page.trim(), "hello from the unit another");
            host.exec("systemctl show 'ship-web@8000.service' -p LimitNOFILE -p User")
                .prints(&["LimitNOFILE=1024", "User=www-data"]);
        }
    });
}

#[test]
fn redis_of_debian_is_adopted_and_deployed() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        configure_ssh(&fleet);
        let host = &fleet.hosts[0];
        host.exec(
            "systemctl enable --now redis-server && redis-cli set kept yes && redis-cli save",
        )
        .exits(0);
        let dir = empty_dir();
        adopt(&dir, "redis", &fleet.hosts, &["--sudo"])
            .exits(0)
            .prints(&["redis-server.service on", "as redis on port 6379"]);
        copy(&host.path("etc/redis"), &dir.path("redis-server"));
        host.exec("systemctl disable --now redis-server").exits(0);
        ship(dir.root(), &["check", "inventory.toml"]).exits(0);
        ship(
            dir.root(),
            &["deploy", "inventory.toml", "--progress", "plain"],
        )
        .exits(0)
        .prints(&["\"reported READY=1\""]);
        host.exec("redis-cli get kept").exits(0).prints(&["yes"]);
    });
}

#[test]
fn units_that_cannot_run_under_ship_are_refused() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(1);
        configure_ssh(&fleet);
        let host = &fleet.hosts[0];
        host.exec("systemctl start nginx; systemctl mask haproxy")
            .exits(0);
        let dir = empty_dir();
        for (unit, why) in [
            ("nginx", "its Type=forking leaves the foreground"),
            ("haproxy", "it is masked"),
            ("redis-server", "it is not running (inactive)"),
            ("no-such-service", "the host has no such unit"),
        ] {
            adopt(&dir, unit, &fleet.hosts, &["--sudo"])
                .exits(2)
                .prints(&[why, "hint: "]);
        }
        for file in ["inventory.toml", "playbook.toml"] {
            assert!(!dir.path(file).exists(), "{file}");
        }
    });
}
