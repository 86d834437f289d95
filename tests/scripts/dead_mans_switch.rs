//! What a host brings back by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ship::core::fleet::{Observation, Occupant, Process};
use ship::core::ids::{ActionId, Epoch, InstanceId};
use ship::core::release::{Driver, Liveness, LivenessCheck};
use ship::script::{
    Input, Script, ScriptEnd, StartSpec, StopSpec, claim, disarm, prune, start, stop,
};

use crate::host::{Host, Ran, Release, Shell, mode, openers, session_members, shells, wait_for};
use crate::systemd::{calls, moved};

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(10);

/// A host with a slot in which instance `old` runs, and two releases.
struct Guarded {
    host: Host,
    old: Release,
    new: Release,
}

impl Guarded {
    fn new(shell: Shell) -> Self {
        let guarded = Self {
            host: Host::with(shell),
            old: Release::new("old").with_secrets("TOKEN=\"t\"\n"),
            new: Release::new("new"),
        };
        guarded.host.stage(&guarded.old);
        guarded.host.stage(&guarded.new);
        let mut launch = guarded.host.launch_sh(
            "old",
            &guarded.old,
            "echo up: $(cat index.html) $COLOUR $TOKEN; exec sleep 60",
        );
        launch.env.insert("COLOUR".into(), "deep blue".into());
        guarded.host.start(&launch);
        guarded.host.wait_for_log("up: old deep blue t");
        guarded
    }

    /// The order to stop the old instance, which comes back after so long.
    fn halt(&self, restore_after: Duration) -> Script {
        let halt = StopSpec {
            number: self.host.port,
            instance: InstanceId::from("old"),
            stop_timeout: Duration::from_secs(5),
            hooks: Duration::ZERO,
            restore_after: Some(restore_after),
            may_linger: false,
        };
        stop(&self.host.site, &halt)
    }

    fn start_new(&self) {
        self.host.start(&self.host.launch_sh(
            "new",
            &self.new,
            "echo up: $(cat index.html); exec sleep 60",
        ));
        self.host.wait_for_log("up: new");
    }

    fn disarm(&self) -> Observation {
        self.host.order(&disarm(&self.host.site, self.host.port))
    }

    fn kept(&self) -> PathBuf {
        self.host
            .root()
            .join("armed")
            .join(self.host.port.to_string())
    }

    /// What the timer runs, as it is kept now.
    fn restore(&self) -> Script {
        let text = fs::read_to_string(self.kept().join("restore")).expect("the script");
        Script {
            text,
            input: Input::default(),
            deadline: Duration::from_secs(30),
        }
    }

    /// Lets the time be over for a script that is run by hand.
    fn make_due(&self) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
        fs::write(self.kept().join("due"), format!("{} 0\n", boot.trim())).expect("file");
    }

    /// Lets the time be over now, as if its timer had fired.
    fn fire(&self) -> Ran {
        self.make_due();
        self.end_waiting();
        self.host.run(&self.restore())
    }

    fn end_waiting(&self) {
        for pid in self
            .waiting()
            .iter()
            .flat_map(|waiting| session_members(waiting))
        {
            let _ = Command::new("kill")
                .args(["-KILL", &pid])
                .stderr(Stdio::null())
                .status();
        }
    }

    fn present(&self) -> Option<String> {
        let record = fs::read_to_string(self.host.slot().join("instance")).ok()?;
        record
            .lines()
            .find_map(|line| line.strip_prefix("name="))
            .map(str::to_owned)
    }

    /// Waits until the old instance runs again, and gives the session of its process.
    fn await_old(&self) -> String {
        wait_for("the old instance", || {
            self.host.observe().armed.is_empty() && self.present().is_some()
        });
        let instance = self.host.instance(self.host.observe());
        assert_eq!(
            (instance.name, instance.process),
            (InstanceId::from("old"), Process::Running)
        );
        assert_eq!(instance.release, self.old.id);
        self.host.pid().to_string()
    }

    /// The process that waits for the time to be over.
    fn waiting(&self) -> Option<String> {
        let timer = fs::read_to_string(self.kept().join("timer")).ok()?;
        timer.split(' ').next().map(str::to_owned)
    }

    fn start_by_systemd(&self, name: &str, release: &Release, stop_timeout: Duration) {
        let launch = self.host.launch(name, release);
        let launch = StartSpec {
            driver: Driver::Systemd,
            stop_timeout,
            settle: Duration::ZERO,
            ..launch
        };
        self.host
            .order(&moved(&self.host, start(&self.host.site, &launch)));
    }

    /// An order to stop, on the host of the test's own.
    fn moved_halt(&self, restore_after: Duration) -> Script {
        let script = self.halt(restore_after);
        let dir = self.host.dir.path().join("units");
        let head = String::from_utf8(script.input.head.clone()).expect("text");
        let head = head.replace(
            "UNIT_DIR='/etc/systemd/system'",
            &format!("UNIT_DIR='{}'", dir.display()),
        );
        moved(
            &self.host,
            Script {
                input: Input {
                    head: head.into_bytes(),
                    file: None,
                },
                ..script
            },
        )
    }

    fn unit(&self) -> String {
        fs::read_to_string(
            self.host
                .dir
                .path()
                .join(format!("units/ship-testpage@{}.service", self.host.port)),
        )
        .expect("unit")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end_waiting();
    }
}

