//! Updates without ship, for comparison: a rolling restart, and the steps of Ansible's guide.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::haproxy::{Haproxy, SOCKET};
use super::{UpdateResult, WITH_DOWNLOADS};
use ship_testing::clients::LoadResult;
use ship_testing::command::Running;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;

/// The time limit of an update.
const DEADLINE: Duration = Duration::from_mins(2);

const UNIT: &str = "\
[Service]
Environment=PORT=8081
EnvironmentFile=/srv/app/env
EnvironmentFile=/srv/app/version
ExecStart=/usr/bin/python3 /srv/app/work.py
";

#[test]
fn rolling_restart_without_ship_breaks_requests() {
    namespace::with_hosts(|| {
        let load_result = measure("restarted one after the other", |fleet| {
            fleet.hosts.iter().for_each(restart);
        });
        assert!(
            !load_result.failed.is_empty(),
            "expected failed requests: {load_result}"
        );
    });
}

#[test]
fn steps_of_ansible_guide_without_pauses_break_requests() {
    namespace::with_hosts(|| {
        let load_result = measure("the steps of Ansible's guide, by a loop", |fleet| {
            let send = |command: &str, host: &Host| {
                let line = format!(
                    "echo '{command} server page/{}-8081' | socat stdio {SOCKET}",
                    host.name
                );
                fleet.balancers[0].exec(&line).exits(0);
            };
            for host in &fleet.hosts {
                send("disable", host);
                restart(host);
                send("enable", host);
            }
        });
        assert!(
            !load_result.failed.is_empty(),
            "expected failed requests: {load_result}"
        );
    });
}

#[test]
fn ansible_guide_is_measured() {
    namespace::with_hosts(|| {
        let Some(ansible) = ansible() else {
            println!("skipped: `ansible-playbook` is missing (Debian package ansible-core)");
            return;
        };
        measure("Ansible's guide", |fleet| {
            let dir = tempfile::TempDir::new().expect("a temporary directory");
            let mut play = Command::new(&ansible);
            play.current_dir(dir.path())
                .env("HOME", dir.path())
                .env("ANSIBLE_CONFIG", write_config(fleet, dir.path()));
            play.args(["-i", "hosts.ini", "-e", "version=2"]);
            play.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts/traffic/rolling.yml"));
            Running::spawn(play).wait_within(DEADLINE).exits(0);
        });
    });
}

/// Brings version 2 to a host and waits until it listens.
fn restart(host: &Host) {
    host.exec("echo VERSION=2 >/srv/app/version && systemctl restart app")
        .exits(0);
    let socket = format!("{}:8081", host.address)
        .parse()
        .expect("address:port");
    namespace::until("the service", DEADLINE, || {
        TcpStream::connect_timeout(&socket, DEADLINE).ok()
    });
}

/// Updates from version 1 to 2 under load, and prints the result.
fn measure(name: &str, update: impl FnOnce(&Fleet)) -> LoadResult {
    let fleet = Fleet::boot_behind(3, 1);
    for host in &fleet.hosts {
        namespace::write(
            &host.path("/srv/app/work.py"),
            include_str!("../../support/work.py"),
        );
        namespace::write(
            &host.path("/srv/app/env"),
            &format!("HOST={}\nAT_TERM=end\n", host.address),
        );
        namespace::write(&host.path("/srv/app/version"), "VERSION=1\n");
        namespace::write(&host.path("/etc/systemd/system/app.service"), UNIT);
        host.exec("systemctl daemon-reload && systemctl start app")
            .exits(0);
    }
    let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &[8081]);
    haproxy.await_servers(3);
    let result = UpdateResult::under_load(&haproxy, WITH_DOWNLOADS, |_| update(&fleet));
    haproxy.await_servers(3);
    println!("{name}: {result}");
    result.load_result
}

fn ansible() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join("ansible-playbook"))
        .find(|file| file.is_file())
}

fn write_config(fleet: &Fleet, dir: &Path) -> PathBuf {
    let list = |machines: &[Host]| {
        let lines: Vec<_> = machines
            .iter()
            .map(|one| format!("{} ansible_host={}\n", one.name, one.address))
            .collect();
        lines.concat()
    };
    let hosts = format!(
        "[app]\n{}[lbservers]\n{}",
        list(&fleet.hosts),
        list(&fleet.balancers)
    );
    namespace::write(&dir.join("hosts.ini"), &hosts);
    let config = dir.join("ansible.cfg");
    let text = format!(
        "[defaults]\nremote_user = deploy\ninterpreter_python = /usr/bin/python3\n\
         [ssh_connection]\npipelining = true\nssh_args = -F {} -o ControlMaster=auto -o \
         ControlPersist=60s\n",
        fleet.ssh_config().display()
    );
    namespace::write(&config, &text);
    config
}
