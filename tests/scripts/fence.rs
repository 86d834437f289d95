//! One at a time, and none that is too old.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use ship::core::fleet::owner::Owner;
use ship::core::ids::{ActionId, Epoch};
use ship::script::{Script, ScriptEnd, claim, prune, start};

use crate::host::{Host, Release, owner, shells, wait_for};

fn epoch_file(host: &Host) -> String {
    fs::read_to_string(host.root().join("epoch")).expect("epoch")
}

#[test]
fn fence_stores_a_newer_epoch_and_rejects_an_older_one() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let release = Release::new("hello");
        assert_eq!(host.observe().epoch, Epoch(0));
        assert_eq!(host.stage(&release).epoch, Epoch(7));
        host.start(&host.launch_sh("a", &release, "exec sleep 60"));
        host.site.epoch = Epoch(1 << 40);
        assert_eq!(host.stop("another").epoch, Epoch(1 << 40));

        host.site.epoch = Epoch(8);
        let late = Release::new("late");
        let orders = [
            host.halt("a", Duration::ZERO),
            host.stage_script(&late),
            start(&host.site, &host.launch("b", &release)),
            prune(&host.site, &[release.id.clone()].into()),
        ];
        for order in orders {
            let reply = host.ask(&order);
            assert_eq!(
                reply.end,
                ScriptEnd::Fenced {
                    seen: Epoch(1 << 40)
                },
                "{shell:?}"
            );
            assert_eq!(reply.observation.releases, [release.id.clone()].into());
            assert!(
                host.instance(reply.observation).is_running(),
                "it reports, but does nothing"
            );
        }
        assert_eq!(epoch_file(&host).trim_end(), format!("{} 1", 1_u64 << 40));
        assert_eq!(host.observe().epoch, Epoch(1 << 40), "looking is free");
    }
}

#[test]
fn host_refuses_orders_for_another_fleet_than_its_record_names() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let (release, other) = (Release::new("hello"), Release::new("other"));
        host.stage(&release);
        host.start(&host.launch_sh("a", &release, "exec sleep 60"));
        assert_eq!(host.observe().owner, Some(owner("production")));

        host.site.owner = owner("staging");
        host.site.epoch = Epoch(9);
        let orders = [
            claim(&host.site),
            host.halt("a", Duration::ZERO),
            host.stage_script(&other),
            start(&host.site, &host.launch("b", &release)),
            prune(&host.site, &[release.id.clone()].into()),
        ];
        for order in orders {
            let reply = host.ask(&order);
            let ScriptEnd::Failed(why) = reply.end else {
                panic!("{shell:?}: {:?}", reply.end)
            };
            assert!(
                why.ends_with(
                    "belongs to the fleet production, not to staging; no changes were made"
                ),
                "{why}"
            );
            assert_eq!(
                (reply.observation.epoch, reply.observation.owner.clone()),
                (Epoch(7), Some(owner("production")))
            );
            assert!(host.instance(reply.observation).is_running());
        }

        fs::remove_file(host.root().join("owner")).expect("the record");
        let taken = host.order(&claim(&host.site)).owner;
        assert_eq!(
            taken,
            Some(Owner {
                epoch: Epoch(9),
                ..owner("staging")
            }),
            "a host without a record is free"
        );
    }
}

#[test]
fn claimed_host_rejects_older_actions() {
    let mut host = Host::new();
    let late = host.halt("a", Duration::ZERO);
    host.site.epoch = Epoch(8);
    assert_eq!(host.order(&claim(&host.site)).epoch, Epoch(8));
    assert_eq!(host.ask(&late).end, ScriptEnd::Fenced { seen: Epoch(8) });
}

