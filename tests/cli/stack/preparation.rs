//! What cannot be prepared for one service leaves every service as it is.

use std::fs;

use super::project::{SERVICES, StackProject};

/// What must not change: the instances, the deployments, and the revisions of each service.
fn state(project: &StackProject) -> (Vec<String>, Vec<String>, [Vec<String>; 3]) {
    let revisions = SERVICES.map(|service| project.revisions(service));
    (project.pids(), project.deployments(), revisions)
}

#[test]
fn missing_artifact_of_one_service_leaves_all_as_they_are() {
    let project = StackProject::deployed();
    fs::remove_dir_all(project.path("web-2")).expect("our own directory");
    let before = state(&project);
    let releases = || {
        let dir = project.path(".ship/hosts/node1/api/releases");
        fs::read_dir(dir).expect("the releases of a host").count()
    };
    let count = releases();
    let done = project.run(&["deploy", "stack.toml", "--version", "2"], 2);
    for words in ["error: cannot read the artifact web-2", "web.toml:17:10"] {
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
    assert_eq!(state(&project), before);
    assert_eq!(releases(), count);
}

#[test]
fn missing_artifact_of_a_first_deployment_leaves_the_hosts_untouched() {
    let project = StackProject::new();
    fs::remove_dir_all(project.path("web-2")).expect("our own directory");
    project.run(&["deploy", "stack.toml", "--version", "2"], 2);
    assert!(
        !project.path(".ship/hosts").exists(),
        "something was made on a host"
    );
    assert_eq!(project.deployments(), [""; 0]);
}

#[test]
fn host_that_cannot_be_staged_leaves_all_instances_as_they_are() {
    let project = StackProject::deployed();
    let before = state(&project);
    // Also root cannot make a directory where a file is.
    let staging = project.path(".ship/hosts/node1/web/tmp");
    fs::remove_dir_all(&staging).expect("a directory of ship");
    fs::write(&staging, "").expect("our own file");
    let done = project.run(&["deploy", "stack.toml", "--version", "2"], 7);
    assert!(
        done.stderr
            .contains("error: web: cannot stage 2; no instance was changed\n  node1: "),
        "{}",
        done.stderr
    );
    assert_eq!(state(&project), before);

    fs::remove_file(&staging).expect("our own file");
    project.deploy("2");
    project.assert_serves("2");
}

#[test]
fn files_of_all_services_are_checked_before_a_host_is_touched() {
    let project = StackProject::new();
    project.change("api.toml", "driver", "drivr");
    project.change("web.toml", "replicas = 1", "replicas = 0.5");
    let done = project.run(&["deploy", "stack.toml"], 2);
    for words in ["unknown key `drivr`", "api.toml:7:1", "web.toml:25:12"] {
        assert!(done.stderr.contains(words), "no {words}: {}", done.stderr);
    }
    assert!(
        !project.path(".ship/hosts").exists(),
        "something was made on a host"
    );
}

#[test]
fn difference_of_the_same_artifacts_is_computed_once() {
    let project = StackProject::new();
    let mut seed = 1_u32;
    let random = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    });
    let mut data: Vec<u8> = random.take(2 << 20).collect();
    for version in ["1", "2"] {
        for service in SERVICES {
            let file = project.path(&format!("{service}-{version}/data"));
            fs::write(file, &data).expect("a file of our own");
        }
        data[..1000].fill(0);
    }
    project.deploy("1");
    let deploy = ["deploy", "stack.toml", "--version", "2", "-vv"];
    let done = project.run(&deploy, 0);
    // From version 1, and from another service that has version 2 already.
    let computed = done.stderr.matches("computed the difference").count();
    assert_eq!(computed, 2, "{}", done.stderr);
    project.assert_serves("2");
}
