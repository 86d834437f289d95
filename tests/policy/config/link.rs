//! The driver `link`: its defaults, and what has no meaning with it.

use ship::core::release::Driver;
use snapbox::{IntoData, assert_data_eq, str};

use super::{Files, files};

/// A site that nginx serves.
fn site() -> Files {
    files()
        .playbook(
            "command = \"./web --port {{ port }}\"\n",
            "driver = \"link\"\n",
        )
        .playbook("ports = [8081, 8082]", "ports = [80]")
        .playbook("max_surge = 1\n", "")
}

/// The errors, without the places.
fn messages(files: &Files) -> Vec<String> {
    let report = files.report();
    let errors = report
        .lines()
        .filter_map(|line| line.strip_prefix("error: "));
    errors.map(str::to_owned).collect()
}

#[test]
fn linked_service_replaces_one_slot_in_place() {
    let playbook = site()
        .playbook(
            "driver = \"link\"",
            "driver = \"link\"\nactivate = \"systemctl reload nginx\"",
        )
        .project()
        .playbook;
    assert_eq!(playbook.service.driver, Driver::Link);
    assert_eq!(playbook.service.activate, ["systemctl", "reload", "nginx"]);
    let budget = playbook.rollout.amounts(2).resolve(2, 1).expect("a budget");
    assert_eq!((budget.surge, budget.unavailable), (0, 1));
    // Static files need no command, and several ports of one server have names.
    let named = "ports = [{ http = 80, https = 443 }]";
    site().playbook("ports = [80]", named).project();
}

#[test]
fn max_surge_is_refused_with_driver_link() {
    assert_data_eq!(
        site()
            .playbook("[rollout]\n", "[rollout]\nmax_surge = 1\n")
            .report(),
        str![[r#"
error: `max_surge` must be 0 with driver = "link": `current` leads to one release at a time
  --> web.toml:13:13
   |
13 | max_surge = 1
   |             ^
   |
   = help: leave it out, or write max_surge = 0
"#]]
        .raw()
    );
}

#[test]
fn max_unavailable_of_0_is_refused_with_driver_link() {
    assert_data_eq!(
        site().playbook("[rollout]\n", "[rollout]\nmax_unavailable = 0\n").report(),
        str![[r#"
error: `max_unavailable` must be at least 1 with driver = "link": a host counts as unavailable while it is switched
  --> web.toml:13:19
   |
13 | max_unavailable = 0
   |                   ^
   |
   = help: leave it out, or write max_unavailable = 1
"#]]
        .raw()
    );
}

#[test]
fn keys_of_processes_are_refused_with_driver_link() {
    let keys =
        "driver = \"link\"\ncommand = \"./web\"\nstop_signal = \"INT\"\nstop_timeout = \"5s\"";
    assert_data_eq!(
        site().playbook("driver = \"link\"", keys).report(),
        str![[r#"
error: `command` has no meaning with driver = "link"
 --> web.toml:5:1
  |
5 | command = "./web"
  | ^^^^^^^
  |
  = help: leave it out; the command that makes the server use the files is `activate`

error: `stop_signal` has no meaning with driver = "link"
 --> web.toml:6:1
  |
6 | stop_signal = "INT"
  | ^^^^^^^^^^^
  |
  = help: leave it out: ship stops no process

error: `stop_timeout` has no meaning with driver = "link"
 --> web.toml:7:1
  |
7 | stop_timeout = "5s"
  | ^^^^^^^^^^^^
  |
  = help: leave it out: ship stops no process
"#]]
        .raw()
    );
}

#[test]
fn several_slots_are_refused_with_driver_link() {
    assert_data_eq!(
        site().playbook("ports = [80]", "ports = [80, 81]").report(),
        str![[r#"
error: driver = "link" has one slot on each host
 --> web.toml:5:9
  |
5 | ports = [80, 81]
  |         ^^^^^^^^
  |
  = help: keep one port; several ports of one server have names: ports = [{ http = 80, https = 443 }]
"#]]
        .raw()
    );
    let slots = site()
        .playbook("ports = [80]", "slots = 1")
        .playbook("http = \"/healthz\"\n", "");
    let expected = "`slots` has no meaning with driver = \"link\"";
    assert!(
        messages(&slots).contains(&expected.to_owned()),
        "{}",
        slots.report()
    );
}

#[test]
fn checks_and_tables_of_processes_are_refused_with_driver_link() {
    for check in ["running = \"10s\"", "notify = true"] {
        let key = check.split(' ').next().unwrap_or_default();
        let files = site().playbook("http = \"/healthz\"", check);
        let expected = format!("`{key}` needs a process of ship, which driver = \"link\" has not");
        assert!(messages(&files).contains(&expected), "{}", files.report());
    }
    let liveness = site().playbook("[rollout]", "[liveness]\nhttp = \"/\"\n[rollout]");
    assert_eq!(
        messages(&liveness),
        ["[liveness] needs a process of ship, which driver = \"link\" has not"]
    );
    let unit = site().playbook("[rollout]", "[systemd.Service]\nNice = 5\n[rollout]");
    assert_eq!(messages(&unit), ["[systemd] needs driver = \"systemd\""]);
}

#[test]
fn activate_needs_driver_link_and_a_command() {
    let other = files().playbook("ports = [", "activate = \"true\"\nports = [");
    assert_data_eq!(
        other.report(),
        str![[r#"
error: `activate` needs driver = "link"
 --> web.toml:5:12
  |
5 | activate = "true"
  |            ^^^^^^
  |
  = help: leave it out, or use a hook: [[hooks]] with on = "after_start"
"#]]
        .raw()
    );
    let empty = site().playbook("ports = [", "activate = \"\"\nports = [");
    assert_eq!(messages(&empty), ["`activate` must not be empty"]);
    let unknown = site().playbook("ports = [", "activate = \"reload {{ prot }}\"\nports = [");
    assert_eq!(messages(&unknown), ["unknown variable `prot`"]);
}