#[test]
fn restore_brings_back_an_instance_without_a_successor() {
    for shell in shells() {
        let guarded = Guarded::new(shell);
        let (before, pid) = (
            guarded.host.instance(guarded.host.observe()),
            guarded.host.pid(),
        );
        let began = Instant::now();
        let stopped = guarded.host.order(&guarded.halt(Duration::from_secs(1)));
        assert_eq!(
            (stopped.slots.len(), stopped.armed),
            (0, [guarded.host.port].into()),
            "{shell:?}"
        );
        assert!(session_members(&pid.to_string()).is_empty());
        let waiting = guarded.waiting().expect("a process");
        guarded.await_old();
        assert!(began.elapsed() >= Duration::from_secs(1), "{shell:?}");
        let after = guarded.host.instance(guarded.host.observe());
        assert!(
            after.started >= before.started + Duration::from_secs(1),
            "its age counts from now"
        );
        assert_eq!(
            (after.revision, guarded.host.pid() == pid),
            (before.revision, false)
        );
        // In its own release and with its own environment; a person finds out why.
        guarded.host.wait_for_log("up: old deep blue t");
        guarded.host.wait_for_log("ship: restored old in slot");
        wait_for("the end of the timer", || {
            session_members(&waiting).is_empty()
        });
        assert!(!guarded.kept().exists());
        assert!(
            guarded.host.stop("old").slots.is_empty(),
            "it is an instance like any other"
        );
    }
}

#[test]
fn restore_replaces_an_unconfirmed_successor() {
    for shell in shells() {
        let guarded = Guarded::new(shell);
        guarded.host.order(&guarded.halt(LONG));
        guarded.start_new();
        assert_eq!(guarded.host.observe().armed, [guarded.host.port].into());
        let new = guarded.host.pid().to_string();
        guarded.fire();
        guarded.await_old();
        assert!(session_members(&new).is_empty(), "{shell:?}");
    }
}

#[test]
fn restore_keeps_a_confirmed_successor() {
    for shell in shells() {
        let guarded = Guarded::new(shell);
        guarded.host.order(&guarded.halt(LONG));
        guarded.start_new();
        let (pid, waiting, late) = (
            guarded.host.pid(),
            guarded.waiting().expect("a process"),
            guarded.restore(),
        );
        assert!(!session_members(&waiting).is_empty());
        assert!(guarded.disarm().armed.is_empty(), "{shell:?}");
        assert!(!guarded.kept().exists());
        wait_for("the end of the timer", || {
            session_members(&waiting).is_empty()
        });
        assert!(
            guarded.disarm().armed.is_empty(),
            "twice is as good as once"
        );
        // One that fires for all that.
        let ran = guarded.host.run(&late);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
        assert_eq!(
            (guarded.present().as_deref(), guarded.host.pid()),
            (Some("new"), pid)
        );
    }
}

#[test]
fn restore_runs_despite_a_newer_rollout() {
    let mut guarded = Guarded::new(Shell::Sh);
    guarded.host.order(&guarded.halt(Duration::from_secs(1)));
    guarded.host.site.epoch = Epoch(8);
    guarded.host.order(&claim(&guarded.host.site));
    guarded.await_old();
    assert_eq!(guarded.host.observe().epoch, Epoch(8));
}

