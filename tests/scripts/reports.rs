//! Parsing the reports of scripts, and input that no script prints.

use proptest::prelude::*;
use ship::core::fleet::{Listener, Occupant};
use ship::core::ids::Epoch;
use ship::core::release::Driver;
use ship::core::time::Time;
use ship::script::{Needs, ScriptEnd, Unreadable, check, read_check, read_reply};

use crate::host::{Host, now, shells};

const DIGEST: &str = "515849216a515849216a515849216a515849216a515849216a515849216a5158";

/// A report as a host prints it, with one instance that was started 60 s ago.
fn report() -> String {
    format!(
        "\nship=1\nnow=100.50\nboot=b\nepoch=7\nfree=2048\nstaged={DIGEST}\nslot=8081\n.name=testpage-a\n\
         .release={DIGEST}\n.revision=3\n.version=0.8 \
         beta\n.driver=process\n.started=40.50\n.boot=b\n\
         process=running\nlisten=8081 8081 0B00007F own\nlisten=8082 8082 00000000 other pid 4711 \
         (nginx)\nend=done\n"
    )
}

fn read(text: &str) -> Result<ship::script::Reply, Unreadable> {
    read_reply(text, Time(1_000_000))
}

fn complaint(text: &str) -> String {
    read(text).expect_err("unreadable").to_string()
}

