//! The user's commands at the points of an instance's life.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use ship::core::fleet::{Observation, Process};
use ship::core::ids::InstanceId;
use ship::core::release::hook::{CommandEnd, Hook, HookPoint, HookSite, hook_time};
use ship::script::{Script, ScriptEnd, SlotHooks, StartSpec, StopSpec, start, stop};

use crate::host::{Host, Release, Shell, session_members, shells, wait_for};

const MINUTE: Duration = Duration::from_mins(1);
const STOPS: [HookPoint; 2] = [HookPoint::BeforeStop, HookPoint::AfterStop];

/// Hooks that are shell scripts, each with a minute.
fn hooks(scripts: &[(HookPoint, &str)]) -> SlotHooks {
    let hook = |(on, script): &(HookPoint, &str)| Hook {
        on: *on,
        at: HookSite::Host,
        command: ["sh", "-c", script].map(String::from).to_vec(),
        timeout: MINUTE,
    };
    let env = [("SHIP_VERSION".to_owned(), "0.8 \"it's\"".to_owned())].into();
    SlotHooks {
        hooks: scripts.iter().map(hook).collect(),
        env,
    }
}

/// The service, which runs for a minute, with hooks.
fn launch(host: &Host, release: &Release, name: &str, hooks: SlotHooks) -> StartSpec {
    let serve = "trap 'echo ended >>../../../reported; exit' TERM; echo begun >>../../../reported; sleep 60 & wait";
    let mut launch = host.launch_sh(name, release, serve);
    launch.hooks = hooks;
    launch.env.insert("COLOUR".into(), "deep blue".into());
    launch
}

/// Ends the instance; its hooks have all the time that they ask for.
fn halt(host: &Host, name: &str, hooks: &SlotHooks) -> Script {
    let instance = InstanceId::from(name);
    let (stop_timeout, hooks) = (Duration::from_secs(10), hook_time(&hooks.hooks, &STOPS));
    stop(
        &host.site,
        &StopSpec {
            number: host.port,
            instance,
            stop_timeout,
            hooks,
            restore_after: None,
            may_linger: false,
        },
    )
}

/// What the service and its hooks have written down, line by line.
fn reported(host: &Host) -> Vec<String> {
    let reported = fs::read_to_string(host.root().join("reported")).unwrap_or_default();
    reported.lines().map(str::to_owned).collect()
}

fn ran(observation: &Observation) -> Vec<(HookPoint, CommandEnd)> {
    observation
        .hooks
        .iter()
        .map(|hook| (hook.on, hook.run.end))
        .collect()
}

/// A script that writes down its point, and more.
const TELL: &str = "echo $SHIP_HOOK >>../../../reported";

fn four() -> SlotHooks {
    let points = [
        HookPoint::BeforeStart,
        HookPoint::AfterStart,
        HookPoint::BeforeStop,
        HookPoint::AfterStop,
    ];
    hooks(&points.map(|point| (point, TELL)))
}

#[test]
fn hooks_run_in_order_under_every_shell() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let launch = launch(&host, &release, "a", four());
        let started = host.order(&start(&host.site, &launch));
        let done = CommandEnd::Exit(0);
        assert_eq!(
            ran(&started),
            [
                (HookPoint::BeforeStart, done),
                (HookPoint::AfterStart, done)
            ],
            "{shell:?}"
        );
        let again = host.order(&start(&host.site, &launch));
        assert_eq!(ran(&again), [], "given twice, it runs them once: {shell:?}");
        let stopped = host.order(&halt(&host, "a", &launch.hooks));
        assert_eq!(
            ran(&stopped),
            [(HookPoint::BeforeStop, done), (HookPoint::AfterStop, done)],
            "{shell:?}"
        );
        let order = [
            "before_start",
            "begun",
            "after_start",
            "before_stop",
            "ended",
            "after_stop",
        ];
        assert_eq!(reported(&host), order, "{shell:?}");
        assert!(stopped.slots.is_empty());
        let left: Vec<_> = fs::read_dir(host.slot())
            .expect("slot")
            .map(|it| it.expect("entry").file_name())
            .collect();
        assert_eq!(left, ["log"], "{shell:?}");
        assert_eq!(
            fs::read_dir(host.root().join("tmp")).expect("tmp").count(),
            0,
            "{shell:?}"
        );
    }
}

