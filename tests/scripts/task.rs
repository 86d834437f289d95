//! One command of a release on a host, such as a migration.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use ship::core::ids::{ActionId, Epoch};
use ship::core::release::Driver;
use ship::core::release::hook::{CommandEnd, CommandRun};
use ship::script::{DoneMark, ScriptEnd, TaskCommand, TaskCommandEnd, claim, read_task, task};

use crate::host::{Host, Release, now, shells, wait_for};

fn order(release: &Release, script: &str) -> TaskCommand {
    let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    TaskCommand {
        release: release.id.clone(),
        shared_dirs: Vec::new(),
        driver: Driver::Process,
        user: None,
        argv: ["sh", "-c", script].map(String::from).to_vec(),
        env: [
            pair(("COLOUR", "deep $blue")),
            pair(("SHIP_VERSION", "none")),
        ]
        .into(),
        ship_env: BTreeMap::from([pair(("SHIP_VERSION", "0.8"))]),
        timeout: Duration::from_mins(1),
        mark: None,
    }
}

fn marked(release: &Release, script: &str, note: &str) -> TaskCommand {
    TaskCommand {
        mark: Some(DoneMark {
            id: "2026-11-add-email".into(),
            note: note.into(),
        }),
        ..order(release, script)
    }
}

fn run(host: &Host, order: &TaskCommand) -> TaskCommandEnd {
    let ran = host.run(&task(&host.site, order));
    assert_eq!(ran.stderr, "");
    let (end, observation) =
        read_task(&ran.stdout, now()).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert!(observation.epoch <= Epoch(8) && observation.hooks.is_empty());
    assert_eq!(
        fs::read_dir(host.root().join("tmp")).expect("tmp").count(),
        0
    );
    end
}

fn done(end: TaskCommandEnd) -> CommandRun {
    match end {
        TaskCommandEnd::Done(run) => run,
        other => panic!("not done but {other:?}"),
    }
}

#[test]
fn task_runs_in_its_release_with_environment_and_secrets() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello").with_secrets("TOKEN=\"t\"\n");
        host.stage(&release);
        let script = "cat index.html; echo; echo $COLOUR $TOKEN $SHIP_VERSION >&2; cat";
        assert_eq!(
            done(run(&host, &order(&release, script))).output,
            ["hello", "deep $blue t 0.8"],
            "{shell:?}"
        );
    }
}

#[test]
fn marked_task_runs_once() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let script = "echo made >>../../../made; echo now";
        assert_eq!(
            done(run(&host, &marked(&release, script, "revision 7"))).output,
            ["now"],
            "{shell:?}"
        );
        let again = run(&host, &marked(&release, script, "revision 8"));
        assert_eq!(
            again,
            TaskCommandEnd::AlreadyDone {
                note: "revision 7".into()
            },
            "{shell:?}"
        );
        assert_eq!(
            fs::read_to_string(host.root().join("made")).expect("made"),
            "made\n"
        );
        done(run(&host, &order(&release, script)));
        assert_eq!(
            fs::read_to_string(host.root().join("made")).expect("made"),
            "made\nmade\n",
            "a task that has not run is not reported"
        );
    }
}

#[test]
fn failed_task_is_reported_and_not_marked() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let failed = run(
            &host,
            &marked(
                &release,
                "echo one; echo no such table; exit 3",
                "revision 7",
            ),
        );
        let TaskCommandEnd::Failed {
            why,
            run: Some(ran),
        } = failed
        else {
            panic!("{failed:?}")
        };
        assert_eq!(why, "it exited with status 3: no such table");
        assert_eq!(
            (ran.end, ran.output),
            (
                CommandEnd::Exit(3),
                vec!["one".into(), "no such table".into()]
            ),
            "{shell:?}"
        );
        done(run(&host, &marked(&release, "true", "revision 8")));
    }
}

#[test]
fn task_is_killed_at_its_timeout() {
    for shell in shells() {
        let host = Host::with(shell);
        let release = Release::new("hello");
        host.stage(&release);
        let order = marked(
            &release,
            "trap '' TERM; echo began; sleep 50 & sleep 50",
            "revision 7",
        );
        let end = run(
            &host,
            &TaskCommand {
                timeout: Duration::from_secs(1),
                ..order
            },
        );
        let TaskCommandEnd::Failed {
            why,
            run: Some(run),
        } = end
        else {
            panic!("{end:?}")
        };
        assert_eq!(
            (why.as_str(), run.end),
            ("it did not finish within 1 s: began", CommandEnd::TimedOut),
            "{shell:?}"
        );
        assert!(!host.root().join("migrations/2026-11-add-email").exists());
    }
}

#[test]
fn task_fails_if_the_release_is_not_staged() {
    let host = Host::new();
    let (release, other) = (Release::new("hello"), Release::new("other"));
    host.stage(&release);
    let end = run(&host, &order(&other, "true"));
    assert_eq!(
        end,
        TaskCommandEnd::Failed {
            why: "the release is not on this host".into(),
            run: None
        }
    );
}

#[test]
fn task_is_fenced_by_a_newer_epoch() {
    let mut host = Host::new();
    let release = Release::new("hello");
    host.stage(&release);
    host.site.epoch = Epoch(8);
    host.order(&claim(&host.site));
    host.site.epoch = Epoch(7);
    let end = run(&host, &order(&release, "echo never >../../../made"));
    assert_eq!(
        end,
        TaskCommandEnd::Rejected(ScriptEnd::Fenced { seen: Epoch(8) })
    );
    host.site.epoch = Epoch(8);
    host.site.order = ActionId(0);
    let end = run(&host, &order(&release, "echo never >../../../made"));
    assert_eq!(
        end,
        TaskCommandEnd::Rejected(ScriptEnd::Late { taken: ActionId(1) })
    );
    assert!(!host.root().join("made").exists());
}

/// The connection is lost: the task completes and is recorded, although no one reads its output.
#[test]
fn task_completes_without_its_controller() {
    let (host, release) = Host::with_release();
    let script = "echo $$ >../../../begun; while [ ! -e ../../../go ]; do sleep 0.01; done";
    let order = marked(&release, script, "revision 7");
    let script = task(&host.site, &order);
    let mut child = host.spawn(&script);
    let mut stdin = child.stdin.take().expect("stdin");
    std::io::Write::write_all(&mut stdin, &script.input.head).expect("input");
    drop((stdin, child.stdout.take(), child.stderr.take()));
    wait_for("its begin", || host.root().join("begun").exists());
    fs::write(host.root().join("go"), "").expect("file");
    child.wait().expect("wait");
    assert_eq!(
        run(&host, &order),
        TaskCommandEnd::AlreadyDone {
            note: "revision 7".into()
        }
    );
}
