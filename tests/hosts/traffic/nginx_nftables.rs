//! Deploys under load with nftables, which switches a public port on each host, and behind nginx.

use super::{ANSWERS_AROUND, CLIENTS, rounds_and_requests, service};
use ship_testing::clients::{Clients, Load, LoadResult};
use ship_testing::fleet::Fleet;
use ship_testing::namespace;
use ship_testing::project::Project;

/// The clients of each host.
const CLIENTS_PER_HOST: Clients = Clients {
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
fn nftables_switches_public_port_without_lost_requests() {
    let (rounds, requests) = rounds_and_requests();
    namespace::with_hosts(|| {
        let fleet = Fleet::boot(3);
        // nftables does not end keep-alive connections. The service closes them with an answer
        // after SIGTERM.
        let project = service(
            &fleet,
            "finish",
            "driver = \"nftables\"\nport = 80\ndrain_timeout = \"1s\"",
        );
        project.deploy("1").exits(0);
        let loads: Vec<_> = fleet
            .hosts
            .iter()
            .map(|host| Load::begin(&format!("{}:80", host.address), CLIENTS_PER_HOST))
            .collect();
        let answered = || loads.iter().map(Load::answered).sum::<u64>();
        deploy_and_roll_back(&project, rounds);
        let missing = requests.saturating_sub(answered());
        loads[0].await_answers(ANSWERS_AROUND + missing);
        let all: Vec<_> = loads.into_iter().map(Load::end).collect();
        for (load_result, host) in all.iter().zip(&fleet.hosts) {
            println!("{}: {load_result}", host.name);
            load_result.assert_none_failed(1);
        }
        let made: u64 = all.iter().map(LoadResult::requests).sum();
        println!("nftables: {rounds} deploys and as many rollbacks: 0 of {made} requests failed");
        assert!(made >= requests);
        project.assert_settled("1", 3);
    });
}

#[test]
fn nginx_reloads_fail_at_most_one_percent_of_requests() {
    // The result is informative, so one round is enough.
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
        load.await_answers(ANSWERS_AROUND);
        deploy_and_roll_back(&project, rounds);
        load.await_answers(ANSWERS_AROUND);
        let load_result = load.end();
        println!("nginx: {rounds} deploys and as many rollbacks: {load_result}");
        // A reload closes keep-alive connections even if a request is about to arrive.
        assert!(
            load_result.failed.len() as u64 * 100 <= load_result.requests(),
            "more than one percent failed: {load_result}"
        );
        project.assert_settled("1", 3);
    });
}

fn deploy_and_roll_back(project: &Project, rounds: u32) {
    for _ in 0..rounds {
        project.deploy("2").exits(0);
        project.ship("rollback", &[]).exits(0);
    }
}
