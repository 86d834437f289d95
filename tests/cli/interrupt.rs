//! A deploy that is cut off, gently or not: the same command goes on.

use snapbox::str;

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;

#[test]
fn a_deploy_that_was_killed_goes_on_with_the_same_command() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    deploy.signal("KILL");
    assert_eq!(deploy.wait().code, None);
    project
        .ship(&["status"])
        .stdout(str![[r#"
INSTANCE   READY   STATUS   RESTARTS   AGE   ADDRESS   HOST   VERSION   REVISION
[INSTANCE]   1/1   Running   0   [AGE]   [NET].11:8081   node1   0.8   1
[INSTANCE]   1/1   Running   0   [AGE]   [NET].12:8081   node2   0.8   1
[INSTANCE]   1/1   Running   0   [AGE]   [NET].13:8081   node3   0.8   1
[INSTANCE]   0/1   NotReady   0   [AGE]   [NET].14:8081   node4   0.9   2

deployment "page" was interrupted: 1 of 3 replicas updated, 3 of 3 available
deploy of 0.9 (revision 2) began [TOOK] ago and was cut off, with 1 of 3 updated and 3 available; `ship resume` goes on, `ship abort` goes back

"#]])
        .run();
    assert_eq!(project.status()["state"], "paused");

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
fn a_deploy_that_was_killed_can_be_rolled_back() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    deploy.signal("KILL");
    assert_eq!(deploy.wait().code, None);
    project.ship(&["rollback"]).any_stderr().run();
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );
}

#[test]
fn the_first_ctrl_c_lets_what_is_in_flight_end_and_says_how_to_go_on() {
    let project = LocalProject::new();
    project.release("0.8", Behaviour::Lingers);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    project.await_status("node1", "Stopping");
    deploy.signal("INT");
    deploy.await_words("SIGINT");
    project.open_gate();
    let done = deploy.wait().exits(130);
    let end = &done.stderr[done.stderr.find("  SIGINT").expect("it said so") - 8..];
    snapbox::assert_data_eq!(
        project.redacted(end),
        str![[r#"
[MOMENT]  SIGINT: nothing new is started, what is in flight ends first; once more leaves at once
[MOMENT]  node1:8081  stopped   0.8 (replaced) in [TOOK]
[MOMENT]  page 0.9 (revision 2) was interrupted after [TOOK]: 1 of 3 updated, 3 of 3 available
          next    `ship resume` goes on from here, `ship abort` goes back
"#]]
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
fn being_told_to_end_is_as_good_as_ctrl_c() {
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
                .contains(&format!("SIG{signal}: nothing new is started")),
            "{}",
            done.stderr
        );
    }
    project.open_gate();
    project.deploy("0.9");
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn the_second_ctrl_c_leaves_at_once() {
    let project = LocalProject::new();
    project.release("0.8", Behaviour::Lingers);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    project.await_status("node1", "Stopping");
    deploy.signal("INT");
    deploy.await_words("SIGINT");
    deploy.signal("INT");
    // The old one lingers for as long as the gate is closed: nobody waits for it.
    let done = deploy.wait().exits(130);
    let end = &done.stderr[done.stderr.find("  SIGINT").expect("it said so") - 8..];
    snapbox::assert_data_eq!(
        project.redacted(end),
        str![[r#"
[MOMENT]  SIGINT: nothing new is started, what is in flight ends first; once more leaves at once
[MOMENT]  page 0.9 (revision 2) was interrupted after [TOOK]: 1 of 3 updated, 3 of 3 available
          next    `ship resume` goes on from here, `ship abort` goes back
"#]]
    );

    project.open_gate();
    project.deploy("0.9");
    let running = project.running();
    assert!(
        running.len() == 3 && running.iter().all(|instance| instance.ends_with(" 0.9")),
        "{running:?}"
    );
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}
