//! Starting and stopping.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use ship::core::fleet::{Listener, Occupant, Process};
use ship::core::ids::{InstanceId, Port, ReleaseId, Revision};
use ship::core::release::Driver;
use ship::core::time::Time;
use ship::script::{
    CommandProbe, LogQuery, LogRange, StartSpec, logs, probe_command, read_log_tail,
    read_probe_result, start,
};

use crate::host::{Host, Release, mode, now, session_members, shells, wait_for};

#[test]
fn instance_is_staged_started_and_stopped_under_every_shell() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        assert_eq!(host.observe().slots.len(), 0, "{shell:?}");
        assert!(!host.root().exists(), "looking creates nothing");

        assert_eq!(host.stage(&release).releases, [release.id.clone()].into());
        let before = now();
        let instance = host.start(&host.launch("testpage-a", &release));
        assert_eq!(instance.name, InstanceId::from("testpage-a"));
        assert_eq!(
            (&instance.release, instance.revision, instance.restarts),
            (&release.id, Revision(3), 0)
        );
        assert_eq!(instance.process, Process::Running);
        assert_eq!(
            instance.listener(host.port).clone(),
            Listener::Own {
                address: host.site.host_address.clone()
            },
            "{shell:?}"
        );
        // The host counts in 1/100 s.
        assert!(
            instance.started + Duration::from_millis(20) >= before && instance.started <= now(),
            "{shell:?}"
        );
        assert_eq!(
            host.instance(host.observe()).listener(host.port).clone(),
            instance.listener(host.port).clone()
        );
        assert_eq!(
            fs::read_link(format!("/proc/{}/cwd", host.pid()))
                .expect("cwd")
                .file_name(),
            Some("app".as_ref())
        );

        let pid = host.pid().to_string();
        let before = Instant::now();
        let observation = host.stop("testpage-a");
        assert!(
            before.elapsed() < Duration::from_secs(5),
            "a quick end is seen quickly"
        );
        assert!(observation.slots.is_empty(), "{observation:?}");
        assert!(session_members(&pid).is_empty());
        assert_eq!(observation.releases.len(), 1, "its release stays");
    }
}

#[test]
fn instance_outlives_the_script_and_inherits_nothing() {
    let (host, release) = Host::with_release();
    host.start(&host.launch_sh("a", &release, "exec sleep 60"));
    let open = |pid: &str| -> Vec<_> {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("open files");
        files
            .filter_map(|file| fs::read_link(file.expect("file").path()).ok())
            .collect()
    };
    let log = fs::canonicalize(host.slot().join("log")).expect("log");
    // What this process has inherited itself is none of the script's.
    let inherited = open("self");
    let targets = open(&host.pid().to_string());
    assert_eq!(
        targets.iter().filter(|target| **target == log).count(),
        2,
        "{targets:?}"
    );
    let more: Vec<_> = targets
        .iter()
        .filter(|target| **target != log && !inherited.contains(target))
        .collect();
    assert!(more.is_empty() || more == ["/dev/null"], "{more:?}");
}

#[test]
fn second_start_of_an_instance_changes_nothing() {
    let (host, release) = Host::with_release();
    host.start(&host.launch("a", &release));
    let pid = host.pid();
    let again = host.start(&host.launch("a", &release));
    assert_eq!((host.pid(), again.process), (pid, Process::Running));
}

#[test]
fn start_of_an_exited_instance_is_not_repeated() {
    let (host, release) = Host::with_release();
    let launch = host.launch_sh("a", &release, "echo started; exit 3");
    host.start(&launch);
    host.start(&launch);
    assert_eq!(
        fs::read_to_string(host.slot().join("log")).expect("log"),
        "started\n"
    );
}

#[test]
fn start_fails_if_the_slot_contains_another_instance() {
    let (host, release) = Host::with_release();
    host.start(&host.launch_sh("a", &release, "exec sleep 60"));
    let pid = host.pid();
    let refused = host.run(&start(&host.site, &host.launch("b", &release)));
    assert_eq!(
        refused.failure(),
        format!("slot {} still contains a", host.port)
    );
    assert_eq!(
        host.instance(refused.reply().observation).name,
        InstanceId::from("a")
    );
    assert_eq!(host.pid(), pid);
}