#[test]
fn transfer_is_fenced_by_a_rollout_that_took_over() {
    let mut host = Host::new();
    let release = Release::new("hello");
    let mut sender = host.spawn(&host.stage_script(&release));
    let tmp = host.root().join("tmp");
    wait_for("the sender", || {
        fs::read_dir(&tmp).is_ok_and(|dir| dir.count() > 0)
    });
    host.site.epoch = Epoch(8);
    host.stop("nothing");
    let bytes = fs::read(&release.path).expect("artifact");
    std::io::Write::write_all(&mut sender.stdin.take().expect("stdin"), &bytes).expect("write");
    let output = sender.wait_with_output().expect("output");
    let stdout = String::from_utf8(output.stdout).expect("text");
    assert!(stdout.ends_with("end=fenced 8\n"), "{stdout}");
    assert!(host.observe().releases.is_empty());
}

#[test]
fn fence_rejects_an_action_after_a_later_one() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let (release, other) = (Release::new("hello"), Release::new("late"));
        host.site.order = ActionId(9);
        host.stage(&release);
        host.start(&host.launch_sh("a", &release, "exec sleep 60"));
        let late = [
            host.halt("a", Duration::ZERO),
            host.stage_script(&other),
            start(&host.site, &host.launch("b", &release)),
            prune(&host.site, &[release.id.clone()].into()),
            claim(&host.site),
        ];
        // One more digit: numbers are compared, not texts.
        host.site.order = ActionId(10);
        host.order(&claim(&host.site));
        for order in late {
            let reply = host.ask(&order);
            assert_eq!(
                reply.end,
                ScriptEnd::Late {
                    taken: ActionId(10)
                },
                "{shell:?}"
            );
            assert_eq!(reply.observation.releases, [release.id.clone()].into());
            assert!(
                host.instance(reply.observation).is_running(),
                "it reports, but does nothing"
            );
        }
        assert_eq!(epoch_file(&host).trim_end(), "7 10");
        assert!(
            host.stop("a").slots.is_empty(),
            "the same order again is carried out"
        );

        // Another rollout numbers its actions from the start.
        host.site.epoch = Epoch(8);
        host.site.order = ActionId(1);
        assert_eq!(host.order(&claim(&host.site)).epoch, Epoch(8));
        assert_eq!(epoch_file(&host).trim_end(), "8 1");
    }
}

#[test]
fn transfer_ends_late_after_a_later_action() {
    let mut host = Host::new();
    let release = Release::new("hello");
    let script = host.stage_script(&release);
    let mut sender = host.spawn(&script);
    let tmp = host.root().join("tmp");
    wait_for("the sender", || {
        fs::read_dir(&tmp).is_ok_and(|dir| dir.count() > 0)
    });
    host.site.order = ActionId(2);
    host.order(&claim(&host.site));
    let mut bytes = script.input.head;
    bytes.extend(fs::read(&release.path).expect("artifact"));
    std::io::Write::write_all(&mut sender.stdin.take().expect("stdin"), &bytes).expect("write");
    let output = sender.wait_with_output().expect("output");
    let stdout = String::from_utf8(output.stdout).expect("text");
    assert!(stdout.ends_with("end=late 2\n"), "{stdout}");
    assert!(host.observe().releases.is_empty());
}

#[test]
fn fence_reads_an_epoch_without_an_action_number() {
    for shell in shells() {
        let mut host = Host::with(shell);
        host.order(&claim(&host.site));
        fs::write(host.root().join("epoch"), "7\n").expect("epoch");
        assert_eq!(host.observe().epoch, Epoch(7), "{shell:?}");
        host.order(&claim(&host.site));
        assert_eq!(epoch_file(&host).trim_end(), "7 1", "{shell:?}");
        fs::write(host.root().join("epoch"), "8\n").expect("epoch");
        assert_eq!(
            host.ask(&claim(&host.site)).end,
            ScriptEnd::Fenced { seen: Epoch(8) }
        );
        host.site.epoch = Epoch(8);
        assert_eq!(host.order(&claim(&host.site)).epoch, Epoch(8));
    }
}

#[test]
fn fence_rejects_every_action_if_the_epoch_is_not_a_number() {
    for wrong in ["seven\n", "", "7 x\n", "7 1 1\n"] {
        let host = Host::new();
        host.stage(&Release::new("hello"));
        fs::write(host.root().join("epoch"), wrong).expect("epoch");
        let ran = host.run(&host.halt("a", Duration::ZERO));
        let why = "/epoch does not contain a number";
        assert!(
            ran.stdout.contains("end=failed ") && ran.stdout.contains(why),
            "{wrong:?}: {ran:?}"
        );
    }
}

