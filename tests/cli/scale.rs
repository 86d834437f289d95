//! More or fewer replicas of the version that runs.

use snapbox::str;

use crate::project::Project;

fn scale(project: &Project, replicas: u32) {
    let set = format!("rollout.replicas={replicas}");
    project.ship(&["deploy", "inventory.toml", "--set", &set]).any_stderr().run();
}

#[test]
fn up_and_down_and_to_nothing_make_no_new_revision() {
    let project = Project::new();
    project.deploy("0.8");
    scale(&project, 6);
    assert_eq!(
        project.running(),
        ["node1:8081 0.8", "node1:8082 0.8", "node2:8081 0.8", "node2:8082 0.8", "node3:8081 0.8", "node4:8081 0.8"]
    );
    scale(&project, 2);
    assert_eq!(project.running().len(), 2);
    scale(&project, 0);
    assert_eq!(project.running(), Vec::<String>::new());
    assert_eq!(project.processes(), Vec::<u32>::new());
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn down_stops_the_surplus() {
    let project = Project::new();
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--set", "rollout.replicas=0"])
        .stderr(str![[r#"
[MOMENT]  page 0.8 (revision 1) on local: 0 replicas
[MOMENT]  Waiting for deployment spec update to be observed...
[MOMENT]  deployment "page" successfully rolled out
[MOMENT]  node1:8081  stopped   0.8 (surplus) in [TOOK]
[MOMENT]  node2:8081  stopped   0.8 (surplus) in [TOOK]
[MOMENT]  node3:8081  stopped   0.8 (surplus) in [TOOK]
[MOMENT]  page 0.8 (revision 1): 0 of 0 available in [TOOK]

"#]])
        .run();
}

#[test]
fn up_starts_what_is_missing() {
    let project = Project::new().with("replicas = 3", "replicas = 1").on(&["node1", "node2"]);
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--set", "rollout.replicas=2"])
        .stderr(str![[r#"
[MOMENT]  page 0.8 (revision 1) on local: 2 replicas
[MOMENT]  Waiting for deployment spec update to be observed...
[MOMENT]  Waiting for deployment "page" rollout to finish: 1 out of 2 new replicas have been updated...
[MOMENT]  Waiting for deployment "page" rollout to finish: 1 of 2 updated replicas are available...
[MOMENT]  node2:8081  started   0.8 as [INSTANCE]
[MOMENT]  node2:8081  ready     0.8 after [TOOK]: "I am: [NET].12, the version is: 0.8"
[MOMENT]  deployment "page" successfully rolled out
[MOMENT]  page 0.8 (revision 1): 2 of 2 available in [TOOK]

"#]])
        .run();
}
