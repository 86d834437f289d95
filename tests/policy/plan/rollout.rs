//! From one version to the next, and back.

use super::scenario::{fleet_of, slot_of, why_rollback_failed};
use ship::core::ids::{Epoch, HostId};
use ship::core::planner::Next;
use ship::core::rollout::action::Action;
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::Amounts;
use ship::core::spec::impossible::Impossible;

// ── the way there ────────────────────────────────────────────────────────────────────────────────

#[test]
fn rolls_like_the_articles_table() {
    let mut it = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);

    // The spare host first; nothing old stops before it is ready.
    it.does(&["start 0.9 at h4:8081"]);
    it.does_nothing();
    assert_eq!(it.hold("h4"), "waiting for port 8081 to become ready");
    assert_eq!(
        it.hold("h1"),
        "waiting for capacity: 3 available (minimum 3), 4 running (maximum 4)"
    );

    for (host, spare) in [("h1", "h4"), ("h2", "h1"), ("h3", "h2")] {
        it.answers(&format!("{spare}:8081"));
        it.does(&[&format!("stop {host}-0.8 at {host}:8081 (replaced)")]);
        if host != "h3" {
            it.does(&[&format!("start 0.9 at {host}:8081")]);
            it.does_nothing();
        }
    }
    assert_eq!(it.ending(), Outcome::Succeeded);
    assert_eq!(it.hold("h3"), "up to date");
    assert_eq!(
        it.plan().progress.sentence("testpage"),
        "Waiting for deployment \"testpage\" rollout to finish: all 3 updated replicas are \
         available..."
    );
}

