//! `[rollout]`: amounts, deadlines and steps.

use snapbox::{IntoData, assert_data_eq, str};

use super::files;

#[test]
fn percentage_above_100_is_refused() {
    let files = files().playbook(
        "max_surge = 1",
        "max_surge = \"101%\"\nmax_unavailable = \"many\"",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `max_surge` is not a count or percentage: 101% is more than 100%
  --> web.toml:13:13
   |
13 | max_surge = "101%"
   |             ^^^^^^
   |
   = help: write a count such as 2, or a percentage from "0%" to "100%"

error: `max_unavailable` is not a count or percentage: `many` is neither a count such as 2 nor a percentage such as "25%"
  --> web.toml:14:19
   |
14 | max_unavailable = "many"
   |                   ^^^^^^
   |
   = help: write a count such as 2, or a percentage from "0%" to "100%"
"#]]
        .raw()
    );
}

#[test]
fn negative_amount_is_refused() {
    let files = files().playbook("max_surge = 1", "max_surge = -1\nreplicas = -3");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `max_surge` cannot be -1
  --> web.toml:13:13
   |
13 | max_surge = -1
   |             ^^
   |
   = help: write a count such as 2, or a percentage from "0%" to "100%"

error: `replicas` must be a number from 0 to 1000000
  --> web.toml:14:12
   |
14 | replicas = -3
   |            ^^
"#]]
        .raw()
    );
}

#[test]
fn more_replicas_than_slots_are_refused() {
    let files = files().playbook("max_surge = 1", "replicas = 9");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: 9 replicas need 9 slots, but the fleet offers 4 (2 hosts × 2 slots)
  --> web.toml:13:12
   |
13 | replicas = 9
   |            ^
   |
   = help: add hosts, ports or slots, or lower `replicas`
"#]]
        .raw()
    );
}

