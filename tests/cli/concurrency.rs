//! Concurrent commands: a second deploy is refused, and reading commands do not interfere.

use snapbox::str;

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;

#[test]
fn second_deploy_is_refused_with_the_lock_holder() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut first = project.start_deploy("0.9");
    first.await_words("node4:8081  started");
    for verb in ["deploy", "rollback"] {
        project.ship(&[verb, "inventory.toml"]).stderr(str![[r#"
error: locked by [WHO] (pid [PID], deploy 0.9) since [WHEN], [TOOK] ago; last heartbeat [TOOK] ago
hint: wait with `--lock-timeout 10m`, stop it with `ship pause` or `ship abort`, or break the lock with `ship unlock`

"#]]).status(6).run();
    }
    project.open_gate();
    first.wait().exits(0);
    project.deploy("0.9");
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn status_and_history_show_a_running_deploy() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    project
        .ship(&["status"])
        .stdout_lines(&[
            "1/1   Running   0   [AGE]   [NET].11:8081   node1   0.8   1",
            "0/1   Starting   0   [AGE]   [NET].14:8081   node4   0.9   2",
            "Waiting for deployment \"page\" rollout to finish: 1 out of 3 new replicas have been \
             updated...",
            "deploy of 0.9 (revision 2) by [WHO] (pid [PID]) has been running for [TOOK], with 1 of 3 \
             updated and 3 available",
        ])
        .run();
    assert_eq!(project.status()["state"], "running");
    assert_eq!(project.history(), ["2 0.9 running", "1 0.8 succeeded"]);
    project
        .ship(&["plan", "--version", "0.8"])
        .any_stdout()
        .run();
    project.open_gate();
    deploy.wait().exits(0);
    assert_eq!(project.status()["state"], "idle");
}

#[test]
fn services_of_one_fleet_deploy_concurrently() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let other = std::fs::read_to_string(project.path("playbook.toml")).expect("our own file");
    let other = other
        .replace("name = \"page\"", "name = \"other\"")
        .replace("[8081, 8082]", "[9081, 9082]");
    std::fs::write(project.path("other.toml"), other).expect("our own file");
    let inventory = std::fs::read_to_string(project.path("inventory.toml")).expect("our own file");
    std::fs::write(
        project.path("others.toml"),
        inventory.replace("playbook.toml", "other.toml"),
    )
    .expect("our own file");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    project.ship(&["deploy", "others.toml"]).any_stderr().run();
    project.open_gate();
    deploy.wait().exits(0);
}
