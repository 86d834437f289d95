//! A user's directory with an inventory, a playbook and artifacts, and `ship` in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::behaviour::Behaviour;
use super::command::{Done, Running, ship, spawn_ship};
use super::namespace::write;
use super::project_dir::ProjectDir;

/// The file name of the service, which identifies its processes.
pub const PAGE: &str = "page.py";

const PLAYBOOK: &str = r#"version = "1"

[service]
name = "page"
command = "/usr/bin/python3 page.py"
ports = [8081, 8082]
env = { VERSION = "{{ version }}", PORT = "{{ port }}", HOST = "{{ address }}" }
driver = "systemd"
stop_timeout = "5s"

[artifact]
source = "page-{{ version }}.tar.gz"

[readiness]
http = "/"
interval = "100ms"
timeout = "2s"

[rollout]
replicas = 3
max_surge = 1
max_unavailable = 0
min_ready = "0s"
progress_deadline = "1m"
"#;

/// A user's directory, with versions 1 and 2 of a good service.
pub struct Project {
    dir: ProjectDir,
}

impl Project {
    /// Makes the directory for a fleet. `inventory` gets the playbook's path and returns the text.
    pub fn new(inventory: impl FnOnce(&str) -> String) -> Self {
        let dir = ProjectDir::new(PLAYBOOK);
        let project = Self { dir };
        write(&project.path("inventory.toml"), &inventory("playbook.toml"));
        project.release("1", Behaviour::Good);
        project.release("2", Behaviour::Good);
        project
    }

    /// Replaces a part of the playbook. Panics if it does not exist.
    pub fn with(mut self, old: &str, new: &str) -> Self {
        self.dir.change_playbook(old, new);
        self
    }

    /// A copy of the directory, with its own history from now on.
    pub fn copy(&self) -> Self {
        Self {
            dir: self.dir.copy(),
        }
    }

    /// Makes the artifact of a version.
    pub fn release(&self, version: &str, behaviour: Behaviour) {
        self.release_with(version, behaviour, &[]);
    }

    /// Makes the artifact of a version with a file of this size that cannot be compressed.
    pub fn large_release(&self, version: &str, size_bytes: usize) {
        // xorshift: the bytes only have to be disordered.
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let ballast: Vec<u8> = words.flatten().take(size_bytes).collect();
        self.release_with(version, Behaviour::Good, &ballast);
    }

    fn release_with(&self, version: &str, behaviour: Behaviour, ballast: &[u8]) {
        let file =
            File::create(self.path(&format!("page-{version}.tar.gz"))).expect("our own directory");
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
        // The version makes the bytes of each artifact unique.
        let files = [
            (PAGE, include_bytes!("page.py").as_slice()),
            ("work.py", include_bytes!("work.py").as_slice()),
            ("behaviour", behaviour.word().as_bytes()),
            ("version", version.as_bytes()),
            ("ballast", ballast),
        ];
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive
                .append_data(&mut header, name, bytes)
                .expect("memory");
        }
        archive
            .into_inner()
            .and_then(GzEncoder::finish)
            .expect("our own file");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    pub fn dir(&self) -> &Path {
        self.dir.root()
    }

    /// Runs `ship VERB inventory.toml ARGS`.
    pub fn ship(&self, verb: &str, args: &[&str]) -> Done {
        ship(self.dir(), &[&[verb, "inventory.toml"], args].concat())
    }

    /// Starts `ship VERB inventory.toml ARGS`.
    pub fn start(&self, verb: &str, args: &[&str]) -> Running {
        spawn_ship(self.dir(), &[&[verb, "inventory.toml"], args].concat())
    }

    /// Deploys a version.
    pub fn deploy(&self, version: &str) -> Done {
        self.ship("deploy", &["--version", version, "--progress", "plain"])
    }

    /// Starts a deploy of a version.
    pub fn start_deploy(&self, version: &str) -> Running {
        self.start("deploy", &["--version", version, "--progress", "plain"])
    }

    /// The output of `ship status --output json`.
    pub fn status(&self) -> Value {
        json(&self.ship("status", &["--output", "json"]).exits(0))
    }

    /// The output of `ship history --output json`: newest first.
    pub fn history(&self) -> Vec<Value> {
        match json(&self.ship("history", &["--output", "json"]).exits(0)) {
            Value::Array(revisions) => revisions,
            other => panic!("expected an array, found {other}"),
        }
    }

    /// Asserts that the fleet has this many instances, all ready and of one version.
    #[track_caller]
    pub fn assert_settled(&self, version: &str, replicas: usize) {
        let status = self.status();
        let of = |key: &str| status["replicas"][key].as_u64();
        let instances = status["instances"].as_array().expect("an array");
        let state = if self.history()[0]["outcome"] == "succeeded" {
            "idle"
        } else {
            "failed"
        };
        assert_eq!(status["state"], state, "{status:#}");
        assert_eq!(status["version"], version, "{status:#}");
        for key in ["desired", "updated", "available", "total"] {
            assert_eq!(of(key), Some(replicas as u64), "{key} in {status:#}");
        }
        assert_eq!(instances.len(), replicas, "{status:#}");
        let good = |instance: &Value| instance["ready"] == true && instance["version"] == version;
        assert!(instances.iter().all(good), "{status:#}");
    }

    /// Every file in the directory and its subdirectories.
    pub fn files(&self) -> Vec<PathBuf> {
        files_below(self.dir())
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("our own directory").flatten() {
        let kind = entry.file_type().expect("our own file");
        if kind.is_dir() {
            files.extend(files_below(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.stdout)
        .unwrap_or_else(|error| panic!("not JSON ({error}):\n{}", done.stdout))
}
