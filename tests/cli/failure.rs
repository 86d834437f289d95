//! New versions that fail: what ship reports, and that clients see no failed requests.

use snapbox::str;

use crate::call::Call;
use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::probe_client::Monitor;

/// Deploys a version that cannot serve over 0.8, and asserts that the service stayed available.
fn deploy_broken(behaviour: Behaviour, expect: impl FnOnce(Call<'_>) -> Call<'_>) {
    let project = &LocalProject::new();
    project.release("0.9", behaviour);
    project.deploy("0.8");
    let monitor = Monitor::start(
        ["node1", "node2", "node3"].map(|node| format!("{}:8081", project.address(node))),
    );
    monitor.await_answers(20);
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--set",
        "rollout.progress_deadline=3s",
    ];
    expect(project.ship(&args)).status(3).run();
    let answers = monitor.stop();
    assert_eq!(answers.failures(), Vec::<String>::new());
    assert!(
        answers.fewest(3) >= 3,
        "only {} answered for a while",
        answers.fewest(3)
    );
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );
    assert_eq!(project.history(), ["2 0.9 rolled-back", "1 0.8 succeeded"]);
}

#[test]
fn version_that_exits_immediately_is_rolled_back() {
    deploy_broken(Behaviour::Exits, |deploy| {
        deploy.stderr(str![[r#"
[MOMENT]  page 0.9 (revision 2) on local: 3 replicas (now 3 on 0.8)
[MOMENT]  Waiting for deployment spec update to be observed...
[MOMENT]  Waiting for deployment "page" rollout to finish: 0 out of 3 new replicas have been updated...
[MOMENT]  staging 0.9 on the hosts
[MOMENT]  node1       staged    0.9 in [TOOK]
[MOMENT]  node2       staged    0.9 in [TOOK]
[MOMENT]  node3       staged    0.9 in [TOOK]
[MOMENT]  node4       staged    0.9 in [TOOK]
...
[MOMENT]  node4:8081  started   0.9 as [INSTANCE]
[MOMENT]  node4:8081  FAILED    0.9 exited unexpectedly after [TOOK]: exit status 7
          doing: starting 0.9, then watching its process ([TOOK])
          log: last 2 lines of the instance's log
            | page 0.9 starts, its behaviour is exits
            | fatal: the frobnicator is missing
          next: rolling back to 0.8 (revision 1); 3 of 3 available
...
[MOMENT]  node4:8081  stopped   0.9 (exited: exit status [..]) in [TOOK]
...
[MOMENT]  page 0.9 (revision 2) failed and was rolled back to 0.8 (revision 1): 3 of 3 available after [TOOK]
          reason: node4:8081: the new instance exited unexpectedly after [TOOK]: exit status 7
          hint: fix the problem and deploy again; see `ship report`

"#]])
    });
}

#[test]
fn version_that_never_listens_is_rolled_back_at_the_deadline() {
    deploy_broken(Behaviour::Deaf, |deploy| {
        deploy.stderr_lines(&[
            "node4:8081  FAILED    0.9 is not ready after [TOOK]: connection refused",
            "doing: starting 0.9, then probing until it is ready ([TOOK])",
            "log: last 2 lines of the instance's log",
            "| page 0.9 starts, its behaviour is deaf",
            "| waiting for a database that never comes",
            "hint: is it listening on the right address? pass `{{ address }}` and `{{ port }}` in \
             `command` or `env`",
            "next: rolling back to 0.8 (revision 1); 3 of 3 available",
            "node4:8081  stopped   0.9 (unhealthy) in [TOOK]",
            "deployment \"page\" successfully rolled back",
            "page 0.9 (revision 2) failed and was rolled back to 0.8 (revision 1): 3 of 3 available \
             after [TOOK]",
            "reason: node4:8081: the new instance is not ready after [TOOK]; last answer: \
             connection refused",
            "hint: fix the problem and deploy again; see `ship report`",
        ])
    });
}

#[test]
fn version_that_returns_an_error_is_rolled_back() {
    deploy_broken(Behaviour::Wrong, |deploy| {
        deploy.stderr_lines(&[
            "node4:8081  FAILED    0.9 is not ready after [TOOK]: HTTP 500: the frobnicator is on fire",
            "page 0.9 (revision 2) failed and was rolled back to 0.8 (revision 1): 3 of 3 available \
             after [TOOK]",
            "reason: node4:8081: the new instance is not ready after [TOOK]; last answer: HTTP \
             500: the frobnicator is on fire",
        ])
    });
}

#[test]
fn wrong_response_body_is_shown_in_the_failure() {
    let project = LocalProject::small().with(
        "http = \"/\"",
        "http = \"/\"\nbody = \"the version is: 0.8\"",
    );
    project.deploy("0.8");
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--set",
        "rollout.progress_deadline=3s",
    ];
    let done = project.ship(&args).any_stderr().status(3).run();
    let answer = r#"expected a body that contains "the version is: 0.8", found "I am: [NET].11, the version is: 0.9""#;
    assert!(
        project.redacted(&done.stderr).contains(answer),
        "{}",
        done.stderr
    );
}

#[test]
fn on_failure_hold_leaves_the_fleet_as_it_is() {
    let project = LocalProject::new().with("[rollout]\n", "[rollout]\non_failure = \"hold\"\n");
    project.release("0.9", Behaviour::Exits);
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .stderr(str![[r#"
[MOMENT]  page 0.9 (revision 2) on local: 3 replicas (now 3 on 0.8)
[MOMENT]  Waiting for deployment spec update to be observed...
[MOMENT]  Waiting for deployment "page" rollout to finish: 0 out of 3 new replicas have been updated...
[MOMENT]  staging 0.9 on the hosts
[MOMENT]  node1       staged    0.9 in [TOOK]
[MOMENT]  node2       staged    0.9 in [TOOK]
[MOMENT]  node3       staged    0.9 in [TOOK]
[MOMENT]  node4       staged    0.9 in [TOOK]
...
[MOMENT]  node4:8081  started   0.9 as [INSTANCE]
[MOMENT]  node4:8081  FAILED    0.9 exited unexpectedly after [TOOK]: exit status 7
          doing: starting 0.9, then watching its process ([TOOK])
          log: last 2 lines of the instance's log
            | page 0.9 starts, its behaviour is exits
            | fatal: the frobnicator is missing
          next: holding, no further changes: on_failure = "hold"; 3 of 3 available
[MOMENT]  page 0.9 (revision 2) failed and is held: 3 of 3 available (3 on 0.8, 1 on 0.9) after [TOOK]
          reason: node4:8081: the new instance exited unexpectedly after [TOOK]: exit status 7
          held: on_failure = "hold"
          hint: see `ship status`; run `ship resume` to try again, or `ship abort` to roll back

"#]])
        .status(4)
        .run();
    project
        .ship(&["status"])
        .stdout_lines(&[
            "0/1   Exited   0   [AGE]   [NET].14:8081   node4   0.9   2",
            "deployment \"page\" failed and is held: 0 of 3 replicas updated, 3 of 3 available",
            "deploy of 0.9 (revision 2) ended [TOOK] ago: held",
            "held: on_failure = \"hold\"",
            "reason: node4:8081: the new instance exited unexpectedly after [TOOK]: exit status 7",
        ])
        .run();
    assert_eq!(project.status()["state"], "held");
    assert_eq!(project.history(), ["2 0.9 held", "1 0.8 succeeded"]);

    project.ship(&["rollback"]).any_stderr().run();
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );
}

#[test]
fn failed_first_deploy_has_no_rollback_target() {
    let project = LocalProject::small();
    project.release("0.8", Behaviour::Exits);
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr_lines(&[
            "node1:8081  FAILED    0.8 exited unexpectedly after [TOOK]: exit status 7",
            "next: holding, no further changes: no other revision has been proven healthy; 0 of 1 available",
            "page 0.8 (revision 1) failed and is held: 0 of 1 available (1 on 0.8) after [TOOK]",
            "reason: node1:8081: the new instance exited unexpectedly after [TOOK]: exit status 7",
            "held: no other revision has been proven healthy",
            "hint: see `ship status`; fix the problem, then run `ship resume`",
        ])
        .status(4)
        .run();
    assert_eq!(project.status()["state"], "held");

    project.release("0.8", Behaviour::Good);
    project.deploy("0.8");
    assert_eq!(project.running(), ["node1:8081 0.8"]);
}

#[test]
fn failed_rollback_exits_with_5() {
    let project = LocalProject::new()
        .with("[8081, 8082]", "[8081]")
        .with("replicas = 3", "replicas = 2")
        .with("max_surge = 1", "max_surge = 0")
        .with("max_unavailable = 0", "max_unavailable = 1")
        .on(&["node1", "node2"]);
    project.release("0.8", Behaviour::Fragile);
    project.release("0.9", Behaviour::Exits);
    project.deploy("0.8");
    // From now on 0.8 ends as soon as it is started.
    project.open_gate();
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--set",
        "rollout.progress_deadline=3s",
    ];
    project
        .ship(&args)
        .stderr_lines(&[
            "node1:8081  FAILED    0.9 exited unexpectedly after [TOOK]: exit status 7",
            "next: rolling back to 0.8 (revision 1); 1 of 2 available",
            "node1:8081  stopped   0.8 (exited: exit status 7) in [TOOK]",
            "page 0.9 (revision 2) failed, and the rollback failed too: 1 of 2 available (",
            "reason: node1:8081: the new instance exited unexpectedly after [TOOK]: exit status 7",
            "rollback: node1:8081: cannot start the new instance: ",
            "hint: see `ship status`; fix the problem, then run `ship resume`",
        ])
        .status(5)
        .run();
    assert_eq!(
        project.history(),
        ["2 0.9 rollback-failed", "1 0.8 succeeded"]
    );
    assert_eq!(project.status()["state"], "failed");
}

#[test]
fn rollback_restores_the_ports_of_the_version() {
    let project = LocalProject::small().with("[8081, 8082]", "[8081]");
    let project = project
        .with("max_surge = 1", "max_surge = 0")
        .with("max_unavailable = 0", "max_unavailable = 1");
    project.release("0.9", Behaviour::Exits);
    project.deploy("0.8");
    let project = project.with("[8081]", "[8091]");
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    assert_eq!(project.running(), ["node1:8081 0.8"]);
    // A good version moves there, and a rollback moves it back.
    project.release("1.0", Behaviour::Good);
    project.deploy("1.0");
    assert_eq!(project.running(), ["node1:8091 1.0"]);
    project
        .ship(&["rollback", "inventory.toml"])
        .any_stderr()
        .run();
    assert_eq!(project.running(), ["node1:8081 0.8"]);
}
