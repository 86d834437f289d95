//! Hooks of an instance: before and after its start and its stop.

use serde_json::Value;

use crate::call::json_lines;
use crate::project::LocalProject;

/// One host with one replica, and a hook that is a line of sh for a point.
fn with(hooks: &[(&str, &str)]) -> LocalProject {
    let table = |(on, script): &(&str, &str)| {
        format!("[[hooks]]\non = \"{on}\"\ncommand = \"sh -c '{script}'\"\ntimeout = \"1s\"\n")
    };
    let tables: Vec<_> = hooks.iter().map(table).collect();
    let tables = tables.concat();
    LocalProject::small().with("[rollout]", &format!("{tables}[rollout]"))
}

/// What the JSON says of hooks: where, which, whether they succeeded, and their output.
fn reported(lines: &[Value]) -> Vec<String> {
    let hooks = lines.iter().filter(|line| line["event"] == "hook_ran");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |it: &Value| {
        let printed: Vec<_> = it["output"]
            .as_array()
            .expect("an array")
            .iter()
            .map(text)
            .collect();
        let slot = format!("{}:{}", text(&it["slot"]["host"]), it["slot"]["port"]);
        format!(
            "{slot} {} {}: {}",
            text(&it["point"]),
            it["ok"],
            printed.join(" / ")
        )
    };
    hooks.map(row).collect()
}

#[test]
fn instance_runs_the_hooks_of_its_own_release() {
    let say = "echo $SHIP_SERVICE $SHIP_FLEET $SHIP_VERSION $SHIP_REVISION $SHIP_HOST $SHIP_PORT \
               {{ port }}; ls";
    let project = with(&[
        ("before_start", say),
        ("after_start", "echo up"),
        ("before_stop", say),
        ("after_stop", "pwd"),
    ]);
    let done = project
        .ship(&["deploy", "inventory.toml", "--output", "json"])
        .any_stdout()
        .run();
    let printed = "page local 0.8 1 node1 8081 8081 / behaviour / page.py";
    assert_eq!(
        reported(&json_lines(&done.stdout)),
        [
            format!("node1:8081 before_start true: {printed}"),
            "node1:8081 after_start true: up".into()
        ]
    );
    let project = project.with("$SHIP_SERVICE", "another");
    let done = project
        .ship(&[
            "deploy",
            "inventory.toml",
            "--version",
            "0.9",
            "--output",
            "json",
        ])
        .any_stdout()
        .run();
    let lines = reported(&json_lines(&done.stdout));
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert_eq!(
        lines[..3],
        [
            "node1:8082 before_start true: another local 0.9 2 node1 8082 8082 / behaviour / \
             page.py"
                .into(),
            "node1:8082 after_start true: up".into(),
            format!("node1:8081 before_stop true: {printed}"),
        ]
    );
    assert!(
        lines[3].starts_with("node1:8081 after_stop true: /") && lines[3].ends_with("/app"),
        "{}",
        lines[3]
    );
}

#[test]
fn failed_before_start_hook_is_reported_with_its_last_output() {
    let project = with(&[("before_start", "echo looking; echo no database; exit 3")]);
    project.ship(&["deploy", "inventory.toml"]).stderr_lines(&[
        "node1:8081  hook      before_start failed after [TOOK]: it ended with exit status 3",
        "| looking",
        "| no database",
        "node1:8081  failed    cannot start 0.8: the before_start hook exited with status 3: no \
         database (after [TOOK])",
        "node1:8081  FAILED    cannot start 0.8: the before_start hook exited with status 3: no database",
        "page 0.8 (revision 1) failed and is held: 0 of 1 available after [TOOK]",
        "reason: node1:8081: cannot start the new instance: the before_start hook exited \
         with status 3: no database",
    ]).status(4).run();
    assert_eq!(project.running(), Vec::<String>::new());
}

#[test]
fn hanging_before_stop_hook_is_killed_and_the_stop_continues() {
    let project = with(&[("before_stop", "echo waiting; sleep 60")]);
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .stderr_lines(&[
            "node1:8081  hook      before_stop failed after [TOOK]: it did not end in time, and was \
             ended",
            "| waiting",
            "node1:8081  stopped   0.8 (replaced) in [TOOK]",
            "page 0.9 (revision 2): 1 of 1 available in [TOOK]",
        ])
        .run();
    assert_eq!(project.running(), ["node1:8082 0.9"]);
}
