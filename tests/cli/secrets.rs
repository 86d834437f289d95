//! Secrets reach the service and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;

const TOKEN: &str = "s3cret-of-the-environment";
const PASSWORD: &str = "s3cret of the 'file' $HOME";

/// A project whose service has a secret from the environment and one from a file.
fn project() -> LocalProject {
    let secrets = "secrets = [\"TOKEN\"]\nenv_file = \"page.env\"\n\n[service.env]\n";
    let project = LocalProject::small().with("[service.env]\n", secrets);
    fs::write(project.path("page.env"), format!("PASSWORD={PASSWORD}\n")).expect("our own file");
    project
}

fn holds_a_secret(bytes: &[u8]) -> bool {
    [TOKEN, PASSWORD, "s3cret"].iter().any(|secret| {
        bytes
            .windows(secret.len())
            .any(|part| part == secret.as_bytes())
    })
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("our own directory").flatten();
    let below = |path: PathBuf| {
        if path.is_dir() && !path.is_symlink() {
            files(&path)
        } else {
            vec![path]
        }
    };
    entries.flat_map(|entry| below(entry.path())).collect()
}

/// The files of ship's own that hold a secret.
fn secret_files(project: &LocalProject) -> Vec<PathBuf> {
    let files = files(&project.path(".ship")).into_iter();
    files
        .filter(|file| fs::read(file).is_ok_and(|bytes| holds_a_secret(&bytes)))
        .collect()
}

#[test]
fn secrets_are_in_the_environment_and_not_in_arguments() {
    let project = project();
    project
        .ship(&["deploy", "inventory.toml"])
        .env("TOKEN", TOKEN)
        .any_stderr()
        .run();
    let proc = PathBuf::from(format!("/proc/{}", project.pid("node1", 8081)));
    let environment = fs::read_to_string(proc.join("environ")).expect("our own process");
    let has = |variable: String| environment.split('\0').any(|own| own == variable);
    assert!(
        has(format!("TOKEN={TOKEN}")) && has(format!("PASSWORD={PASSWORD}")),
        "{environment:?}"
    );
    assert!(!holds_a_secret(
        &fs::read(proc.join("cmdline")).expect("our own process")
    ));
}

#[test]
fn secrets_are_stored_in_private_files_and_never_printed() {
    let project = project();
    let calls: [&[&str]; 8] = [
        &["deploy", "inventory.toml", "-vv"],
        &[
            "deploy",
            "inventory.toml",
            "--version",
            "0.9",
            "--output",
            "json",
            "-vv",
        ],
        &["plan", "--version", "1.0", "--output", "json", "-vv"],
        &["check", "-vv"],
        &["status", "--output", "json", "-vv"],
        &["history", "--output", "json", "-vv"],
        &["history", "--revision", "1", "--output", "json", "-vv"],
        &["rollback", "-vv"],
    ];
    project.release("1.0", Behaviour::Good);
    for args in calls {
        let done = project
            .ship(args)
            .env("TOKEN", TOKEN)
            .any_stdout()
            .any_stderr()
            .run();
        assert!(
            !holds_a_secret(done.stdout.as_bytes()) && !holds_a_secret(done.stderr.as_bytes()),
            "{args:?}"
        );
    }
    let found = secret_files(&project);
    assert!(!found.is_empty());
    for file in found {
        let mode = fs::metadata(&file)
            .expect("our own file")
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
}

#[test]
fn failure_does_not_print_secrets() {
    let project = project();
    project.release("0.8", Behaviour::Exits);
    let done = project
        .ship(&["deploy", "inventory.toml", "-vv"])
        .env("TOKEN", TOKEN)
        .any_stderr()
        .status(4)
        .run();
    assert!(!holds_a_secret(done.stderr.as_bytes()));
}

#[test]
fn changed_secret_is_a_new_revision_and_rolls_back() {
    let project = project();
    let token = || {
        let place = project.running()[0].clone();
        let port = place
            .trim_start_matches("node1:")
            .trim_end_matches(" 0.8")
            .parse()
            .expect("a port");
        let environment =
            fs::read_to_string(format!("/proc/{}/environ", project.pid("node1", port)));
        let environment = environment.expect("our own process");
        environment
            .split('\0')
            .find_map(|own| own.strip_prefix("TOKEN=").map(str::to_owned))
            .expect("a token")
    };
    project
        .ship(&["deploy", "inventory.toml"])
        .env("TOKEN", "old")
        .any_stderr()
        .run();
    project
        .ship(&["deploy", "inventory.toml"])
        .env("TOKEN", "new")
        .any_stderr()
        .run();
    assert_eq!(token(), "new");
    // The old value is no longer needed.
    project.ship(&["rollback"]).any_stderr().run();
    assert_eq!(token(), "old");
    assert_eq!(project.history().len(), 3);
}