#[test]
fn restore_waits_for_the_lock() {
    let guarded = Guarded::new(Shell::Sh);
    guarded.host.order(&guarded.halt(Duration::from_secs(1)));
    let lock = fs::File::open(guarded.host.root().join("lock")).expect("the lock");
    lock.lock().expect("no other thread panics");
    // This test has it open as well.
    wait_for("the timer", || {
        openers(&guarded.host.root().join("lock")).len() > 1
    });
    assert_eq!(guarded.present(), None);
    lock.unlock().expect("ours");
    guarded.await_old();
}

#[test]
fn observer_sees_the_instance_as_armed_or_running() {
    for shell in shells() {
        let guarded = Guarded::new(shell);
        guarded.host.order(&guarded.halt(LONG));
        // It takes its time until it can be seen.
        let run = guarded.kept().join("run");
        let text = fs::read_to_string(&run).expect("how it is run");
        fs::write(&run, format!("sleep 0.5\n{text}")).expect("file");
        guarded.make_due();
        guarded.end_waiting();
        let mut firing = guarded.host.spawn(&guarded.restore());
        loop {
            let over = firing.try_wait().expect("status");
            let seen = guarded.host.observe();
            let runs = seen
                .slots
                .values()
                .any(|slot| matches!(slot, Occupant::Instance(instance) if instance.process == Process::Running));
            assert!(runs || !seen.armed.is_empty(), "{shell:?}: {seen:?}");
            if let Some(status) = over {
                assert!(status.success());
                break;
            }
        }
        guarded.await_old();
    }
}

#[test]
fn fired_twice_it_comes_back_once() {
    let guarded = Guarded::new(Shell::Sh);
    guarded.host.order(&guarded.halt(LONG));
    guarded.make_due();
    guarded.end_waiting();
    let restore = guarded.restore();
    let mut both = [guarded.host.spawn(&restore), guarded.host.spawn(&restore)];
    for one in &mut both {
        assert!(one.wait().expect("status").success());
    }
    let pid = guarded.await_old();
    guarded.host.run(&restore);
    assert_eq!(guarded.host.pid().to_string(), pid);
    assert_eq!(
        fs::read_to_string(guarded.host.slot().join("log"))
            .expect("log")
            .matches("up: old")
            .count(),
        1
    );
}

#[test]
fn disarmed_while_it_fires_it_is_one_or_the_other() {
    for _ in 0..5 {
        let guarded = Guarded::new(Shell::Sh);
        guarded.host.order(&guarded.halt(LONG));
        guarded.start_new();
        guarded.make_due();
        guarded.end_waiting();
        let mut fires = guarded.host.spawn(&guarded.restore());
        assert!(guarded.disarm().armed.is_empty());
        let present = guarded.present().expect("an instance");
        assert!(fires.wait().expect("status").success());
        assert_eq!(
            guarded.present().as_ref(),
            Some(&present),
            "after the answer nothing changes any more"
        );
        let instance = guarded.host.instance(guarded.host.observe());
        assert!(instance.is_running(), "{instance:?}");
    }
}

#[test]
fn restore_ignores_the_timer_of_an_earlier_action() {
    let mut guarded = Guarded::new(Shell::Sh);
    guarded.host.order(&guarded.halt(LONG));
    let earlier = guarded.restore();
    guarded.fire();
    guarded.await_old();
    guarded.host.site.order = ActionId(2);
    guarded.host.order(&guarded.halt(LONG));
    guarded.host.run(&earlier);
    assert_eq!(guarded.present(), None, "it is not due");
    assert_eq!(guarded.host.observe().armed, [guarded.host.port].into());
}

#[test]
fn restore_keeps_an_instance_that_was_not_stopped() {
    for shell in shells() {
        let guarded = Guarded::new(shell);
        let pid = guarded.host.pid();
        let script = guarded.halt(LONG);
        let text = script
            .text
            .replace("\nstop_instance\nfinish", "\nexit 1\nfinish");
        assert_ne!(text, script.text);
        guarded.host.run(&Script { text, ..script });
        assert_eq!(guarded.host.observe().armed, [guarded.host.port].into());
        guarded.fire();
        assert_eq!(
            (guarded.await_old(), guarded.kept().exists()),
            (pid.to_string(), false),
            "{shell:?}"
        );
    }
}

