//! Hosts that pass a release on to each other, as a user with sudo.

use std::fs;
use std::time::Duration;

use ship_testing::fleet::{Fleet, Host};
use ship_testing::namespace::{self, until};
use ship_testing::project::Project;

const HOSTS: usize = 4;
const LARGE_BYTES: usize = 16 << 20;
/// The time in which hosts notice that ship was killed.
const DEADLINE: Duration = Duration::from_secs(30);

fn relaying_project(fleet: &Fleet) -> Project {
    let project = Project::new(|playbook| fleet.inventory(playbook));
    let project = project
        .with("[artifact]\n", "[artifact]\nfetch = \"relay\"\n")
        .with("replicas = 3", "replicas = 4");
    project.large_release("1", LARGE_BYTES);
    project
}

fn keys(host: &Host) -> String {
    fs::read_to_string(host.path("/home/deploy/.ssh/authorized_keys")).expect("a file")
}

/// The modes and the owners of the files with the keys: sshd ignores a file with others.
fn modes(fleet: &Fleet) -> Vec<String> {
    let mode = |host: &Host| {
        host.exec("stat -c '%a %U' ~/.ssh ~/.ssh/authorized_keys")
            .stdout
    };
    fleet.hosts.iter().map(mode).collect()
}

fn has_relay(host: &Host) -> bool {
    keys(host).contains("ship-relay") || host.path("/var/lib/ship/page/relay").exists()
}

/// Waits until no host has a key or a file of a relay.
#[track_caller]
fn await_no_relay(fleet: &Fleet) {
    until("the relay ends", DEADLINE, || {
        (!fleet.hosts.iter().any(has_relay)).then_some(())
    });
}

#[test]
fn hosts_pass_a_release_on_and_keep_no_key() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(HOSTS);
        let project = relaying_project(&fleet);
        let before: Vec<_> = fleet.hosts.iter().map(keys).collect();
        let modes_before = modes(&fleet);
        let output = project.deploy("1").exits(0).stderr;
        let received =
            |host: &&Host| output.contains(&format!("received  16 MiB from {}", host.name));
        let relayed = output.matches("received  16 MiB from h").count();
        assert_eq!(relayed, HOSTS - 1, "{output}");
        assert!(fleet.hosts.iter().any(|host| received(&host)), "{output}");
        await_no_relay(&fleet);
        let after: Vec<_> = fleet.hosts.iter().map(keys).collect();
        assert_eq!(after, before);
        assert_eq!(modes(&fleet), modes_before);
    });
}

#[test]
fn killed_deploy_leaves_no_key_and_is_resumed() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(HOSTS);
        let project = relaying_project(&fleet);
        let deploy = project.start_deploy("1");
        until("a host serves", DEADLINE, || {
            fleet.hosts.iter().any(has_relay).then_some(())
        });
        deploy.signal("KILL");
        deploy.wait();
        await_no_relay(&fleet);
        project.ship("resume", &[]).exits(0);
        project.assert_settled("1", HOSTS);
        await_no_relay(&fleet);
    });
}
