//! Faults during a deploy behind `HAProxy`: endless requests, manual reloads, a balancer that dies
//! or is unreachable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::haproxy::Haproxy;
use super::{ANSWERS_AROUND, CLIENTS, PORTS, WITH_DOWNLOADS, behind_haproxy};
use ship_testing::clients::{Failed, Load, LoadResult, trickle};
use ship_testing::fleet::Fleet;
use ship_testing::namespace;

/// How long a new balancer process needs until its checks have failed for empty slots, and until
/// the last request that it has sent to one fails: three retries of a second each.
const CHECK_DELAY: Duration = Duration::from_secs(6);
/// Settings with which a reload is harmless to clients. A new process sends requests to an empty
/// slot until its check has failed: they are retried on another server. And idle connections are
/// closed with an answer.
const RELOAD_SETTINGS: &str =
    "    retries 10\n    option redispatch 1\n    option idle-close-on-response\n";

/// A request with a slow body, which an instance handles meanwhile.
const SLOW_BODY: &str =
    "POST / HTTP/1.1\r\nHost: tests\r\nContent-Length: 30\r\nConnection: close\r\n\r\n";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: tests\r\nConnection: close\r\n\r\n";
const DOWNLOAD: &str =
    "GET /?download_ms=90000 HTTP/1.1\r\nHost: tests\r\nConnection: close\r\n\r\n";

#[test]
fn drain_timeout_interrupts_and_reports_only_long_requests() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &PORTS);
        let project =
            behind_haproxy(&fleet).with("drain_timeout = \"30s\"", "drain_timeout = \"6s\"");
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let endpoint = haproxy.endpoint();
        let downloads: Vec<_> = (0..6)
            .map(|_| trickle(&endpoint, DOWNLOAD, "", Duration::ZERO))
            .collect();
        // A request with an incomplete header occupies the balancer but no instance.
        let endless_heads: Vec<_> = (0..3)
            .map(|_| trickle(&endpoint, "", REQUEST, Duration::from_secs(40)))
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let bodies: Vec<_> = (0..3)
            .map(|_| {
                let (endpoint, stop) = (endpoint.clone(), Arc::clone(&stop));
                thread::spawn(move || {
                    let mut ended = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let body = trickle(
                            &endpoint,
                            SLOW_BODY,
                            &"x".repeat(30),
                            Duration::from_secs(3),
                        );
                        ended.push(body.join().expect("the thread did not panic"));
                    }
                    ended
                })
            })
            .collect();
        let load = Load::begin(&endpoint, CLIENTS);
        load.await_answers(ANSWERS_AROUND);
        let done = project
            .ship("deploy", &["--version", "2", "--output", "json"])
            .exits(0);
        load.await_answers(ANSWERS_AROUND);
        let load_result = load.end();
        stop.store(true, Ordering::Relaxed);

        let receipts: Vec<Value> = done
            .stdout
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"))
            .filter(|event| event["event"] == "drained")
            .collect();
        let cut: u64 = receipts
            .iter()
            .filter_map(|event| event["result"]["cut"].as_u64())
            .sum();
        println!("{cut} requests were cut by the receipts; the others: {load_result}");
        load_result.assert_none_failed(ANSWERS_AROUND);
        let whole = bodies
            .into_iter()
            .flat_map(|body| body.join().expect("the thread did not panic"));
        assert_eq!(
            whole.filter_map(Result::err).collect::<Vec<_>>(),
            Vec::<String>::new(),
            "slow bodies"
        );
        let broken = downloads
            .into_iter()
            .map(|one| one.join().expect("the thread did not panic"));
        assert_eq!(
            broken.filter(Result::is_err).count(),
            6,
            "they take longer than the deploy"
        );
        assert_eq!(cut, 6, "{receipts:#?}");
        for head in endless_heads {
            assert_eq!(
                head.join().expect("the thread did not panic"),
                Ok(()),
                "a slow head"
            );
        }
        project.assert_settled("2", 3);
    });
}