#[test]
fn hook_has_the_environment_of_its_instance_and_its_output_is_reported() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello").with_secrets("TOKEN=\"t\"\n");
        host.stage(&release);
        let script = "cat index.html; echo; echo \"$COLOUR, $TOKEN, $SHIP_VERSION\" >&2; cat; \
                      printf 'red\\033[31m \\n\\nlast'";
        let started = host.order(&start(
            &host.site,
            &launch(
                &host,
                &release,
                "a",
                hooks(&[(HookPoint::BeforeStart, script)]),
            ),
        ));
        let printed = [
            "hello",
            "deep blue, t, 0.8 \"it's\"",
            "red[31m ",
            "",
            "last",
        ];
        assert_eq!(started.hooks[0].run.output, printed, "{shell:?}");
    }
}

#[test]
fn hook_report_has_the_end_of_long_output() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let script = "i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); echo \"line $i\"; done";
        let started = host.order(&start(
            &host.site,
            &launch(
                &host,
                &release,
                "a",
                hooks(&[(HookPoint::BeforeStart, script)]),
            ),
        ));
        let printed = &started.hooks[0].run.output;
        assert_eq!(
            (printed.len(), printed[0].as_str(), printed[49].as_str()),
            (50, "line 29951", "line 30000"),
            "{shell:?}"
        );
    }
}

#[test]
fn failed_before_start_hook_leaves_an_empty_slot() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let scripts = [
            (
                HookPoint::BeforeStart,
                "echo one; echo 'no database'; echo; exit 3",
            ),
            (HookPoint::BeforeStart, TELL),
            (HookPoint::AfterStart, TELL),
            (HookPoint::AfterStop, TELL),
        ];
        let failed = host.run(&start(
            &host.site,
            &launch(&host, &release, "a", hooks(&scripts)),
        ));
        assert_eq!(
            failed.failure(),
            "the before_start hook exited with status 3: no database",
            "{shell:?}"
        );
        let observation = failed.reply().observation;
        assert_eq!(
            ran(&observation),
            [(HookPoint::BeforeStart, CommandEnd::Exit(3))],
            "{shell:?}"
        );
        assert_eq!(observation.hooks[0].run.output, ["one", "no database", ""]);
        assert!(
            observation.slots.is_empty() && reported(&host).is_empty(),
            "{shell:?}"
        );
        assert_eq!(
            fs::read_dir(host.slot()).expect("slot").count(),
            0,
            "{shell:?}"
        );
        host.order(&start(&host.site, &launch(&host, &release, "b", four())));
        assert_eq!(
            reported(&host),
            ["before_start", "begun", "after_start"],
            "the next one is not in its way"
        );
    }
}

#[test]
fn failed_after_start_hook_stops_the_instance() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let scripts = [
            (HookPoint::AfterStart, "echo 'too cold'; kill -9 $$"),
            (HookPoint::BeforeStop, TELL),
            (HookPoint::AfterStop, TELL),
        ];
        let failed = host.run(&start(
            &host.site,
            &launch(&host, &release, "a", hooks(&scripts)),
        ));
        let why =
            "the after_start hook exited with status 137: too cold; the instance was stopped again";
        assert_eq!(failed.failure(), why, "{shell:?}");
        assert_eq!(failed.stderr, "", "{shell:?}");
        let observation = failed.reply().observation;
        let [end, done] = [CommandEnd::Signal(9), CommandEnd::Exit(0)];
        let all = [
            (HookPoint::AfterStart, end),
            (HookPoint::BeforeStop, done),
            (HookPoint::AfterStop, done),
        ];
        assert_eq!(ran(&observation), all, "{shell:?}");
        assert!(observation.slots.is_empty(), "{shell:?}");
        assert_eq!(
            reported(&host),
            ["begun", "before_stop", "ended", "after_stop"],
            "{shell:?}"
        );
    }
}

#[test]
fn hanging_stop_hook_is_killed_and_the_stop_continues() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let hang =
            "echo $$ >../../../hanging; trap '' TERM; echo waiting; sleep 50 & sleep 50; sleep 50";
        let mut hooks = hooks(&[(HookPoint::BeforeStop, hang), (HookPoint::AfterStop, TELL)]);
        hooks.hooks[0].timeout = Duration::from_secs(1);
        host.order(&start(
            &host.site,
            &launch(&host, &release, "a", hooks.clone()),
        ));
        let before = Instant::now();
        let stopped = host.order(&halt(&host, "a", &hooks));
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(10)).contains(&before.elapsed()),
            "{:?}",
            before.elapsed()
        );
        assert_eq!(
            ran(&stopped),
            [
                (HookPoint::BeforeStop, CommandEnd::TimedOut),
                (HookPoint::AfterStop, CommandEnd::Exit(0))
            ]
        );
        assert_eq!(stopped.hooks[0].run.output, ["waiting"], "{shell:?}");
        assert_eq!(
            reported(&host),
            ["begun", "ended", "after_stop"],
            "{shell:?}"
        );
        let pid = fs::read_to_string(host.root().join("hanging")).expect("pid");
        assert!(!lives(pid.trim()), "{shell:?}");
    }
}

