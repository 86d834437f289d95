//! Rollouts from one version to the next, and rollbacks.

use super::scenario::{fleet_of, rollback_failure, slot_of};
use ship::core::ids::{Epoch, HostId};
use ship::core::planner::Next;
use ship::core::rollout::action::Action;
use ship::core::rollout::event::{Event, FailureResponse};
use ship::core::rollout::failure::Outcome;
use ship::core::spec::Amounts;
use ship::core::spec::impossible::Impossible;

// ── rollouts ─────────────────────────────────────────────────────────────────────────────────────

#[test]
fn rollout_replaces_instances_one_by_one_from_the_spare_host() {
    let mut scenario = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);

    // The spare host comes first, and no old instance stops before the new one is ready.
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.expect_no_actions();
    assert_eq!(
        scenario.wait_reason("h4"),
        "waiting for slot 8081 to become ready"
    );
    assert_eq!(
        scenario.wait_reason("h1"),
        "waiting for capacity: 3 available (minimum 3), 4 running (maximum 4)"
    );

    for (host, spare) in [("h1", "h4"), ("h2", "h1"), ("h3", "h2")] {
        scenario.pass_probe(&format!("{spare}:8081"));
        scenario.run_actions(&[&format!("stop {host}-0.8 at {host}:8081 (replaced)")]);
        if host != "h3" {
            scenario.run_actions(&[&format!("start 0.9 at {host}:8081")]);
            scenario.expect_no_actions();
        }
    }
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
    assert_eq!(scenario.wait_reason("h3"), "up to date");
    assert_eq!(
        scenario.plan().progress.sentence("testpage"),
        "Waiting for deployment \"testpage\" rollout to finish: all 3 updated replicas are \
         available..."
    );
}

