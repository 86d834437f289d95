//! Interrupted deploys: by signals or by a kill, and how they are resumed.

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;

const INTERRUPTED: &str =
    "page 0.9 (revision 2) was interrupted after [TOOK]: 1 of 3 updated, 3 of 3 available";
const NEXT: &str = "hint: run `ship resume` to continue, or `ship abort` to roll back";

/// The lines that come after the answer to a SIGINT, which is always the same.
#[track_caller]
fn after_sigint(project: &LocalProject, stderr: &str) -> Vec<String> {
    let output = project.redacted(stderr);
    let answer = "  SIGINT: finishing in-flight actions; press Ctrl-C again to exit now\n";
    let (_, after) = output
        .split_once(answer)
        .unwrap_or_else(|| panic!("no answer to SIGINT in:\n{output}"));
    let lines = after.lines();
    lines
        .map(|line| line.trim_start_matches("[MOMENT]").trim_start().to_owned())
        .collect()
}

#[test]
fn killed_deploy_is_resumed_by_the_same_command() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    deploy.signal("KILL");
    assert_eq!(deploy.wait().code, None);
    project
        .ship(&["status"])
        .stdout_lines(&[
            "0/1   NotReady   0   [AGE]   [NET].14:8081   node4   0.9   2",
            "deployment \"page\" was interrupted: 1 of 3 replicas updated, 3 of 3 available",
            "deploy of 0.9 (revision 2) started [TOOK] ago and was interrupted at 1 of 3 updated and 3 \
             available; `ship resume` continues, `ship abort` rolls back",
        ])
        .run();
    assert_eq!(project.status()["state"], "paused");
    assert_eq!(project.history(), ["2 0.9 interrupted", "1 0.8 succeeded"]);

    project.open_gate();
    let done = project.deploy("0.9");
    // What the killed one has started is not started again.
    assert!(
        !done.stderr.contains("node4:8081  started"),
        "{}",
        done.stderr
    );
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
    assert_eq!(
        project.running(),
        ["node1:8081 0.9", "node2:8081 0.9", "node4:8081 0.9"]
    );
}

#[test]
fn first_ctrl_c_finishes_actions_and_prints_how_to_resume() {
    let project = LocalProject::new();
    project.release("0.8", Behaviour::Lingers);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    project.await_status("node1", "Stopping");
    deploy.signal("INT");
    deploy.await_words("SIGINT");
    project.open_gate();
    let done = deploy.wait().exits(130);
    assert_eq!(
        after_sigint(&project, &done.stderr),
        [
            "node1:8081  stopped   0.8 (replaced) in [TOOK]",
            INTERRUPTED,
            NEXT
        ]
    );
    assert_eq!(
        project.running(),
        ["node2:8081 0.8", "node3:8081 0.8", "node4:8081 0.9"]
    );
    assert_eq!(project.history(), ["2 0.9 interrupted", "1 0.8 succeeded"]);

    project.deploy("0.9");
    assert_eq!(
        project.running(),
        ["node1:8081 0.9", "node2:8081 0.9", "node4:8081 0.9"]
    );
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn sigterm_acts_like_ctrl_c() {
    let project = LocalProject::small();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    for signal in ["TERM", "HUP"] {
        let mut deploy = project.start_deploy("0.9");
        deploy.await_words("1 old replicas are pending");
        deploy.signal(signal);
        let done = deploy.wait().exits(130);
        assert!(
            done.stderr
                .contains(&format!("SIG{signal}: finishing in-flight actions")),
            "{}",
            done.stderr
        );
    }
    project.open_gate();
    project.deploy("0.9");
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn second_ctrl_c_exits_at_once() {
    let project = LocalProject::new();
    project.release("0.8", Behaviour::Lingers);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    project.await_status("node1", "Stopping");
    deploy.signal("INT");
    deploy.await_words("SIGINT");
    deploy.signal("INT");
    // The old instance lingers while the gate is closed; ship does not wait for it.
    let done = deploy.wait().exits(130);
    assert_eq!(after_sigint(&project, &done.stderr), [INTERRUPTED, NEXT]);

    project.open_gate();
    project.deploy("0.9");
    let running = project.running();
    assert!(
        running.len() == 3 && running.iter().all(|instance| instance.ends_with(" 0.9")),
        "{running:?}"
    );
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}
