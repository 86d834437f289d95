//! The driver `link`: the switch of `current`, `activate`, and what a host reports of them.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ship::core::fleet::{Instance, Listener, Process};
use ship::core::ids::InstanceId;
use ship::core::release::Driver;
use ship::core::release::hook::{Hook, HookPoint, HookSite};
use ship::script::{Input, Script, ScriptEnd, StartSpec, StopSpec, prune, start, stop};

use crate::host::{Host, Release, Shell, session_members, shells};

/// A host with a service that a server serves, and two releases.
struct Linked {
    host: Host,
    old: Release,
    new: Release,
}

impl Linked {
    fn new(shell: Shell) -> Self {
        let mut host = Host::with(shell);
        host.site.slots = [(host.port, Vec::new())].into();
        let linked = Self {
            host,
            old: Release::new("old"),
            new: Release::new("new"),
        };
        linked.host.stage(&linked.old);
        linked.host.stage(&linked.new);
        linked
    }

    /// What starts an instance of a release, with this script as `activate`.
    fn launch(&self, name: &str, release: &Release, activate: &str) -> StartSpec {
        let activate = if activate.is_empty() {
            Vec::new()
        } else {
            ["sh", "-c", activate].map(String::from).to_vec()
        };
        let mut launch = StartSpec {
            driver: Driver::Link,
            argv: Vec::new(),
            activate,
            ..self.host.launch(name, release)
        };
        let version = ("SHIP_VERSION".to_owned(), name.to_owned());
        launch.hooks.env.insert(version.0, version.1);
        launch
    }

    fn start(&self, name: &str, release: &Release) -> Instance {
        let log = "echo $SHIP_VERSION $(cat index.html) $(cat ../../../current/index.html) >>../../../log";
        self.host.start(&self.launch(name, release, log))
    }

    /// The order to stop instance `old`, which the host restores.
    fn armed_stop(&self) -> Script {
        let spec = StopSpec {
            number: self.host.port,
            instance: InstanceId::from("old"),
            stop_timeout: Duration::ZERO,
            hooks: Duration::ZERO,
            restore_after: Some(Duration::from_mins(10)),
            may_linger: false,
        };
        stop(&self.host.site, &spec)
    }

    /// Runs the script of the dead-man switch as if its timer had fired.
    fn fire(&self) {
        let dir = self.host.root().join("armed");
        let dir = dir.join(self.host.port.to_string());
        let timer = fs::read_to_string(dir.join("timer")).expect("the timer");
        let session = timer.split(' ').next().expect("a process");
        for pid in session_members(session) {
            let _ = Command::new("kill")
                .args(["-KILL", &pid])
                .stderr(Stdio::null())
                .status();
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
        fs::write(dir.join("due"), format!("{} 0\n", boot.trim())).expect("file");
        self.restore();
    }

    /// Runs the script of the dead-man switch.
    fn restore(&self) {
        let dir = self.host.root().join("armed");
        let dir = dir.join(self.host.port.to_string());
        let restore = Script {
            text: fs::read_to_string(dir.join("restore")).expect("the script"),
            input: Input::default(),
            deadline: Duration::from_secs(30),
        };
        let ran = self.host.run(&restore);
        assert_eq!(ran.stderr, "", "{ran:?}");
    }

    /// The page that a server finds.
    fn page(&self) -> Option<String> {
        fs::read_to_string(self.host.root().join("current/index.html")).ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.host.root().join("log")).unwrap_or_default()
    }

    fn observed(&self) -> Instance {
        self.host.instance(self.host.observe())
    }
}

#[test]
fn start_switches_current_and_then_activates() {
    for shell in shells() {
        let linked = Linked::new(shell);
        let first = linked.start("old", &linked.old);
        assert_eq!(first.process, Process::Running, "{shell:?}");
        let link = fs::read_link(linked.host.root().join("current")).expect("a link");
        assert_eq!(
            link,
            Path::new(&format!("releases/{}/app", linked.old.id)),
            "a relative link"
        );
        let stopped = linked.host.stop("old");
        assert!(stopped.slots.is_empty(), "{shell:?}");
        assert_eq!(linked.page().as_deref(), Some("old"), "still served");
        linked.start("new", &linked.new);
        assert_eq!(linked.page().as_deref(), Some("new"));
        assert_eq!(linked.log(), "old old old\nnew new new\n", "{shell:?}");
        // The same command once more.
        linked.start("new", &linked.new);
        assert_eq!(linked.log().lines().count(), 2, "{shell:?}");
        assert!(!linked.host.root().join("current.new").exists());
    }
}

