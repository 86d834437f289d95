//! Deploys of a service with keep-alive clients, behind nftables and nginx.

use std::fs;
use std::time::Duration;

use ship_testing::behaviour::Behaviour;
use ship_testing::fleet::{Fleet, Host};
use ship_testing::keepalive::{ClientPool, PoolResult, get};
use ship_testing::namespace::{self, run};
use ship_testing::project::Project;

/// Two hosts with one instance each, whose versions use keep-alive connections. `traffic` is the
/// table of the playbook.
fn two_hosts(traffic: &str) -> (Fleet, Project) {
    let fleet = Fleet::boot(2);
    let project = Project::new(|playbook| fleet.inventory(playbook))
        .with("replicas = 3", "replicas = 2")
        .with(
            "[readiness]",
            &format!("[traffic]\n{traffic}\ndrain_timeout = \"2s\"\n\n[readiness]"),
        );
    project.release("1", Behaviour::Keeps);
    project.release("2", Behaviour::Keeps);
    (fleet, project)
}

/// The number of answers from a version.
fn answers(result: &PoolResult, version: &str) -> usize {
    let is_from = |page: &&String| page.ends_with(&format!("the version is: {version}\n"));
    result
        .answers
        .iter()
        .filter(|(page, _)| is_from(page))
        .map(|(_, n)| n)
        .sum()
}

#[test]
fn public_port_switches_to_new_instance() {
    namespace::with_hosts(|| {
        let (fleet, project) = two_hosts("driver = \"nftables\"\nport = 80");
        project.deploy("1").exits(0);
        project.assert_settled("1", 2);
        let fronts: Vec<_> = fleet
            .hosts
            .iter()
            .map(|host| format!("{}:80", host.address))
            .collect();
        let pools: Vec<_> = fronts
            .iter()
            .map(|front| ClientPool::start(10, front))
            .collect();
        for front in &fronts {
            assert!(
                get(front)
                    .expect("an answer")
                    .ends_with("the version is: 1\n")
            );
        }

        project.deploy("2").exits(0);
        for (front, pool) in fronts.iter().zip(pools) {
            assert!(
                get(front)
                    .expect("an answer")
                    .ends_with("the version is: 2\n")
            );
            let result = pool.end();
            println!(
                "{front}: {} and {} answers, lost: {:?}",
                answers(&result, "1"),
                answers(&result, "2"),
                result.lost
            );
            assert!(
                answers(&result, "1") > 0 && answers(&result, "2") > 0,
                "{result:?}"
            );
            assert_eq!(
                result.lost,
                Vec::<String>::new(),
                "clients close their connections in time"
            );
        }
        project.assert_settled("2", 2);

        // The port survives a reload of all rules and a reboot of the host.
        let host = &fleet.hosts[0];
        let serves = || get(&fronts[0]).is_ok_and(|page| page.ends_with("the version is: 2\n"));
        for verb in ["restart", "reload"] {
            host.exec(&format!("systemctl {verb} nftables.service"))
                .exits(0);
            // systemd drops a reload while the unit is starting.
            namespace::until("the public port", Duration::from_secs(10), || {
                (serves() && has_no_jobs(host)).then_some(())
            });
        }
        host.exec("nft flush ruleset").exits(0);
        assert!(!serves(), "the port works without rules");
        host.kill();
        host.boot_again();
        namespace::until(
            "the public port after a reboot of the host",
            Duration::from_secs(30),
            || serves().then_some(()),
        );
    });
}

/// Whether systemd has no queued jobs.
fn has_no_jobs(host: &Host) -> bool {
    let jobs = host.exec("systemctl list-jobs --no-legend");
    jobs.exits(0).stdout.is_empty()
}

#[test]
fn nginx_is_reloaded_for_each_instance() {
    if !namespace::has_programs(&[("nginx", "nginx-light")]) {
        return;
    }
    namespace::with_hosts(|| {
        let dir = "/run/tmp/lb";
        fs::create_dir(dir).expect("one balancer in a sandbox");
        let command = format!("nginx -c {dir}/nginx.conf");
        let (_fleet, project) = two_hosts(&format!(
            "driver = \"nginx\"\ninclude = \"{dir}/page.conf\"\ntest = \"{command} -t\"\nreload = \
             \"{command} -s reload\""
        ));
        let inventory = fs::read_to_string(project.path("inventory.toml")).expect("file");
        let balancer = format!(
            "\n[[balancers]]\nname = \"lb1\"\naddress = \"127.0.0.1\"\ntransport = \
             \"local\"\nbase_dir = \"{dir}/ship\"\n"
        );
        fs::write(project.path("inventory.toml"), inventory + &balancer).expect("file");
        fs::write(format!("{dir}/page.conf"), "server 127.0.0.1:9 down;\n").expect("file");
        let conf = format!(
            "user root; worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n access_log off; client_body_temp_path {dir}/body;\n\
             upstream page {{ include {dir}/page.conf; keepalive 32; }}\n\
             server {{ listen 127.0.0.1:80; location / {{ proxy_pass http://page; \
             proxy_http_version 1.1;\n\
             proxy_set_header Connection ''; }} }}\n}}\n",
        );
        fs::write(format!("{dir}/nginx.conf"), conf).expect("file");
        run("nginx", &["-c", &format!("{dir}/nginx.conf")]);

        project.deploy("1").exits(0);
        let pool = ClientPool::start(20, "127.0.0.1:80");
        assert!(
            get("127.0.0.1:80")
                .expect("an answer")
                .ends_with("the version is: 1\n")
        );
        project.deploy("2").exits(0);
        let result = pool.end();
        println!(
            "{} and {} answers, lost: {:?}",
            answers(&result, "1"),
            answers(&result, "2"),
            result.lost
        );
        assert!(
            answers(&result, "1") > 0 && answers(&result, "2") > 0,
            "{result:?}"
        );
        assert_eq!(
            answers(&result, "1") + answers(&result, "2"),
            result.answers.values().sum::<usize>(),
            "expected no 502: {result:?}"
        );
        // Each of the four reloads may close a connection on which a request arrives.
        assert!(result.lost.len() <= 4 * 20, "{:?}", result.lost);
        let servers = fs::read_to_string(format!("{dir}/page.conf")).expect("file");
        assert_eq!(servers.matches("server 10.80.0.").count(), 4, "{servers}");
        assert_eq!(servers.matches(" down;").count(), 3, "{servers}");
        project.assert_settled("2", 2);
    });
}