#[test]
fn repeated_stop_arms_again_and_stops_the_instance() {
    let guarded = Guarded::new(Shell::Sh);
    let script = guarded.halt(LONG);
    let text = script
        .text
        .replace("\nstop_instance\nfinish", "\nexit 1\nfinish");
    guarded.host.run(&Script { text, ..script });
    let first = guarded.waiting().expect("a process");
    assert!(guarded.host.order(&guarded.halt(LONG)).slots.is_empty());
    wait_for("the end of the first timer", || {
        session_members(&first).is_empty()
    });
    assert!(!session_members(&guarded.waiting().expect("a process")).is_empty());
    let again = guarded.host.order(&guarded.halt(LONG));
    assert_eq!(
        (again.slots.len(), again.armed.len()),
        (0, 1),
        "nothing is left to be done"
    );
}

#[test]
fn stop_fails_if_the_instance_cannot_be_saved() {
    let guarded = Guarded::new(Shell::Sh);
    let pid = guarded.host.pid();
    guarded
        .host
        .fake("cp", "echo 'cp: No space left on device' >&2; exit 1");
    let refused = guarded.host.run(&guarded.halt(LONG));
    assert_eq!(
        refused.failure(),
        "cannot save the instance: cp: No space left on device"
    );
    let cut = guarded.host.run_with(&guarded.halt(LONG), b"ROOT=\n");
    assert_eq!(
        cut.failure(),
        "the restore script did not arrive completely, or cannot be written"
    );
    let observation = cut.reply().observation;
    assert!(observation.armed.is_empty());
    assert!(guarded.host.instance(observation).is_running());
    assert_eq!(guarded.host.pid(), pid);
    assert_eq!(
        fs::read_dir(guarded.host.root().join("tmp"))
            .expect("tmp")
            .count(),
        0
    );
}

#[test]
fn saved_files_are_private_and_their_release_is_not_pruned() {
    let guarded = Guarded::new(Shell::Sh);
    guarded.host.order(&guarded.halt(LONG));
    assert_eq!(
        (mode(&guarded.kept()), mode(&guarded.kept().join("env"))),
        (0o700, 0o600)
    );
    let old = [guarded.old.id.clone()].into();
    let kept = guarded.host.ask(&prune(&guarded.host.site, &old));
    assert_eq!(
        kept.end,
        ScriptEnd::Failed(format!(
            "not removed, because it is in use: {}",
            guarded.old.id
        ))
    );
    assert_eq!(kept.observation.releases.len(), 2);
    guarded.disarm();
    assert_eq!(
        guarded
            .host
            .order(&prune(&guarded.host.site, &old))
            .releases,
        [guarded.new.id.clone()].into()
    );
}

#[test]
fn disarm_rejects_an_older_action() {
    let mut guarded = Guarded::new(Shell::Sh);
    guarded.host.order(&guarded.halt(LONG));
    let late = disarm(&guarded.host.site, guarded.host.port);
    guarded.host.site.epoch = Epoch(8);
    guarded.host.order(&claim(&guarded.host.site));
    let refused = guarded.host.ask(&late);
    assert_eq!(
        (refused.end, refused.observation.armed.len()),
        (ScriptEnd::Fenced { seen: Epoch(8) }, 1)
    );
}

#[test]
fn restore_starts_the_instance_as_its_user() {
    let id = Command::new("id").arg("-u").output().expect("id");
    if id.stdout != b"0\n" || Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("not run: becoming another user takes root and setpriv");
        return;
    }
    let guarded = Guarded::new(Shell::Sh);
    fs::set_permissions(guarded.host.dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    guarded.host.stop("old");
    let launch = StartSpec {
        user: Some("nobody".into()),
        ..guarded.host.launch_sh("old", &guarded.old, "exec sleep 60")
    };
    guarded.host.start(&launch);
    guarded.host.order(&guarded.halt(LONG));
    guarded.fire();
    let pid = guarded.await_old();
    wait_for("the service", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
        status.contains("\nUid:\t65534\t65534\t65534\t65534\n")
    });
}

