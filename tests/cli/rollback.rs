//! `ship rollback`, alias `undo`.

use crate::call::json_lines;
use crate::event_stream::Course;
use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;

#[test]
fn rollback_restores_the_latest_proven_revision() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project.deploy("0.9");
    project
        .ship(&["rollback", "inventory.toml"])
        .stderr_lines(&[
            "page 0.8 (revision 3) on local: 3 replicas (now 3 on 0.9)",
            "node3:8081  ready     0.8 after [TOOK]",
            "node1:8081  stopped   0.9 (replaced) in [TOOK]",
            "node1:8081  ready     0.8 after [TOOK]",
            "node2:8081  stopped   0.9 (replaced) in [TOOK]",
            "node2:8081  ready     0.8 after [TOOK]",
            "node4:8081  stopped   0.9 (replaced) in [TOOK]",
            "deployment \"page\" successfully rolled out",
            "page 0.8 (revision 3): 3 of 3 available in [TOOK]",
        ])
        .run();
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );
    project
        .ship(&["history"])
        .stdout_lines(&["[WHO]   succeeded   rollback to revision 1"])
        .run();
}

#[test]
fn rollback_keeps_the_capacity_limits() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project.deploy("0.9");
    let before = project.status();
    let done = project
        .ship(&["rollback", "--output", "json"])
        .any_stdout()
        .run();
    let course = Course::of(&before, &json_lines(&done.stdout));
    assert_eq!(
        (
            course.most_running,
            course.fewest_ready,
            course.outcome.as_str()
        ),
        (4, 3, "succeeded")
    );
}

#[test]
fn refused_verb_releases_the_lock() {
    let project = LocalProject::small();
    project.deploy("0.8");
    for refused in [
        &["promote"][..],
        &["resume"],
        &["abort"],
        &["rollback", "--to-revision", "77"],
    ] {
        project.ship(refused).any_stderr().status(2).run();
        let done = project.ship(&["unlock"]).any_stdout().run();
        assert!(
            done.stdout.contains("not locked"),
            "{refused:?}: {}",
            done.stdout
        );
    }
}

#[test]
fn undo_rolls_back_to_a_given_revision() {
    let project = LocalProject::small();
    project.release("1.0", Behaviour::Good);
    for version in ["0.8", "0.9", "1.0"] {
        project.deploy(version);
    }
    let args = [
        "undo",
        "inventory.toml",
        "--to-revision",
        "1",
        "--reason",
        "it was better",
    ];
    project
        .ship(&args)
        .stderr_lines(&[
            "page 0.8 (revision 4) on local: 1 replica (now 1 on 1.0)",
            "node1:8081  stopped   1.0 (replaced) in [TOOK]",
            "page 0.8 (revision 4): 1 of 1 available in [TOOK]",
        ])
        .run();
    project
        .ship(&["history"])
        .stdout_lines(&["4   0.8   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   it was better"])
        .run();
    project
        .ship(&["undo", "--to-revision", "4"])
        .stderr("skipped: the fleet already runs revision 4\n")
        .run();
    assert_eq!(
        project.history(),
        [
            "4 0.8 succeeded",
            "3 1.0 succeeded",
            "2 0.9 succeeded",
            "1 0.8 succeeded"
        ]
    );
}

#[test]
fn rollback_restores_the_configuration() {
    let project = LocalProject::small();
    project.deploy("0.8");
    let project = project.with(
        "VERSION = \"{{ version }}\"",
        "VERSION = \"{{ version }}-blue\"",
    );
    project.deploy("0.8");
    assert_eq!(
        project.pages(),
        ["I am: [NET].11, the version is: 0.8-blue"]
    );
    project.ship(&["rollback"]).any_stderr().run();
    assert_eq!(project.pages(), ["I am: [NET].11, the version is: 0.8"]);
}

#[test]
fn failed_rollback_exits_with_5() {
    let project = LocalProject::small();
    project.release("0.8", Behaviour::Fragile);
    project.deploy("0.8");
    project.deploy("0.9");
    // From now on 0.8 ends as soon as it is started.
    project.open_gate();
    project
        .ship(&["rollback"])
        .stderr_lines(&[
            "node1:8081  FAILED    0.8 exited unexpectedly after [TOOK]: exit status 7",
            "next: holding, no further changes: a failed rollback is not rolled back; 1 of \
             1 available",
            "page 0.8 (revision 3) failed and is held: 1 of 1 available (1 on 0.8, 1 on 0.9) after \
             [TOOK]",
            "reason: node1:8081: the new instance exited unexpectedly after [TOOK]: exit status 7",
            "held: a failed rollback is not rolled back",
            "hint: see `ship status`; run `ship resume` to try again, or `ship abort` to \
             roll back",
        ])
        .status(5)
        .run();
    assert!(
        project.running().contains(&"node1:8082 0.9".to_owned()),
        "{:?}",
        project.running()
    );
}