#[test]
fn three_replicas_come_up_from_nothing_one_a_host() {
    let mut it = fleet_of(4).budget(3, 1, 0).deploy_without_fallback("0.8");
    it.does(&[
        "stage 0.8 on h1",
        "stage 0.8 on h2",
        "stage 0.8 on h3",
        "stage 0.8 on h4",
    ]);
    it.does(&[
        "start 0.8 at h1:8081",
        "start 0.8 at h2:8081",
        "start 0.8 at h3:8081",
    ]);
    for slot in ["h1:8081", "h2:8081", "h3:8081"] {
        it.answers(slot);
    }
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn a_fleet_that_is_there_already_only_refuses_late_orders() {
    let mut it = fleet_of(3)
        .running("0.9", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    it.does(&["claim h1", "claim h2", "claim h3"]);
    it.does_nothing();
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn a_second_port_takes_the_new_instance_beside_the_old() {
    let mut it = fleet_of(2)
        .ports(&[8081, 8082])
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&["start 0.9 at h1:8082"]);
    it.answers("h1:8082");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h2:8082"]);
    it.answers("h2:8082");
    it.does(&["stop h2-0.8 at h2:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn in_place_the_old_instance_goes_before_the_new_one_comes() {
    let mut it = fleet_of(2)
        .budget(2, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.does_nothing();
    it.answers("h1:8081");
    // The new one serves: h1 need not bring the old one back, should ship be gone from now on.
    it.does(&["disarm h1:8081", "stop h2-0.8 at h2:8081 (replaced)"]);
    it.does(&["start 0.9 at h2:8081"]);
    it.answers("h2:8081");
    it.does(&["disarm h2:8081"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn a_quarter_of_ten_adds_three_and_takes_away_two() {
    let amounts = Amounts {
        replicas: 10,
        max_surge: "25%".parse().unwrap(),
        max_unavailable: "25%".parse().unwrap(),
    };
    let budget = amounts.resolve(13, 1).unwrap();
    let old: Vec<String> = (1..=10).map(|n| format!("h{n}:8081")).collect();
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let mut it = fleet_of(13)
        .budget(budget.replicas, budget.surge, budget.unavailable)
        .running("0.8", &old)
        .deploy("0.9");
    let staged: Vec<String> = (1..=13).map(|n| format!("stage 0.9 on h{n}")).collect();
    it.does(&staged.iter().map(String::as_str).collect::<Vec<_>>());
    it.does(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
        "start 0.9 at h11:8081",
        "start 0.9 at h12:8081",
        "start 0.9 at h13:8081",
    ]);
}

#[test]
fn old_instances_that_do_not_serve_go_first() {
    let mut it = fleet_of(3)
        .budget(3, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.fails_probes("h3:8081", "connection refused");
    it.does(&["stop h3-0.8 at h3:8081 (old and unhealthy)"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.does_nothing();
}

#[test]
fn what_nobody_has_asked_yet_is_not_taken_for_unhealthy() {
    let mut it = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.does(&["start 0.9 at h4:8081"]);
    it.answers("h4:8081");
    it.fleet
        .instance_mut(&slot_of("h1:8081"))
        .unwrap()
        .health
        .last = None;
    it.fleet
        .instance_mut(&slot_of("h2:8081"))
        .unwrap()
        .health
        .last = None;
    it.does_nothing();
    it.fails_probes("h2:8081", "connection refused");
    it.does(&["stop h2-0.8 at h2:8081 (old and unhealthy)"]);
}

#[test]
fn scaling_down_stops_the_old_ones_that_are_too_many_at_once() {
    let mut it = fleet_of(4)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081", "h4:8081"])
        .deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.does(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
    ]);
    it.does(&["start 0.9 at h1:8081"]);
    it.does_nothing();
}

#[test]
fn scaling_down_the_same_release_stops_the_surplus() {
    let mut it = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    it.does(&["claim h1", "claim h2", "claim h3"]);
    it.does(&["stop h3-0.9 at h3:8081 (surplus)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn a_service_scaled_to_nothing_stops_everywhere() {
    let mut it = fleet_of(2)
        .budget(0, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["claim h1", "claim h2"]);
    it.does(&[
        "stop h1-0.9 at h1:8081 (surplus)",
        "stop h2-0.9 at h2:8081 (surplus)",
    ]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn releases_that_nothing_needs_go_at_the_end() {
    let mut setup = fleet_of(2).budget(1, 1, 0).running("0.9", &["h1:8081"]);
    for host in setup.fleet.hosts.values_mut() {
        host.releases.extend(["0.6", "0.8", "0.9"].map(Into::into));
    }
    let mut it = setup.deploy("0.9");
    it.does(&["prune 1 old releases on h1", "prune 1 old releases on h2"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
    assert!(
        it.fleet.hosts.values().all(|host| host.releases.len() == 2),
        "what is kept stays"
    );
}

// ── readiness ────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_new_instance_counts_only_when_it_has_soaked_and_a_flap_restarts_the_soak() {
    let mut it = fleet_of(2)
        .budget(1, 1, 0)
        .min_ready(30)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&["start 0.9 at h2:8081"]);
    it.answers("h2:8081");
    let ready_at = it.now;
    assert_eq!(it.hold("h2"), "port 8081 is ready and soaks");
    assert_eq!(it.plan().next, Next::Wake(ready_at + it.spec.min_ready));

    it.later(29);
    it.does_nothing();
    it.fails_probes("h2:8081", "502 Bad Gateway");
    assert_eq!(
        it.hold("h2"),
        "waiting for port 8081 to become ready; last answer: 502 Bad Gateway"
    );
    it.answers("h2:8081");
    it.later(29);
    it.does_nothing();
    it.later(1);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn an_answer_that_is_too_old_counts_no_longer() {
    let mut it = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.answers("h3:8081");
    it.now = it.now + std::time::Duration::from_mins(1);
    it.does_nothing();
}

// ── refusals ─────────────────────────────────────────────────────────────────────────────────────

#[test]
fn what_cannot_work_is_refused_with_the_arithmetic() {
    let refusal = |replicas, surge: &str, unavailable: &str, hosts, ports| {
        let amounts = Amounts {
            replicas,
            max_surge: surge.parse().unwrap(),
            max_unavailable: unavailable.parse().unwrap(),
        };
        amounts.resolve(hosts, ports).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(3, "1", "0", 3, 1),
        "3 replicas + 1 surge need at least 4 slots, but the fleet offers 3 (3 hosts × 1 port), \
         and max_unavailable \
         resolves to 0; add a host or a second port, or set max_surge = 0 and max_unavailable = 1 \
         to replace in place"
    );
    assert_eq!(
        refusal(5, "25%", "25%", 2, 2),
        "5 replicas need 5 slots, but the fleet offers 4 (2 hosts × 2 ports)\nhint: add hosts or \
         ports, or lower `replicas`"
    );
    assert_eq!(
        refusal(3, "0", "0", 4, 1),
        "max_surge = 0 and max_unavailable = 0 leave no room for a rollout: it could neither start a \
         new instance nor stop an old one\nhint: set max_surge = 1, or allow one instance to be \
         down with max_unavailable = 1"
    );
}

#[test]
fn a_port_that_a_stranger_holds_is_an_obstacle_and_is_never_touched() {
    let it = fleet_of(2)
        .budget(1, 1, 0)
        .stranger("h2:8081", "pid 4711 (nginx)")
        .deploy("0.9");
    let obstacles: Vec<String> = it
        .spec
        .obstacles(&"0.9".into(), &it.fleet)
        .iter()
        .map(Impossible::to_string)
        .collect();
    assert_eq!(
        obstacles,
        [
            "h2: port 8081 is taken by pid 4711 (nginx), which this fleet did not start; stop it, \
             or remove the port from `ports`"
        ]
    );
    let mut it = it;
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&["start 0.9 at h1:8081"]);
}

#[test]
fn a_soak_longer_than_the_deadline_is_an_obstacle() {
    let setup = fleet_of(2).min_ready(600);
    let obstacles: Vec<String> = setup
        .spec
        .obstacles(&"0.9".into(), &setup.fleet)
        .iter()
        .map(Impossible::to_string)
        .collect();
    assert_eq!(
        obstacles,
        [
            "no instance can be available within progress_deadline (10m): it takes at least 10m \
             (min_ready 10m)"
        ]
    );
}

// ── hosts that are drained ───────────────────────────────────────────────────────────────────────

#[test]
fn what_runs_on_a_drained_host_moves_to_another_under_the_same_capacity() {
    let it = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .drained(&["h1"]);
    let mut it = it.deploy("0.8");
    it.does(&["claim h2", "claim h3", "stage 0.8 on h4", "claim h1"]);
    it.does(&["start 0.8 at h4:8081"]);
    it.does_nothing();
    it.answers("h4:8081");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
    assert_eq!(it.hold("h1"), "drained; safe to remove from the inventory");
}

#[test]
fn a_new_version_does_not_reach_a_drained_host() {
    let it = fleet_of(3)
        .ports(&[8081, 8082])
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .drained(&["h1"]);
    let mut it = it.deploy("0.9");
    it.does(&["stage 0.9 on h2", "stage 0.9 on h3", "claim h1"]);
    it.does(&["start 0.9 at h3:8081"]);
    it.answers("h3:8081");
    it.does(&["stop h2-0.8 at h2:8081 (replaced)"]);
    it.does(&["start 0.9 at h2:8081"]);
    it.answers("h2:8081");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::Succeeded);
}

#[test]
fn a_drained_host_that_is_empty_is_left_alone() {
    let it = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h2:8081"])
        .drained(&["h1"]);
    let mut it = it.deploy("0.8");
    it.does(&["claim h2", "stage 0.8 on h3", "claim h1"]);
    it.does(&["start 0.8 at h3:8081"]);
    it.answers("h3:8081");
    assert_eq!(it.ending(), Outcome::Succeeded);
}

// ── failure ──────────────────────────────────────────────────────────────────────────────────────

#[test]
fn a_version_that_never_becomes_ready_is_rolled_back_at_the_deadline() {
    let mut it = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.does(&["start 0.9 at h4:8081"]);
    it.notes_progress();
    it.fails_probes("h4:8081", "503 Service Unavailable");
    it.later(599);
    it.does_nothing();
    it.later(1);
    let (why, then) = it.turns();
    assert_eq!(
        why,
        "h4:8081: the new instance is not ready after 10m; last answer: 503 Service \
         Unavailable"
    );
    assert_eq!(then, FailureResponse::RollBack);
    it.does(&["stop h4-0.9 at h4:8081 (old and unhealthy)"]);
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn a_version_that_listens_where_nobody_asks_is_told_from_one_that_does_not_listen() {
    for (address, answer) in [
        (None, ""),
        (Some("127.0.0.1"), ", while it listens on 127.0.0.1"),
    ] {
        let mut it = fleet_of(2)
            .budget(1, 1, 0)
            .running("0.8", &["h1:8081"])
            .deploy("0.9");
        it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
        it.does(&["start 0.9 at h2:8081"]);
        it.notes_progress();
        it.listens("h2:8081", address);
        it.fails_probes("h2:8081", "connection refused");
        it.later(600);
        let (why, _) = it.turns();
        let expected = "h2:8081: the new instance is not ready after 10m; last answer: \
                        connection refused";
        assert_eq!(why, format!("{expected}{answer}"));
    }
}

#[test]
fn the_way_back_keeps_the_same_capacity() {
    let mut it = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.does(&["start 0.9 at h4:8081"]);
    it.answers("h4:8081");
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.exits("h1:8081", "exit status 3");
    let (why, then) = it.turns();
    assert_eq!(
        why,
        "h1:8081: the new instance exited unexpectedly after 0ms: exit status 3"
    );
    assert_eq!(then, FailureResponse::RollBack);
    // The new one on h4 serves until an old one has taken its place.
    it.does(&["stop h1-0.9 at h1:8081 (dead)"]);
    it.does(&["start 0.8 at h1:8081"]);
    it.does_nothing();
    it.answers("h1:8081");
    it.does(&["stop h4-0.9 at h4:8081 (replaced)"]);
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn a_start_that_is_refused_turns_the_rollout_at_once() {
    let mut it = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    let start = it.gives(&["start 0.9 at h2:8081"]).remove(0);
    it.fails(&start, "sudo: a password is required");
    let (why, then) = it.turns();
    assert_eq!(
        why,
        "h2:8081: cannot start the new instance: sudo: a password is required"
    );
    assert_eq!(then, FailureResponse::RollBack);
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn what_was_ordered_before_the_turn_says_nothing_about_the_way_back() {
    let mut it = fleet_of(2)
        .budget(2, 0, 2)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
    ]);
    let starts = it.gives(&["start 0.9 at h1:8081", "start 0.9 at h2:8081"]);
    it.fails(&starts[0], "exec format error");
    it.turns();
    it.fails(&starts[1], "exec format error");
    // What the hosts would do by themselves would get in the way.
    it.does(&["disarm h1:8081", "disarm h2:8081"]);
    it.does(&["start 0.8 at h1:8081", "start 0.8 at h2:8081"]);
    it.answers("h1:8081");
    it.answers("h2:8081");
    assert_eq!(it.ending(), Outcome::RolledBack);
}

#[test]
fn a_release_that_cannot_be_staged_fails_before_anything_is_started() {
    let mut it = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    let staged = it.gives(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.is_done(&staged[0]);
    it.fails(&staged[1], "no space left on device");
    let (why, _) = it.turns();
    assert_eq!(why, "h2: cannot stage the release: no space left on device");
    it.does(&["claim h2"]);
    assert_eq!(it.ending(), Outcome::RolledBack, "nothing had been touched");
}

#[test]
fn if_the_old_version_fails_too_the_rollout_holds() {
    let mut it = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.does(&["start 0.9 at h4:8081"]);
    it.fails_probes("h2:8081", "database unreachable");
    it.fails_probes("h4:8081", "database unreachable");
    it.later(600);
    let (_, then) = it.turns();
    let why = "instances of the old version 0.8 fail too (h2:8081), so the new version may not be the cause";
    assert_eq!(then, FailureResponse::Hold { why: why.into() });
    it.does_nothing();
    assert_eq!(it.ending(), Outcome::Held { why: why.into() });
    assert_eq!(it.hold("h1"), "the rollout has ended: held");
}

#[test]
fn without_a_version_to_go_back_to_the_rollout_holds() {
    let mut it = fleet_of(1).budget(1, 0, 1).deploy_without_fallback("0.8");
    it.does(&["stage 0.8 on h1"]);
    it.does(&["start 0.8 at h1:8081"]);
    it.exits("h1:8081", "signal 11");
    let (_, then) = it.turns();
    assert_eq!(
        then,
        FailureResponse::Hold {
            why: "no other revision has been proven healthy".into()
        }
    );
}

#[test]
fn on_failure_hold_leaves_everything_for_a_person_to_look_at() {
    let mut it = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .holds_on_failure()
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&["start 0.9 at h2:8081"]);
    it.exits("h2:8081", "exit status 1");
    let (_, then) = it.turns();
    assert_eq!(
        then,
        FailureResponse::Hold {
            why: "on_failure = \"hold\"".into()
        }
    );
    it.does_nothing();
    assert!(matches!(it.ending(), Outcome::Held { .. }));
}

#[test]
fn a_rollback_that_fails_says_so_and_first_awaits_what_is_in_flight() {
    let mut it = fleet_of(2)
        .budget(2, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does(&["stop h1-0.8 at h1:8081 (replaced)"]);
    let start = it.gives(&["start 0.9 at h1:8081"]).remove(0);
    it.fails(&start, "no such file");
    it.turns();
    it.does(&["disarm h1:8081"]);
    let back = it.gives(&["start 0.8 at h1:8081"]).remove(0);
    it.later(600);
    assert_eq!(it.plan().next, Next::AwaitInFlight);
    it.fails(&back, "no such file");
    assert!(
        why_rollback_failed(&it.ending())
            .starts_with("h1:8081: cannot start the new instance: no such")
    );
}

// ── hosts that vanish, orders that nobody heard of again ─────────────────────────────────────────

#[test]
fn a_lost_host_counts_as_running_and_as_unavailable() {
    let mut it = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    it.does(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    it.loses("h2");
    it.does(&["start 0.9 at h4:8081"]);
    it.answers("h4:8081");
    it.does_nothing();
    assert_eq!(it.hold("h2"), "unreachable: timed out after 10s");
    assert_eq!(
        it.hold("h1"),
        "waiting for capacity: 3 available (minimum 3), 4 running (maximum 4)"
    );
    it.later(600);
    let (why, then) = it.turns();
    assert_eq!(why, "h2: unreachable for 10m: timed out after 10s");
    assert!(
        matches!(then, FailureResponse::Hold { .. }),
        "the old version is out of reach, too"
    );
}

#[test]
fn a_start_that_nobody_heard_of_again_keeps_its_place() {
    let mut it = fleet_of(3)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.gives(&["start 0.9 at h2:8081"]);
    let id = *it.rollout.orders.in_flight.keys().next().unwrap();
    it.record(Event::ActionUnknown {
        id,
        why: "connection reset".into(),
    });
    it.loses("h2");
    it.does_nothing();
    // The host is back, and the slot is empty: but the script may still be at work there, until
    // another has its turn.
    it.fleet.hosts.get_mut(&HostId::from("h2")).unwrap().reach =
        ship::core::fleet::reach::Reach::Reachable;
    it.record(Event::HostRecovered {
        host: HostId::from("h2"),
    });
    it.does(&["claim h2"]);
    it.later(1);
    it.does(&["start 0.9 at h2:8081"]);
}

#[test]
fn an_old_instance_that_ship_itself_stopped_is_no_sign_of_trouble() {
    let mut it = fleet_of(2)
        .budget(2, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.gives(&["stop h1-0.8 at h1:8081 (replaced)"]);
    let id = *it.rollout.orders.in_flight.keys().next().unwrap();
    it.record(Event::ActionUnknown {
        id,
        why: "connection reset".into(),
    });
    it.loses("h1");
    // Found again, the instance is gone: the order had been carried out.
    let host = it.fleet.hosts.get_mut(&HostId::from("h1")).unwrap();
    host.reach = ship::core::fleet::reach::Reach::Reachable;
    host.slots.clear();
    it.record(Event::HostRecovered { host: "h1".into() });
    let (slot, answer) = (slot_of("h1:8081"), "it is gone".into());
    it.record(Event::InstanceNotReady {
        slot,
        instance: "h1-0.8".into(),
        release: "0.8".into(),
        answer,
    });
    it.does(&["claim h1"]);
    it.does(&["start 0.9 at h1:8081"]);
    it.exits("h1:8081", "exit status 1");
    assert_eq!(it.turns().1, FailureResponse::RollBack);
}

#[test]
fn nothing_is_started_while_a_host_may_still_obey_an_earlier_controller() {
    let mut it = fleet_of(3)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    let staged = it.gives(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    it.is_done(&staged[0]);
    it.is_done(&staged[1]);
    let id = *it.rollout.orders.in_flight.keys().next().unwrap();
    it.record(Event::ActionUnknown {
        id,
        why: "connection reset".into(),
    });
    it.loses("h3");
    it.does_nothing();
    it.fleet.hosts.get_mut(&HostId::from("h3")).unwrap().reach =
        ship::core::fleet::reach::Reach::Reachable;
    it.record(Event::HostRecovered {
        host: HostId::from("h3"),
    });
    it.does(&["stage 0.9 on h3"]);
    it.does(&["start 0.9 at h2:8081"]);
}

// ── standing still ───────────────────────────────────────────────────────────────────────────────

#[test]
fn an_interrupted_rollout_lets_what_is_in_flight_end_and_begins_nothing() {
    let mut it = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    let start = it.gives(&["start 0.9 at h2:8081"]).remove(0);
    it.record(Event::Interrupted {
        by: "SIGINT".into(),
    });
    assert_eq!(it.plan().next, Next::AwaitInFlight);
    it.is_done(&start);
    it.answers("h2:8081");
    it.does_nothing();
    assert_eq!(it.ending(), Outcome::Interrupted);
}

#[test]
fn a_controller_that_was_overtaken_orders_nothing_more() {
    let mut it = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    it.does(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.fleet.hosts.get_mut(&HostId::from("h1")).unwrap().epoch = Epoch(8);
    it.does_nothing();
    assert_eq!(
        it.ending(),
        Outcome::Fenced {
            host: "h1".into(),
            seen: Epoch(8)
        }
    );
}

#[test]
fn a_host_with_an_order_in_flight_gets_no_second_one() {
    let mut it = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    let staged = it.gives(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    it.does_nothing();
    assert_eq!(it.hold("h1"), "busy: stage 0.9 on h1");
    assert!(
        staged
            .iter()
            .all(|action| matches!(action, Action::Stage { .. }))
    );
}