/// A host on which systemd seems to run: its commands are recorded.
fn with_systemd(shell: Shell) -> Guarded {
    let guarded = Guarded {
        host: Host::with(shell),
        old: Release::new("old"),
        new: Release::new("new"),
    };
    let host = &guarded.host;
    host.stage(&guarded.old);
    host.stage(&guarded.new);
    fs::create_dir(host.dir.path().join("units")).expect("directory");
    host.fake("useradd", "");
    let calls = host.dir.path().join("calls");
    let shown = format!(
        "Id=ship-testpage@{}.service\\nNRestarts=0\\nControlGroup=\\nMainPID={}",
        host.port,
        std::process::id()
    );
    let text = format!(
        "echo \"$*\" >>'{0}'\ncase \"$*\" in show*) printf '{shown}\\n' ;; *is-active*) [ -e \
         '{0}.active' ] ;; esac",
        calls.display()
    );
    host.fake("systemctl", &text);
    host.fake(
        "systemd-run",
        &format!(
            "echo \"run $*\" >>'{0}'; [ ! -e '{0}.refuse' ] || {{ echo no; exit 1; }}",
            calls.display()
        ),
    );
    guarded.start_by_systemd("old", &guarded.old, Duration::from_secs(10));
    guarded
}

#[test]
fn systemd_timer_is_set_before_the_stop_and_after_a_boot() {
    for shell in shells() {
        let guarded = with_systemd(shell);
        let (host, port) = (&guarded.host, guarded.host.port);
        let (unit, restore) = (
            format!("ship-testpage@{port}.service"),
            format!("ship-testpage.restore@{port}"),
        );
        let enabled = host
            .dir
            .path()
            .join("units/multi-user.target.wants")
            .join(format!("{restore}.service"));
        let since = calls(host).len();
        host.order(&guarded.moved_halt(Duration::from_millis(69_001)));
        let expected = [
            "daemon-reload".to_owned(),
            format!(
                "run --quiet --no-ask-password --unit={restore}.service --on-active=70 \
                 --timer-property=AccuracySec=100ms"
            ),
            format!("--no-ask-password stop {unit}"),
        ];
        assert_eq!(calls(host)[since..], expected, "{shell:?}");
        assert!(enabled.exists(), "{shell:?}");

        // Its successor has other units.
        let old_unit = guarded.unit();
        guarded.start_by_systemd("new", &guarded.new, Duration::from_secs(99));
        assert_ne!(guarded.unit(), old_unit);
        let since = calls(host).len();
        let printed = guarded.fire().stdout;
        assert_eq!(
            printed,
            format!("restored old in slot {port}: its successor was not confirmed in time\n")
        );
        // The successor is stopped with the settings of its own unit.
        let expected = [
            format!("--no-ask-password stop {unit}"),
            "daemon-reload".to_owned(),
            format!("--no-ask-password start {unit}"),
            format!("--no-ask-password stop {restore}.timer"),
        ];
        assert_eq!(calls(host)[since..], expected, "{shell:?}");
        assert_eq!(
            (guarded.present().as_deref(), guarded.unit()),
            (Some("old"), old_unit)
        );
        assert!(host.slot().join("release/app/index.html").exists());
        assert_eq!(
            fs::read_to_string(host.slot().join("release/app/index.html")).expect("page"),
            "old"
        );
        assert!(fs::symlink_metadata(&enabled).is_err() && !guarded.kept().exists());

        // The second time systemd knows the unit already.
        let since = calls(host).len();
        host.order(&guarded.moved_halt(LONG));
        assert!(calls(host)[since].starts_with("run "), "{shell:?}");
        let since = calls(host).len();
        host.order(&moved(host, disarm(&host.site, port)));
        assert_eq!(
            calls(host)[since..],
            [format!("--no-ask-password stop {restore}.timer")]
        );
        assert!(fs::symlink_metadata(&enabled).is_err() && !guarded.kept().exists());
    }
}

#[test]
fn restore_gives_the_slot_its_own_unit_where_the_instance_ran_from_a_template() {
    let guarded = with_systemd(Shell::Sh);
    let (host, units) = (&guarded.host, guarded.host.dir.path().join("units"));
    let own = units.join(format!("ship-testpage@{}.service", host.port));
    // As an earlier version of ship left it.
    let template = guarded.unit().replace(&host.port.to_string(), "%i");
    fs::rename(&own, units.join("ship-testpage@.service")).expect("units");
    fs::write(units.join("ship-testpage@.service"), &template).expect("units");
    host.order(&guarded.moved_halt(LONG));
    guarded.start_by_systemd("new", &guarded.new, Duration::from_secs(99));
    assert!(
        !units.join("ship-testpage@.service").exists(),
        "no instance runs from it any more"
    );
    guarded.fire();
    assert_eq!(
        (guarded.present().as_deref(), guarded.unit()),
        (Some("old"), template)
    );
}

