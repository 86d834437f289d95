//! `ship init`: the first two files.

use std::fs;

use snapbox::str;

use crate::project::LocalProject;

#[test]
fn what_it_writes_can_be_used_once_the_machines_are_named() {
    let project = LocalProject::new();
    let dir = project.path("My Shop");
    fs::create_dir(&dir).expect("our own directory");
    project
        .ship(&["init"])
        .within(&dir)
        .stdout(str![[r#"
wrote inventory.toml: name your machines in it
wrote playbook.toml: say in it what runs there

then:
  ship check inventory.toml      # the files and every machine, all problems at once
  ship plan inventory.toml       # what a deploy would do
  ship deploy inventory.toml

"#]])
        .run();
    // Everything but the machines and the build is there.
    fs::create_dir(dir.join("build")).expect("our own directory");
    fs::copy(
        project.path("page-0.8/page.py"),
        dir.join("build/my-shop-1.0.tar.gz"),
    )
    .expect("our own files");
    let said = project
        .ship(&["plan", "inventory.toml"])
        .within(&dir)
        .any_stderr()
        .status(2)
        .run()
        .stderr;
    assert!(
        said.contains("my-shop-1.0.tar.gz is no whole gzip tar archive"),
        "{said}"
    );
}

#[test]
fn what_is_there_already_stays_as_it_is() {
    let project = LocalProject::new();
    let before = fs::read_to_string(project.path("playbook.toml")).expect("our own file");
    let said = project
        .ship(&["init", "other.toml"])
        .any_stderr()
        .status(2)
        .run()
        .stderr;
    assert!(
        said.contains("playbook.toml is there already, and stays as it is"),
        "{said}"
    );
    assert!(!project.path("other.toml").exists());
    assert_eq!(
        fs::read_to_string(project.path("playbook.toml")).expect("our own file"),
        before
    );
}