#[test]
fn first_deploy_starts_one_instance_per_host() {
    let mut scenario = fleet_of(4)
        .budget(3, 1, 0)
        .deploy_without_rollback_target("0.8");
    scenario.run_actions(&[
        "stage 0.8 on h1",
        "stage 0.8 on h2",
        "stage 0.8 on h3",
        "stage 0.8 on h4",
    ]);
    scenario.run_actions(&[
        "start 0.8 at h1:8081",
        "start 0.8 at h2:8081",
        "start 0.8 at h3:8081",
    ]);
    for slot in ["h1:8081", "h2:8081", "h3:8081"] {
        scenario.pass_probe(slot);
    }
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn deploy_of_the_running_release_only_claims_hosts() {
    let mut scenario = fleet_of(3)
        .running("0.9", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    scenario.run_actions(&["claim h1", "claim h2", "claim h3"]);
    scenario.expect_no_actions();
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn new_instance_starts_on_a_second_port_beside_the_old() {
    let mut scenario = fleet_of(2)
        .slots(&[8081, 8082])
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h1:8082"]);
    scenario.pass_probe("h1:8082");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h2:8082"]);
    scenario.pass_probe("h2:8082");
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn in_place_rollout_stops_the_old_instance_before_the_start() {
    let mut scenario = fleet_of(2)
        .budget(2, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h1:8081");
    // The new instance is ready, so the dead-man switch of h1 need not restore the old one.
    scenario.run_actions(&["disarm h1:8081", "stop h2-0.8 at h2:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    scenario.run_actions(&["disarm h2:8081"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn budget_of_a_quarter_rounds_surge_up_and_unavailable_down() {
    let amounts = Amounts {
        replicas: 10,
        max_surge: "25%".parse().unwrap(),
        max_unavailable: "25%".parse().unwrap(),
    };
    let budget = amounts.resolve(13, 1).unwrap();
    let old: Vec<String> = (1..=10).map(|n| format!("h{n}:8081")).collect();
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let mut scenario = fleet_of(13)
        .budget(budget.replicas, budget.surge, budget.unavailable)
        .running("0.8", &old)
        .deploy("0.9");
    let staged: Vec<String> = (1..=13).map(|n| format!("stage 0.9 on h{n}")).collect();
    scenario.run_actions(&staged.iter().map(String::as_str).collect::<Vec<_>>());
    scenario.run_actions(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
        "start 0.9 at h11:8081",
        "start 0.9 at h12:8081",
        "start 0.9 at h13:8081",
    ]);
}

#[test]
fn unhealthy_old_instances_stop_first() {
    let mut scenario = fleet_of(3)
        .budget(3, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.fail_probes("h3:8081", "connection refused");
    scenario.run_actions(&["stop h3-0.8 at h3:8081 (unhealthy)"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.expect_no_actions();
}

#[test]
fn unprobed_instance_does_not_count_as_unhealthy() {
    let mut scenario = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.pass_probe("h4:8081");
    scenario
        .fleet
        .instance_mut(&slot_of("h1:8081"))
        .unwrap()
        .health
        .last = None;
    scenario
        .fleet
        .instance_mut(&slot_of("h2:8081"))
        .unwrap()
        .health
        .last = None;
    scenario.expect_no_actions();
    scenario.fail_probes("h2:8081", "connection refused");
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (unhealthy)"]);
}

#[test]
fn scaling_down_stops_surplus_old_instances_at_once() {
    let mut scenario = fleet_of(4)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081", "h4:8081"])
        .deploy("0.9");
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    scenario.run_actions(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
    ]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.expect_no_actions();
}

#[test]
fn scaling_down_the_running_release_stops_the_surplus() {
    let mut scenario = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    scenario.run_actions(&["claim h1", "claim h2", "claim h3"]);
    scenario.run_actions(&["stop h3-0.9 at h3:8081 (surplus)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn scaling_to_zero_stops_every_instance() {
    let mut scenario = fleet_of(2)
        .budget(0, 1, 0)
        .running("0.9", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["claim h1", "claim h2"]);
    scenario.run_actions(&[
        "stop h1-0.9 at h1:8081 (surplus)",
        "stop h2-0.9 at h2:8081 (surplus)",
    ]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn planner_prunes_unneeded_releases_last() {
    let mut setup = fleet_of(2).budget(1, 1, 0).running("0.9", &["h1:8081"]);
    for host in setup.fleet.hosts.values_mut() {
        host.releases.extend(["0.6", "0.8", "0.9"].map(Into::into));
    }
    let mut scenario = setup.deploy("0.9");
    scenario.run_actions(&["prune 1 old releases on h1", "prune 1 old releases on h2"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
    assert!(
        scenario
            .fleet
            .hosts
            .values()
            .all(|host| host.releases.len() == 2),
        "kept releases must stay"
    );
}

// ── readiness ────────────────────────────────────────────────────────────────────────────────────

#[test]
fn new_instance_counts_after_min_ready_which_a_failed_probe_restarts() {
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .min_ready(30)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    let ready_at = scenario.now;
    assert_eq!(scenario.wait_reason("h2"), "slot 8081 is ready and soaks");
    assert_eq!(
        scenario.plan().next,
        Next::Wake(ready_at + scenario.spec.min_ready)
    );

    scenario.advance(29);
    scenario.expect_no_actions();
    scenario.fail_probes("h2:8081", "502 Bad Gateway");
    assert_eq!(
        scenario.wait_reason("h2"),
        "waiting for slot 8081 to become ready; last answer: 502 Bad Gateway"
    );
    scenario.pass_probe("h2:8081");
    scenario.advance(29);
    scenario.expect_no_actions();
    scenario.advance(1);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn stale_probe_does_not_count() {
    let mut scenario = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.pass_probe("h3:8081");
    scenario.now = scenario.now + std::time::Duration::from_mins(1);
    scenario.expect_no_actions();
}

// ── impossible rollouts ──────────────────────────────────────────────────────────────────────────

#[test]
fn impossible_budget_is_rejected_with_its_arithmetic() {
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
        "3 replicas + 1 surge need at least 4 slots, but the fleet offers 3 (3 hosts × 1 slot), \
         and max_unavailable \
         resolves to 0\nhint: add a host or a second port or slot, or replace in place with max_surge = 0 \
         and max_unavailable = 1"
    );
    assert_eq!(
        refusal(5, "25%", "25%", 2, 2),
        "5 replicas need 5 slots, but the fleet offers 4 (2 hosts × 2 slots)\nhint: add hosts, \
         ports or slots, or lower `replicas`"
    );
    assert_eq!(
        refusal(3, "0", "0", 4, 1),
        "max_surge = 0 and max_unavailable = 0 leave no room for a rollout: it could neither start a \
         new instance nor stop an old one\nhint: set max_surge = 1, or allow one instance to be \
         down with max_unavailable = 1"
    );
}

#[test]
fn port_of_a_foreign_process_blocks_the_rollout_and_is_never_stopped() {
    let scenario = fleet_of(2)
        .budget(1, 1, 0)
        .foreign_process("h2:8081", "pid 4711 (nginx)")
        .deploy("0.9");
    let obstacles: Vec<String> = scenario
        .spec
        .obstacles(&"0.9".into(), &scenario.fleet)
        .iter()
        .map(Impossible::to_string)
        .collect();
    assert_eq!(
        obstacles,
        [
            "h2: slot 8081 is taken by pid 4711 (nginx), which this fleet did not start; stop it, \
             or remove the port from `ports`"
        ]
    );
    let mut scenario = scenario;
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
}

#[test]
fn min_ready_longer_than_the_deadline_blocks_the_rollout() {
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

// ── drained hosts ────────────────────────────────────────────────────────────────────────────────

#[test]
fn instance_on_a_drained_host_moves_within_the_budget() {
    let scenario = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .drained(&["h1"]);
    let mut scenario = scenario.deploy("0.8");
    scenario.run_actions(&["claim h2", "claim h3", "stage 0.8 on h4", "claim h1"]);
    scenario.run_actions(&["start 0.8 at h4:8081"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h4:8081");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
    assert_eq!(
        scenario.wait_reason("h1"),
        "drained; safe to remove from the inventory"
    );
}

#[test]
fn new_version_is_not_deployed_to_a_drained_host() {
    let scenario = fleet_of(3)
        .slots(&[8081, 8082])
        .budget(2, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081"])
        .drained(&["h1"]);
    let mut scenario = scenario.deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h2", "stage 0.9 on h3", "claim h1"]);
    scenario.run_actions(&["start 0.9 at h3:8081"]);
    scenario.pass_probe("h3:8081");
    scenario.run_actions(&["stop h2-0.8 at h2:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.pass_probe("h2:8081");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

#[test]
fn empty_drained_host_is_only_claimed() {
    let scenario = fleet_of(3)
        .budget(2, 1, 0)
        .running("0.8", &["h2:8081"])
        .drained(&["h1"]);
    let mut scenario = scenario.deploy("0.8");
    scenario.run_actions(&["claim h2", "stage 0.8 on h3", "claim h1"]);
    scenario.run_actions(&["start 0.8 at h3:8081"]);
    scenario.pass_probe("h3:8081");
    assert_eq!(scenario.outcome(), Outcome::Succeeded);
}

// ── failures ─────────────────────────────────────────────────────────────────────────────────────

#[test]
fn version_that_never_becomes_ready_is_rolled_back_at_the_deadline() {
    let mut scenario = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.record_progress();
    scenario.fail_probes("h4:8081", "503 Service Unavailable");
    scenario.advance(599);
    scenario.expect_no_actions();
    scenario.advance(1);
    let (why, then) = scenario.expect_failure();
    assert_eq!(
        why,
        "h4:8081: the new instance is not ready after 10m; last answer: 503 Service \
         Unavailable"
    );
    assert_eq!(then, FailureResponse::RollBack);
    scenario.run_actions(&["stop h4-0.9 at h4:8081 (unhealthy)"]);
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn failure_names_the_address_on_which_the_instance_listens() {
    for (address, answer) in [
        (None, ""),
        (
            Some("127.0.0.1"),
            "; the instance listens on 127.0.0.1:8081",
        ),
    ] {
        let mut scenario = fleet_of(2)
            .budget(1, 1, 0)
            .running("0.8", &["h1:8081"])
            .deploy("0.9");
        scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
        scenario.run_actions(&["start 0.9 at h2:8081"]);
        scenario.record_progress();
        scenario.set_listener("h2:8081", address);
        scenario.fail_probes("h2:8081", "connection refused");
        scenario.advance(600);
        let (why, _) = scenario.expect_failure();
        let expected = "h2:8081: the new instance is not ready after 10m; last answer: \
                        connection refused";
        assert_eq!(why, format!("{expected}{answer}"));
    }
}

#[test]
fn rollback_keeps_the_budget() {
    let mut scenario = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.pass_probe("h4:8081");
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.exit_instance("h1:8081", "exit status 3");
    let (why, then) = scenario.expect_failure();
    assert_eq!(
        why,
        "h1:8081: the new instance exited unexpectedly after 0ms: exit status 3"
    );
    assert_eq!(then, FailureResponse::RollBack);
    // The new instance on h4 serves until an old one has replaced it.
    scenario.run_actions(&["stop h1-0.9 at h1:8081 (exited)"]);
    scenario.run_actions(&["start 0.8 at h1:8081"]);
    scenario.expect_no_actions();
    scenario.pass_probe("h1:8081");
    scenario.run_actions(&["stop h4-0.9 at h4:8081 (replaced)"]);
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn refused_start_rolls_back_at_once() {
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    let start = scenario.start_actions(&["start 0.9 at h2:8081"]).remove(0);
    scenario.fail(&start, "sudo: a password is required");
    let (why, then) = scenario.expect_failure();
    assert_eq!(
        why,
        "h2:8081: cannot start the new instance: sudo: a password is required"
    );
    assert_eq!(then, FailureResponse::RollBack);
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn action_from_before_the_failure_does_not_fail_the_rollback() {
    let mut scenario = fleet_of(2)
        .budget(2, 0, 2)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&[
        "stop h1-0.8 at h1:8081 (replaced)",
        "stop h2-0.8 at h2:8081 (replaced)",
    ]);
    let starts = scenario.start_actions(&["start 0.9 at h1:8081", "start 0.9 at h2:8081"]);
    scenario.fail(&starts[0], "exec format error");
    scenario.expect_failure();
    scenario.fail(&starts[1], "exec format error");
    // The dead-man switches of the hosts would interfere with the rollback.
    scenario.run_actions(&["disarm h1:8081", "disarm h2:8081"]);
    scenario.run_actions(&["start 0.8 at h1:8081", "start 0.8 at h2:8081"]);
    scenario.pass_probe("h1:8081");
    scenario.pass_probe("h2:8081");
    assert_eq!(scenario.outcome(), Outcome::RolledBack);
}

#[test]
fn failed_staging_fails_the_rollout_before_any_start() {
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    let staged = scenario.start_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.complete(&staged[0]);
    scenario.fail(&staged[1], "no space left on device");
    let (why, _) = scenario.expect_failure();
    assert_eq!(why, "h2: cannot stage the release: no space left on device");
    scenario.run_actions(&["claim h2"]);
    assert_eq!(
        scenario.outcome(),
        Outcome::RolledBack,
        "nothing had been changed"
    );
}

#[test]
fn rollout_holds_if_the_old_version_fails_too() {
    let mut scenario = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.fail_probes("h2:8081", "database unreachable");
    scenario.fail_probes("h4:8081", "database unreachable");
    scenario.advance(600);
    let (_, then) = scenario.expect_failure();
    let why = "instances of the old version 0.8 fail too (h2:8081), so the new version may not be the cause";
    assert_eq!(then, FailureResponse::Hold { why: why.into() });
    scenario.expect_no_actions();
    assert_eq!(scenario.outcome(), Outcome::Held { why: why.into() });
    assert_eq!(scenario.wait_reason("h1"), "the rollout has ended: held");
}

#[test]
fn rollout_without_rollback_target_holds() {
    let mut scenario = fleet_of(1)
        .budget(1, 0, 1)
        .deploy_without_rollback_target("0.8");
    scenario.run_actions(&["stage 0.8 on h1"]);
    scenario.run_actions(&["start 0.8 at h1:8081"]);
    scenario.exit_instance("h1:8081", "signal 11");
    let (_, then) = scenario.expect_failure();
    assert_eq!(
        then,
        FailureResponse::Hold {
            why: "no other revision has been proven healthy".into()
        }
    );
}

#[test]
fn on_failure_hold_changes_nothing_after_a_failure() {
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .hold_on_failure()
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
    scenario.exit_instance("h2:8081", "exit status 1");
    let (_, then) = scenario.expect_failure();
    assert_eq!(
        then,
        FailureResponse::Hold {
            why: "on_failure = \"hold\"".into()
        }
    );
    scenario.expect_no_actions();
    assert!(matches!(scenario.outcome(), Outcome::Held { .. }));
}

#[test]
fn failed_rollback_waits_for_actions_in_flight_and_reports_the_failure() {
    let mut scenario = fleet_of(2)
        .budget(2, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.run_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    let start = scenario.start_actions(&["start 0.9 at h1:8081"]).remove(0);
    scenario.fail(&start, "no such file");
    scenario.expect_failure();
    scenario.run_actions(&["disarm h1:8081"]);
    let back = scenario.start_actions(&["start 0.8 at h1:8081"]).remove(0);
    scenario.advance(600);
    assert_eq!(scenario.plan().next, Next::AwaitInFlight);
    scenario.fail(&back, "no such file");
    assert!(
        rollback_failure(&scenario.outcome())
            .starts_with("h1:8081: cannot start the new instance: no such")
    );
}

// ── unreachable hosts and unknown results ────────────────────────────────────────────────────────

#[test]
fn instance_on_an_unreachable_host_counts_as_running_and_unavailable() {
    let mut scenario = fleet_of(4)
        .budget(3, 1, 0)
        .running("0.8", &["h1:8081", "h2:8081", "h3:8081"])
        .deploy("0.9");
    scenario.run_actions(&[
        "stage 0.9 on h1",
        "stage 0.9 on h2",
        "stage 0.9 on h3",
        "stage 0.9 on h4",
    ]);
    scenario.lose_host("h2");
    scenario.run_actions(&["start 0.9 at h4:8081"]);
    scenario.pass_probe("h4:8081");
    scenario.expect_no_actions();
    assert_eq!(
        scenario.wait_reason("h2"),
        "unreachable: timed out after 10s"
    );
    assert_eq!(
        scenario.wait_reason("h1"),
        "waiting for capacity: 3 available (minimum 3), 4 running (maximum 4)"
    );
    scenario.advance(600);
    let (why, then) = scenario.expect_failure();
    assert_eq!(why, "h2: unreachable for 10m: timed out after 10s");
    assert!(
        matches!(then, FailureResponse::Hold { .. }),
        "instances of the old version are unreachable, too"
    );
}

#[test]
fn start_with_unknown_result_keeps_its_slot() {
    let mut scenario = fleet_of(3)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.start_actions(&["start 0.9 at h2:8081"]);
    let id = *scenario.rollout.orders.in_flight.keys().next().unwrap();
    scenario.record(Event::ActionUnknown {
        id,
        why: "connection reset".into(),
    });
    scenario.lose_host("h2");
    scenario.expect_no_actions();
    // The host has recovered and the slot is empty. The script may still be running there until
    // another one has held the lock.
    scenario
        .fleet
        .hosts
        .get_mut(&HostId::from("h2"))
        .unwrap()
        .reach = ship::core::fleet::reach::Reach::Reachable;
    scenario.record(Event::HostRecovered {
        host: HostId::from("h2"),
    });
    scenario.run_actions(&["claim h2"]);
    scenario.advance(1);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
}

#[test]
fn old_instance_that_ship_stopped_does_not_count_as_failing() {
    let mut scenario = fleet_of(2)
        .budget(2, 0, 1)
        .running("0.8", &["h1:8081", "h2:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.start_actions(&["stop h1-0.8 at h1:8081 (replaced)"]);
    let id = *scenario.rollout.orders.in_flight.keys().next().unwrap();
    scenario.record(Event::ActionUnknown {
        id,
        why: "connection reset".into(),
    });
    scenario.lose_host("h1");
    // The host has recovered without the instance: the stop had been executed.
    let host = scenario.fleet.hosts.get_mut(&HostId::from("h1")).unwrap();
    host.reach = ship::core::fleet::reach::Reach::Reachable;
    host.slots.clear();
    scenario.record(Event::HostRecovered { host: "h1".into() });
    let (slot, answer) = (slot_of("h1:8081"), "the instance no longer exists".into());
    scenario.record(Event::InstanceNotReady {
        slot,
        instance: "h1-0.8".into(),
        release: "0.8".into(),
        answer,
    });
    scenario.run_actions(&["claim h1"]);
    scenario.run_actions(&["start 0.9 at h1:8081"]);
    scenario.exit_instance("h1:8081", "exit status 1");
    assert_eq!(scenario.expect_failure().1, FailureResponse::RollBack);
}

#[test]
fn planner_starts_nothing_before_every_host_is_fenced() {
    let mut scenario = fleet_of(3)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    let staged = scenario.start_actions(&["stage 0.9 on h1", "stage 0.9 on h2", "stage 0.9 on h3"]);
    scenario.complete(&staged[0]);
    scenario.complete(&staged[1]);
    let id = *scenario.rollout.orders.in_flight.keys().next().unwrap();
    scenario.record(Event::ActionUnknown {
        id,
        why: "connection reset".into(),
    });
    scenario.lose_host("h3");
    scenario.expect_no_actions();
    scenario
        .fleet
        .hosts
        .get_mut(&HostId::from("h3"))
        .unwrap()
        .reach = ship::core::fleet::reach::Reach::Reachable;
    scenario.record(Event::HostRecovered {
        host: HostId::from("h3"),
    });
    scenario.run_actions(&["stage 0.9 on h3"]);
    scenario.run_actions(&["start 0.9 at h2:8081"]);
}

// ── stopped rollouts ─────────────────────────────────────────────────────────────────────────────

#[test]
fn interrupted_rollout_stops_after_the_actions_in_flight() {
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    let start = scenario.start_actions(&["start 0.9 at h2:8081"]).remove(0);
    scenario.record(Event::Interrupted {
        by: "SIGINT".into(),
    });
    assert_eq!(scenario.plan().next, Next::AwaitInFlight);
    scenario.complete(&start);
    scenario.pass_probe("h2:8081");
    scenario.expect_no_actions();
    assert_eq!(scenario.outcome(), Outcome::Interrupted);
}

#[test]
fn fenced_controller_plans_no_actions() {
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    scenario.run_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario
        .fleet
        .hosts
        .get_mut(&HostId::from("h1"))
        .unwrap()
        .epoch = Epoch(8);
    scenario.expect_no_actions();
    assert_eq!(
        scenario.outcome(),
        Outcome::Fenced {
            host: "h1".into(),
            seen: Epoch(8)
        }
    );
}

#[test]
fn host_with_an_action_in_flight_gets_no_other() {
    let mut scenario = fleet_of(2)
        .budget(1, 1, 0)
        .running("0.8", &["h1:8081"])
        .deploy("0.9");
    let staged = scenario.start_actions(&["stage 0.9 on h1", "stage 0.9 on h2"]);
    scenario.expect_no_actions();
    assert_eq!(scenario.wait_reason("h1"), "busy: stage 0.9 on h1");
    assert!(
        staged
            .iter()
            .all(|action| matches!(action, Action::Stage { .. }))
    );
}
