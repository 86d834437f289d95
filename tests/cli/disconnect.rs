//! `persist` and `ship disconnect`: connections to an sshd that are kept between commands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use snapbox::str;

use crate::call::Call;
use crate::project::LocalProject;
use ship_testing::inventory::Inventory;
use ship_testing::namespace::write;
use ship_testing::sshd::{Sshd, eventually, ssh_of};

const SOON: Duration = Duration::from_secs(10);

/// A project with two hosts that one sshd serves.
struct Remote {
    sshd: Sshd,
    project: LocalProject,
}

impl Remote {
    /// `None` with a message if sshd is not installed.
    fn new() -> Option<Self> {
        let project = LocalProject::new();
        let hosts = ["node1", "node2"].map(|node| (node, project.address(node)));
        let listen = hosts
            .each_ref()
            .map(|(_, address)| format!("ListenAddress {address}\n"));
        let sshd = Sshd::start(&listen.concat())?;
        let alias = format!("HostKeyAlias [127.0.0.1]:{}\n", sshd.port());
        sshd.write("ssh_config", &alias);
        for name in ["id", "ssh_config", "known_hosts"] {
            fs::copy(sshd.file(name), project.path(name)).expect("our own file");
        }
        let keys =
            "identity_file = \"id\"\nconfig = \"ssh_config\"\nknown_hosts = \"known_hosts\"\n";
        let ssh = format!("persist = \"1m\"\nport = {}\n{keys}", sshd.port());
        let inventory = Inventory::new("playbook.toml", "far").ssh(&ssh);
        let add = |inventory: Inventory, (node, address): &(&str, String)| {
            let base_dir = project.path(&format!("far/{node}"));
            let base_dir = format!("base_dir = \"{}\"\n", base_dir.display());
            inventory.machine("hosts", node, address, &base_dir)
        };
        let inventory = hosts.iter().fold(inventory, add);
        write(&project.path("inventory.toml"), &inventory.text());
        let run = project.path("run");
        fs::create_dir(&run).expect("our own directory");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).expect("our own directory");
        Some(Self { sshd, project })
    }

    fn ship(&self, args: &[&str]) -> Call<'_> {
        let call = self.project.ship(args);
        call.env("XDG_RUNTIME_DIR", self.project.path("run"))
    }

    /// Calls `ship status`, which observes both hosts.
    #[track_caller]
    fn status(&self) {
        let done = self.ship(&["status", "inventory.toml"]).any_stdout().run();
        assert!(!done.stdout.contains("unreachable"), "{}", done.stdout);
    }

    fn masters(&self) -> usize {
        ssh_of(&self.project.path("run")).len()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        for pid in ssh_of(&self.project.path("run")) {
            drop(
                std::process::Command::new("kill")
                    .arg(pid.to_string())
                    .status(),
            );
        }
    }
}

/// Starts an sshd, or ends the test where there is none.
macro_rules! remote {
    () => {
        match Remote::new() {
            Some(remote) => remote,
            None => return,
        }
    };
}

#[test]
fn disconnect_closes_the_connections_that_commands_have_kept() {
    let remote = remote!();
    remote.status();
    remote.status();
    assert_eq!(
        remote.sshd.logins(),
        2,
        "the second command logs in nowhere"
    );
    let elsewhere = remote.project.path("run");
    let done = remote.ship(&["status", "../inventory.toml", "--verbose"]);
    let done = done.within(&elsewhere).any_stdout().any_stderr().run();
    assert_eq!(remote.sshd.logins(), 2, "from another directory, too");
    assert!(
        done.stderr.contains("using the kept connection"),
        "{}",
        done.stderr
    );
    remote
        .ship(&["disconnect", "inventory.toml"])
        .stdout(str![[r#"
closed the connections to 2 hosts

"#]])
        .run();
    assert!(eventually(SOON, || remote.masters() == 0));
    remote
        .ship(&["disconnect", "inventory.toml"])
        .stdout(str![[r#"
no connection was open

"#]])
        .run();
    remote.status();
    assert_eq!(remote.sshd.logins(), 4);
    remote
        .ship(&["disconnect", "inventory.toml", "--output", "json"])
        .stdout(str![[r#"
{"hosts":2,"in_use":0,"jump_hosts":0,"stuck":0}

"#]])
        .run();
}

#[test]
fn disconnect_closes_the_connections_whatever_the_inventory_has_become() {
    let remote = remote!();
    remote.status();
    write(&remote.project.path("inventory.toml"), "not an inventory");
    remote
        .ship(&["disconnect", "inventory.toml"])
        .stdout_lines(&["closed the connections to 2 hosts"])
        .run();
    assert!(eventually(SOON, || remote.masters() == 0));
    remote
        .ship(&["disconnect", "gone/far.toml"])
        .stderr(str![[r#"
error: cannot read gone/far.toml: No such file or directory (os error 2)
--> gone/far.toml
 = help: name the inventory whose connections are to be closed

"#]])
        .status(2)
        .run();
}

#[test]
fn directory_that_others_can_reach_is_reported_and_not_used() {
    let remote = remote!();
    let dir = remote.project.path("run/ship");
    fs::create_dir(&dir).expect("our own directory");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("our own directory");
    remote
        .ship(&["status", "inventory.toml"])
        .any_stdout()
        .stderr(str![[r#"
warning: [ROOT]/run/ship is accessible to other users (mode 0755); connections are closed at the end

"#]])
        .run();
    assert_eq!(remote.masters(), 0);
    remote
        .ship(&["disconnect", "inventory.toml"])
        .stderr(str![[r#"
error: [ROOT]/run/ship is accessible to other users (mode 0755), so ship keeps no connections there
hint: remove it, or make it yours with mode 0700

"#]])
        .status(2)
        .run();
}

#[test]
fn connections_of_a_killed_command_end() {
    let remote = remote!();
    let sshd = &remote.sshd;
    let key = fs::read_to_string(sshd.file("id.pub")).expect("our own file");
    let login = sshd.file("login").display().to_string();
    sshd.write("id.pub", &format!("command=\"exec sh {login}\" {key}"));
    let run = "exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n";
    sshd.write("login", run);
    remote.status();
    assert_eq!(remote.masters(), 2);
    // From now on, a script does not begin as long as this file exists.
    sshd.write("waiting", "");
    let [waiting, begun] = ["waiting", "begun"].map(|name| sshd.file(name).display().to_string());
    sshd.write(
        "login",
        &format!("echo >{begun}; while [ -e {waiting} ]; do sleep 0.1; done\n{run}"),
    );
    let status = remote.ship(&["status", "inventory.toml"]).spawn();
    assert!(eventually(SOON, || sshd.file("begun").exists()));
    assert_eq!(sshd.logins(), 2, "it uses the kept connections");
    status.signal("KILL");
    assert_eq!(status.wait().code, None);
    assert!(
        eventually(SOON, || remote.masters() == 0),
        "a connection is still open"
    );
    fs::remove_file(sshd.file("waiting")).expect("our own file");
    sshd.write("login", run);
    remote.status();
    assert_eq!(sshd.logins(), 4);
}
