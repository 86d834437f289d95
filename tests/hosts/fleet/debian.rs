//! The main scenarios on every supported Debian, each with another systemd, sudo, OpenSSH and
//! coreutils.

use std::time::Duration;

use ship_testing::behaviour::Behaviour;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace;
use ship_testing::probe_client::running;
use ship_testing::project::{PAGE, Project};

/// The suites, and their versions of systemd.
const SUITES: [(&str, &str); 3] = [("bullseye", "247"), ("bookworm", "252"), ("trixie", "257")];

#[test]
fn service_is_deployed_rolled_back_and_restarted_on_debian_11_12_and_13() {
    namespace::with_hosts_of(&SUITES.map(|(suite, _)| suite), || {
        let fleet = Fleet::boot_suites(&SUITES.map(|(suite, _)| suite));
        for (host, (suite, systemd)) in fleet.hosts.iter().zip(SUITES) {
            host.exec("systemctl --version | head -n 1")
                .exits(0)
                .prints(&[systemd]);
            // A low rate limit of the journal, which must not drop the last lines of a service.
            let limit = "[Journal]\nRateLimitIntervalSec=30s\nRateLimitBurst=20\n";
            namespace::write(&host.path("etc/systemd/journald.conf.d/limit.conf"), limit);
            host.exec("systemctl restart systemd-journald").exits(0);
            println!("{} is {suite} with systemd {systemd}", host.name);
        }
        let project = Project::new(|playbook| fleet.inventory(playbook));
        project.ship("check", &[]).exits(0);
        project.deploy("1").exits(0);
        project.assert_settled("1", 3);

        project.release("2", Behaviour::ChattyExits);
        let failed = project
            .deploy("2")
            .exits(3)
            .prints(&["| the newest line", "| fatal: DATABASE_URL is not set"]);
        assert!(
            !failed.stdout.contains("| debug: module 0 is loaded"),
            "expected only the last lines: {}",
            failed.stdout
        );
        project.assert_settled("1", 3);

        project.release("3", Behaviour::Chatty);
        project.deploy("3").exits(0);
        for host in &fleet.hosts {
            let lines = project
                .ship("logs", &[&host.name, "--lines", "3"])
                .exits(0)
                .stdout;
            let newest: Vec<_> = lines
                .lines()
                .map(|line| line.rsplit("  ").next().unwrap_or_default())
                .collect();
            let expected = [
                "debug: module 1998 is loaded",
                "debug: module 1999 is loaded",
                "the newest line",
            ];
            assert_eq!(newest, expected, "{lines}");
        }

        project.ship("rollback", &[]).exits(0);
        project.assert_settled("1", 3);
        project.ship("restart", &[]).exits(0);
        project.assert_settled("1", 3);

        fleet.hosts.iter().for_each(Host::kill);
        fleet.hosts.iter().for_each(Host::boot_again);
        namespace::until(
            "the instances after the reboot",
            Duration::from_mins(1),
            || {
                (project.ship("status", &["--output", "json"]).code == Some(0)
                    && project.status()["replicas"]["available"] == 3)
                    .then_some(())
            },
        );
        project.assert_settled("1", 3);
        assert_eq!(running(PAGE), 3);

        // sudo logs every command line; the scripts must not be part of it.
        for host in &fleet.hosts {
            let logged = host
                .exec("journalctl --quiet _COMM=sudo --output=cat | grep COMMAND=")
                .exits(0)
                .stdout;
            assert!(logged.lines().all(|line| line.len() < 400), "{logged}");
        }
    });
}
