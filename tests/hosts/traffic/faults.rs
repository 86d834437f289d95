//! What goes wrong around a deploy behind `HAProxy`: requests without end, other people's reloads,
//! a balancer that dies or cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::haproxy::Haproxy;
use super::{AROUND, CLIENTS, PORTS, WITH_DOWNLOADS, behind_haproxy};
use ship_testing::clients::{Counted, Failed, Load, trickle};
use ship_testing::fleet::Fleet;
use ship_testing::namespace;

/// What a balancer that has been started needs until its own checks know the servers, and the last
/// request is refused that it has sent to an empty slot until then: three retries, a second each.
const UNTIL_CHECKED: Duration = Duration::from_secs(6);
/// What makes a reload harmless to clients. A balancer that has just been loaded takes an empty
/// slot for a server until its check has failed: what is refused there goes to another server. And
/// an idle connection is closed with an answer.
const RELOADED: &str =
    "    retries 10\n    option redispatch 1\n    option idle-close-on-response\n";

/// A question whose body comes slowly: it is with an instance all the while.
const SLOW_BODY: &str =
    "POST / HTTP/1.1\r\nHost: tests\r\nContent-Length: 30\r\nConnection: close\r\n\r\n";
const QUESTION: &str = "GET / HTTP/1.1\r\nHost: tests\r\nConnection: close\r\n\r\n";
const DOWNLOAD: &str =
    "GET /?download_ms=90000 HTTP/1.1\r\nHost: tests\r\nConnection: close\r\n\r\n";

#[test]
fn what_outlasts_the_drain_is_cut_and_said_and_nothing_else_is() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &PORTS);
        let project =
            behind_haproxy(&fleet).with("drain_timeout = \"30s\"", "drain_timeout = \"6s\"");
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let place = haproxy.place();
        let downloads: Vec<_> = (0..6)
            .map(|_| trickle(&place, DOWNLOAD, "", Duration::ZERO))
            .collect();
        // A head that does not come to its end keeps the balancer busy, and no instance.
        let endless_heads: Vec<_> = (0..3)
            .map(|_| trickle(&place, "", QUESTION, Duration::from_secs(40)))
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let bodies: Vec<_> = (0..3)
            .map(|_| {
                let (place, stop) = (place.clone(), Arc::clone(&stop));
                thread::spawn(move || {
                    let mut ended = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let body =
                            trickle(&place, SLOW_BODY, &"x".repeat(30), Duration::from_secs(3));
                        ended.push(body.join().expect("it does not panic"));
                    }
                    ended
                })
            })
            .collect();
        let load = Load::begin(&place, CLIENTS);
        load.await_answers(AROUND);
        let done = project
            .ship("deploy", &["--version", "2", "--output", "json"])
            .exits(0);
        load.await_answers(AROUND);
        let counted = load.end();
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
        println!("{cut} requests were cut by the receipts; the others: {counted}");
        counted.none_failed_of(AROUND);
        let whole = bodies
            .into_iter()
            .flat_map(|body| body.join().expect("it does not panic"));
        assert_eq!(
            whole.filter_map(Result::err).collect::<Vec<_>>(),
            Vec::<String>::new(),
            "slow bodies"
        );
        let broken = downloads
            .into_iter()
            .map(|one| one.join().expect("it does not panic"));
        assert_eq!(
            broken.filter(Result::is_err).count(),
            6,
            "they take longer than the deploy"
        );
        assert_eq!(cut, 6, "{receipts:#?}");
        for head in endless_heads {
            assert_eq!(
                head.join().expect("it does not panic"),
                Ok(()),
                "a slow head"
            );
        }
        project.assert_settled("2", 3);
    });
}