#[test]
fn failed_stop_hook_is_reported_and_the_stop_continues() {
    let (host, release) = Host::with_release();
    let scripts = [
        (HookPoint::BeforeStop, "echo no; exit 3"),
        (HookPoint::BeforeStop, TELL),
        (HookPoint::AfterStop, "exit 4"),
    ];
    let hooks = hooks(&scripts);
    host.order(&start(
        &host.site,
        &launch(&host, &release, "a", hooks.clone()),
    ));
    let stopped = host.order(&halt(&host, "a", &hooks));
    let [three, done, four] = [3, 0, 4].map(CommandEnd::Exit);
    let all = [
        (HookPoint::BeforeStop, three),
        (HookPoint::BeforeStop, done),
        (HookPoint::AfterStop, four),
    ];
    assert_eq!(ran(&stopped), all);
    assert!(stopped.slots.is_empty());
    assert_eq!(reported(&host), ["begun", "before_stop", "ended"]);
}

#[test]
fn stop_skips_hooks_without_time_left() {
    let (host, release) = Host::with_release();
    host.order(&start(&host.site, &launch(&host, &release, "a", four())));
    let stopped = host.stop("a");
    assert_eq!(
        ran(&stopped),
        STOPS.map(|point| (point, CommandEnd::NotRun))
    );
    assert_eq!(
        reported(&host),
        ["before_start", "begun", "after_start", "ended"]
    );
}

#[test]
fn hook_children_are_killed_and_detached_ones_are_reported() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let leaves = "sleep 50 & echo $! >../../../left; setsid sh -c 'echo $$ >../../../gone; \
                      exec sleep 50' & \
                      while [ ! -s ../../../gone ]; do sleep 0.01; done; echo printed";
        let hooks = hooks(&[(HookPoint::BeforeStart, leaves)]);
        let before = Instant::now();
        let started = host.order(&start(&host.site, &launch(&host, &release, "a", hooks)));
        assert!(before.elapsed() < Duration::from_secs(20));
        assert_eq!(
            ran(&started),
            [(HookPoint::BeforeStart, CommandEnd::Exit(0))],
            "{shell:?}"
        );
        let output = &started.hooks[0].run.output;
        assert!(output[0].contains("still holds it open"), "{shell:?}");
        let pid = |file: &str| {
            fs::read_to_string(host.root().join(file))
                .expect("pid")
                .trim()
                .to_owned()
        };
        let expected = format!(
            "still running after the command: sleep (pid {})",
            pid("gone")
        );
        assert_eq!(output[1..], [expected], "{shell:?}");
        assert!(!lives(&pid("left")), "{shell:?}");
        assert!(lives(&pid("gone")), "{shell:?}");
        let _ = Command::new("kill").args(["-KILL", &pid("gone")]).status();
    }
}

/// Whether a process lives.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn hook_ends_with_its_script() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let hang = "echo $$ >../../../hanging; trap '' TERM HUP INT; sleep 50; sleep 50";
        let script = start(
            &host.site,
            &launch(
                &host,
                &release,
                "a",
                hooks(&[(HookPoint::BeforeStart, hang)]),
            ),
        );
        let mut child = host.spawn(&script);
        let mut stdin = child.stdin.take().expect("stdin");
        std::io::Write::write_all(&mut stdin, &script.input.head).expect("input");
        let file = host.root().join("hanging");
        wait_for("the hook", || {
            fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n'))
        });
        let pid = fs::read_to_string(&file).expect("pid").trim().to_owned();
        child.kill().expect("kill");
        child.wait().expect("wait");
        wait_for("its end", || !lives(&pid));
        assert!(host.observe().slots.is_empty(), "{shell:?}");
    }
}

#[test]
fn hooks_do_not_run_again_after_an_interrupted_script() {
    let (host, release) = Host::with_release();
    fs::create_dir_all(host.slot()).expect("slot");
    fs::write(host.slot().join("hooked"), "a before_start\n").expect("file");
    host.order(&start(&host.site, &launch(&host, &release, "a", four())));
    assert_eq!(reported(&host), ["begun", "after_start"]);
    // It died after the start.
    fs::write(host.slot().join("hooked"), "a before_start\n").expect("file");
    let again = host.order(&start(&host.site, &launch(&host, &release, "a", four())));
    assert_eq!(ran(&again), [(HookPoint::AfterStart, CommandEnd::Exit(0))]);
}