#[test]
fn start_without_activate_only_switches() {
    let linked = Linked::new(Shell::Sh);
    let launch = linked.launch("old", &linked.old, "");
    assert_eq!(linked.host.start(&launch).process, Process::Running);
    assert_eq!(linked.page().as_deref(), Some("old"));
}

#[test]
fn failed_activate_switches_back() {
    for shell in shells() {
        let linked = Linked::new(shell);
        linked.start("old", &linked.old);
        linked.host.stop("old");
        let fails = "cat ../../../current/index.html >>../../../log; echo; echo bad configuration >&2; exit 3";
        let launch = linked.launch("new", &linked.new, fails);
        let ran = linked.host.run(&start(&linked.host.site, &launch));
        let why = ran.failure();
        assert!(
            why.starts_with("activate (sh -c cat ") && why.contains("exited with status 3: bad configuration; current was switched back, but activate"),
            "{shell:?}: {why}"
        );
        assert_eq!(linked.page().as_deref(), Some("old"), "{shell:?}");
        assert_eq!(linked.log(), "old old old\nnewold", "{shell:?}");
        assert!(ran.reply().observation.slots.is_empty(), "{shell:?}");
        assert_eq!(
            fs::read_dir(linked.host.slot()).expect("the slot").count(),
            0,
            "{shell:?}: the slot is empty"
        );
    }
}

#[test]
fn failed_hook_after_the_switch_switches_back() {
    for shell in shells() {
        let linked = Linked::new(shell);
        linked.start("old", &linked.old);
        linked.host.stop("old");
        let log = "cat ../../../current/index.html >>../../../log; echo >>../../../log";
        let mut launch = linked.launch("new", &linked.new, log);
        launch.hooks.hooks = vec![Hook {
            on: HookPoint::AfterStart,
            at: HookSite::Host,
            command: ["sh", "-c", "echo no; exit 4"].map(String::from).to_vec(),
            timeout: Duration::from_secs(10),
        }];
        let ran = linked.host.run(&start(&linked.host.site, &launch));
        assert_eq!(
            ran.failure(),
            "the after_start hook exited with status 4: no; current was switched back; the \
             instance was stopped again",
            "{shell:?}"
        );
        assert_eq!(linked.page().as_deref(), Some("old"), "{shell:?}");
        assert_eq!(linked.log(), "old old old\nnew\nold\n", "{shell:?}");
        assert!(ran.reply().observation.slots.is_empty(), "{shell:?}");
    }
}

#[test]
fn failed_first_activate_removes_current() {
    let linked = Linked::new(Shell::Sh);
    let launch = linked.launch("new", &linked.new, "exit 1");
    linked
        .host
        .run(&start(&linked.host.site, &launch))
        .failure();
    assert_eq!(linked.page(), None);
    assert!(
        linked
            .host
            .root()
            .join("current")
            .symlink_metadata()
            .is_err()
    );
}

#[test]
fn activate_has_a_deadline() {
    let linked = Linked::new(Shell::Sh);
    let launch = linked.launch("new", &linked.new, "sleep 60");
    let mut script = start(&linked.host.site, &launch);
    script.text = script.text.replace("ACTIVATE_S='60'", "ACTIVATE_S='1'");
    let why = linked.host.run(&script).failure();
    assert!(why.contains("did not finish within 1 s"), "{why}");
}

#[test]
fn directory_at_current_is_not_replaced() {
    let linked = Linked::new(Shell::Sh);
    let current = linked.host.root().join("current");
    fs::create_dir(&current).expect("directory");
    fs::write(current.join("index.html"), "mine").expect("file");
    let launch = linked.launch("new", &linked.new, "");
    let why = linked
        .host
        .run(&start(&linked.host.site, &launch))
        .failure();
    assert!(why.contains("cannot switch"), "{why}");
    assert_eq!(linked.page().as_deref(), Some("mine"));
}

