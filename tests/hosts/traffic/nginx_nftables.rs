//! Deploys under load without a proxy, where each host's public port is switched, and behind nginx.

use super::{AROUND, CLIENTS, how_many, service};
use ship_testing::clients::{Clients, Load, LoadResult};
use ship_testing::fleet::Fleet;
use ship_testing::namespace;
use ship_testing::project::Project;

/// Who asks each host.
const OF_A_HOST: Clients = Clients {
    keepalive: 8,
    short: 8,
    downloads: 0,
};

const NGINX: &str = "\
user www-data;
worker_processes 2;
pid /run/nginx.pid;
worker_shutdown_timeout 60s;
events { worker_connections 512; }
http {
    access_log off;
    upstream page { include /etc/nginx/ship/page.conf; keepalive 32; }
    server {
        listen 8080;
        keepalive_requests 1000000;
        location / {
            proxy_pass http://page;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
        }
    }
}
";

#[test]
fn a_public_port_is_switched_many_times_and_no_request_is_lost() {
    let (rounds, requests) = how_many();
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(3);
        // A connection that is kept does not end by itself: the service ends it with an answer,
        // when it is told to end.
        let project = service(
            &fleet,
            "finish",
            "driver = \"nftables\"\nport = 80\ndrain_timeout = \"1s\"",
        );
        project.deploy("1").exits(0);
        let loads: Vec<_> = fleet
            .hosts
            .iter()
            .map(|host| Load::begin(&format!("{}:80", host.address), OF_A_HOST))
            .collect();
        let answered = || loads.iter().map(Load::answered).sum::<u64>();
        roll(&project, rounds);
        let missing = requests.saturating_sub(answered());
        loads[0].await_answers(AROUND + missing);
        let all: Vec<_> = loads.into_iter().map(Load::end).collect();
        for (counted, host) in all.iter().zip(&fleet.hosts) {
            println!("{}: {counted}", host.name);
            counted.assert_none_failed(1);
        }
        let asked: u64 = all.iter().map(LoadResult::requests).sum();
        println!("nftables: {rounds} deploys and as many rollbacks: 0 of {asked} requests failed");
        assert!(asked >= requests);
        project.assert_settled("1", 3);
    });
}

#[test]
fn what_a_reload_of_nginx_costs_is_measured() {
    // It is a figure, not a promise: one round tells it.
    let rounds = 1;
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let lb = &fleet.balancers[0];
        namespace::write(&lb.path("/etc/nginx/nginx.conf"), NGINX);
        namespace::write(
            &lb.path("/etc/nginx/ship/page.conf"),
            "server 127.0.0.1:9 down;\n",
        );
        lb.exec("systemctl start nginx").exits(0);
        let settings =
            "driver = \"nginx\"\ninclude = \"/etc/nginx/ship/page.conf\"\ndrain_timeout = \"30s\"";
        let project = service(&fleet, "end", settings);
        project.deploy("1").exits(0);
        let load = Load::begin(&format!("{}:8080", lb.address), CLIENTS);
        load.await_answers(AROUND);
        roll(&project, rounds);
        load.await_answers(AROUND);
        let counted = load.end();
        println!("nginx: {rounds} deploys and as many rollbacks: {counted}");
        // A reload closes connections that are kept, whether a question is on its way there or not.
        assert!(
            counted.failed.len() as u64 * 100 <= counted.requests(),
            "more than one in a hundred: {counted}"
        );
        project.assert_settled("1", 3);
    });
}

fn roll(project: &Project, rounds: u32) {
    for _ in 0..rounds {
        project.deploy("2").exits(0);
        project.ship("rollback", &[]).exits(0);
    }
}
