//! The systemd driver's scripts, as far as they can be tried without systemd.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ship::core::fleet::{Instance, Listener, Occupant, Process};
use ship::core::names::InstanceId;
use ship::core::release::Driver;
use ship::script::{
    Halt, Launch, Needs, Script, Unreadable, check, disarm, observe, read_reply, read_tail, start, stop, tail,
};

use crate::host::{Host, Release, now, shells};

fn launch(host: &Host, release: &Release) -> Launch {
    Launch { driver: Driver::Systemd, ..host.launch("a", release) }
}

#[test]
fn every_shell_understands_the_scripts() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        let second = Duration::from_secs(1);
        let instance = InstanceId::from("a");
        let halt = Halt { port: host.port, instance, stop_timeout: second, hooks: second, restore_after: Some(second) };
        let scripts = [
            observe(&host.site),
            start(&host.site, &launch(&host, &release)),
            stop(&host.site, &halt),
            disarm(&host.site, host.port),
            tail(&host.site, host.port, 5),
            check(&host.site, &Needs { driver: Driver::Systemd, user: Some("app"), ..Needs::NONE }),
        ];
        for mut script in scripts {
            script.text.insert_str(0, "set -n\n");
            let output = host.command(&script).output().expect("a shell");
            assert!(output.status.success() && output.stderr.is_empty(), "{shell:?}: {output:?}");
        }
    }
}

#[test]
fn without_systemd_a_start_is_refused_with_advice() {
    if std::path::Path::new("/run/systemd/system").exists() {
        eprintln!("not run: systemd runs on this machine");
        return;
    }
    let host = Host::new();
    let release = Release::new("hello");
    host.stage(&release);
    let refused = host.run(&start(&host.site, &launch(&host, &release)));
    let advice = "systemd does not run on this host: driver = \"process\" needs none";
    assert_eq!(refused.failure(), advice);
    assert!(refused.reply().observation.slots.is_empty());
}

/// Where the script looks for systemd and its units, moved to a directory of the test's.
pub(crate) fn moved(host: &Host, script: Script) -> Script {
    let run = host.dir.path().to_str().expect("path");
    let text = script.text.replace("[ -d /run/systemd/system ]", &format!("[ -d '{run}' ]"));
    Script { text: text.replace("UNIT_DIR='/etc/systemd/system'", &format!("UNIT_DIR='{run}/units'")), ..script }
}

fn start_moved(host: &Host, launch: &Launch) -> Instance {
    host.instance(host.order(&moved(host, start(&host.site, launch))))
}

pub(crate) fn calls(host: &Host) -> Vec<String> {
    let calls = fs::read_to_string(host.dir.path().join("calls")).unwrap_or_default();
    calls.lines().filter(|call| !call.starts_with("show ")).map(String::from).collect()
}

/// A `systemctl` that writes down how it was called; asked to show, it prints `shown`.
fn fake_systemctl(host: &Host, shown: &str) {
    let calls = host.dir.path().join("calls");
    let text = format!("echo \"$*\" >>'{}'\n[ \"$1\" != show ] || printf '%s\\n' '{shown}'", calls.display());
    host.fake("systemctl", &text);
}

#[test]
fn a_start_installs_the_unit_once_and_a_stop_leaves_no_trace_in_the_slot() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let units = host.dir.path().join("units");
        fs::create_dir(&units).expect("directory");
        host.fake("useradd", &format!("echo \"useradd $*\" >>'{}'", host.dir.path().join("calls").display()));
        let unit = format!("ship-testpage@{}.service", host.port);
        let shown = |state: &str| format!("Id={unit}\nNRestarts=0\nControlGroup=\n{state}");
        fake_systemctl(&host, &shown(&format!("MainPID={}", std::process::id())));
        let mut launch = launch(&host, &release);
        launch.settle = Duration::ZERO;
        launch.env.insert("A".into(), "it's".into());

        let instance = start_moved(&host, &launch);
        assert_eq!(instance.process, Process::Running);
        let started = format!("--no-ask-password start {unit}");
        let useradd = calls(&host).remove(0);
        assert!(useradd.starts_with("useradd --system ") && useradd.ends_with(" ship-testpage"), "{useradd}");
        assert_eq!(calls(&host)[1..], ["daemon-reload".to_owned(), started], "{shell:?}");
        let text = fs::read_to_string(units.join("ship-testpage@.service")).expect("unit");
        assert!(text.contains("\nUser=ship-testpage\n") && text.ends_with("\nWantedBy=multi-user.target\n"), "{text}");
        let wanted = units.join("multi-user.target.wants").join(&unit);
        assert_eq!(fs::read_link(&wanted).expect("link"), units.join("ship-testpage@.service"));
        assert!(host.slot().join("release/app/index.html").exists());
        assert_eq!(fs::read_to_string(host.slot().join("env")).expect("env"), "A=\"it's\"\n");
        assert!(fs::read_to_string(host.slot().join("run")).expect("run").starts_with("exec '/usr/bin/env' 'python3'"));

        let count = calls(&host).len();
        start_moved(&host, &launch);
        assert_eq!(calls(&host).len(), count, "given twice, the second changes nothing");

        let halt = host.halt("a", Duration::from_secs(1));
        let observation = host.order(&moved(&host, halt));
        assert!(observation.slots.is_empty());
        assert_eq!(
            calls(&host)[count..],
            [format!("--no-ask-password stop {unit}"), format!("reset-failed {unit}")],
            "{shell:?}"
        );
        assert!(fs::symlink_metadata(&wanted).is_err(), "it does not come back with the host");
        let left: Vec<PathBuf> = fs::read_dir(host.slot()).expect("slot").map(|e| e.expect("entry").path()).collect();
        assert!(left.is_empty(), "{left:?}");

        start_moved(&host, &launch);
        let reloads = calls(&host).iter().filter(|call| *call == "daemon-reload").count();
        assert_eq!(reloads, 1, "a unit that is as it should be is left alone");
    }
}

