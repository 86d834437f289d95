//! Zones: one loses power while another one is replaced.

use std::net::TcpStream;
use std::time::Duration;

use ship_testing::fleet::{Fleet, Host};
use ship_testing::inventory::with_zones;
use ship_testing::namespace;
use ship_testing::probe_client::get;
use ship_testing::project::Project;

/// Four hosts with version 1 on one port each. The zones alternate, and the budget is a whole zone.
fn in_two_zones() -> (Fleet, Project) {
    let fleet = Fleet::boot(4);
    let project =
        Project::new(|playbook| with_zones(&fleet.inventory(playbook), &["a", "b", "a", "b"]))
            .with("ports = [8081, 8082]", "ports = [8081]")
            .with("replicas = 3\n", "zones = \"zone\"\n")
            .with("max_surge = 1", "max_surge = 0")
            .with("max_unavailable = 0", "max_unavailable = 2")
            .with("progress_deadline = \"1m\"", "progress_deadline = \"10s\"")
            .with("stop_timeout = \"5s\"", "stop_timeout = \"2s\"");
    project.deploy("1").exits(0);
    (fleet, project)
}

fn serves(host: &Host, version: &str) -> bool {
    let socket = format!("{}:8081", host.address);
    let page = get(socket.parse().expect("a socket address"));
    page.is_ok_and(|page| {
        page.trim_end()
            .ends_with(&format!("the version is: {version}"))
    })
}

#[test]
fn zone_that_loses_power_stops_the_rollout_in_the_other_one() {
    namespace::with_hosts(|| {
        let (fleet, project) = in_two_zones();
        let [in_a, in_b] = [[0, 2], [1, 3]].map(|zone| zone.map(|host| &fleet.hosts[host]));
        // An open connection delays the stop of the first instance.
        let client = TcpStream::connect(format!("{}:8081", in_a[0].address)).expect("the page");
        let deploy = project.start_deploy("2");
        let is_stopping = || {
            let armed = in_a[0].exec("test -e /var/lib/ship/page/armed/8081/due");
            (armed.code == Some(0)).then_some(())
        };
        namespace::until(
            "the first instance stops",
            Duration::from_secs(30),
            is_stopping,
        );
        for host in in_b {
            host.kill();
        }
        drop(client);
        deploy.wait().exits(4);
        assert!(
            in_a.iter().all(|host| serves(host, "2")),
            "zone a serves version 2"
        );
        for host in in_b {
            host.boot_again();
            namespace::until("the old version serves", Duration::from_secs(30), || {
                serves(host, "1").then_some(())
            });
        }
        project.deploy("2").exits(0);
        project.assert_settled("2", 4);
    });
}
