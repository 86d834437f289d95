//! Configuration files: valid ones load, and errors are reported with their place and a hint.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "the snapshots are written by a tool"
)]

mod analysis;
mod artifact;
mod both;
mod command_line;
mod examples;
mod fuzz;
mod hooks;
mod hosts_from;
mod inventory;
mod link;
mod liveness;
mod monitor;
mod notify;
mod playbook;
mod readiness;
mod release;
mod rollout;
mod secrets;
mod services;
mod templates;
mod traffic;
mod unattended;

use std::io;
use std::path::Path;

use ship::config::{Overrides, Project, load_with};

const INVENTORY: &str = r#"playbook = "web.toml"
[fleet]
name = "test"
[ssh]
user = "deploy"
[[hosts]]
name = "web1"
labels = { zone = "a" }
[[hosts]]
name = "web2"
address = "10.0.0.2"
"#;

const PLAYBOOK: &str = r#"version = "0.8"
[service]
name = "web"
command = "./web --port {{ port }}"
ports = [8081, 8082]
[service.env]
VERSION = "{{ version }}"
[artifact]
source = "web-{{ version }}.tar.gz"
[readiness]
http = "/healthz"
[rollout]
max_surge = 1
"#;

/// The configuration files, in memory, and the options of the command line.
struct Files {
    inventory: String,
    playbook: String,
    overrides: Overrides,
}

/// Two valid files.
fn files() -> Files {
    Files {
        inventory: INVENTORY.to_owned(),
        playbook: PLAYBOOK.to_owned(),
        overrides: Overrides::default(),
    }
}

impl Files {
    fn inventory(mut self, right: &str, wrong: &str) -> Self {
        assert!(self.inventory.contains(right), "{right}");
        self.inventory = self.inventory.replacen(right, wrong, 1);
        self
    }

    fn playbook(mut self, right: &str, wrong: &str) -> Self {
        assert!(self.playbook.contains(right), "{right}");
        self.playbook = self.playbook.replacen(right, wrong, 1);
        self
    }

    fn set(mut self, setting: &str) -> Self {
        self.overrides.set.push(setting.to_owned());
        self
    }

    fn version(mut self, version: &str) -> Self {
        self.overrides.version = Some(version.to_owned());
        self
    }

    fn load(&self) -> Result<Project, String> {
        let read = |path: &Path| match path.to_str() {
            Some("fleet.toml") => Ok(self.inventory.clone().into_bytes()),
            Some("web.toml") => Ok(self.playbook.clone().into_bytes()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        load_with(Path::new("fleet.toml"), &self.overrides, read).map_err(|wrong| wrong.to_string())
    }

    fn project(&self) -> Project {
        self.load().unwrap_or_else(|report| panic!("{report}"))
    }

    fn report(&self) -> String {
        self.load()
            .expect_err("something is wrong with these files")
    }
}