#[test]
fn a_reload_by_somebody_else_is_noticed_and_what_it_forgot_is_said_again() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start_with(RELOADED, &fleet.balancers[0], &fleet, &PORTS);
        let project =
            behind_haproxy(&fleet).with("drain_timeout = \"30s\"", "drain_timeout = \"3s\"");
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let load = Load::begin(&haproxy.place(), CLIENTS);
        load.await_answers(AROUND);
        let mut reloads = vec![load.lasted()];
        haproxy.reload();
        haproxy.await_servers(3);
        load.await_answers(AROUND);
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
        let said = deploy.wait().exits(0).stderr;
        haproxy.await_servers(3);
        load.await_answers(AROUND);
        let counted = load.end();
        println!("{said}\nreloaded at {reloads:.1?}: {counted}");
        counted.none_failed_of(AROUND);
        project.assert_settled("2", 3);
    });
}

#[test]
fn a_balancer_that_is_killed_in_the_middle_is_waited_for() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start(&fleet.balancers[0], &fleet, &PORTS);
        let project =
            behind_haproxy(&fleet).with("drain_timeout = \"30s\"", "drain_timeout = \"3s\"");
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let load = Load::begin(&haproxy.place(), CLIENTS);
        load.await_answers(AROUND);
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        let killed = load.lasted();
        haproxy.kill();
        deploy.await_words("lb1");
        haproxy.start_again();
        let window = (killed, load.lasted() + UNTIL_CHECKED);
        let said = deploy.wait().exits(0).stderr;
        haproxy.await_servers(3);
        load.await_answers(AROUND);
        let counted = load.end();
        println!(
            "{said}\nnot there from {:.1?} to {:.1?}: {counted}",
            window.0, window.1
        );
        assert_none_outside(&counted, window);
        project.assert_settled("2", 3);
    });
}

#[test]
fn one_of_two_balancers_out_of_reach_holds_the_deploy_until_it_is_back() {
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
            .map(|haproxy| Load::begin(&haproxy.place(), CLIENTS))
            .collect();
        for load in &loads {
            load.await_answers(AROUND);
        }
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        // It serves its clients all the while; only ship cannot tell it anything.
        let lb = &fleet.balancers[1];
        lb.exec(DEAF).exits(0);
        let began = Instant::now();
        let held = deploy.wait().exits(4).says(&["lb2"]);
        println!("{}\nheld after {:.1?}", held.stderr, began.elapsed());
        lb.exec("nft delete table inet deaf").exits(0);
        let resumed = project.ship("resume", &["--progress", "plain"]).exits(0);
        println!("{}", resumed.stderr);
        for load in &loads {
            load.await_answers(AROUND);
        }
        for load in loads {
            let counted = load.end();
            println!("{counted}");
            counted.none_failed_of(AROUND);
        }
        project.assert_settled("2", 3);
    });
}

/// Nothing that is said to a machine's sshd arrives there.
const DEAF: &str = "nft add table inet deaf && nft add chain inet deaf in '{ type filter hook \
                    input priority 0; }' && \
                    nft add rule inet deaf in tcp dport 22 drop";

/// Panics if a request failed outside of a span of time.
#[track_caller]
fn assert_none_outside(counted: &Counted, (from, to): (Duration, Duration)) {
    let is_outside = |failed: &&Failed| !(from..=to).contains(&failed.after);
    let outside: Vec<_> = counted.failed.iter().filter(is_outside).take(10).collect();
    assert!(outside.is_empty(), "{outside:#?}");
}
#[test]
fn what_the_process_before_a_reload_still_has_is_waited_for() {
    namespace::with_hosts(|| {
        let fleet = Fleet::boot_behind(3, 1);
        let haproxy = Haproxy::start_with(RELOADED, &fleet.balancers[0], &fleet, &PORTS);
        let project =
            behind_haproxy(&fleet).with("drain_timeout = \"30s\"", "drain_timeout = \"10s\"");
        project.deploy("1").exits(0);
        haproxy.await_servers(3);
        let load = Load::begin(&haproxy.place(), WITH_DOWNLOADS);
        load.await_answers(AROUND);
        let mut deploy = project.start_deploy("2");
        deploy.await_words(" ready ");
        haproxy.reload();
        let said = deploy.wait().exits(0).stderr;
        haproxy.await_servers(3);
        load.await_answers(AROUND);
        let counted = load.end();
        println!("{said}\n{counted}");
        counted.none_failed_of(AROUND);
        project.assert_settled("2", 3);
    });
}