#[test]
fn lock_timeout_reports_the_holder() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        host.start(&host.launch_sh(
            "a",
            &release,
            "trap '' TERM; echo up; while :; do sleep 0.05; done",
        ));
        host.wait_for_log("up");
        let mut holder = host.spawn(&host.halt("a", Duration::from_secs(5)));
        let lock = host.root().join("lock");
        let expected = format!("stop, epoch 7, order 1, pid {}", holder.id());
        wait_for("the lock", || {
            fs::read_to_string(&lock).is_ok_and(|lock| lock.contains(&expected))
        });

        let reply = host.ask(&impatient(prune(&host.site, &[release.id.clone()].into())));
        assert_eq!(
            reply.end,
            ScriptEnd::LockBusy {
                holder: format!("{expected}, for 0 s")
            },
            "{shell:?}"
        );
        assert_eq!(reply.observation.releases.len(), 1);
        // Looking takes no lock.
        assert!(host.instance(host.observe()).is_running());
        let pid = host.pid().to_string();
        assert!(
            Command::new("kill")
                .args(["-KILL", &pid])
                .status()
                .expect("kill")
                .success()
        );
        assert!(holder.wait().expect("status").success());
    }
}

#[test]
fn process_that_holds_the_lock_without_a_note_is_named() {
    let host = Host::new();
    host.order(&claim(&host.site));
    let lock = host.root().join("lock");
    let mut holder = Command::new("flock")
        .arg("--close")
        .arg(&lock)
        .args(["-c", "read line"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("flock");
    wait_for("the lock", || {
        !Command::new("flock")
            .arg("-n")
            .arg(&lock)
            .arg("true")
            .status()
            .expect("flock")
            .success()
    });
    let reply = host.ask(&impatient(claim(&host.site)));
    drop(holder.stdin.take());
    holder.wait().expect("flock");
    let ScriptEnd::LockBusy { holder: printed } = reply.end else {
        panic!("{reply:?}")
    };
    assert_eq!(
        printed,
        format!("pid {} (flock), which is not a ship script", holder.id())
    );
}

#[test]
fn service_does_not_inherit_the_lock() {
    let (host, release) = Host::with_release();
    host.start(&host.launch_sh("a", &release, "exec sleep 60"));
    assert_eq!(
        host.ask(&impatient(host.halt("another", Duration::ZERO)))
            .end,
        ScriptEnd::Done
    );
    let free = Command::new("flock")
        .arg("-n")
        .arg(host.root().join("lock"))
        .arg("true")
        .status();
    assert!(free.expect("flock").success());
}

#[test]
fn uncreatable_directory_is_a_failure_with_its_error() {
    let mut host = Host::new();
    fs::write(host.dir.path().join("file"), "").expect("file");
    host.site.base_dir = host.dir.path().join("file").to_str().expect("path").into();
    let why = host.run(&host.halt("a", Duration::ZERO)).failure();
    assert!(
        why.contains("mkdir") && why.contains("Not a directory"),
        "{why}"
    );
}

#[test]
fn script_completes_after_its_reader_has_disconnected() {
    let (host, release) = Host::with_release();
    let mut child = host
        .command(&start(
            &host.site,
            &host.launch_sh("a", &release, "exec sleep 60"),
        ))
        .stdin(Stdio::null())
        .spawn()
        .expect("a shell");
    drop(child.stdout.take());
    drop(child.stderr.take());
    child.wait().expect("wait");
    assert!(host.instance(host.observe()).is_running());
}

/// The script, with a short deadline for the lock.
fn impatient(script: Script) -> Script {
    let text = script
        .text
        .replace("LOCK_WAIT_CS='1000'", "LOCK_WAIT_CS='5'");
    assert_ne!(text, script.text);
    Script { text, ..script }
}
