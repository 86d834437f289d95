//! Adoption: control directories that do not know what runs, because they are new or outdated.

use std::fs;

use serde_json::json;

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::write;

/// One host that runs 0.8, and a control directory that has forgotten all about it.
fn fresh_checkout() -> LocalProject {
    let project = LocalProject::small();
    project.deploy("0.8");
    forget(&project);
    project
}

/// Leaves only the hosts, which are local.
fn forget(project: &LocalProject) {
    for entry in fs::read_dir(project.path(".ship"))
        .expect("the state")
        .flatten()
    {
        if entry.file_name() != "hosts" {
            let path = entry.path();
            if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            }
            .expect("our own file");
        }
    }
}

#[test]
fn status_in_a_fresh_checkout_probes_each_release_with_its_own_check() {
    let project = fresh_checkout().with("http = \"/\"", "http = \"/nowhere\"");
    project
        .ship(&["status", "inventory.toml"])
        .stdout_lines(&[
            "1/1   Running   0   [AGE]   [NET].11:8081   node1   0.8   1",
            "deployment \"page\" successfully rolled out",
            "the latest deploy came from another control directory: [WHO] [TOOK] ago",
        ])
        .run();
    let status = project.status();
    let instance = &status["instances"][0];
    assert_eq!(
        (&instance["ready"], &instance["version"]),
        (&json!(true), &json!("0.8")),
        "{status:#}"
    );
    project
        .ship(&["history", "inventory.toml"])
        .stdout("nothing has been deployed from here yet\nhint: `ship status` shows what the hosts run\n")
        .run();
}

#[test]
fn failed_deploy_from_a_fresh_checkout_rolls_back_to_what_ran() {
    let project = fresh_checkout().with(
        "max_surge = 1\nmax_unavailable = 0",
        "max_surge = 0\nmax_unavailable = 1",
    );
    project.release("0.9", Behaviour::Exits);
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    assert!(
        done.stderr
            .contains("note: adopted 0.8 from the hosts as revision 1\n"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr
            .contains("note: the latest deploy came from another control directory: tester@"),
        "{}",
        done.stderr
    );
    let status = project.status();
    assert_eq!(
        (&status["version"], &status["replicas"]["available"]),
        (&json!("0.8"), &json!(1)),
        "{status:#}"
    );
    project
        .ship(&["history"])
        .stdout_lines(&[
            "2   0.9   [DIGEST]   [WHEN]   [TOOK]   [WHO]   rolled-back   deploy 0.9",
            "1   0.8   [DIGEST]   [WHEN]   [TOOK]   [WHO]   adopted   adopted: deployed from [WHO]",
        ])
        .run();
}

#[test]
fn deploy_of_the_running_release_does_nothing_in_a_fresh_checkout() {
    let project = fresh_checkout();
    let before = project.status()["instances"][0]["name"].clone();
    let done = project.deploy("0.8");
    assert!(
        done.stderr.contains("nothing to do: page 0.8 (revision 1)"),
        "{}",
        done.stderr
    );
    assert_eq!(project.status()["instances"][0]["name"], before);
}

#[test]
fn rollback_from_a_fresh_checkout_restores_the_previous_proven_release() {
    let project = LocalProject::small();
    project.deploy("0.8");
    project.deploy("0.9");
    forget(&project);
    let plan = project
        .ship(&["plan", "inventory.toml", "--version", "0.8"])
        .any_stdout()
        .any_stderr()
        .run()
        .stdout;
    assert!(
        plan.contains("on failure: roll back to 0.9 (revision 2)"),
        "{plan}"
    );
    project
        .ship(&["rollback", "inventory.toml"])
        .any_stderr()
        .run();
    let status = project.status();
    assert_eq!(
        (&status["version"], &status["replicas"]["available"]),
        (&json!("0.8"), &json!(1)),
        "{status:#}"
    );
}

#[test]
fn failed_release_is_not_a_rollback_target_in_a_fresh_checkout() {
    let project = LocalProject::small();
    project.release("0.9", Behaviour::Exits);
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    forget(&project);
    let done = project
        .ship(&["rollback", "inventory.toml"])
        .any_stderr()
        .status(2)
        .run();
    assert!(
        done.stderr
            .contains("error: cannot roll back: no other revision has been proven healthy"),
        "{}",
        done.stderr
    );
}

#[test]
fn restart_and_scale_work_in_a_fresh_checkout() {
    let project = fresh_checkout();
    let name = || project.status()["instances"][0]["name"].clone();
    let before = name();
    project
        .ship(&["restart", "inventory.toml"])
        .any_stderr()
        .run();
    assert_ne!(name(), before);
    forget(&project);
    project
        .ship(&["scale", "inventory.toml", "--replicas", "0"])
        .any_stderr()
        .run();
    assert_eq!(project.status()["replicas"]["total"], 0);
}

#[test]
fn outdated_control_directory_continues_from_the_other_deploy() {
    let project = LocalProject::small();
    let elsewhere = project.path("elsewhere");
    let base_dir = format!("base_dir = \"{}\"\n", project.path("hosts").display());
    let inventory = project
        .inventory("local", &["node1"])
        .replace("transport =", &format!("{base_dir}transport ="));
    write(&project.path("inventory.toml"), &inventory);
    for file in ["inventory.toml", "playbook.toml"] {
        write(
            &elsewhere.join(file),
            &fs::read_to_string(project.path(file)).expect("our own file"),
        );
    }
    project.release("1.0", Behaviour::Exits);
    for version in ["0.9", "1.0"] {
        fs::rename(
            project.path(&format!("page-{version}")),
            elsewhere.join(format!("page-{version}")),
        )
        .expect("ours");
    }
    fs::create_dir(elsewhere.join(".ship")).expect("a directory of its own");

    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .within(&elsewhere)
        .any_stderr()
        .run();
    let status = project
        .ship(&["status", "inventory.toml"])
        .any_stdout()
        .run()
        .stdout;
    assert!(
        status.contains("the latest deploy came from another control directory: tester@"),
        "{status}"
    );

    // 1.0 fails: ship rolls back to the 0.9 that ran, not to the 0.8 that was deployed from here.
    fs::rename(elsewhere.join("page-1.0"), project.path("page-1.0")).expect("ours");
    project
        .ship(&["deploy", "inventory.toml", "--version", "1.0"])
        .any_stderr()
        .status(3)
        .run();
    assert_eq!(project.status()["version"], "0.9");
    project
        .ship(&["rollback", "inventory.toml", "--to-revision", "1"])
        .any_stderr()
        .run();
    assert_eq!(project.status()["version"], "0.8");
}