#[test]
fn instance_has_the_ports_of_its_own_release_only() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        host.start(&host.launch("a", &release));
        // A later release has one more port in this slot.
        let stranger =
            TcpListener::bind((host.site.host_address.as_str(), 0)).expect("a free port");
        let other = stranger.local_addr().expect("an address").port();
        host.site.slots = [(host.port, vec![host.port, other])].into();
        let instance = host.instance(host.observe());
        let ports: Vec<_> = instance.listeners.keys().copied().collect();
        assert_eq!(ports, [host.port], "{shell:?}");
        // Once the slot is empty, the port is missing for the later release.
        host.stop("a");
        match host.observe().slots.get(&host.port) {
            Some(Occupant::OtherProcess(who)) => {
                assert!(
                    who.ends_with(&format!(" on port {other}")),
                    "{shell:?}: {who}"
                );
            }
            seen => panic!("{shell:?}: {seen:?}"),
        }
    }
}

#[test]
fn start_fails_if_another_process_has_the_port() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let _stranger =
            TcpListener::bind((host.site.host_address.as_str(), host.port)).expect("bind");
        let refused = host.run(&start(&host.site, &host.launch("a", &release)));
        let who = format!("pid {} (", std::process::id());
        assert!(
            refused
                .failure()
                .starts_with(&format!("port {} is already in use by {who}", host.port)),
            "{shell:?}: {}",
            refused.failure()
        );
        assert!(!host.slot().join("instance").exists());
        match host.observe().slots.get(&host.port) {
            Some(Occupant::OtherProcess(seen)) => assert!(seen.starts_with(&who), "{seen}"),
            other => panic!("{other:?}"),
        }
    }
}

/// A loopback address that belongs neither to this host nor to that of another test.
fn other_address(host: &Host) -> String {
    let mut parts = host.site.host_address.splitn(3, '.');
    format!("127.99.{}", parts.nth(2).expect("address"))
}

#[test]
fn instance_at_another_loopback_address_is_its_own_listener() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let other = other_address(&host);
        let serve = format!(
            "exec python3 -m http.server --bind {other} {} 2>&1",
            host.port
        );
        host.start(&host.launch_sh("a", &release, &serve));
        wait_for("the listener", || {
            let seen = host.instance(host.observe());
            *seen.listener(host.port)
                == Listener::Own {
                    address: other.clone(),
                }
        });
    }
}

#[test]
fn listener_at_another_loopback_address_does_not_block_the_port() {
    let (host, release) = Host::with_release();
    let other = other_address(&host);
    let _neighbour = TcpListener::bind((other.as_str(), host.port)).expect("bind");
    assert!(host.observe().slots.is_empty());
    let instance = host.start(&host.launch("a", &release));
    assert_eq!(
        instance.listener(host.port).clone(),
        Listener::Own {
            address: host.site.host_address.clone()
        }
    );
}

#[test]
fn report_distinguishes_other_listeners_on_the_port() {
    let (host, release) = Host::with_release();
    host.start(&host.launch_sh("a", &release, "exec sleep 60"));
    assert_eq!(
        host.instance(host.observe()).listener(host.port).clone(),
        Listener::Closed
    );
    let _stranger = TcpListener::bind((host.site.host_address.as_str(), host.port)).expect("bind");
    match host.instance(host.observe()).listener(host.port).clone() {
        Listener::Other { who } => assert!(
            who.starts_with(&format!("pid {} (", std::process::id())),
            "{who}"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn listening_child_belongs_to_the_service() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let serve = format!(
            "python3 -m http.server --bind {} {} & wait",
            host.site.host_address, host.port
        );
        let mut launch = host.launch_sh("a", &release, &serve);
        launch.settle = Duration::from_secs(10);
        let instance = host.start(&launch);
        assert_eq!(
            instance.listener(host.port).clone(),
            Listener::Own {
                address: host.site.host_address.clone()
            },
            "{shell:?}"
        );
    }
}

#[test]
fn start_reports_the_exit_status_and_log_of_an_exited_service() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let instance =
            host.start(&host.launch_sh("a", &release, "echo cannot find my config >&2; exit 3"));
        assert_eq!(
            instance.process,
            Process::Ended {
                how: "exit status 3".into()
            },
            "{shell:?}"
        );
        assert_eq!(
            host.instance(host.observe()).process,
            instance.process,
            "and so it stays"
        );
        assert_eq!(last_lines(&host, host.port, 5), ["cannot find my config"]);

        host.stop("a");
        let instance = host.start(&host.launch_sh("b", &release, "kill -KILL $$"));
        assert_eq!(
            instance.process,
            Process::Ended {
                how: "signal 9".into()
            },
            "{shell:?}"
        );
        let mut missing = host.launch("c", &release);
        missing.argv = vec!["./no-such-program".into()];
        host.stop("b");
        assert_eq!(
            host.start(&missing).process,
            Process::Ended {
                how: "exit status 127".into()
            },
            "{shell:?}"
        );
    }
}

