//! Deploys and rollbacks that go well: no client may notice any of them.

use super::haproxy::Haproxy;
use super::{CLIENTS, PORTS, Rolled, WITH_DOWNLOADS, behind_haproxy, how_many};
use ship_testing::clients::Load;
use ship_testing::fleet::Fleet;
use ship_testing::namespace;

#[test]
fn a_deploy_behind_haproxy_breaks_nothing_not_even_a_download() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &PORTS);
        let project = behind_haproxy(&fleet);
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let mut said = String::new();
        let rolled = Rolled::under_load(&haproxy, WITH_DOWNLOADS, |_| {
            said = project.deploy("2").exits(0).stderr;
        });
        println!("{said}\nship: {rolled}");
        rolled.counted.assert_none_failed(1000);
        assert!(rolled.counted.downloaded > 0, "{rolled}");
        assert_eq!(rolled.fewest, 3, "{rolled}");
        project.assert_settled("2", 3);
    });
}

#[test]
fn deploys_and_rollbacks_in_a_row_behind_haproxy_lose_no_request() {
    let (rounds, requests) = how_many();
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &PORTS);
        let project = behind_haproxy(&fleet);
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let rolled = Rolled::under_load(&haproxy, CLIENTS, |load: &Load| {
            for _ in 0..rounds {
                project.deploy("2").exits(0);
                project.ship("rollback", &[]).exits(0);
            }
            load.await_answers(requests - requests.min(load.answered()));
        });
        println!("{rounds} deploys and as many rollbacks: {rolled}");
        rolled.counted.assert_none_failed(requests);
        assert_eq!(rolled.fewest, 3, "{rolled}");
        project.assert_settled("1", 3);
    });
}