#[test]
fn instance_has_ended_if_current_leads_elsewhere() {
    for shell in shells() {
        let linked = Linked::new(shell);
        linked.start("old", &linked.old);
        let current = linked.host.root().join("current");
        let ended = |how: &str| {
            let how = how.to_owned();
            assert_eq!(
                linked.observed().process,
                Process::Ended { how },
                "{shell:?}"
            );
        };
        fs::remove_file(&current).expect("a link");
        ended("current is missing");
        symlink("../a\nb", &current).expect("link");
        ended("current points to ../a b");
        fs::remove_file(&current).expect("a link");
        fs::create_dir(&current).expect("directory");
        ended("current is not a link");
    }
}

#[test]
fn instance_outlives_a_restart_of_the_host() {
    let linked = Linked::new(Shell::Sh);
    linked.start("old", &linked.old);
    let record = linked.host.slot().join("instance");
    let text = fs::read_to_string(&record).expect("the record");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
    fs::write(&record, text.replace(boot.trim(), "another")).expect("file");
    assert_eq!(linked.observed().process, Process::Running);
}

#[test]
fn server_on_the_port_is_neither_an_obstacle_nor_the_instance() {
    for shell in shells() {
        let linked = Linked::new(shell);
        let address = (linked.host.site.host_address.as_str(), linked.host.port);
        let _server = TcpListener::bind(address).expect("the port");
        assert!(linked.host.observe().slots.is_empty(), "{shell:?}");
        let instance = linked.start("old", &linked.old);
        assert_eq!(
            *instance.listener(linked.host.port),
            Listener::Server {
                address: linked.host.site.host_address.clone()
            },
            "{shell:?}"
        );
        assert!(!instance.listens(), "probes alone do not confirm it");
    }
}

#[test]
fn dead_mans_switch_switches_back() {
    for shell in shells() {
        let linked = Linked::new(shell);
        linked.start("old", &linked.old);
        // The successor was never started, or was not confirmed.
        for successor in [None, Some(&linked.new)] {
            let stopped = linked.host.order(&linked.armed_stop());
            assert_eq!(stopped.armed, [linked.host.port].into(), "{shell:?}");
            if let Some(release) = successor {
                linked.start("new", release);
                assert_eq!(linked.page().as_deref(), Some("new"));
            }
            linked.fire();
            let instance = linked.observed();
            assert_eq!(
                (instance.name, instance.process),
                (InstanceId::from("old"), Process::Running),
                "{shell:?}"
            );
            assert_eq!(linked.page().as_deref(), Some("old"), "{shell:?}");
            assert!(linked.host.observe().armed.is_empty(), "{shell:?}");
        }
        let activated = "old old old\nold old old\nnew new new\nold old old\n";
        assert_eq!(linked.log(), activated, "{shell:?}");
    }
}

#[test]
fn dead_mans_switch_stays_armed_until_activate_succeeds() {
    let linked = Linked::new(Shell::Sh);
    let fragile = linked.launch("old", &linked.old, "[ ! -e ../../../broken ]");
    linked.host.start(&fragile);
    linked.host.order(&linked.armed_stop());
    linked.start("new", &linked.new);
    let broken = linked.host.root().join("broken");
    fs::write(&broken, "").expect("file");
    linked.fire();
    assert_eq!(
        linked.page().as_deref(),
        Some("old"),
        "the old files at least"
    );
    let observed = linked.host.observe();
    assert_eq!(
        (observed.slots.len(), observed.armed),
        (0, [linked.host.port].into())
    );
    fs::remove_file(&broken).expect("file");
    linked.restore();
    assert_eq!(linked.observed().name, InstanceId::from("old"));
    assert!(linked.host.observe().armed.is_empty());
}

#[test]
fn prune_keeps_the_files_that_are_served() {
    let linked = Linked::new(Shell::Sh);
    linked.start("old", &linked.old);
    linked.host.stop("old");
    let all = [linked.old.id.clone(), linked.new.id.clone()].into();
    let reply = linked.host.ask(&prune(&linked.host.site, &all));
    let kept = format!("not removed, because it is in use: {}", linked.old.id);
    assert_eq!(reply.end, ScriptEnd::Failed(kept));
    assert_eq!(reply.observation.releases, [linked.old.id.clone()].into());
}