#[test]
fn slow_service_is_not_a_failed_start() {
    let (host, release) = Host::with_release();
    let instance = host.start(&host.launch_sh("a", &release, "exec sleep 60"));
    assert_eq!(
        (
            instance.process.clone(),
            instance.listener(host.port).clone()
        ),
        (Process::Running, Listener::Closed)
    );
}

#[test]
fn delayed_process_is_not_a_failed_start() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let mut script = start(&host.site, &host.launch_sh("a", &release, "exec sleep 60"));
        // Longer than the time to settle.
        script.text = script
            .text
            .replacen("record_pid() {", "sleep 1; record_pid() {", 1);
        assert_eq!(
            host.instance(host.order(&script)).process,
            Process::Running,
            "{shell:?}"
        );
    }
}

#[test]
fn stop_affects_only_the_named_instance() {
    let (host, release) = Host::with_release();
    host.stop("a");
    host.start(&host.launch_sh("a", &release, "exec sleep 60"));
    let left = host.instance(host.stop("b"));
    assert_eq!(
        (left.name, left.process),
        (InstanceId::from("a"), Process::Running)
    );
}

#[test]
fn stop_kills_a_service_that_ignores_sigterm_with_its_children() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let launch = host.launch_sh(
            "a",
            &release,
            "trap '' TERM; sleep 60 & echo up; while :; do sleep 0.05; done",
        );
        host.start(&StartSpec {
            stop_timeout: Duration::from_millis(300),
            ..launch
        });
        host.wait_for_log("up");
        let pid = host.pid().to_string();
        let before = Instant::now();
        // The timeout of its own release counts, whatever the order assumes.
        let stopped = host.order(&host.halt("a", Duration::from_mins(10)));
        assert_eq!(stopped.killed_after, Some(Duration::from_millis(300)));
        let took = before.elapsed();
        assert!(
            took >= Duration::from_millis(300) && took < Duration::from_secs(5),
            "{shell:?}: {took:?}"
        );
        assert!(session_members(&pid).is_empty(), "{shell:?}");
    }
}

#[test]
fn stop_ends_children_whose_parent_has_exited() {
    let (host, release) = Host::with_release();
    let script =
        "(trap 'sleep 0.3; echo bye; exit' TERM; echo up; while :; do sleep 0.05; done) & wait";
    host.start(&host.launch_sh("a", &release, script));
    host.wait_for_log("up");
    let pid = host.pid().to_string();
    assert!(session_members(&pid).len() >= 2);
    host.stop("a");
    assert!(session_members(&pid).is_empty());
    assert!(
        fs::read_to_string(host.slot().join("log"))
            .expect("log")
            .contains("bye"),
        "it was given time to end"
    );
}

/// A shell script whose child, in a session of its own, listens in its stead; `then` is what the
/// parent does meanwhile.
fn with_a_stray(host: &Host, then: &str) -> String {
    format!(
        "setsid sh -c 'trap \"echo bye; kill %1; exit\" TERM; python3 -m http.server --bind {} {} \
         & \
         while :; do sleep 0.05; done' & {then}",
        host.site.host_address, host.port
    )
}

#[test]
fn look_tells_a_child_in_a_session_of_its_own_from_strangers() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        host.start(&host.launch_sh("a", &release, &with_a_stray(&host, "exec sleep 60")));
        wait_for("the child", || {
            host.instance(host.observe()).listener(host.port).clone() != Listener::Closed
        });
        match host.instance(host.observe()).listener(host.port).clone() {
            Listener::Stray { who } => assert!(who.contains("(python3)"), "{shell:?}: {who}"),
            other => panic!("{shell:?}: {other:?}"),
        }
        assert!(host.stop("a").slots.is_empty());
    }
}

