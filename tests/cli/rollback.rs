//! `ship rollback`, alias `undo`.

use snapbox::str;

use crate::call::json_lines;
use crate::event_stream::Course;
use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;

#[test]
fn bare_it_goes_back_to_the_newest_other_revision_that_was_healthy() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project.deploy("0.9");
    project
        .ship(&["rollback", "inventory.toml"])
        .stderr(str![[r#"
[MOMENT]  page 0.8 (revision 3) on local: 3 replicas (now 3 on 0.9)
[MOMENT]  Waiting for deployment spec update to be observed...
[MOMENT]  Waiting for deployment "page" rollout to finish: 0 out of 3 new replicas have been updated...
[MOMENT]  Waiting for deployment "page" rollout to finish: 1 out of 3 new replicas have been updated...
[MOMENT]  node3:8081  started   0.8 as [INSTANCE]
[MOMENT]  node3:8081  ready     0.8 after [TOOK]: "I am: [NET].13, the version is: 0.8"
[MOMENT]  node1:8081  stopped   0.9 (replaced) in [TOOK]
[MOMENT]  Waiting for deployment "page" rollout to finish: 2 out of 3 new replicas have been updated...
[MOMENT]  node1:8081  started   0.8 as [INSTANCE]
[MOMENT]  node1:8081  ready     0.8 after [TOOK]: "I am: [NET].11, the version is: 0.8"
[MOMENT]  node2:8081  stopped   0.9 (replaced) in [TOOK]
[MOMENT]  Waiting for deployment "page" rollout to finish: 1 old replicas are pending termination...
[MOMENT]  node2:8081  started   0.8 as [INSTANCE]
[MOMENT]  node2:8081  ready     0.8 after [TOOK]: "I am: [NET].12, the version is: 0.8"
[MOMENT]  node4:8081  stopped   0.9 (replaced) in [TOOK]
[MOMENT]  deployment "page" successfully rolled out
[MOMENT]  page 0.8 (revision 3): 3 of 3 available in [TOOK]

"#]])
        .run();
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node2:8081 0.8", "node3:8081 0.8"]
    );
    project
        .ship(&["history"])
        .stdout(str![[r#"
REVISION   VERSION   DIGEST   WHEN   DURATION   WHO   OUTCOME   CAUSE
3   0.8   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   rollback to revision 1
2   0.9   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   deploy 0.9
1   0.8   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   deploy 0.8

"#]])
        .run();
}

#[test]
fn it_keeps_to_the_same_rule_of_capacity() {
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
fn rollback_after_an_automatic_rollback_is_refused_and_says_what_has_happened() {
    let project = LocalProject::small();
    project.release("1.0", Behaviour::Exits);
    project.deploy("0.8");
    project.deploy("0.9");
    project
        .ship(&["deploy", "--version", "1.0"])
        .any_stderr()
        .status(3)
        .run();
    project
        .ship(&["rollback"])
        .stderr(str![[r#"
error: revision 3 (1.0) failed and was rolled back at [WHEN], so revision 2 (0.9) runs; nothing was touched
hint: `ship rollback --to-revision 1` goes further back, to 0.8

"#]])
        .status(2)
        .run();
    assert_eq!(project.versions(), ["0.9"]);
    // A restart is no deploy, and the answer stays.
    project.ship(&["restart"]).any_stderr().run();
    let refused = project.ship(&["rollback"]).any_stderr().status(2).run();
    assert!(
        refused
            .stderr
            .contains("revision 3 (1.0) failed and was rolled back"),
        "{}",
        refused.stderr
    );
    project
        .ship(&["rollback", "--to-revision", "1"])
        .any_stderr()
        .run();
    assert_eq!(project.versions(), ["0.8"]);
}

#[test]
fn rollback_after_an_abort_is_refused_and_names_who_aborted() {
    let project = LocalProject::small();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("started   0.9");
    project.ship(&["abort"]).any_stderr().run();
    deploy.wait().exits(3);
    project
        .ship(&["rollback"])
        .stderr(str![[r#"
error: revision 2 (0.9) was aborted by [WHO] and was rolled back at [WHEN], so revision 1 (0.8) runs; nothing was touched
hint: no other revision has been proven healthy; `ship history` lists what there is

"#]])
        .status(2)
        .run();
}

#[test]
fn second_rollback_by_a_person_is_refused_and_says_what_goes_where() {
    let project = LocalProject::small();
    project.release("1.0", Behaviour::Good);
    for version in ["0.8", "0.9", "1.0"] {
        project.deploy(version);
    }
    project.ship(&["rollback"]).any_stderr().run();
    assert_eq!(project.versions(), ["0.9"]);
    project
        .ship(&["rollback"])
        .stderr(str![[r#"
error: [WHO] rolled back from revision 3 (1.0) at [WHEN], so revision 4 (0.9) runs; nothing was touched
hint: `ship rollback --to-revision 1` goes further back, to 0.8; `ship rollback --to-revision 3` returns to 1.0

"#]])
        .status(2)
        .run();
    assert_eq!(project.versions(), ["0.9"]);
    // The next deploy can be undone as ever.
    project.deploy("1.0");
    project.ship(&["rollback"]).any_stderr().run();
    assert_eq!(project.versions(), ["0.9"]);
}

#[test]
fn rollback_restores_the_number_that_the_deploy_has_changed() {
    let project = LocalProject::new();
    project.deploy("0.8");
    let project = project.with("replicas = 3", "replicas = 1");
    project.deploy("0.9");
    assert_eq!(project.versions(), ["0.9"]);
    let done = project.ship(&["rollback"]).any_stderr().run();
    let says = "3 replicas are wanted again, as when 0.8 (revision 1) ran; --set \
                rollout.replicas=1 keeps the present number";
    assert!(done.stderr.contains(says), "{}", done.stderr);
    assert_eq!(project.versions(), ["0.8", "0.8", "0.8"]);
    // So does a restart: the playbook's number is for the next deploy.
    project.ship(&["restart"]).any_stderr().run();
    assert_eq!(project.versions(), ["0.8", "0.8", "0.8"]);
    assert_eq!(project.status()["replicas"]["desired"], 3);
}

#[test]
fn number_that_was_scaled_since_stays_in_a_rollback() {
    let project = LocalProject::new().with("replicas = 3", "replicas = 1");
    project.deploy("0.8");
    project.deploy("0.9");
    project
        .ship(&["scale", "inventory.toml", "--replicas", "2"])
        .any_stderr()
        .run();
    project.ship(&["rollback"]).any_stderr().run();
    assert_eq!(project.versions(), ["0.8", "0.8"]);
}

#[test]
fn rollback_keeps_the_number_that_runs_after_a_deploy_that_failed_with_another() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project.deploy("0.9");
    project.release("1.0", Behaviour::Exits);
    let project = project.with("replicas = 3", "replicas = 1");
    project
        .ship(&["deploy", "inventory.toml", "--version", "1.0"])
        .any_stderr()
        .status(3)
        .run();
    assert_eq!(project.versions(), ["0.9", "0.9", "0.9"]);
    project
        .ship(&["rollback", "--to-revision", "1"])
        .any_stderr()
        .run();
    assert_eq!(project.versions(), ["0.8", "0.8", "0.8"]);
}

#[test]
fn verb_that_is_refused_gives_the_lock_back() {
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
fn undo_goes_to_a_given_revision() {
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
        "--cause",
        "it was better",
    ];
    project
        .ship(&args)
        .stderr(str![[r#"
[MOMENT]  page 0.8 (revision 4) on local: 1 replica (now 1 on 1.0)
...
[MOMENT]  node1:8081  stopped   1.0 (replaced) in [TOOK]
...
[MOMENT]  page 0.8 (revision 4): 1 of 1 available in [TOOK]

"#]])
        .run();
    project
        .ship(&["history"])
        .stdout(str![[r#"
REVISION   VERSION   DIGEST   WHEN   DURATION   WHO   OUTCOME   CAUSE
4   0.8   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   it was better
3   1.0   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   deploy 1.0
2   0.9   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   deploy 0.9
1   0.8   [DIGEST]   [WHEN]   [TOOK]   [WHO]   succeeded   deploy 0.8

"#]])
        .run();
}

#[test]
fn to_the_present_revision_there_is_nothing_to_roll_back() {
    let project = LocalProject::small();
    project.deploy("0.8");
    project.deploy("0.9");
    project
        .ship(&["rollback", "--to-revision", "2"])
        .stderr("skipped rollback (current template already matches revision 2)\n")
        .run();
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn an_unknown_revision_is_refused() {
    let project = LocalProject::small();
    project.deploy("0.8");
    project
        .ship(&["rollback", "--to-revision", "7"])
        .stderr(str![[r#"
error: unable to find specified revision 7 in history; `ship history` lists what there is

"#]])
        .status(2)
        .run();
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn with_no_other_revision_there_is_nothing_to_go_back_to() {
    let project = LocalProject::small();
    project.deploy("0.8");
    project.ship(&["rollback"]).stderr(str![[r#"
error: no other revision has been proven healthy, so there is nothing to go back to; `ship history` lists what there is, and --to-revision names one all the same

"#]]).status(2).run();
}

#[test]
fn before_the_first_deploy_there_is_nothing_to_go_back_to() {
    LocalProject::new()
        .ship(&["rollback", "inventory.toml"])
        .stderr(str![[r#"
error: nothing was deployed yet, so there is nothing to roll back; `ship deploy` comes first

"#]])
        .status(2)
        .run();
}

#[test]
fn configuration_goes_back_with_the_code() {
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
fn a_rollback_that_fails_exits_with_5() {
    let project = LocalProject::small();
    project.release("0.8", Behaviour::Fragile);
    project.deploy("0.8");
    project.deploy("0.9");
    // From now on 0.8 ends as soon as it is started.
    project.open_gate();
    project
        .ship(&["rollback"])
        .stderr(str![[r#"
...
[MOMENT]  node1:8081  FAILED    0.8 ended by itself
...
          now     nothing more is changed: a rollback that fails is not itself rolled back; 1 of 1 available
[MOMENT]  page 0.8 (revision 3) failed and is held: 1 of 1 available (1 on 0.8, 1 on 0.9) after [TOOK]
          why     node1:8081: the new instance ended by itself after [TOOK]: exit status 7
          held    a rollback that fails is not itself rolled back
          next    `ship status` shows where it stands; `ship resume` tries again, `ship abort` goes back

"#]])
        .status(5)
        .run();
    assert!(
        project.running().contains(&"node1:8082 0.9".to_owned()),
        "{:?}",
        project.running()
    );
}
