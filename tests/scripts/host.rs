//! A host that is a directory of this machine and a loopback address, with services that are real.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use ship::core::fleet::owner::Owner;
use ship::core::fleet::{Instance, Observation, Occupant};
use ship::core::ids::{ActionId, Epoch, InstanceId, Port, ReleaseId, Revision};
use ship::core::release::unit::{Directives, StopSignal};
use ship::core::release::{Artifact, ArtifactForm, Check, Definition, Driver, Readiness, Via};
use ship::core::time::Time;
use ship::script::{
    ArtifactInput, HostContext, Reply, Script, ScriptEnd, SlotHooks, StageInput, StartSpec,
    StopSpec, observe, read_reply, stage, start, stop,
};
use tempfile::TempDir;

/// A shell that may be a host's `/bin/sh`, with the tools that come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Sh,
    Bash,
    Busybox,
}

/// The shells that this machine has.
pub(crate) fn shells() -> Vec<Shell> {
    let has = |program: &str| Command::new(program).arg("--help").output().is_ok();
    let mut shells = vec![Shell::Sh];
    shells.extend(has("bash").then_some(Shell::Bash));
    shells.extend(has("busybox").then_some(Shell::Busybox));
    shells
}

/// The record of a controller that deploys for this fleet.
pub(crate) fn owner(fleet: &str) -> Owner {
    let [service, history, who, dir] =
        ["testpage", "0f", "anna@laptop", "/srv/x"].map(str::to_owned);
    Owner {
        fleet: fleet.to_owned(),
        service,
        history,
        who,
        dir,
        epoch: Epoch(7),
        at: Time(1000),
    }
}

/// The one host of a test. What runs on it ends with it.
pub(crate) struct Host {
    pub(crate) dir: TempDir,
    pub(crate) site: HostContext,
    pub(crate) port: Port,
    shell: Shell,
    /// Whether it has no other programs than those in its own directory.
    is_bare: bool,
}