#[test]
fn stop_ends_children_in_sessions_of_their_own() {
    for shell in shells() {
        for then in ["exec sleep 60", "exit 0"] {
            let host = Host::with(shell);
            let release = Release::new("hello");
            host.stage(&release);
            host.start(&host.launch_sh("a", &release, &with_a_stray(&host, then)));
            wait_for("the child", || {
                std::net::TcpStream::connect((host.site.host_address.as_str(), host.port)).is_ok()
            });
            assert!(host.stop("a").slots.is_empty(), "{shell:?}: {then}");
            let refused =
                std::net::TcpStream::connect((host.site.host_address.as_str(), host.port));
            assert!(refused.is_err(), "{shell:?}: {then}: the reader is gone");
            let log = fs::read_to_string(host.slot().join("log")).expect("log");
            assert_eq!(
                log.matches("bye").count(),
                1,
                "{shell:?}: {then}: it received one signal: {log}"
            );
        }
    }
}

#[test]
fn stop_leaves_the_child_of_another_slot_alone() {
    let release = Release::new("hello");
    let hosts = [Host::new(), Host::new()];
    for host in &hosts {
        host.stage(&release);
        host.start(&host.launch_sh("a", &release, &with_a_stray(host, "exec sleep 60")));
        wait_for("the child", || {
            std::net::TcpStream::connect((host.site.host_address.as_str(), host.port)).is_ok()
        });
    }
    hosts[0].stop("a");
    assert!(matches!(
        hosts[1]
            .instance(hosts[1].observe())
            .listener(hosts[1].port)
            .clone(),
        Listener::Stray { .. }
    ));
    hosts[1].stop("a");
}

#[test]
fn stop_ignores_a_process_with_a_reused_pid() {
    let (host, release) = Host::with_release();
    host.start(&host.launch_sh("a", &release, "exec sleep 60"));
    let pid = host.pid();
    let mut bystander = Command::new("setsid")
        .args(["sleep", "60"])
        .spawn()
        .expect("sleep");
    fs::write(
        host.slot().join("pid"),
        format!("{} 12345\n", bystander.id()),
    )
    .expect("pid");
    assert_eq!(
        host.instance(host.observe()).process,
        Process::Ended {
            how: "exited".into()
        }
    );
    assert!(host.stop("a").slots.is_empty());
    assert!(
        bystander.try_wait().expect("status").is_none(),
        "the bystander lives"
    );
    bystander.kill().expect("kill");
    bystander.wait().expect("wait");
    // What the test itself has hidden from the stop.
    assert!(
        Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status()
            .expect("kill")
            .success()
    );
}

#[test]
fn instance_of_before_the_host_restart_is_reported_as_ended() {
    let (host, release) = Host::with_release();
    host.start(&host.launch_sh("a", &release, "exec sleep 60"));
    let record = host.slot().join("instance");
    let text = fs::read_to_string(&record).expect("record");
    let (head, _) = text.split_once("boot=").expect("boot");
    fs::write(&record, format!("{head}boot=another\n")).expect("record");
    let ended = host.instance(host.observe());
    assert_eq!(
        ended.process,
        Process::Ended {
            how: "when the host was restarted".into()
        }
    );
    assert!(ended.started > Time(0));
}

#[test]
fn interrupted_start_is_completed_by_the_next_one() {
    let (host, release) = Host::with_release();
    let launch = host.launch_sh("a", &release, "exec sleep 60");
    host.start(&launch);
    assert!(
        Command::new("kill")
            .args(["-KILL", &host.pid().to_string()])
            .status()
            .expect("kill")
            .success()
    );
    fs::remove_file(host.slot().join("pid")).expect("pid");
    let lost = Process::Ended {
        how: "never started".into(),
    };
    assert_eq!(host.instance(host.observe()).process, lost);
    assert_eq!(host.start(&launch).process, Process::Running);
}

