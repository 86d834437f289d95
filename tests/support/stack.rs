//! A user's directory with a stack, and `ship` in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::command::{Done, Running, ship_command};
use super::namespace;
use super::probe_client::get;

/// A directory with an inventory, `inventory.toml`, and with the files that it names.
pub struct StackDir {
    dir: TempDir,
    /// Whether the temporary files of `ship` lie in the directory.
    has_own_temporary_files: bool,
}

impl StackDir {
    /// Makes the directory with this inventory.
    pub fn new(inventory: &str) -> Self {
        let stack = Self {
            dir: TempDir::new().expect("a temporary directory"),
            has_own_temporary_files: false,
        };
        stack.write("inventory.toml", inventory);
        stack
    }

    /// With the temporary files of `ship` in the directory: a `ship` that is killed leaves them.
    pub fn with_own_temporary_files(mut self) -> Self {
        self.has_own_temporary_files = true;
        self
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        namespace::write(&self.path(name), text);
    }

    /// Runs `ship VERB inventory.toml ARGS`.
    pub fn ship(&self, verb: &str, args: &[&str]) -> Done {
        self.start(verb, args).wait()
    }

    /// Starts `ship VERB inventory.toml ARGS`.
    pub fn start(&self, verb: &str, args: &[&str]) -> Running {
        Running::spawn(self.command(verb, args))
    }

    /// Deploys a version of every service; prints the events.
    pub fn deploy(&self, version: &str) -> Done {
        self.start_deploy(version).wait()
    }

    /// Starts a deploy of a version of every service.
    pub fn start_deploy(&self, version: &str) -> Running {
        self.start("deploy", &["--version", version, "--output", "json"])
    }

    /// Undoes the last deployment; prints the events.
    pub fn rollback(&self) -> Done {
        self.ship("rollback", &["--output", "json"])
    }

    /// The output of `ship history --output json`: deployments, newest first.
    pub fn history(&self) -> Vec<Value> {
        match self.json("history") {
            Value::Array(deployments) => deployments,
            other => panic!("expected an array, found {other}"),
        }
    }

    /// The outcome of the newest deployment.
    pub fn last_outcome(&self) -> String {
        let newest = self.history().into_iter().next();
        text(&newest.expect("a deployment")["outcome"])
    }

    /// The version of all services. Panics if they run several, if an instance is not ready or
    /// answers
    /// with another version, or if a service has too few or too many.
    #[track_caller]
    pub fn whole_version(&self) -> String {
        let status = self.json("status");
        let services = status["services"].as_array().expect("an array");
        let mut versions = BTreeSet::new();
        for service in services {
            let instances = service["instances"].as_array().expect("an array");
            let desired = service["replicas"]["desired"].as_u64();
            assert_eq!(Some(instances.len() as u64), desired, "{service:#}");
            for instance in instances {
                assert_eq!(instance["ready"], true, "{service:#}");
                let version = text(&instance["version"]);
                if let Some(answered) = answered_version(instance) {
                    assert_eq!(answered, version, "{instance:#}");
                }
                versions.insert(version);
            }
        }
        assert_eq!(versions.len(), 1, "mixed versions: {status:#}");
        versions.pop_first().expect("one version")
    }

    fn json(&self, verb: &str) -> Value {
        let done = self.ship(verb, &["--output", "json"]).exits(0);
        parse(&done.stdout)
    }

    fn command(&self, verb: &str, args: &[&str]) -> Command {
        let args = [&[verb, "inventory.toml"], args].concat();
        let mut command = ship_command(self.root(), &args);
        if self.has_own_temporary_files {
            command.env("TMPDIR", self.path("home"));
        }
        command
    }
}

/// The version in the page of an instance, the last word; `None` if it has no port.
fn answered_version(instance: &Value) -> Option<String> {
    let port = instance["port"].as_u64()?;
    let socket = format!("{}:{port}", text(&instance["address"]));
    let page = get(socket.parse().expect("an address and a port"));
    let page = page.unwrap_or_else(|error| panic!("{socket}: {error}"));
    let version = page.trim_end().rsplit(' ').next();
    version.map(str::to_owned)
}

/// The beginnings and the ends of rollouts in a stream of events, in their order:
/// `api deploy 2`, `api succeeded`. Panics if an event has no time.
#[track_caller]
pub fn rollouts(stdout: &str) -> Vec<String> {
    let rollout = |line: &str| {
        let event = parse(line);
        assert!(event["time"].is_string(), "no time: {line}");
        let service = text(&event["service"]);
        match event["event"].as_str()? {
            "rollout_started" => Some(format!(
                "{service} {} {}",
                text(&event["verb"]),
                text(&event["target"]["version"])
            )),
            "rollout_finished" => Some(format!("{service} {}", text(&event["outcome"]["outcome"]))),
            _ => None,
        }
    };
    stdout.lines().filter_map(rollout).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}):\n{text}"))
}
