//! The service on its host: its user, its environment, and reboots.

use std::fs;
use std::time::Duration;

use super::four_hosts;
use ship_testing::namespace;
use ship_testing::probe_client::{get, running};
use ship_testing::project::PAGE;

#[test]
fn systemd_runs_service_as_its_own_user() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("replicas = 3", "replicas = 4");
        project.deploy("1").exits(0);
        for host in &fleet.hosts {
            let user = host.exec("ps -o user= -p $(pgrep -f '[p]age.py')").stdout;
            assert!(
                !["root", "deploy", ""].contains(&user.trim()),
                "the service runs as {user:?}"
            );
            host.exec("journalctl --output=cat --no-pager")
                .prints(&["page 1 starts, its behaviour is good"]);
        }
    });
}

#[test]
fn instance_starts_after_reboot_of_host() {
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("replicas = 3", "replicas = 4");
        project.deploy("1").exits(0);
        let host = &fleet.hosts[0];
        host.exec("sync").exits(0);
        host.kill();
        assert_eq!(running(PAGE), 3);
        host.boot_again();
        let page = namespace::until("the page is back", Duration::from_secs(30), || {
            let answers = [8081, 8082].map(|port| {
                get(format!("{}:{port}", host.address)
                    .parse()
                    .expect("an address"))
            });
            answers.into_iter().find_map(Result::ok)
        });
        assert_eq!(page, "I am: 10.80.0.11, the version is: 1");
        project.assert_settled("1", 4);
        project.deploy("1").exits(0).prints(&["nothing to do"]);
    });
}

#[test]
fn secret_is_visible_only_to_service() {
    const SECRET: &str = "correct-horse-battery-staple";
    namespace::with_hosts(|| {
        let (fleet, project) = four_hosts();
        let project = project.with("stop_timeout", "env_file = \"secrets.env\"\nstop_timeout");
        namespace::write(
            &project.path("secrets.env"),
            &format!("DB_PASSWORD={SECRET}\n"),
        );
        let deploys = [
            project.deploy("1").exits(0),
            project
                .ship("deploy", &["--version", "2", "--output", "json"])
                .exits(0),
        ];
        for done in &deploys {
            assert!(
                !done.stdout.contains(SECRET) && !done.stderr.contains(SECRET),
                "the secret was printed: {done:?}"
            );
        }
        let found = project
            .files()
            .into_iter()
            .filter(|file| !file.ends_with("secrets.env"));
        let found: Vec<_> = found
            .filter(|file| holds(&fs::read(file).expect("a file of the test"), SECRET))
            .collect();
        assert!(found.is_empty(), "the secret was written to {found:?}");
        let mut served = 0;
        for host in &fleet.hosts {
            // The pattern is in a file, so that a search does not find itself.
            host.exec(&format!("umask 077; printf %s {SECRET} > /root/pattern"))
                .exits(0);
            let environ = "for p in $(pgrep -f '[p]age.py'); do grep -c -a -f /root/pattern \
                           /proc/$p/environ; done";
            served += host
                .exec(environ)
                .stdout
                .lines()
                .filter(|count| *count == "1")
                .count();
            host.exec("cat /proc/[0-9]*/cmdline 2>/dev/null | grep -c -a -f /root/pattern")
                .exits(1);
            host.exec("journalctl --no-pager --output=export | grep -c -a -f /root/pattern")
                .exits(1);
            host.exec("systemctl show '*' | grep -c -a -f /root/pattern")
                .exits(1);
            let open = "grep -rl -a -f /root/pattern /var/lib /etc /run /tmp /home | xargs -r \
                        stat -c '%a %n' | grep -v '^[46]00 '";
            let open = host.exec(open).stdout;
            assert_eq!(open, "", "other users can read the secret");
        }
        assert_eq!(served, 3, "each instance has the secret");
    });
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