#[test]
fn service_gets_exactly_its_environment() {
    for shell in shells() {
        let host = Host::with(shell);
        let release =
            Release::new("hello").with_secrets("TOKEN=\"from the secrets\"\nLAST=\"line\"\n");
        host.stage(&release);
        let values = [
            "plain",
            "",
            " two  blanks ",
            "$HOME `id` $(id)",
            r#"q"u'o\te\"#,
            "tab\tand\nnewline",
            "ünï ✓",
            "a=b#c;d&e|f*",
        ];
        let mut launch = host.launch_sh("a", &release, "env -0; exec sleep 60");
        launch.env = values
            .iter()
            .enumerate()
            .map(|(n, value)| (format!("V{n}"), (*value).to_owned()))
            .collect();
        launch
            .env
            .insert("TOKEN".into(), "from the playbook".into());
        host.start(&launch);
        host.wait_for_log("V7=");
        let log = fs::read_to_string(host.slot().join("log")).expect("log");
        let seen: BTreeMap<_, _> = log
            .split('\0')
            .filter_map(|entry| entry.split_once('='))
            .collect();
        for (key, value) in &launch.env {
            let expected = if key == "TOKEN" {
                "from the secrets"
            } else {
                value
            };
            assert_eq!(seen.get(key.as_str()), Some(&expected), "{shell:?} {key}");
        }
        assert_eq!(seen["LAST"], "line");
        assert_eq!(
            seen["PATH"],
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        );
        let more: Vec<_> = seen
            .keys()
            .filter(|key| !launch.env.contains_key(**key))
            .collect();
        let of_shells = ["LAST", "PATH", "PWD", "OLDPWD", "SHLVL", "_"];
        assert!(
            more.iter()
                .all(|key| **key == "SHIP_SLOT" || of_shells.contains(key)),
            "{more:?}"
        );
    }
}

#[test]
fn secrets_are_in_files_of_their_own_and_nowhere_else() {
    let host = Host::new();
    let release = Release::new("hello").with_secrets("TOKEN=\"s3cr3t-t0k3n\"\n");
    let stage = host.stage_script(&release);
    let mut launch = host.launch_sh("a", &release, "exec sleep 60");
    launch.env.insert("PASSWORD".into(), "s3cr3t-w0rd".into());
    let start = start(&host.site, &launch);
    for script in [&stage, &start] {
        assert!(!script.text.contains("s3cr3t") && !format!("{script:?}").contains("s3cr3t"));
        let ran = host.run(script);
        assert!(
            !ran.stdout.contains("s3cr3t") && !ran.stderr.contains("s3cr3t"),
            "{ran:?}"
        );
    }
    for process in fs::read_dir("/proc").expect("/proc").flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&line).contains("s3cr3t"),
            "{}",
            String::from_utf8_lossy(&line)
        );
    }
    let secrets = host
        .root()
        .join("releases")
        .join(release.id.as_str())
        .join("secrets");
    assert_eq!(
        fs::read_to_string(&secrets).expect("secrets"),
        "TOKEN=\"s3cr3t-t0k3n\"\n"
    );
    assert_eq!(
        (mode(&secrets), mode(&host.slot().join("env"))),
        (0o600, 0o600)
    );
    assert_eq!(mode(&host.slot().join("log")), 0o640);
    assert!(!host.slot().join("env").exists() || host.stop("a").slots.is_empty());
    assert!(
        !host.slot().join("env").exists(),
        "the environment goes with the instance"
    );
}

#[test]
fn start_fails_if_the_environment_is_incomplete() {
    let (host, release) = Host::with_release();
    let mut launch = host.launch("a", &release);
    launch.env = [
        ("A".to_owned(), "1".to_owned()),
        ("B".to_owned(), "2".to_owned()),
    ]
    .into();
    let refused = host.run_with(&start(&host.site, &launch), b"A=\"1\"\nB=\"");
    assert_eq!(
        refused.failure(),
        "the environment did not arrive completely, or cannot be written"
    );
    assert!(refused.reply().observation.slots.is_empty());
}

#[test]
fn start_fails_if_the_release_is_not_staged() {
    let host = Host::new();
    let release = Release::new("hello");
    let refused = host.run(&start(&host.site, &host.launch("a", &release)));
    assert_eq!(refused.failure(), "the release is not on this host");
    let mut launch = host.launch("a", &release);
    launch.release = ReleaseId::from("../../../etc");
    assert_eq!(
        host.run(&start(&host.site, &launch)).failure(),
        "not a release: ../../../etc"
    );
}

