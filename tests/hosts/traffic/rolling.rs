//! Successful deploys and rollbacks, which no client may notice.

use super::haproxy::Haproxy;
use super::{CLIENTS, PORTS, UpdateResult, WITH_DOWNLOADS, behind_haproxy, rounds_and_requests};
use ship_testing::clients::Load;
use ship_testing::fleet::Fleet;
use ship_testing::namespace;

#[test]
fn deploy_behind_haproxy_completes_downloads() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &PORTS);
        let project = behind_haproxy(&fleet);
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let mut output = String::new();
        let result = UpdateResult::under_load(&haproxy, WITH_DOWNLOADS, |_| {
            output = project.deploy("2").exits(0).stderr;
        });
        println!("{output}\nship: {result}");
        result.load_result.assert_none_failed(1000);
        assert!(result.load_result.downloaded > 0, "{result}");
        assert_eq!(result.fewest, 3, "{result}");
        project.assert_settled("2", 3);
    });
}

#[test]
fn repeated_deploys_behind_haproxy_lose_no_requests() {
    let (rounds, requests) = rounds_and_requests();
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &PORTS);
        let project = behind_haproxy(&fleet);
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let result = UpdateResult::under_load(&haproxy, CLIENTS, |load: &Load| {
            for _ in 0..rounds {
                project.deploy("2").exits(0);
                project.ship("rollback", &[]).exits(0);
            }
            load.await_answers(requests - requests.min(load.answered()));
        });
        println!("{rounds} deploys and as many rollbacks: {result}");
        result.load_result.assert_none_failed(requests);
        assert_eq!(result.fewest, 3, "{result}");
        project.assert_settled("1", 3);
    });
}
