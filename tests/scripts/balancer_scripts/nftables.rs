//! The host's packet filter.

use std::process::Command;

use ship::core::fleet::traffic::{BalancerState, SlotAdmission};
use ship::core::ids::{ActionId, Epoch, HostId, Slot};
use ship::script::{
    Script, ScriptEnd, SlotSwitch, observe_nftables, read_balancer_report, switch_nftables,
};

use crate::host::{Host, Shell, shells};
use ship_testing::keepalive::{Client, Page, get};
use ship_testing::namespace;

const PROGRAMS: [(&str, &str); 2] = [("nft", "nftables"), ("curl", "curl")];
const PUBLIC: u16 = 80;
const OPEN: SlotSwitch = SlotSwitch::Open {
    weight_percent: None,
};
const PORTS: [u16; 2] = [8081, 8082];

/// A host with two slots, and nothing in its packet filter.
fn host(shell: Shell) -> Host {
    let mut host = Host::with(shell);
    host.site.slots = PORTS.map(|port| (port, vec![port])).into();
    nft("flush ruleset");
    host
}

fn nft(command: &str) -> String {
    let output = Command::new("nft").arg(command).output().expect("nft");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The one table of ship for IPv4.
fn table() -> String {
    let tables = nft("list tables");
    let table = tables
        .lines()
        .find_map(|line| line.strip_prefix("table ip "));
    table
        .unwrap_or_else(|| panic!("no table: {tables}"))
        .to_owned()
}

fn switch(host: &Host, port: u16, turn: SlotSwitch) -> Script {
    switch_nftables(&host.site, &HostId::from("web1"), PUBLIC, port, turn)
}

fn run(host: &Host, script: &Script) -> (ScriptEnd, BalancerState) {
    let ran = host.run(script);
    assert_eq!(ran.stderr, "");
    read_balancer_report(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

fn done(host: &Host, script: &Script) -> BalancerState {
    let (end, view) = run(host, script);
    assert_eq!(end, ScriptEnd::Done);
    view
}

fn look(host: &Host) -> BalancerState {
    done(
        host,
        &observe_nftables(&host.site, &HostId::from("web1"), PUBLIC),
    )
}

/// Each slot's admission, and how many connections it has.
fn seen(view: &BalancerState) -> [(SlotAdmission, u32); 2] {
    PORTS.map(|port| {
        let server = view.servers[&Slot::new("web1", port)];
        (server.admission, server.in_flight)
    })
}

#[test]
fn connections_stay_where_they_are_and_new_ones_go_to_the_next() {
    namespace::with_programs(&PROGRAMS, || {
        Page::serve("old", &["0.0.0.0:8081", "[::1]:8081"]);
        Page::serve("new", &["0.0.0.0:8082", "[::1]:8082"]);
        for shell in shells() {
            let host = host(shell);
            assert_eq!(seen(&look(&host)), [(SlotAdmission::Closed, 0); 2]);
            assert!(get("127.0.0.1:80").is_err(), "the port is not in use yet");

            assert_eq!(
                seen(&done(&host, &switch(&host, 8081, OPEN))),
                [(SlotAdmission::Open, 0), (SlotAdmission::Closed, 0)]
            );
            let places = ["127.0.0.1:80", "[::1]:80"];
            let mut clients: Vec<_> = (0..20)
                .map(|n| Client::connect(places[n % 2]).expect("a connection"))
                .collect();
            for client in &mut clients {
                assert_eq!(client.get("/").expect("an answer"), "old");
            }
            assert_eq!(
                seen(&look(&host)),
                [(SlotAdmission::Open, 20), (SlotAdmission::Closed, 0)]
            );

            let view = done(&host, &switch(&host, 8082, OPEN));
            assert_eq!(
                seen(&view),
                [(SlotAdmission::Closed, 20), (SlotAdmission::Open, 0)],
                "{shell:?}"
            );
            assert_eq!(view.epoch, Some(Epoch(7)));
            for client in &mut clients {
                assert_eq!(client.get("/").expect("an answer"), "old", "{shell:?}");
            }
            for place in places {
                assert_eq!(get(place).expect("an answer"), "new", "{shell:?}");
            }
            // Remaining connections end with the instance, and ship no longer waits; a client that opens
            // it again sees it.
            assert_eq!(
                seen(&done(&host, &switch(&host, 8081, SlotSwitch::Close)))[0],
                (SlotAdmission::Closed, 20)
            );
            assert_eq!(
                seen(&done(&host, &switch(&host, 8081, SlotSwitch::Cut)))[0],
                (SlotAdmission::Closed, 0)
            );
            assert_eq!(clients[0].get("/").expect("an answer"), "old", "{shell:?}");
            assert_eq!(
                seen(&look(&host)),
                [(SlotAdmission::Closed, 0), (SlotAdmission::Open, 0)]
            );
            assert_eq!(
                seen(&done(&host, &switch(&host, 8081, OPEN)))[0],
                (SlotAdmission::Open, 20)
            );

            // Only who has the port can lose it.
            assert_eq!(
                seen(&done(&host, &switch(&host, 8082, SlotSwitch::Close)))[0].0,
                SlotAdmission::Open
            );
            assert_eq!(
                seen(&done(&host, &switch(&host, 8081, SlotSwitch::Close)))[0].0,
                SlotAdmission::Closed
            );
            assert!(get("127.0.0.1:80").is_err(), "{shell:?}");
        }
    });
}

#[test]
fn nftables_forwards_remote_clients_to_the_same_slot() {
    namespace::with_programs(&PROGRAMS, || {
        // Bound to one address: it is reached at that.
        for command in [
            "ip netns add far",
            "ip link add near type veth peer name away netns far",
            "ip addr add 192.0.2.1/24 dev near",
            "ip -6 addr add fd00::1/64 dev near nodad",
            "ip link set near up",
            "ip -n far addr add 192.0.2.2/24 dev away",
            "ip -n far -6 addr add fd00::2/64 dev away nodad",
            "ip -n far link set away up",
        ] {
            let words: Vec<_> = command.split(' ').collect();
            namespace::run(words[0], &words[1..]);
        }
        Page::serve("old", &["192.0.2.1:8081", "[fd00::1]:8081"]);
        Page::serve("new", &["192.0.2.1:8082", "[fd00::1]:8082"]);
        let host = host(Shell::Sh);
        for (port, page) in [(8081, "old"), (8082, "new")] {
            done(&host, &switch(&host, port, OPEN));
            for place in ["http://192.0.2.1/", "http://[fd00::1]/"] {
                let printed =
                    namespace::run("ip", &["netns", "exec", "far", "curl", "-sgm", "5", place]);
                assert_eq!(printed, page, "{place}");
            }
        }
    });
}

#[test]
fn nftables_rejects_an_older_action() {
    namespace::with_programs(&PROGRAMS, || {
        for shell in shells() {
            let mut host = host(shell);
            host.site.order = ActionId(5);
            done(&host, &switch(&host, 8081, OPEN));
            let rules = nft("list ruleset");

            host.site.order = ActionId(4);
            for turn in [OPEN, SlotSwitch::Close, SlotSwitch::Cut] {
                let (end, view) = run(&host, &switch(&host, 8082, turn));
                assert_eq!(
                    (end, seen(&view)[0].0),
                    (ScriptEnd::Late { taken: ActionId(5) }, SlotAdmission::Open)
                );
            }
            (host.site.epoch, host.site.order) = (Epoch(6), ActionId(9));
            for turn in [OPEN, SlotSwitch::Close, SlotSwitch::Cut] {
                let (end, view) = run(&host, &switch(&host, 8082, turn));
                assert_eq!(
                    (end, seen(&view)[0].0),
                    (ScriptEnd::Fenced { seen: Epoch(7) }, SlotAdmission::Open)
                );
                assert_eq!(view.epoch, Some(Epoch(7)));
            }
            assert_eq!(nft("list ruleset"), rules, "{shell:?}");
        }
    });
}

#[test]
fn rules_to_which_the_packet_filter_objects_change_nothing() {
    namespace::with_programs(&PROGRAMS, || {
        for shell in shells() {
            let host = host(shell);
            done(&host, &switch(&host, 8081, OPEN));
            let rules = nft("list ruleset");
            host.fake(
                "nft",
                "case $1 in -c) echo 'no such map' >&2; exit 1 ;; *) exec \
                              /usr/sbin/nft \"$@\" ;; esac",
            );
            let (end, view) = run(&host, &switch(&host, 8082, OPEN));
            assert_eq!(
                end,
                ScriptEnd::Failed("the packet filter rejects the rules: no such map".into())
            );
            assert_eq!(
                (seen(&view)[0].0, nft("list ruleset")),
                (SlotAdmission::Open, rules)
            );
        }
    });
}

#[test]
fn nftables_rejects_a_port_with_a_listener() {
    namespace::with_programs(&PROGRAMS, || {
        let host = host(Shell::Sh);
        Page::serve("other", &["127.0.0.1:80"]);
        let (end, _) = run(&host, &switch(&host, 8081, OPEN));
        let why = "another process already listens on port 80 of this host; the service's public port \
                   must be free";
        assert_eq!(end, ScriptEnd::Failed(why.into()));
        assert_eq!(get("127.0.0.1:80").expect("an answer"), "other");
    });
}

#[test]
fn public_port_of_another_directory_is_refused_and_a_second_one_is_free() {
    namespace::with_programs(&PROGRAMS, || {
        Page::serve("first", &["0.0.0.0:8081"]);
        let first = host(Shell::Sh);
        done(&first, &switch(&first, 8081, OPEN));
        let (mut other, table) = (Host::new(), table());
        other.site.slots = PORTS.map(|port| (port, vec![port])).into();
        assert_eq!(
            seen(&look(&other))[0].0,
            SlotAdmission::Closed,
            "the port is not its own"
        );
        let (end, _) = run(&other, &switch(&other, 8082, OPEN));
        let why = format!(
            "the table {table} already forwards port 80 of this host; choose another \
             port"
        );
        assert_eq!(end, ScriptEnd::Failed(why));

        let on_81 =
            |port, turn| switch_nftables(&other.site, &HostId::from("web1"), 81, port, turn);
        done(&other, &on_81(8081, OPEN));
        done(&other, &on_81(8081, SlotSwitch::Close));
        assert_eq!(seen(&look(&first))[0].0, SlotAdmission::Open);
        assert_eq!(get("127.0.0.1:80").expect("an answer"), "first");
    });
}

#[test]
fn nftables_detects_and_repairs_broken_rules() {
    namespace::with_programs(&PROGRAMS, || {
        Page::serve("old", &["0.0.0.0:8081"]);
        for shell in shells() {
            let host = host(shell);
            for harm in [
                "flush chain ip TABLE output; flush chain ip6 TABLE output",
                "flush map ip TABLE active; flush map ip6 TABLE active",
                "flush ruleset",
            ] {
                assert_eq!(
                    seen(&done(&host, &switch(&host, 8081, OPEN)))[0].0,
                    SlotAdmission::Open
                );
                assert_eq!(get("127.0.0.1:80").expect("an answer"), "old");
                nft(&harm.replace("TABLE", &table()));
                assert_eq!(
                    seen(&look(&host))[0].0,
                    SlotAdmission::Closed,
                    "{shell:?}: {harm}"
                );
            }
            // What a start of the host loads.
            done(&host, &switch(&host, 8081, OPEN));
            let rules = nft("list ruleset");
            nft("flush ruleset");
            namespace::run(
                "nft",
                &["-f", host.root().join("public.nft").to_str().expect("path")],
            );
            assert_eq!(nft("list ruleset"), rules);
        }
    });
}

#[test]
fn nftables_reports_missing_tools() {
    namespace::with_programs(&PROGRAMS, || {
        let host = host(Shell::Sh);
        host.fake(
            "nft",
            "echo 'Operation not permitted (you must be root)' >&2; exit 1",
        );
        let ran = host.run(&observe_nftables(&host.site, &HostId::from("web1"), PUBLIC));
        let error = read_balancer_report(&ran.stdout)
            .expect_err("unseen")
            .to_string();
        assert_eq!(
            error,
            "the host cannot determine what is running: nft list table: Operation not permitted (you \
             must be root)"
        );
    });
}