#[test]
fn start_keeps_the_log_of_the_previous_instance() {
    let (host, release) = Host::with_release();
    host.start(&host.launch_sh("a", &release, "echo first"));
    host.stop("a");
    host.start(&host.launch_sh("b", &release, "echo one; echo two; echo three"));
    let log = |name: &str| fs::read_to_string(host.slot().join(name)).expect("log");
    assert_eq!(
        (log("log"), log("log.1")),
        ("one\ntwo\nthree\n".into(), "first\n".into())
    );
    assert_eq!(last_lines(&host, host.port, 2), ["two", "three"]);
    assert_eq!(last_lines(&host, 1, 2), Vec::<String>::new());
}

fn last_lines(host: &Host, port: Port, lines_max: u32) -> Vec<String> {
    let query = LogQuery {
        history_slots: [port].into(),
        lines_max,
        range: LogRange::Instance,
    };
    read_log_tail(&host.run(&logs(&host.site, &query)).stdout, lines_max)
}

#[test]
fn command_probe_runs_in_the_release_with_the_environment_of_the_instance() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello").with_secrets("TOKEN=\"t\"\n");
        host.stage(&release);
        let mut launch = host.launch_sh("a", &release, "exec sleep 60");
        launch.env.insert("COLOUR".into(), "deep blue".into());
        host.start(&launch);
        let ask = |script: &str| {
            let argv = ["sh", "-c", script].map(String::from).to_vec();
            let timeout = Duration::from_secs(1);
            let release = release.id.clone();
            let question = CommandProbe {
                number: host.port,
                instance: "a".into(),
                release,
                driver: Driver::Process,
                user: None,
                argv,
                timeout,
            };
            let answer = read_probe_result(&host.run(&probe_command(&host.site, &question)).stdout)
                .expect("answer");
            (answer.status, answer.line)
        };
        assert_eq!(
            ask(r#"echo "$(cat index.html), $COLOUR, $TOKEN""#),
            (0, "hello, deep blue, t".into()),
            "{shell:?}"
        );
        assert_eq!(
            ask("echo not yet >&2; echo more; exit 4"),
            (4, "not yet".into())
        );
        assert_eq!(
            ask("yes | head -c 1000000; exit 5"),
            (5, "y".into()),
            "{shell:?}"
        );
        let (status, _) = ask("sleep 60");
        assert!([124, 137, 143].contains(&status), "{shell:?}: {status}");
    }
}

#[test]
fn service_of_another_user_is_started_observed_and_stopped() {
    let id = Command::new("id").arg("-u").output().expect("id");
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if id.stdout != b"0\n" || !has("setpriv") {
        eprintln!("not run: becoming another user takes root and setpriv");
        return;
    }
    let host = Host::new();
    // The directories above are the test's own; the service's user has to get through them.
    fs::set_permissions(host.dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let release = Release::new("hello").with_secrets("TOKEN=\"t\"\n");
    host.stage(&release);
    let mut launch = host.launch("a", &release);
    launch.user = Some("nobody".into());
    let instance = host.start(&launch);
    assert_eq!(
        instance.listener(host.port).clone(),
        Listener::Own {
            address: host.site.host_address.clone()
        }
    );
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("status");
    assert!(
        status.contains("\nUid:\t65534\t65534\t65534\t65534\n"),
        "{status}"
    );
    assert!(host.stop("a").slots.is_empty());

    launch.user = Some("no-such-user".into());
    let refused = host.run(&start(&host.site, &launch)).failure();
    assert!(
        refused.starts_with("user no-such-user does not exist on this host"),
        "{refused}"
    );
    assert!(!host.slot().join("instance").exists());
}

#[test]
fn exited_service_is_reported_as_ended() {
    let (host, release) = Host::with_release();
    host.start(&host.launch("a", &release));
    assert!(
        Command::new("kill")
            .args(["-KILL", &host.pid().to_string()])
            .status()
            .expect("kill")
            .success()
    );
    wait_for("the end", || !host.instance(host.observe()).is_running());
    let ended = host.instance(host.observe());
    assert_eq!(
        (ended.process.clone(), ended.listener(host.port).clone()),
        (
            Process::Ended {
                how: "exited".into()
            },
            Listener::Closed
        )
    );
}