#[test]
fn surge_without_a_free_slot_is_refused() {
    let files = files().playbook("[8081, 8082]", "[8081]");
    assert_data_eq!(files.report(), str![[r#"
error: 2 replicas + 1 surge need at least 3 slots, but the fleet offers 2 (2 hosts × 1 slot), and max_unavailable resolves to 0
  --> web.toml:13:13
   |
13 | max_surge = 1
   |             ^
   |
   = help: add a host or a second port or slot, or replace in place with max_surge = 0 and max_unavailable = 1
"#]].raw());
}

#[test]
fn rollout_without_surge_and_unavailable_is_refused() {
    let files = files().playbook("max_surge = 1", "max_surge = 0");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: max_surge = 0 and max_unavailable = 0 leave no room for a rollout: it could neither start a new instance nor stop an old one
  --> web.toml:13:13
   |
13 | max_surge = 0
   |             ^
   |
   = help: set max_surge = 1, or allow one instance to be down with max_unavailable = 1
"#]]
        .raw()
    );
}

#[test]
fn probes_that_cannot_pass_within_the_deadline_are_refused() {
    let files = || files().playbook("max_surge = 1", "progress_deadline = \"5s\"");
    let late = files().playbook("[readiness]", "[readiness]\ninitial_delay = \"30s\"");
    assert_data_eq!(
        late.report(),
        str![[r#"
error: no instance can be available within progress_deadline (5s): it takes at least 30s (initial_delay 30s)
  --> web.toml:11:17
   |
11 | initial_delay = "30s"
   |                 ^^^^^
   |
   = help: shorten initial_delay, or lengthen progress_deadline (default 10m)
"#]]
        .raw()
    );
    let repeated = files().playbook(
        "[readiness]",
        "[readiness]\ninterval = \"3s\"\nsuccess_threshold = 5",
    );
    let report = repeated.set("rollout.min_ready=1s").report();
    let words = "it takes at least 13s (4 × interval 3s for success_threshold = 5 + min_ready 1s)";
    assert!(
        report.contains(words)
            && report.contains("lower `success_threshold` or shorten `interval`"),
        "{report}"
    );
}

#[test]
fn stop_longer_than_the_deadline_is_permitted() {
    let files = files()
        .playbook("max_surge = 1", "progress_deadline = \"5s\"")
        .playbook("[service]", "[service]\nstop_timeout = \"1h\"");
    assert!(files.load().is_ok());
}

#[test]
fn min_ready_as_long_as_the_deadline_is_refused() {
    let files = files().playbook("max_surge = 1", r#"min_ready = "10m""#);
    assert_data_eq!(
        files.report(),
        str![[r#"
error: no instance can be available within progress_deadline (10m): it takes at least 10m (min_ready 10m)
  --> web.toml:13:13
   |
13 | min_ready = "10m"
   |             ^^^^^
   |
   = help: shorten min_ready, or lengthen progress_deadline (default 10m)
"#]]
        .raw()
    );
}

#[test]
fn steps_are_amounts_or_tables() {
    use ship::core::spec::budget::Amount;
    let steps = "steps = [1, { instances = \"25%\", soak = \"5m\", pause = true, weight = \"5%\" \
                 }, \"100%\"]\nsoak = \"1m\"";
    let haproxy =
        "[traffic]\ndriver = \"haproxy\"\nsocket = \"/run/haproxy/admin.sock\"\n[rollout]";
    let files = files()
        .playbook("max_surge = 1", steps)
        .playbook("[rollout]", haproxy);
    let files = files.inventory("[[hosts]]", "[[balancers]]\nname = \"lb1\"\n[[hosts]]");
    let steps = files.load().expect("it is right").playbook.rollout.steps;
    let reported: Vec<_> = steps
        .iter()
        .map(|step| {
            (
                step.instances,
                step.soak.as_secs(),
                step.pause,
                step.weight_percent,
            )
        })
        .collect();
    assert_eq!(
        reported,
        [
            (Amount::Count(1), 60, false, None),
            (Amount::Percent(25), 300, true, Some(5)),
            (Amount::Percent(100), 60, false, None)
        ]
    );
}

#[test]
fn invalid_step_is_reported_at_its_place() {
    let files = files().playbook(
        "max_surge = 1",
        "steps = [0, { soak = \"5m\", paus = true }, { instances = 1, weight = 5 }]",
    );
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `steps` must be more than 0
  --> web.toml:13:10
   |
13 | steps = [0, { soak = "5m", paus = true }, { instances = 1, weight = 5 }]
   |          ^
   |
   = help: steps = [1, { instances = "25%", soak = "10m", pause = true }, "100%"]

error: missing key `instances` in a step
  --> web.toml:13:13
   |
13 | steps = [0, { soak = "5m", paus = true }, { instances = 1, weight = 5 }]
   |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: for example: instances = "25%"

error: unknown key `paus` in a step
  --> web.toml:13:28
   |
13 | steps = [0, { soak = "5m", paus = true }, { instances = 1, weight = 5 }]
   |                            ^^^^
   |
   = help: did you mean `pause`?

error: `weight` must be a percentage from "1%" to "100%"
  --> web.toml:13:69
   |
13 | steps = [0, { soak = "5m", paus = true }, { instances = 1, weight = 5 }]
   |                                                                     ^
"#]]
        .raw()
    );
    let files = super::files().playbook("max_surge = 1", "steps = 3");
    assert_data_eq!(
        files.report(),
        str![[r#"
error: `steps` must be a list, not a whole number
  --> web.toml:13:9
   |
13 | steps = 3
   |         ^
   |
   = help: for example: steps = [1, { instances = "25%", soak = "10m", pause = true }, "100%"]
"#]]
        .raw()
    );
}

#[test]
fn zones_need_a_label_on_every_host() {
    let zones = |label: &str| {
        let with_zones = format!("max_surge = 1\nzones = \"{label}\"");
        files().playbook("max_surge = 1", &with_zones)
    };
    assert_data_eq!(
        zones("zone").report(),
        str![[r#"
error: the host web2 has no label `zone`
  --> web.toml:14:9
   |
14 | zones = "zone"
   |         ^^^^^^
   |
   = help: add labels = { zone = "a" } to each host; labels of the hosts: zone
"#]]
        .raw()
    );
    assert_data_eq!(
        zones("rack").report(),
        str![[r#"
error: 2 hosts have no label `rack`: web1, web2
  --> web.toml:14:9
   |
14 | zones = "rack"
   |         ^^^^^^
   |
   = help: add labels = { rack = "a" } to each host; labels of the hosts: zone
"#]]
        .raw()
    );
    let address = "address = \"10.0.0.2\"";
    let labelled = format!("{address}\nlabels = {{ zone = \"b\" }}");
    let project = zones("zone").inventory(address, &labelled).project();
    assert_eq!(project.playbook.rollout.zones.as_deref(), Some("zone"));
}
