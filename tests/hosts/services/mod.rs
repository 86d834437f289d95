//! Services of many kinds, with the programs that people run.

mod adopted;
mod linger;
mod linked;
mod queue;
mod reload;
mod shared_dirs;
mod singleton;
mod steady_load;
mod two_ports;
mod units;
mod workers;

use ship_testing::command::{Done, Running, ship, spawn_ship};
use ship_testing::fleet::Fleet;
use ship_testing::namespace::write;
use ship_testing::project_dir::ProjectDir;

/// A user's directory with a playbook, whose artifact is the directory `app`.
pub(super) struct Service {
    dir: ProjectDir,
}

impl Service {
    /// The service of a playbook on the hosts of a fleet. `files` are the files of its artifact.
    pub(super) fn new(fleet: &Fleet, playbook: &str, files: &[(&str, &str)]) -> Self {
        let dir = ProjectDir::new(playbook);
        write(
            &dir.path("inventory.toml"),
            &fleet.inventory("playbook.toml"),
        );
        let service = Self { dir };
        for (name, text) in files {
            service.write(name, text);
        }
        service
    }

    /// Writes a file of the artifact.
    pub(super) fn write(&self, name: &str, text: &str) {
        write(&self.dir.path(&format!("app/{name}")), text);
    }

    /// Runs `ship VERB inventory.toml ARGS`.
    pub(super) fn ship(&self, verb: &str, args: &[&str]) -> Done {
        ship(self.dir.root(), &[&[verb, "inventory.toml"], args].concat())
    }

    /// Starts `ship VERB inventory.toml ARGS`.
    pub(super) fn start_ship(&self, verb: &str, args: &[&str]) -> Running {
        spawn_ship(self.dir.root(), &[&[verb, "inventory.toml"], args].concat())
    }

    /// Deploys a version, with more arguments.
    pub(super) fn deploy(&self, version: &str, args: &[&str]) -> Done {
        let version = ["--version", version, "--progress", "plain"];
        self.ship("deploy", &[&version, args].concat())
    }
}