#[test]
fn hooks_of_another_instance_do_not_run() {
    let (host, release) = Host::with_release();
    host.order(&start(&host.site, &launch(&host, &release, "a", four())));
    let record = fs::read_to_string(host.slot().join("instance")).expect("record");
    fs::write(
        host.slot().join("instance"),
        record.replace("name=a\n", "name=b\n"),
    )
    .expect("record");
    let stopped = host.order(&halt(&host, "b", &four()));
    assert_eq!(ran(&stopped), []);
    assert_eq!(
        reported(&host),
        ["before_start", "begun", "after_start", "ended"]
    );
}

#[test]
fn exited_instance_gets_no_after_start_hook() {
    let (host, release) = Host::with_release();
    let launch = StartSpec {
        hooks: four(),
        ..host.launch_sh("a", &release, "exit 3")
    };
    let instance = host.start(&launch);
    assert!(matches!(instance.process, Process::Ended { .. }));
    assert_eq!(reported(&host), ["before_start"]);
}

#[test]
fn hook_runs_as_the_user_of_the_service() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can");
        return;
    }
    let (host, release) = Host::with_release();
    open_to_all(&host);
    let hooks = hooks(&[(HookPoint::BeforeStart, "id -un")]);
    let launch = StartSpec {
        user: Some("nobody".into()),
        ..launch(&host, &release, "a", hooks)
    };
    let started = host.order(&start(&host.site, &launch));
    assert_eq!(started.hooks[0].run.output, ["nobody"]);
}

/// The user of the service must be able to enter its directory.
fn open_to_all(host: &Host) {
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(host.dir.path(), open).expect("mode");
}

#[test]
fn hooks_fail_before_the_start_if_tools_are_missing() {
    let host = Host::with(Shell::Sh);
    let release = Release::new("hello");
    host.stage(&release);
    let mut script = start(&host.site, &launch(&host, &release, "a", four()));
    script.text = script.text.replace(
        "for tool in mkfifo setsid;",
        "for tool in mkfifo setsid-of-tomorrow;",
    );
    let refused = host.run(&script);
    assert_eq!(
        refused.failure(),
        "setsid-of-tomorrow is not installed on this host, but hooks and tasks need it"
    );
    assert!(matches!(refused.reply().end, ScriptEnd::Failed(_)) && reported(&host).is_empty());
}

/// The old instance goes before its successor is there, and no controller confirms it: each runs
/// its own hooks.
#[test]
fn restore_runs_hooks() {
    for shell in shells() {
        let host = Host::with(shell);
        let (old, new) = (Release::new("old"), Release::new("new"));
        host.stage(&old);
        host.stage(&new);
        let script = |name: &str| format!("echo {name} $SHIP_HOOK >>../../../reported");
        let all = |name: &str| {
            let script = script(name);
            hooks(
                &four()
                    .hooks
                    .iter()
                    .map(|hook| (hook.on, script.as_str()))
                    .collect::<Vec<_>>(),
            )
        };
        host.order(&start(
            &host.site,
            &StartSpec {
                hooks: all("old"),
                ..host.launch_sh("old", &old, "exec sleep 60")
            },
        ));
        let halt = StopSpec {
            number: host.port,
            instance: InstanceId::from("old"),
            stop_timeout: Duration::from_secs(5),
            hooks: Duration::from_secs(20),
            restore_after: Some(Duration::from_mins(10)),
            may_linger: false,
        };
        host.order(&stop(&host.site, &halt));
        // What fails keeps it from nothing.
        let mut failing = all("new");
        failing.hooks[2].command = ["sh", "-c", "echo no; exit 3"].map(String::from).to_vec();
        host.order(&start(
            &host.site,
            &StartSpec {
                hooks: failing,
                ..host.launch_sh("new", &new, "exec sleep 60")
            },
        ));
        let kept = host.root().join("armed").join(host.port.to_string());
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
        fs::write(kept.join("due"), format!("{} 0\n", boot.trim())).expect("file");
        let timer = fs::read_to_string(kept.join("timer")).expect("timer");
        for pid in session_members(timer.split(' ').next().expect("pid")) {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
        let text = fs::read_to_string(kept.join("restore")).expect("the script");
        let ran = host.run(&Script {
            text,
            input: ship::script::Input::default(),
            deadline: MINUTE,
        });
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.as_str()),
            ("", ""),
            "{shell:?}"
        );
        let instance = host.instance(host.observe());
        assert_eq!(
            (instance.name, instance.process),
            (InstanceId::from("old"), Process::Running),
            "{shell:?}"
        );
        let life = [
            "old before_start",
            "old after_start",
            "old before_stop",
            "old after_stop",
            "new before_start",
            "new after_start",
            "new after_stop",
            "old before_start",
            "old after_start",
        ];
        assert_eq!(reported(&host), life, "{shell:?}");
        host.wait_for_log("ship: the before_stop hook exited: 3\nship: | no\n");
    }
}
