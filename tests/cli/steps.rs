//! Steps and `ship promote`.

use snapbox::str;

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;

/// Release 0.9 comes by one instance, at which a person is asked.
fn one_first() -> LocalProject {
    let project = LocalProject::new().with(
        "[rollout]\n",
        "[rollout]\nsteps = [{ instances = 1, soak = \"100ms\", pause = true }, \"100%\"]\n",
    );
    project.release("0.9", Behaviour::Good);
    project.deploy("0.8");
    project
}

fn versions(project: &LocalProject) -> Vec<String> {
    let status = project.status();
    let instances = status["instances"].as_array().expect("instances");
    instances
        .iter()
        .map(|instance| instance["version"].as_str().expect("a version").to_owned())
        .collect()
}

#[test]
fn deploy_waits_at_its_step_for_promote() {
    let project = one_first();
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("then waiting for `ship promote`");
    assert_eq!(
        versions(&project)
            .iter()
            .filter(|version| *version == "0.9")
            .count(),
        1
    );
    project
        .ship(&["promote", "inventory.toml"])
        .stdout(str![[r#"
service `page` promoted

"#]])
        .run();
    let output = deploy.wait().exits(0).stderr;
    assert!(output.contains("promoted by "), "{output}");
    assert!(
        output.contains("step 2 of 2 reached: 3 new instances"),
        "{output}"
    );
    assert_eq!(versions(&project), ["0.9", "0.9", "0.9"]);
}

#[test]
fn unattended_deploy_ends_at_its_step_and_promote_resumes() {
    let project = one_first();
    project
        .ship(&[
            "deploy",
            "inventory.toml",
            "--version",
            "0.9",
            "--unattended",
        ])
        .stderr(str![[r#"
[MOMENT]  page 0.9 (revision 2) on local: 3 replicas (now 3 on 0.8)
[MOMENT]  Waiting for deployment spec update to be observed...
[MOMENT]  Waiting for deployment "page" rollout to finish: 0 out of 3 new replicas have been updated...
[MOMENT]  staging 0.9 on the hosts
[MOMENT]  node1       staged    0.9 in [TOOK]
[MOMENT]  node2       staged    0.9 in [TOOK]
[MOMENT]  node3       staged    0.9 in [TOOK]
[MOMENT]  node4       staged    0.9 in [TOOK]
[MOMENT]  Waiting for deployment "page" rollout to finish: 1 out of 3 new replicas have been updated...
[MOMENT]  node4:8081  started   0.9 as [INSTANCE]
[MOMENT]  node4:8081  ready     0.9 after [TOOK]: "I am: [NET].14, the version is: 0.9"
[MOMENT]  node1:8081  stopped   0.8 (replaced) in [TOOK]
[MOMENT]  step 1 of 2 reached: 1 new instance, soaking for [TOOK], then waiting for `ship promote`
[MOMENT]  page 0.9 (revision 2) was paused by the gate of step 1 of 2, which waits for `ship promote` after [TOOK]: 1 of 3 updated, 3 of 3 available
          hint: run `ship resume` to continue, or `ship abort` to roll back

"#]])
        .status(8)
        .run();
    assert_eq!(project.status()["state"], "paused");
    assert_eq!(
        versions(&project)
            .iter()
            .filter(|version| *version == "0.9")
            .count(),
        1
    );
    project
        .ship(&["promote", "inventory.toml"])
        .any_stderr()
        .run();
    assert_eq!(versions(&project), ["0.9", "0.9", "0.9"]);
    assert_eq!(project.status()["state"], "idle");
}

#[test]
fn plan_shows_the_steps() {
    let project = one_first();
    project
        .ship(&["plan", "inventory.toml", "--version", "0.9"])
        .stdout(str![[r#"
page 0.9 on local (4 hosts × 2 slots): 3 replicas, at least 3 available, at most 4 running

batch 1: 3 available, 3 running
  stage  0.9 on node1
  stage  0.9 on node2
  stage  0.9 on node3
  stage  0.9 on node4

batch 2: 3 available, 4 running
  start  0.9 at node4:8081

batch 3: 3 available, 4 running
  stop   0.8 at node1:8081

step 1 of 2: 1 new instance, soak for [TOOK], then wait for `ship promote`

batch 4: 3 available, 4 running
  start  0.9 at node1:8081

batch 5: 3 available, 4 running
  stop   0.8 at node2:8081

batch 6: 3 available, 4 running
  start  0.9 at node2:8081

batch 7: 3 available, 4 running
  stop   0.8 at node3:8081

step 2 of 2: 3 new instances

worst case: 3 of 3 available (minimum 3), 4 running (maximum 4)
on failure: roll back to 0.8 (revision 1)

"#]])
        .run();
}
