//! `ship check`: reports all problems of the files and the hosts, and makes no changes.

use std::fs;
use std::net::TcpListener;

use snapbox::str;

use crate::project::LocalProject;

#[test]
fn check_lists_every_host_that_passes() {
    let project = LocalProject::new();
    project
        .ship(&["check", "inventory.toml"])
        .stdout(str![[r#"
ok      inventory.toml
ok      playbook.toml
ok      artifact of 0.8 ([SIZE] bytes)
ok      node1: reached as [USER], [SIZE] MiB free, 0 instances
ok      node2: reached as [USER], [SIZE] MiB free, 0 instances
ok      node3: reached as [USER], [SIZE] MiB free, 0 instances
ok      node4: reached as [USER], [SIZE] MiB free, 0 instances

"#]])
        .run();
    project.assert_hosts_untouched();
}

#[test]
fn check_passes_on_a_deployed_fleet() {
    let project = LocalProject::new();
    project.deploy("0.8");
    project
        .ship(&["check"])
        .stdout(str![[r#"
ok      [ROOT]/inventory.toml
ok      [ROOT]/playbook.toml
ok      artifact of 0.8 ([SIZE] bytes)
ok      node1: reached as [USER], [SIZE] MiB free, 1 instance, 1 release (1 MiB)
ok      node2: reached as [USER], [SIZE] MiB free, 1 instance, 1 release (1 MiB)
ok      node3: reached as [USER], [SIZE] MiB free, 1 instance, 1 release (1 MiB)
ok      node4: reached as [USER], [SIZE] MiB free, 0 instances, 1 release (1 MiB)

"#]])
        .run();
}

#[test]
fn check_reports_all_problems_at_once() {
    let project = LocalProject::new().with("driver = \"process\"", "driver = \"systemd\"");
    fs::remove_dir_all(project.path("page-0.8")).expect("our own directory");
    let _stranger = TcpListener::bind((project.address("node2"), 8082)).expect("a free port");
    let done = project
        .ship(&["check", "inventory.toml"])
        .any_stdout()
        .status(2)
        .run();
    let output = project.redacted(&done.stdout);
    let of_node2: Vec<_> = output
        .lines()
        .filter(|line| line.contains("node2: slot"))
        .collect();
    snapbox::assert_data_eq!(
        of_node2.join("\n"),
        str![
            "FAILED  node2: slot 8082 is taken by pid [PID] (COMMAND), which this fleet did not \
             start; stop it, or remove the port from `ports`"
        ]
    );
    let of_files: Vec<_> = output
        .lines()
        .filter(|line| !line.contains("node"))
        .collect();
    snapbox::assert_data_eq!(
        of_files.join("\n"),
        str![[r#"
ok      inventory.toml
ok      playbook.toml
FAILED  cannot read the artifact page-0.8: No such file or directory (os error 2)
  --> playbook.toml:17:10
   |
17 | source = "page-{{ version }}"
   |          ^^^^^^^^^^^^^^^^^^^^
   |
   = help: build it first, or correct `source`: it is relative to the playbook's directory
"#]]
    );
    project.assert_hosts_untouched();
}

#[test]
fn check_validates_the_files_first() {
    let project = LocalProject::new().with("ports = [8081, 8082]", "ports = [8081, 8081]");
    project
        .ship(&["check", "inventory.toml"])
        .stderr(str![[r#"
error: `ports` has port 8081 twice
 --> playbook.toml:6:16
  |
6 | ports = [8081, 8081]
  |                ^^^^
  |
  = help: each instance on a host needs its own ports

"#]])
        .status(2)
        .run();
}