/// What a script did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(Shell::Sh)
    }

    /// A host on which a release is staged.
    pub(crate) fn with_release() -> (Self, Release) {
        let (host, release) = (Self::new(), Release::new("hello"));
        host.stage(&release);
        (host, release)
    }

    /// A host whose `/bin/sh` this is, at a loopback address that no other test has.
    pub(crate) fn with(shell: Shell) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [_, _, a, b] = std::process::id().to_be_bytes();
        let address = format!(
            "127.{}.{}.{}",
            a % 100 + 100,
            b,
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let port = TcpListener::bind((address.as_str(), 0))
            .expect("bind")
            .local_addr()
            .expect("address")
            .port();
        let dir = TempDir::new().expect("directory");
        let site = HostContext {
            service: "testpage".into(),
            // A blank and a quote in the path: nothing may trip over it.
            base_dir: dir.path().join("it's ship").to_str().expect("path").into(),
            epoch: Epoch(7),
            order: ActionId(1),
            host_address: address,
            slots: [(port, vec![port])].into(),
            proven: BTreeMap::new(),
            owner: owner("production"),
            is_remote: false,
        };
        let host = Self {
            dir,
            site,
            port,
            shell,
            is_bare: false,
        };
        fs::create_dir(host.bin()).expect("bin");
        if shell == Shell::Busybox {
            host.link_busybox();
        }
        host
    }

    /// A directory in which all tools that busybox has are busybox's.
    fn link_busybox(&self) {
        let list = Command::new("busybox")
            .arg("--list")
            .output()
            .expect("busybox");
        let path = Command::new("sh")
            .args(["-c", "command -v busybox"])
            .output()
            .expect("busybox");
        let busybox = String::from_utf8(path.stdout).expect("path");
        for applet in String::from_utf8(list.stdout).expect("list").lines() {
            std::os::unix::fs::symlink(busybox.trim_end(), self.bin().join(applet)).expect("link");
        }
    }

    /// Puts a shell script in the place of a program.
    pub(crate) fn fake(&self, program: &str, text: &str) {
        let path = self.bin().join(program);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    }

    /// Takes programs away.
    pub(crate) fn without(&mut self, programs: &[&str]) {
        for entry in fs::read_dir("/usr/bin").expect("programs").flatten() {
            let (name, link) = (entry.file_name(), self.bin().join(entry.file_name()));
            if !programs.iter().any(|program| *program == name) && !link.exists() {
                std::os::unix::fs::symlink(entry.path(), link).expect("link");
            }
        }
        self.is_bare = true;
    }

    fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// The service's directory.
    pub(crate) fn root(&self) -> PathBuf {
        Path::new(&self.site.base_dir).join("testpage")
    }

    pub(crate) fn slot(&self) -> PathBuf {
        self.root().join("slots").join(self.port.to_string())
    }

    /// The shell, about to run the script as a host does: its text is one word.
    pub(crate) fn command(&self, script: &Script) -> Command {
        self.command_after(&[], script)
    }

    /// The shell with a deadline, after which it is killed.
    pub(crate) fn watched(&self, script: &Script, seconds: u32) -> Command {
        let seconds = seconds.to_string();
        let watch: &[&str] = if self.shell == Shell::Busybox {
            &["busybox", "timeout"]
        } else {
            &["timeout"]
        };
        self.command_after(&[watch, &["-k", "5", &seconds]].concat(), script)
    }

    fn command_after(&self, before: &[&str], script: &Script) -> Command {
        let shell: &[&str] = match self.shell {
            Shell::Sh => &["sh"],
            Shell::Bash => &["bash", "--posix"],
            Shell::Busybox => &["busybox", "ash"],
        };
        let words = [before, shell, &["-c", &script.text]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let others = if self.is_bare { "" } else { ":/usr/bin:/bin" };
        command.env("PATH", format!("{}{others}", self.bin().display()));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn spawn(&self, script: &Script) -> Child {
        self.command(script).spawn().expect("a shell")
    }

    /// Runs a script with all of its input.
    pub(crate) fn run(&self, script: &Script) -> Ran {
        let mut input = script.input.head.clone();
        if let Some(file) = &script.input.file {
            input.extend(fs::read(file).expect("the artifact"));
        }
        self.run_with(script, &input)
    }

    /// Runs a script with another input than its own.
    pub(crate) fn run_with(&self, script: &Script, input: &[u8]) -> Ran {
        let before = Instant::now();
        let mut child = self.spawn(script);
        // A script need not read it all.
        let _ = child.stdin.take().expect("stdin").write_all(input);
        let output = child.wait_with_output().expect("output");
        assert!(
            before.elapsed() < script.deadline,
            "longer than its deadline of {:?}",
            script.deadline
        );
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Ran {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a script that reports.
    pub(crate) fn ask(&self, script: &Script) -> Reply {
        self.run(script).reply()
    }

    /// Runs a script that has to succeed.
    pub(crate) fn order(&self, script: &Script) -> Observation {
        let ran = self.run(script);
        let reply = ran.reply();
        assert_eq!(reply.end, ScriptEnd::Done, "{ran:?}");
        assert_eq!(ran.stderr, "");
        reply.observation
    }

    pub(crate) fn observe(&self) -> Observation {
        self.order(&observe(&self.site))
    }

    /// Stages a release that holds these files.
    pub(crate) fn stage(&self, release: &Release) -> Observation {
        self.order(&self.stage_script(release))
    }

    pub(crate) fn stage_script(&self, release: &Release) -> Script {
        stage(
            &self.site,
            &release.definition,
            &release.id,
            &StageInput {
                secrets: release.secrets.as_deref(),
                ..ArtifactInput::Pushed(&release.path).into()
            },
        )
    }

    /// What starts the testpage in the host's slot.
    pub(crate) fn launch(&self, name: &str, release: &Release) -> StartSpec {
        let port = self.port.to_string();
        StartSpec {
            number: self.port,
            instance: InstanceId::from(name),
            release: release.id.clone(),
            revision: Revision(3),
            version: "0.8".into(),
            driver: Driver::Process,
            user: None,
            activate: Vec::new(),
            argv: [
                "/usr/bin/env",
                "python3",
                "-m",
                "http.server",
                "--bind",
                &self.site.host_address,
                &port,
            ]
            .map(String::from)
            .to_vec(),
            env: BTreeMap::new(),
            ports: vec![self.port],
            shared_dirs: Vec::new(),
            stop_signal: StopSignal::Term,
            stop_timeout: Duration::from_secs(10),
            reloads: None,
            reload: Vec::new(),
            linger: None,
            liveness: None,
            liveness_port: Some(self.port),
            directives: Directives::default(),
            notifies: false,
            hooks: SlotHooks::default(),
            start_timeout: Duration::from_secs(30),
            settle: Duration::from_secs(10),
        }
    }

    /// What runs a shell script as the service, which is not waited for long.
    pub(crate) fn launch_sh(&self, name: &str, release: &Release, script: &str) -> StartSpec {
        let argv = ["sh", "-c", script].map(String::from).to_vec();
        StartSpec {
            argv,
            settle: Duration::from_millis(300),
            ..self.launch(name, release)
        }
    }

    /// Stages a release and starts an instance of it, which has to be running then.
    pub(crate) fn start(&self, launch: &StartSpec) -> Instance {
        self.instance(self.order(&start(&self.site, launch)))
    }

    pub(crate) fn halt(&self, name: &str, stop_timeout: Duration) -> Script {
        let instance = InstanceId::from(name);
        stop(
            &self.site,
            &StopSpec {
                number: self.port,
                instance,
                stop_timeout,
                hooks: Duration::ZERO,
                restore_after: None,
                may_linger: false,
            },
        )
    }

    pub(crate) fn stop(&self, name: &str) -> Observation {
        self.order(&self.halt(name, Duration::from_secs(10)))
    }

    /// The instance in the host's slot.
    pub(crate) fn instance(&self, mut observation: Observation) -> Instance {
        match observation.slots.remove(&self.port) {
            Some(Occupant::Instance(instance)) => instance,
            other => panic!("no instance but {other:?}"),
        }
    }

    /// The number of the service's first process.
    pub(crate) fn pid(&self) -> u32 {
        let pid = fs::read_to_string(self.slot().join("pid")).expect("pid");
        pid.split_once(' ')
            .expect("two words")
            .0
            .parse()
            .expect("number")
    }

    /// Waits until the service has written a line to its log.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_for(text, || {
            fs::read_to_string(self.slot().join("log")).is_ok_and(|log| log.contains(text))
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let Ok(slots) = fs::read_dir(self.root().join("slots")) else {
            return;
        };
        for slot in slots.flatten() {
            let Ok(pid) = fs::read_to_string(slot.path().join("pid")) else {
                continue;
            };
            let session = pid.split(' ').next().unwrap_or_default();
            for pid in session_members(session) {
                let _ = Command::new("kill")
                    .args(["-KILL", &pid])
                    .stderr(Stdio::null())
                    .status();
            }
        }
    }
}

impl Ran {
    pub(crate) fn reply(&self) -> Reply {
        read_reply(&self.stdout, now()).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// How the script says that it failed.
    pub(crate) fn failure(&self) -> String {
        match self.reply().end {
            ScriptEnd::Failed(why) => why,
            other => panic!("not failed but {other:?}: {self:?}"),
        }
    }
}

/// What a test stages.
pub(crate) struct Release {
    pub(crate) id: ReleaseId,
    pub(crate) definition: Definition,
    pub(crate) path: PathBuf,
    pub(crate) secrets: Option<Vec<u8>>,
    _dir: TempDir,
}

impl Release {
    /// A page, packed as `top/index.html`.
    pub(crate) fn new(page: &str) -> Self {
        Self::dated(page, SystemTime::now())
    }

    /// The same, last changed at some time.
    pub(crate) fn dated(page: &str, changed: SystemTime) -> Self {
        let dir = TempDir::new().expect("directory");
        fs::create_dir(dir.path().join("top")).expect("directory");
        let index = dir.path().join("top/index.html");
        fs::write(&index, page).expect("page");
        fs::File::options()
            .write(true)
            .open(&index)
            .and_then(|file| file.set_modified(changed))
            .expect("time");
        // As a user with a strict umask packs it.
        fs::set_permissions(&index, fs::Permissions::from_mode(0o600)).expect("mode");
        let path = dir.path().join("artifact.tar.gz");
        let packed = Command::new("tar")
            .arg("-czf")
            .arg(&path)
            .arg("-C")
            .arg(dir.path())
            .arg("top")
            .status();
        assert!(packed.expect("tar").success());
        Self::of(dir, path, ArtifactForm::TarGz)
    }

    /// A program in one file.
    pub(crate) fn program(name: &str, text: &str) -> Self {
        let dir = TempDir::new().expect("directory");
        let path = dir.path().join("program");
        fs::write(&path, text).expect("program");
        Self::of(dir, path, ArtifactForm::File(name.into()))
    }

    fn of(dir: TempDir, path: PathBuf, form: ArtifactForm) -> Self {
        let bytes = fs::read(&path).expect("artifact");
        let sha256 = hex_digest(&bytes);
        let definition = Definition {
            service: "testpage".into(),
            version: "0.8".into(),
            command: vec![],
            activate: Vec::new(),
            reload: Vec::new(),
            ports: Vec::new(),
            slots: None,
            server: None,
            env: BTreeMap::new(),
            driver: Driver::Process,
            user: None,
            stop_signal: StopSignal::Term,
            stop_timeout: Duration::from_secs(10),
            linger: None,
            systemd: Directives::default(),
            shared_dirs: Vec::new(),
            readiness: Readiness {
                check: Check::Tcp,
                port: None,
                via: Via::Direct,
                interval: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
                success_threshold: 1,
                failure_threshold: 3,
                initial_delay: Duration::ZERO,
            },
            liveness: None,
            hooks: Vec::new(),
            migrations: Vec::new(),
            artifact: Artifact {
                form,
                sha256: sha256.clone(),
                size_bytes: bytes.len() as u64,
                strip_components: 1,
            },
            secrets_sha256: None,
        };
        Self {
            id: ReleaseId::from(sha256),
            definition,
            path,
            secrets: None,
            _dir: dir,
        }
    }

    pub(crate) fn with_secrets(mut self, secrets: &str) -> Self {
        self.definition.secrets_sha256 = Some(hex_digest(secrets.as_bytes()));
        self.secrets = Some(secrets.into());
        self
    }
}

pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// This machine's time, in the core's terms.
pub(crate) fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    Time(u64::try_from(since.as_millis()).expect("before the year 500 million"))
}

/// Polls for what another process is about to do.
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes of a session that live.
pub(crate) fn session_members(session: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            let fields: Vec<_> = stat
                .rsplit(") ")
                .next()
                .unwrap_or_default()
                .split(' ')
                .collect();
            fields.get(3) == Some(&session) && fields.first() != Some(&"Z")
        })
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The processes that have something below a directory open, which may be gone.
pub(crate) fn openers(dir: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .map(|process| process.path());
    let opens = |process: &PathBuf| {
        let files = fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|file| file.starts_with(dir))
    };
    processes
        .filter(opens)
        .map(|process| process.display().to_string())
        .collect()
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("file").permissions().mode() & 0o777
}