#[test]
fn systemds_word_on_all_slots_is_asked_for_once() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        host.site.ports = vec![];
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
        for port in 1..=4 {
            let slot = host.root().join(format!("slots/{port}"));
            fs::create_dir(&slot).expect("slot");
            let record = format!("name=i{port}\nrelease={}\nrevision=3\ndriver=systemd\nstarted=1.00", release.id);
            fs::write(slot.join("instance"), format!("{record}\nboot={boot}")).expect("record");
        }
        let block = |port: u16, rest: &str| format!("Id=ship-testpage@{port}.service\n{rest}");
        let shown = [
            block(
                1,
                "SubState=running\nMainPID=1\nNRestarts=2\nControlGroup=/no/such\nExecMainCode=0\nExecMainStatus=0",
            ),
            block(2, "SubState=auto-restart\nMainPID=0\nNRestarts=7\nExecMainCode=1\nExecMainStatus=3"),
            block(3, "SubState=failed\nMainPID=0\nNRestarts=0\nExecMainCode=2\nExecMainStatus=9"),
            block(4, "SubState=dead\nMainPID=0\nNRestarts=0\nExecMainCode=0\nExecMainStatus=0"),
        ];
        fake_systemctl(&host, &shown.join("\n\n"));
        let slots = host.observe().slots;
        let seen = |port: u16| match slots.get(&port) {
            Some(Occupant::Instance(instance)) => (instance.process.to_string(), instance.restarts),
            other => panic!("{other:?}"),
        };
        assert_eq!(seen(1), ("running".into(), 2), "{shell:?}");
        assert_eq!(seen(2), ("ended (exit status 3; systemd starts it again)".into(), 7));
        assert_eq!(seen(3), ("ended (signal 9)".into(), 0));
        assert_eq!(seen(4), ("ended (not started)".into(), 0));
        assert_eq!(fs::read_to_string(host.dir.path().join("calls")).expect("calls").lines().count(), 1);

        host.fake("systemctl", "echo 'Failed to connect to bus: No such file or directory' >&2; exit 1");
        let unseen = read_reply(&host.run(&observe(&host.site)).stdout, now());
        let why = "systemctl show: Failed to connect to bus: No such file or directory";
        assert_eq!(unseen, Err(Unreadable::Unseen(why.into())));
    }
}

#[test]
fn a_main_process_that_listens_is_the_instance() {
    let host = Host::new();
    let release = Release::new("hello");
    host.stage(&release);
    fs::create_dir(host.dir.path().join("units")).expect("directory");
    host.fake("useradd", "");
    let state = format!("MainPID={}\nNRestarts=0\nControlGroup=", std::process::id());
    fake_systemctl(&host, &format!("Id=ship-testpage@{}.service\n{state}", host.port));
    let starting = launch(&host, &release);
    let own = host.site.host_address.clone();
    let address = (own.as_str(), host.port);
    std::thread::scope(|scope| {
        let started = scope.spawn(|| start_moved(&host, &starting));
        // Only once the script has looked for strangers.
        crate::host::wait_for("the record", || host.slot().join("instance").exists());
        let _listener = std::net::TcpListener::bind(address).expect("bind");
        assert_eq!(started.join().expect("started").listener, Listener::Own { address: own.clone() });
    });
}

#[test]
fn the_journal_is_asked_for_what_the_instance_itself_has_said() {
    let host = Host::new();
    let slot = host.slot();
    fs::create_dir_all(&slot).expect("slot");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot");
    fs::write(slot.join("instance"), format!("driver=systemd\nstarted=1.00\nboot={boot}")).expect("record");
    host.fake("journalctl", "printf '%s\\n' \"$@\"");
    let asked = read_tail(&host.run(&tail(&host.site, host.port, 5)).stdout).expect("log");
    assert!(asked.contains(&format!("--unit=ship-testpage@{}.service", host.port)), "{asked:?}");
    assert!(asked.iter().any(|word| word.starts_with("--since=-") && word.ends_with("0ms")), "{asked:?}");
}
