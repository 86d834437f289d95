//! `fetch = "pull"`: each host downloads the artifact itself.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::project::LocalProject;
use ship_testing::namespace::write;
use ship_testing::sshd::Sshd;
use ship_testing::web::{Reply, Request, Web};

/// How the server treats hosts; it is always good to the control machine.
#[derive(Clone, Copy)]
enum ToHosts {
    Good = 0,
    Gone = 1,
    AnotherArtifact = 2,
}

/// A project whose two hosts pull from a server, and the control of that server.
fn project() -> (LocalProject, Web, Arc<AtomicU8>) {
    let project = LocalProject::new()
        .on(&["node1", "node2"])
        .with("replicas = 3", "replicas = 2");
    let pack = |version: &str| {
        let dir = project.path(&format!("page-{version}"));
        // A host copies the files of a release with the same artifact.
        std::fs::write(dir.join("version"), version).expect("our own file");
        let packed = Command::new("tar")
            .args(["-cz", "-C"])
            .arg(dir)
            .arg(".")
            .output()
            .expect("tar");
        assert!(packed.status.success());
        packed.stdout
    };
    let (old, new) = (pack("0.8"), pack("0.9"));
    let mode = Arc::new(AtomicU8::new(ToHosts::Good as u8));
    let server = {
        let mode = Arc::clone(&mode);
        Web::start(move |request, _| {
            let mode = if is_host(request) {
                mode.load(Ordering::SeqCst)
            } else {
                ToHosts::Good as u8
            };
            match request.path.as_str() {
                _ if mode == ToHosts::Gone as u8 => Reply::status(404),
                "page-0.8.tar.gz?token=hunter2" => Reply::of(old.clone()),
                "page-0.9.tar.gz?token=hunter2" if mode == ToHosts::AnotherArtifact as u8 => {
                    Reply::of("another")
                }
                "page-0.9.tar.gz?token=hunter2" => Reply::of(new.clone()),
                _ => Reply::status(404),
            }
        })
    };
    let url = server.url("page-{{ version }}.tar.gz?token=hunter2");
    let project = project.with(
        "source = \"page-{{ version }}\"",
        &format!("source = \"{url}\"\nfetch = \"pull\""),
    );
    (project, server, mode)
}

fn is_host(request: &Request) -> bool {
    !request
        .header("user-agent")
        .unwrap_or_default()
        .starts_with("ship/")
}

/// Number of artifact requests so far: from the control machine, and from hosts.
fn monitors(server: &Web) -> (usize, usize) {
    let asked: Vec<_> = server
        .requests()
        .into_iter()
        .filter(|request| request.path.starts_with("page-"))
        .collect();
    let hosts = asked.iter().filter(|request| is_host(request)).count();
    (asked.len() - hosts, hosts)
}

#[test]
fn hosts_download_the_artifact_and_rollback_needs_no_server() {
    let (project, server, mode) = project();
    project.deploy("0.8");
    assert_eq!(monitors(&server), (1, 2));
    project.deploy("0.9");
    assert_eq!(monitors(&server), (1, 2));
    mode.store(ToHosts::Gone as u8, Ordering::SeqCst);
    for host in ["node1", "node2"] {
        let releases = project.path(&format!(".ship/hosts/{host}/page/releases"));
        std::fs::read_dir(&releases)
            .expect("releases")
            .flatten()
            .for_each(|release| {
                let used = std::fs::read_to_string(release.path().join("app/behaviour")).is_ok();
                assert!(used, "a host has what it pulled, unpacked");
            });
    }
    project
        .ship(&["rollback", "inventory.toml"])
        .any_stderr()
        .run();
    assert_eq!(monitors(&server), (0, 0));
    let versions: Vec<_> = project
        .running()
        .iter()
        .map(|row| row.split(' ').nth(1).map(str::to_owned))
        .collect();
    assert_eq!(versions, [Some("0.8".to_owned()), Some("0.8".to_owned())]);
}

#[test]
fn failed_pull_keeps_the_old_version_serving() {
    for (to_hosts, why) in [
        (
            ToHosts::Gone,
            "cannot pull the artifact: curl: (22) The requested URL returned error: 404",
        ),
        (
            ToHosts::AnotherArtifact,
            "the downloaded artifact, expected to have",
        ),
    ] {
        let (project, _server, mode) = project();
        project.deploy("0.8");
        mode.store(to_hosts as u8, Ordering::SeqCst);
        let args = ["deploy", "inventory.toml", "--version", "0.9"];
        let done = project.ship(&args).any_stderr().status(3).run();
        assert!(done.stderr.contains(why), "{}", done.stderr);
        assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
        assert_eq!(project.history(), ["2 0.9 rolled-back", "1 0.8 succeeded"]);
        assert_eq!(project.running(), ["node1:8081 0.8", "node2:8081 0.8"]);
    }
}

#[test]
fn failed_download_is_refused_without_showing_the_url() {
    let (project, server, _mode) = project();
    let address = server.address();
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "7"])
        .any_stderr()
        .status(2)
        .run();
    assert_eq!(
        done.stderr.replace(&address, "SERVER"),
        "error: cannot download http://SERVER/page-7.tar.gz: the server returned 404 Not \
         Found\n--> playbook.toml:17:10\n \
         = help: correct the URL in `source`, or publish this version first\n"
    );
    project.assert_hosts_untouched();
}

#[test]
fn ssh_host_pulls_and_a_failed_pull_keeps_the_old_version() {
    let (project, server, mode) = project();
    let address = project.address("node1");
    let Some(sshd) = Sshd::start(&format!("ListenAddress {address}")) else {
        return;
    };
    sshd.write(
        "ssh_config",
        &format!("Host *\nHostKeyAlias [127.0.0.1]:{}\n", sshd.port()),
    );
    let file = |name: &str| sshd.file(name).display().to_string();
    let inventory = format!(
        "playbook = \"playbook.toml\"\n[fleet]\nname = \"far\"\n[ssh]\nport = {}\nidentity_file = \
         \"{}\"\nconfig = \
         \"{}\"\nknown_hosts = \"{}\"\n[[hosts]]\nname = \"node1\"\naddress = \
         \"{address}\"\nbase_dir = \"{}\"\n",
        sshd.port(),
        file("id"),
        file("ssh_config"),
        file("known_hosts"),
        project.path("far").display()
    );
    write(&project.path("inventory.toml"), &inventory);
    let project = project.with("replicas = 2", "replicas = 1");
    project.deploy("0.8");
    assert_eq!(monitors(&server), (1, 1));
    mode.store(ToHosts::Gone as u8, Ordering::SeqCst);
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    assert!(
        done.stderr.contains("cannot pull the artifact"),
        "{}",
        done.stderr
    );
    assert_eq!(project.running(), ["node1:8081 0.8"]);
}
