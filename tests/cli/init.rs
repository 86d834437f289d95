//! `ship init`.

use std::fs;

use snapbox::str;

use crate::project::LocalProject;

#[test]
fn init_writes_files_that_pass_check() {
    let project = LocalProject::new();
    let dir = project.path("My Shop");
    fs::create_dir(&dir).expect("our own directory");
    project
        .ship(&["init"])
        .within(&dir)
        .stdout(str![[r#"
wrote inventory.toml: list your hosts there
wrote playbook.toml: describe your service there

next steps:
  ship check inventory.toml      # validate both files and check every host
  ship plan inventory.toml       # show what a deploy would do
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
    let output = project
        .ship(&["plan", "inventory.toml"])
        .within(&dir)
        .any_stderr()
        .status(2)
        .run()
        .stderr;
    assert!(
        output.contains("my-shop-1.0.tar.gz is not a valid gzip tar archive"),
        "{output}"
    );
}

#[test]
fn init_keeps_existing_files() {
    let project = LocalProject::new();
    let before = fs::read_to_string(project.path("playbook.toml")).expect("our own file");
    let output = project
        .ship(&["init", "other.toml"])
        .any_stderr()
        .status(2)
        .run()
        .stderr;
    assert!(
        output.contains("playbook.toml already exists and was not changed"),
        "{output}"
    );
    assert!(!project.path("other.toml").exists());
    assert_eq!(
        fs::read_to_string(project.path("playbook.toml")).expect("our own file"),
        before
    );
}
