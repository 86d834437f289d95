//! A checkout of the repository, in which an operator runs `ship`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::team::URL_VARIABLE;
use ship_testing::command::{Done, Running, ship_command};
use ship_testing::namespace::{run, write};

/// Runs `ship` on another machine: with its own host name and id of the boot, in namespaces. The
/// hosts are the same processes for both machines, so their scripts run outside: `/bin/sh` enters
/// the namespace of the test.
const ELSEWHERE: &str = r#"
hostname "$1"
mount --bind "$2" /proc/sys/kernel/random/boot_id
mount --bind "$3" "$(readlink -f /bin/sh)"
shift 3
exec "$@"
"#;

/// A directory with the files of the repository.
pub(crate) struct Checkout {
    root: PathBuf,
    url: String,
    machine: Option<Machine>,
}

/// Another machine.
struct Machine {
    name: String,
    boot_id: PathBuf,
    shell: PathBuf,
}

impl Checkout {
    pub(crate) fn new(root: PathBuf, url: String) -> Self {
        Self {
            root,
            url,
            machine: None,
        }
    }

    /// Moves it to another machine, if the test may make namespaces.
    pub(crate) fn on_machine(mut self, name: &str, dir: &Path) -> Self {
        if can_make_machines() {
            self.machine = Some(Machine::new(name, dir));
        }
        self
    }

    /// The name of its machine.
    pub(crate) fn host(&self) -> String {
        match &self.machine {
            Some(machine) => machine.name.clone(),
            None => run("hostname", &[]).trim().to_owned(),
        }
    }

    /// With another URL of the state.
    pub(crate) fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// `ship VERB inventory.toml ARGUMENTS`, for a test to extend.
    pub(crate) fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        self.bare_command(verb, &[&["inventory.toml"], arguments].concat())
    }

    /// `ship VERB ARGUMENTS`.
    fn bare_command(&self, verb: &str, arguments: &[&str]) -> Command {
        let verb: Vec<&str> = verb.split(' ').collect();
        let arguments = [&verb[..], arguments].concat();
        let mut ship = ship_command(&self.root, &arguments);
        // One that is killed leaves its temporary files: they end with the test.
        ship.env("TMPDIR", self.root.join("home"));
        if !self.url.is_empty() {
            ship.env(URL_VARIABLE, &self.url);
        }
        match &self.machine {
            Some(machine) => machine.command(&ship),
            None => ship,
        }
    }

    /// Starts `ship VERB inventory.toml ARGUMENTS`.
    pub(crate) fn start(&self, verb: &str, arguments: &[&str]) -> Running {
        Running::spawn(self.command(verb, arguments))
    }

    /// Runs it to its end, whatever that is.
    pub(crate) fn ship(&self, verb: &str, arguments: &[&str]) -> Done {
        self.start(verb, arguments).wait()
    }

    /// Runs `ship VERB ARGUMENTS`, without the inventory, to its end.
    pub(crate) fn bare(&self, verb: &str, arguments: &[&str]) -> Done {
        Running::spawn(self.bare_command(verb, arguments)).wait()
    }

    /// Runs it; it must succeed.
    #[track_caller]
    pub(crate) fn run(&self, verb: &str, arguments: &[&str]) -> Done {
        self.ship(verb, arguments).exits(0)
    }

    /// Deploys a version, which must succeed.
    #[track_caller]
    pub(crate) fn deploy(&self, version: &str) -> Done {
        self.run("deploy", &["--version", version])
    }

    /// Starts to deploy a version, and prints events as JSON as well as lines.
    pub(crate) fn start_deploy(&self, version: &str) -> Running {
        let arguments = ["--version", version, "-o", "json", "--progress", "plain"];
        self.start("deploy", &arguments)
    }

    /// What a command prints as JSON.
    #[track_caller]
    pub(crate) fn json(&self, verb: &str, arguments: &[&str]) -> Value {
        let done = self.run(verb, &[arguments, &["--output", "json"]].concat());
        let printed = done.stdout;
        serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("not JSON ({error}):\n{printed}"))
    }

    /// What `ship history` prints, newest first: revision, version and outcome of each.
    #[track_caller]
    pub(crate) fn history(&self) -> Vec<String> {
        let history = self.json("history", &[]);
        let row = |row: &Value| {
            format!(
                "{} {} {}",
                row["revision"],
                row["version"].as_str().unwrap_or_default(),
                row["outcome"].as_str().unwrap_or_default()
            )
        };
        history
            .as_array()
            .expect("an array")
            .iter()
            .map(row)
            .collect()
    }

    /// The files of its state directory.
    pub(crate) fn state_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut dirs = vec![self.path(".ship")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                    _ => files.push(entry.path()),
                }
            }
        }
        files.sort();
        files
    }
}

impl Machine {
    fn new(name: &str, dir: &Path) -> Self {
        let (boot_id, shell) = (
            dir.join(format!("{name}.boot")),
            dir.join(format!("{name}.sh")),
        );
        write(
            &boot_id,
            &format!("00000000-0000-4000-8000-{:>012x}\n", name.len()),
        );
        let test = std::process::id();
        write(
            &shell,
            &format!("#!/bin/bash\nexec nsenter --mount=/proc/{test}/ns/mnt /bin/sh \"$@\"\n"),
        );
        run("chmod", &["755", &shell.display().to_string()]);
        Self {
            name: name.to_owned(),
            boot_id,
            shell,
        }
    }

    /// The same command on this machine.
    fn command(&self, ship: &Command) -> Command {
        let mut command = Command::new("unshare");
        command.args([
            "--mount", "--uts", "bash", "-ec", ELSEWHERE, "bash", &self.name,
        ]);
        command.args([&self.boot_id, &self.shell]);
        command.arg(ship.get_program()).args(ship.get_args());
        command.env_clear();
        for (name, value) in ship.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.current_dir(ship.get_current_dir().expect("a directory"));
        command
    }
}

/// Whether the test may make namespaces.
pub(crate) fn can_make_machines() -> bool {
    let mut unshare = Command::new("unshare");
    let output = unshare
        .args(["--mount", "--uts", "hostname", "other"])
        .output();
    output.is_ok_and(|output| output.status.success())
}
