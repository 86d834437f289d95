//! More or fewer replicas of the version that runs.

use snapbox::str;

use crate::call::json;
use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;

fn scale(project: &LocalProject, replicas: u32) {
    let set = format!("rollout.replicas={replicas}");
    project
        .ship(&["deploy", "inventory.toml", "--set", &set])
        .any_stderr()
        .run();
}

#[test]
fn deploy_in_another_number_is_an_entry_of_its_own() {
    let project = LocalProject::new();
    project.deploy("0.8");
    scale(&project, 6);
    assert_eq!(
        project.running(),
        [
            "node1:8081 0.8",
            "node1:8082 0.8",
            "node2:8081 0.8",
            "node2:8082 0.8",
            "node3:8081 0.8",
            "node4:8081 0.8"
        ]
    );
    scale(&project, 2);
    assert_eq!(project.running().len(), 2);
    scale(&project, 0);
    assert_eq!(project.running(), Vec::<String>::new());
    assert_eq!(project.processes(), Vec::<u32>::new());
    assert_eq!(
        project.history(),
        [
            "4 0.8 succeeded",
            "3 0.8 succeeded",
            "2 0.8 succeeded",
            "1 0.8 succeeded"
        ]
    );
    let history = json(
        &project
            .ship(&["history", "--output", "json"])
            .any_stdout()
            .run()
            .stdout,
    );
    let numbers: Vec<_> = history
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["replicas"].clone())
        .collect();
    assert_eq!(numbers, [0, 2, 6, 3]);
}

#[test]
fn down_stops_the_surplus() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--set", "rollout.replicas=0"])
        .stderr(str![[r#"
[MOMENT]  page 0.8 (revision 2) on local: 0 replicas
...
[MOMENT]  Waiting for deployment "page" rollout to finish: surplus replicas are pending termination...
[MOMENT]  node1:8081  stopped   0.8 (surplus) in [TOOK]
[MOMENT]  node2:8081  stopped   0.8 (surplus) in [TOOK]
[MOMENT]  node3:8081  stopped   0.8 (surplus) in [TOOK]
...
[MOMENT]  page 0.8 (revision 2): 0 of 0 available in [TOOK]

"#]])
        .run();
}

#[test]
fn up_starts_what_is_missing() {
    let project = LocalProject::new()
        .with("replicas = 3", "replicas = 1")
        .on(&["node1", "node2"]);
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--set", "rollout.replicas=2"])
        .stderr(str![[r#"
[MOMENT]  page 0.8 (revision 2) on local: 2 replicas
...
[MOMENT]  Waiting for deployment "page" rollout to finish: 1 of 2 updated replicas are available...
[MOMENT]  node2:8081  started   0.8 as [INSTANCE]
[MOMENT]  node2:8081  ready     0.8 after [TOOK]: "I am: [NET].12, the version is: 0.8"
...
[MOMENT]  page 0.8 (revision 2): 2 of 2 available in [TOOK]

"#]])
        .run();
}

fn scale_verb(project: &LocalProject, replicas: &str) -> ship_testing::command::Done {
    project
        .ship(&["scale", "inventory.toml", "--replicas", replicas])
        .any_stderr()
        .run()
}

#[test]
fn a_scale_holds_until_the_playbook_says_another_number() {
    let project = LocalProject::new();
    project.deploy("0.8");
    scale_verb(&project, "5");
    assert_eq!(project.running().len(), 5);
    assert_eq!(project.history(), ["2 0.8 succeeded", "1 0.8 succeeded"]);
    // Tonight's deploy does not undo what was done in the day.
    project.deploy("0.9");
    assert_eq!(
        project
            .running()
            .iter()
            .filter(|place| place.ends_with("0.9"))
            .count(),
        5
    );
    let project = project.with("replicas = 3", "replicas = 2");
    project.deploy("0.9");
    assert_eq!(project.running().len(), 2);
    let done = scale_verb(&project, "2");
    assert!(done.stderr.contains("nothing to do"), "{}", done.stderr);
}

#[test]
fn what_has_no_room_is_refused_before_anything_is_touched() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let refused = project
        .ship(&["scale", "inventory.toml", "--replicas", "9"])
        .any_stderr()
        .status(2)
        .run();
    assert!(
        refused.stderr.contains("9 replicas need 9 slots"),
        "{}",
        refused.stderr
    );
    let done = project.deploy("0.8");
    assert!(done.stderr.starts_with("nothing to do"), "{}", done.stderr);
}

#[test]
fn in_a_pause_each_release_keeps_its_part_and_the_deploy_is_resumed_in_the_new_number() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("node4:8081  started");
    project
        .ship(&["pause", "inventory.toml"])
        .any_stdout()
        .run();
    deploy.wait().exits(8);
    project.open_gate();

    scale_verb(&project, "6");
    let of = |version: &str| {
        project
            .running()
            .iter()
            .filter(|place| place.ends_with(version))
            .count()
    };
    assert_eq!((of("0.8"), of("0.9")), (5, 1));
    assert_eq!(project.status()["state"], "paused");

    scale_verb(&project, "3");
    assert_eq!((of("0.8"), of("0.9")), (3, 0));
    assert_eq!(project.status()["state"], "paused");

    scale_verb(&project, "4");
    project
        .ship(&["resume", "inventory.toml"])
        .any_stderr()
        .run();
    assert_eq!((of("0.8"), of("0.9")), (0, 4));
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn version_deployed_to_no_instances_is_not_proven_and_not_gone_back_to() {
    let project = LocalProject::new()
        .with("replicas = 3", "replicas = 2")
        .on(&["node1", "node2"]);
    for version in ["0.9", "1.0"] {
        project.release(version, Behaviour::Exits);
    }
    project.deploy("0.8");
    scale_verb(&project, "0");
    project.deploy("0.9");
    let revision = json(
        &project
            .ship(&["history", "--revision", "3", "--output", "json"])
            .any_stdout()
            .run()
            .stdout,
    );
    assert_eq!(
        (&revision["proven"], &revision["outcome"]),
        (&false.into(), &"succeeded".into())
    );
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "1.0",
        "--set",
        "rollout.replicas=2",
    ];
    project.ship(&args).any_stderr().status(3).run();
    assert_eq!(
        project.versions(),
        ["0.8", "0.8"],
        "the only version that ever served, in its number"
    );
    let status = project.status();
    assert_eq!(
        (&status["version"], &status["replicas"]["updated"]),
        (&"0.8".into(), &2.into()),
        "{status:#}"
    );
    assert_eq!(status["replicas"]["desired"], 2);
}

#[test]
fn scale_to_nothing_does_not_come_back_after_a_deploy_with_a_number() {
    let project = LocalProject::new();
    project.deploy("0.8");
    scale_verb(&project, "0");
    project.deploy("0.9");
    assert_eq!(project.versions(), Vec::<String>::new(), "a scale holds");
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--set",
        "rollout.replicas=2",
    ];
    project.ship(&args).any_stderr().run();
    project.deploy("0.9");
    assert_eq!(
        project.versions(),
        ["0.9", "0.9", "0.9"],
        "the playbook's number"
    );
}