#[test]
fn report_is_parsed_completely() {
    let reply = read(&report()).expect("a report");
    assert_eq!(
        (
            reply.end,
            reply.observation.epoch,
            reply.observation.free_kib
        ),
        (ScriptEnd::Done, Epoch(7), Some(2048))
    );
    let slots = reply.observation.slots;
    match slots.get(&8081) {
        Some(Occupant::Instance(instance)) => {
            assert_eq!(
                instance.started,
                Time(940_000),
                "the ages agree, whatever the clocks say"
            );
            assert_eq!(
                instance.listener(8081).clone(),
                Listener::Own {
                    address: "127.0.0.11".into()
                }
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        slots.get(&8082),
        Some(&Occupant::OtherProcess("pid 4711 (nginx)".into()))
    );
}

#[test]
fn report_parser_skips_output_of_the_login_shell() {
    assert_eq!(
        read(&format!("Welcome!\nnow=1{}", report())),
        read(&report())
    );
}

#[test]
fn report_parser_distinguishes_every_end_from_a_lost_connection() {
    let ended = |end: &str| read(&report().replace("end=done", end)).map(|reply| reply.end);
    assert_eq!(
        ended("end=failed no space"),
        Ok(ScriptEnd::Failed("no space".into()))
    );
    assert_eq!(ended("end=failed"), Ok(ScriptEnd::Failed(String::new())));
    assert_eq!(
        ended("end=fenced 9"),
        Ok(ScriptEnd::Fenced { seen: Epoch(9) })
    );
    assert_eq!(
        ended("end=busy stop, epoch 7"),
        Ok(ScriptEnd::LockBusy {
            holder: "stop, epoch 7".into()
        })
    );
    for cut in 1..report().len() {
        assert!(read(&report()[..cut]).is_err(), "cut at {cut}");
    }
    assert_eq!(
        complaint(""),
        "the host's output does not contain the report of a ship script"
    );
    assert_eq!(
        complaint("\nship=1\nnow=1\n"),
        "the host's report is incomplete"
    );
}

#[test]
fn unobservable_host_is_an_error() {
    let printed =
        complaint("\nship=1\nunseen=systemctl show: Failed to connect to bus\nend=done\n");
    assert_eq!(
        printed,
        "the host cannot determine what is running: systemctl show: Failed to connect to bus"
    );
}

#[test]
fn report_parser_rejects_invalid_values() {
    let with = |from: &str, to: &str| {
        let text = report();
        assert!(text.contains(from), "{from}");
        complaint(&text.replacen(from, to, 1))
    };
    assert!(with(&format!("staged={DIGEST}"), "staged=../../etc").contains("not contain a digest"));
    assert!(
        with(
            &format!(".release={DIGEST}"),
            &format!(".release={}", DIGEST.to_uppercase())
        )
        .contains("not contain a digest")
    );
    assert!(with("slot=8081", "slot=98081").contains("does not contain a valid number"));
    assert!(with("epoch=7", "epoch=").contains("does not contain a valid number"));
    assert!(with(".name=testpage-a", ".name=a b").contains("is not the name of an instance"));
    assert!(
        with(".name=testpage-a\n", "")
            .contains("does not contain the name of the instance in slot 8081")
    );
    assert!(with("process=running\n", "").contains("does not contain the process"));
    assert!(with("process=running", "process=sleeping").contains("not a process state"));
    assert!(with("now=100.50", "now=NaN").contains("is not a time"));
    assert!(with("now=100.50", "now=-1").contains("is not a time"));
    assert!(with("0B00007F own", "0B00007F mine").contains("neither"));
    assert!(with("0B00007F own", "localhost own").contains("not contain an address"));
    assert!(with("free=2048", "surprise=1").contains("has an unknown key"));
    assert!(with("slot=8081\n", "").contains("does not follow a slot"));
    assert!(with("slot=8081\n", "slot=8081\nslot=8081\n").contains("is a duplicate"));
    assert!(with("end=done\n", "end=done\nmore=1\n").contains("follows the end"));
}

#[test]
fn instance_age_is_limited_by_the_host_uptime() {
    let reply = read(&report().replacen(".boot=b", ".boot=a", 1)).expect("a report");
    match reply.observation.slots.get(&8081) {
        Some(Occupant::Instance(instance)) => {
            assert_eq!(instance.started, Time(1_000_000 - 100_500));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn shared_port_does_not_count_as_the_instances() {
    let listener = |rows: &str| {
        let reply =
            read(&report().replacen("listen=8081 8081 0B00007F own\n", rows, 1)).expect("a report");
        match reply.observation.slots.get(&8081) {
            Some(Occupant::Instance(instance)) => instance.listener(8081).clone(),
            other => panic!("{other:?}"),
        }
    };
    let other = || Listener::Other {
        who: "pid 1 (old)".into(),
    };
    let own = |address: &str| Listener::Own {
        address: address.into(),
    };
    assert_eq!(listener(""), Listener::Closed);
    assert_eq!(
        listener("listen=8081 8081 0B00007F other pid 1 (old)\n"),
        other()
    );
    assert_eq!(
        listener("listen=8081 8081 0B00007F own\nlisten=8081 8081 0B00007F other pid 1 (old)\n"),
        other()
    );
    assert_eq!(
        listener("listen=8081 8081 0B00007F own\nlisten=8081 8081 0C00007F other pid 1 (old)\n"),
        own("127.0.0.11")
    );
    assert_eq!(
        listener(&format!(
            "listen=8081 8081 {} own\nlisten=8081 8081 00000000 own\n",
            "0".repeat(32)
        )),
        own("0.0.0.0")
    );
    assert_eq!(
        listener(&format!("listen=8081 8081 {} own\n", "0".repeat(32))),
        own("::")
    );
}

#[test]
fn check_reports_missing_programs_and_creates_nothing() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let ran = host.run(&check(&host.site, &Needs::NONE));
        let (facts, observation) = read_check(&ran.stdout, now()).expect("facts");
        assert_eq!(
            (facts.missing, facts.problems),
            (vec![], vec![]),
            "{shell:?}"
        );
        assert!(!facts.user.is_empty() && observation.free_kib.is_some());
        assert!(!host.root().exists());

        std::fs::write(host.dir.path().join("file"), "").expect("file");
        host.site.base_dir = host.dir.path().join("file").to_str().expect("path").into();
        let mut script = check(&host.site, &Needs::NONE);
        script.text = script.text.replace(" wc'", " wc no-such-tool'");
        let (facts, _) = read_check(&host.run(&script).stdout, now()).expect("facts");
        assert_eq!(facts.missing, ["no-such-tool"]);
        assert!(
            facts
                .problems
                .iter()
                .any(|why| why.ends_with("/file is not a directory"))
        );
    }
}

#[test]
fn check_requires_command_tools_only_with_commands() {
    let host = Host::with(shells()[0]);
    let asks_for = |tool: &str, needs| {
        let text = check(&host.site, &needs).text;
        text.lines()
            .any(|line| line.starts_with("TOOLS=") && line.contains(&format!(" {tool} ")))
    };
    let commands = Needs {
        runs_commands: true,
        ..Needs::NONE
    };
    assert!(asks_for("mkfifo", commands) && !asks_for("mkfifo", Needs::NONE));
    assert!(
        asks_for(
            "setpriv",
            Needs {
                driver: Driver::Systemd,
                ..commands
            }
        ) && !asks_for("setpriv", commands)
    );
}

proptest! {
    #[test]
    fn report_parser_accepts_any_text(text in "(\nship=1\n)?([a-z.]{0,8}=?[ -~]{0,12}\n){0,12}") {
        let _ = read(&text);
    }

    #[test]
    fn report_parser_accepts_any_change(at in 0..460_usize, len in 0..40_usize, new in any::<String>()) {
        let mut text = report();
        let (at, end) = (at.min(text.len()), (at + len).min(text.len()));
        text.replace_range(at..end, &new);
        if let Ok(reply) = read(&text) {
            for release in &reply.observation.releases {
                prop_assert!(release.as_str().len() == 64 && !release.as_str().contains(['/', '.']));
            }
        }
    }
}

#[test]
fn host_is_identified_by_machine_and_directory() {
    for shell in shells() {
        let mut host = Host::with(shell);
        let identity = |host: &Host| host.observe().identity.expect("an identity");
        let before = identity(&host);
        std::fs::create_dir_all(host.root()).expect("directory");
        let after = identity(&host);
        assert_eq!(after.machine, before.machine);

        let base_dir = host.site.base_dir.clone();
        let link = host.dir.path().join("link");
        std::os::unix::fs::symlink(&base_dir, &link).expect("link");
        host.site.base_dir = link.to_str().expect("path").into();
        assert_eq!(
            identity(&host),
            after,
            "{shell:?}: the same directory by another path"
        );
        host.site.base_dir = format!("{base_dir}/other");
        assert_eq!(identity(&host).machine, after.machine);
        assert_ne!(
            identity(&host).directory,
            after.directory,
            "{shell:?}: another directory"
        );
    }
}