#[test]
fn rollout_reapplies_state_after_manual_reload() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start_with(RELOAD_SETTINGS, &fleet.balancers[0], &fleet, &PORTS);
        let project =
            behind_haproxy(&fleet).with("drain_timeout = \"30s\"", "drain_timeout = \"3s\"");
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let load = Load::begin(&haproxy.endpoint(), CLIENTS);
        load.await_answers(ANSWERS_AROUND);
        let mut reloads = vec![load.lasted()];
        haproxy.reload();
        haproxy.await_servers(3);
        load.await_answers(ANSWERS_AROUND);
        let mut deploy = project.start_deploy("2");
        for words in [
            " started ",
            " ready ",
            " admitted ",
            " drained in ",
            " stopped ",
        ] {
            deploy.await_words(words);
            reloads.push(load.lasted());
            haproxy.reload();
        }
        let output = deploy.wait().exits(0).stderr;
        haproxy.await_servers(3);
        load.await_answers(ANSWERS_AROUND);
        let load_result = load.end();
        println!("{output}\nreloaded at {reloads:.1?}: {load_result}");
        load_result.assert_none_failed(ANSWERS_AROUND);
        project.assert_settled("2", 3);
    });
}

#[test]
fn rollout_waits_for_killed_balancer() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &PORTS);
        let project =
            behind_haproxy(&fleet).with("drain_timeout = \"30s\"", "drain_timeout = \"3s\"");
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let load = Load::begin(&haproxy.endpoint(), CLIENTS);
        load.await_answers(ANSWERS_AROUND);
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        let killed = load.lasted();
        haproxy.kill();
        deploy.await_words("lb1");
        haproxy.start_again();
        let window = (killed, load.lasted() + CHECK_DELAY);
        let output = deploy.wait().exits(0).stderr;
        haproxy.await_servers(3);
        load.await_answers(ANSWERS_AROUND);
        let load_result = load.end();
        println!(
            "{output}\ndown from {:.1?} to {:.1?}: {load_result}",
            window.0, window.1
        );
        assert_none_outside(&load_result, window);
        project.assert_settled("2", 3);
    });
}

#[test]
fn rollout_is_held_until_balancer_is_reachable() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 2);
        let proxies: Vec<_> = fleet
            .balancers
            .iter()
            .map(|lb| Haproxy::start(lb, &fleet, &PORTS))
            .collect();
        let project = behind_haproxy(&fleet)
            .with("progress_deadline = \"1m\"", "progress_deadline = \"10s\"");
        project.deploy("1").exits(0);
        for haproxy in &proxies {
            haproxy.await_servers(3);
        }
        let loads: Vec<_> = proxies
            .iter()
            .map(|haproxy| Load::begin(&haproxy.endpoint(), CLIENTS))
            .collect();
        for load in &loads {
            load.await_answers(ANSWERS_AROUND);
        }
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        // The balancer serves its clients, but is unreachable over ssh.
        let lb = &fleet.balancers[1];
        lb.exec(BLOCK_SSH).exits(0);
        let began = Instant::now();
        let held = deploy.wait().exits(4).prints(&["lb2"]);
        println!("{}\nheld after {:.1?}", held.stderr, began.elapsed());
        lb.exec("nft delete table inet block_ssh").exits(0);
        let resumed = project.ship("resume", &["--progress", "plain"]).exits(0);
        println!("{}", resumed.stderr);
        for load in &loads {
            load.await_answers(ANSWERS_AROUND);
        }
        for load in loads {
            let load_result = load.end();
            println!("{load_result}");
            load_result.assert_none_failed(ANSWERS_AROUND);
        }
        project.assert_settled("2", 3);
    });
}

/// Drops all packets to the sshd of a machine.
const BLOCK_SSH: &str = "nft add table inet block_ssh && nft add chain inet block_ssh in '{ type filter hook \
                    input priority 0; }' && \
                    nft add rule inet block_ssh in tcp dport 22 drop";

/// Panics if a request failed outside this time span.
#[track_caller]
fn assert_none_outside(load_result: &LoadResult, (from, to): (Duration, Duration)) {
    let is_outside = |failed: &&Failed| !(from..=to).contains(&failed.after);
    let outside: Vec<_> = load_result
        .failed
        .iter()
        .filter(is_outside)
        .take(10)
        .collect();
    assert!(outside.is_empty(), "{outside:#?}");
}
#[test]
fn drain_waits_for_processes_from_before_reload() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start_with(RELOAD_SETTINGS, &fleet.balancers[0], &fleet, &PORTS);
        let project =
            behind_haproxy(&fleet).with("drain_timeout = \"30s\"", "drain_timeout = \"10s\"");
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let load = Load::begin(&haproxy.endpoint(), WITH_DOWNLOADS);
        load.await_answers(ANSWERS_AROUND);
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        haproxy.reload();
        let output = deploy.wait().exits(0).stderr;
        haproxy.await_servers(3);
        load.await_answers(ANSWERS_AROUND);
        let load_result = load.end();
        println!("{output}\n{load_result}");
        load_result.assert_none_failed(ANSWERS_AROUND);
        project.assert_settled("2", 3);
    });
}
