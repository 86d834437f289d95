//! The password of the state appears nowhere.

use std::fs;
use std::path::Path;

use crate::server::StateServer;
use crate::team::{Team, URL_VARIABLE};
use ship_testing::postgres_server::{ENCODED_PASSWORD, PASSWORD};

fn contains_password(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    [PASSWORD, ENCODED_PASSWORD]
        .iter()
        .any(|secret| text.contains(secret))
}

/// The processes of this machine that have the password among their arguments.
fn arguments_with_password() -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("procfs").flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let found = lines.filter(|line| contains_password(line));
    found
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .collect()
}

#[track_caller]
fn assert_files_without_password(dir: &Path) {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                assert!(!contains_password(&bytes), "{}", path.display());
            }
        }
    }
}

#[test]
fn password_of_the_state_is_not_shown_or_stored() {
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let team = Team::new(server).with("[rollout]\n", "[rollout]\nmin_ready = \"1s\"\n");
    let a = team.checkout("a");
    let mut outputs = Vec::new();
    for version in ["0.8", "0.9"] {
        let mut deploy = a.start("deploy", &["--version", version, "-vvv", "-o", "json"]);
        while !deploy.has_ended() {
            assert_eq!(arguments_with_password(), [""; 0]);
        }
        outputs.push(deploy.wait().exits(0));
    }
    for (verb, arguments) in [
        ("history", &["-o", "json"][..]),
        ("history", &["--revision", "1"]),
        ("status", &["-o", "json"]),
        ("state show", &[]),
        ("state show", &["-o", "json"]),
        ("logs", &["--rollout", "last"]),
        ("report", &[]),
        ("plan", &["--version", "0.8"]),
    ] {
        outputs.push(a.run(verb, &[arguments, &["-vvv"]].concat()));
    }
    for done in outputs {
        assert!(
            !contains_password(done.stdout.as_bytes()),
            "{}",
            done.stdout
        );
        assert!(
            !contains_password(done.stderr.as_bytes()),
            "{}",
            done.stderr
        );
    }
    for (key, value) in team.server.records("") {
        assert!(!contains_password(value.as_bytes()), "{key}: {value}");
    }
    assert_files_without_password(&a.path(".ship"));
    assert_files_without_password(&team.path("hosts"));
}

#[test]
fn services_do_not_inherit_the_url_of_the_state() {
    let Some(server) = StateServer::postgres() else {
        return;
    };
    let team = Team::new(server);
    team.checkout("a").deploy("0.8");
    let instances = team.instances();
    assert_eq!(instances.len(), 3);
    for pid in instances.values() {
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("a process");
        let text = String::from_utf8_lossy(&environment).replace('\0', "\n");
        assert!(!text.contains(URL_VARIABLE), "{text}");
    }
}