#[test]
fn restore_runs_at_host_start_unless_the_successor_is_running() {
    let guarded = with_systemd(Shell::Sh);
    let host = &guarded.host;
    let restart =
        || fs::write(guarded.kept().join("due"), "another-boot 99999999999\n").expect("file");
    host.order(&guarded.moved_halt(LONG));
    guarded.start_by_systemd("new", &guarded.new, Duration::from_secs(10));
    restart();
    let since = calls(host).len();
    assert_eq!(host.run(&guarded.restore()).stdout, "");
    assert!(
        calls(host)[since].starts_with("run ") && calls(host).len() == since + 1,
        "the time starts again"
    );
    assert_eq!(guarded.present().as_deref(), Some("new"));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
    assert!(
        fs::read_to_string(guarded.kept().join("due"))
            .expect("file")
            .starts_with(boot.trim())
    );

    host.order(&moved(host, host.halt("new", Duration::from_secs(1))));
    restart();
    assert!(
        host.run(&guarded.restore())
            .stdout
            .starts_with("restored old in slot")
    );
    assert_eq!(guarded.present().as_deref(), Some("old"));

    // An order that died before it stopped anything.
    let script = guarded.moved_halt(LONG);
    let text = script
        .text
        .replace("\nstop_instance\nfinish", "\nexit 1\nfinish");
    host.run(&Script { text, ..script });
    restart();
    fs::write(host.dir.path().join("calls.active"), "").expect("file");
    assert_eq!(host.run(&guarded.restore()).stdout, "");
    assert_eq!(
        (guarded.present().as_deref(), guarded.kept().exists()),
        (Some("old"), false)
    );
}

#[test]
fn without_a_timer_nothing_is_stopped() {
    let guarded = with_systemd(Shell::Sh);
    fs::write(guarded.host.dir.path().join("calls.refuse"), "").expect("file");
    let refused = guarded.host.run(&guarded.moved_halt(LONG));
    assert_eq!(
        refused.failure(),
        "cannot set the timer that restores the instance: no"
    );
    assert!(refused.reply().observation.armed.is_empty());
    assert_eq!(guarded.present().as_deref(), Some("old"));
    assert!(
        calls(&guarded.host)
            .iter()
            .all(|call| !call.contains("stop ship-testpage@"))
    );
}

#[test]
fn restore_includes_the_liveness_probe() {
    for shell in shells() {
        let guarded = with_systemd(shell);
        let (host, timer) = (
            &guarded.host,
            format!("ship-testpage.liveness@{}.timer", guarded.host.port),
        );
        let units = host.dir.path().join("units");
        host.order(&moved(host, host.halt("old", Duration::from_secs(1))));
        let launch = StartSpec {
            driver: Driver::Systemd,
            settle: Duration::ZERO,
            ..host.launch("old", &guarded.old)
        };
        let second = Duration::from_secs(1);
        let check = LivenessCheck::Command(vec!["true".into()]);
        let liveness = Liveness {
            check,
            port: None,
            interval: second,
            timeout: second,
            failure_threshold: 1,
            initial_delay: second,
            host_header: None,
        };
        host.order(&moved(
            host,
            start(
                &host.site,
                &StartSpec {
                    liveness: Some(liveness),
                    ..launch
                },
            ),
        ));
        let read = |name: &str| fs::read_to_string(host.slot().join(name)).expect("a file");
        let (question, text) = (
            read("liveness"),
            fs::read_to_string(units.join(&timer)).expect("timer"),
        );

        host.order(&guarded.moved_halt(LONG));
        guarded.start_by_systemd("new", &guarded.new, Duration::from_secs(10));
        assert!(!units.join(&timer).exists());
        let since = calls(host).len();
        guarded.fire();
        assert_eq!(read("liveness"), question, "{shell:?}");
        assert_eq!(fs::read_to_string(units.join(&timer)).expect("timer"), text);
        assert!(units.join("timers.target.wants").join(&timer).exists());
        let started = format!(
            "--no-ask-password start {timer} ship-testpage@{}.service",
            host.port
        );
        assert!(calls(host)[since..].contains(&started), "{shell:?}");
    }
}
