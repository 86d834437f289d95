//! Deploys that are refused before any change: exit code 2, and no files on any host.

use std::fs;
use std::net::TcpListener;

use snapbox::str;

use crate::project::LocalProject;

fn deploy_is_refused(project: &LocalProject, stderr: impl snapbox::IntoData) {
    project
        .ship(&["deploy", "inventory.toml"])
        .stderr(stderr)
        .status(2)
        .run();
    project.assert_hosts_untouched();
    assert_eq!(project.history(), Vec::<String>::new());
}

#[test]
fn verbs_that_need_a_deploy_are_refused_before_it() {
    let project = LocalProject::small();
    for (args, words) in [
        (&["rollback"][..], "so there is nothing to roll back"),
        (&["pause"], "so there is nothing to pause"),
        (&["resume"], "service `page` is not paused"),
        (&["promote"], "so there is nothing to promote"),
        (&["abort"], "so there is nothing to abort"),
        (&["restart"], "service `page` has not been deployed yet"),
        (
            &["scale", "--replicas", "1"],
            "service `page` has not been deployed yet",
        ),
        (&["migrate"], "service `page` has not been deployed yet"),
    ] {
        project.ship(args).stderr_lines(&[words]).status(2).run();
    }
    project.assert_hosts_untouched();
}

#[test]
fn missing_artifact_is_refused() {
    let project = LocalProject::new();
    fs::remove_dir_all(project.path("page-0.8")).expect("our own directory");
    deploy_is_refused(
        &project,
        str![[r#"
error: cannot read the artifact page-0.8: No such file or directory (os error 2)
  --> playbook.toml:17:10
   |
17 | source = "page-{{ version }}"
   |          ^^^^^^^^^^^^^^^^^^^^
   |
   = help: build it first, or correct `source`: it is relative to the playbook's directory

"#]],
    );
}

#[test]
fn missing_artifact_of_a_version_is_refused() {
    let project = LocalProject::new();
    project
        .ship(&["deploy", "inventory.toml", "--version", "7"])
        .stderr(str![[r#"
error: cannot read the artifact page-7: No such file or directory (os error 2)
  --> playbook.toml:17:10
   |
17 | source = "page-{{ version }}"
   |          ^^^^^^^^^^^^^^^^^^^^
   |
   = help: build it first, or correct `source`: it is relative to the playbook's directory

"#]])
        .status(2)
        .run();
    project.assert_hosts_untouched();
}

#[test]
fn artifact_with_a_wrong_checksum_is_refused() {
    let sha256 = "0".repeat(64);
    let project = LocalProject::new().with(
        "source = \"page-{{ version }}\"",
        &format!("source = \"page-{{{{ version }}}}/page.py\"\nsha256 = \"{sha256}\""),
    );
    deploy_is_refused(
        &project,
        str![[r#"
error: the artifact page-0.8/page.py has the wrong SHA-256: expected [SHA256], found [SHA256]
  --> playbook.toml:18:10
   |
18 | sha256 = "[SHA256]"
   |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: if the artifact is correct, set `sha256` to the second value; otherwise get it again

"#]],
    );
}

#[test]
fn invalid_archive_is_refused() {
    let project = LocalProject::new().with("page-{{ version }}", "page.tar.gz");
    fs::write(project.path("page.tar.gz"), "no archive").expect("our own directory");
    deploy_is_refused(
        &project,
        str![[r#"
error: the artifact page.tar.gz is not a valid gzip tar archive (truncated or corrupt): invalid gzip header
  --> playbook.toml:17:10
   |
17 | source = "page.tar.gz"
   |          ^^^^^^^^^^^^^
   |
   = help: build or download it again; check it with `tar -tf`

"#]],
    );
}

#[test]
fn occupied_port_is_refused() {
    let project = LocalProject::new();
    let _stranger = TcpListener::bind((project.address("node2"), 8082)).expect("a free port");
    deploy_is_refused(
        &project,
        str![[r#"
error: this rollout cannot work; no changes were made
  node2: slot 8082 is taken by pid [PID] (COMMAND), which this fleet did not start; stop it, or remove the port from `ports`

"#]],
    );
}

#[test]
fn missing_secret_is_refused() {
    let project = LocalProject::new().with(
        "[service.env]\n",
        "secrets = [\"TOKEN\"]\n\n[service.env]\n",
    );
    deploy_is_refused(
        &project,
        str![[r#"
error: secret `TOKEN` is not set in the environment
  --> playbook.toml:10:12
   |
10 | secrets = ["TOKEN"]
   |            ^^^^^^^
   |
   = help: set it only for ship: TOKEN=… ship deploy …

"#]],
    );
}

#[test]
fn host_without_a_writable_directory_is_unusable() {
    let project = LocalProject::new();
    let inventory = project.inventory("local", &["node1"]);
    fs::write(project.path("not-a-directory"), "").expect("our own directory");
    let base_dir = format!(
        "{inventory}base_dir = \"{}/base\"\n",
        project.path("not-a-directory").display()
    );
    fs::write(project.path("inventory.toml"), base_dir).expect("our own directory");
    let project = project.with("replicas = 3", "replicas = 1");
    project
        .ship(&["check", "inventory.toml"])
        .stdout(str![[r#"
ok      inventory.toml
ok      playbook.toml
ok      artifact of 0.8 ([SIZE] bytes)
FAILED  node1: [ROOT]/not-a-directory is not a directory

"#]])
        .status(2)
        .run();
}
