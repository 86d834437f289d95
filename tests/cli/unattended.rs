//! `ship deploy --unattended`, `ship freeze` and `ship thaw`.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Running, ship_command};

/// Three replicas of 0.8, with a short soak of the first new instance.
fn at_night() -> LocalProject {
    let project = LocalProject::new().with(
        "[rollout]\n",
        "[unattended]\nsoak = \"200ms\"\n\n[rollout]\n",
    );
    project.deploy("0.8");
    project
}

/// What cron calls.
fn nightly(version: &str) -> [&str; 5] {
    [
        "deploy",
        "inventory.toml",
        "--version",
        version,
        "--unattended",
    ]
}

/// Deploys at night and returns the output.
#[track_caller]
fn tonight(project: &LocalProject, version: &str, more: &[&str], status: i32) -> String {
    project
        .ship(&[&nightly(version)[..], more].concat())
        .any_stderr()
        .status(status)
        .run()
        .stderr
}

#[track_caller]
fn says(printed: &str, words: &[&str]) {
    for word in words {
        assert!(printed.contains(word), "no {word:?} in:\n{printed}");
    }
}

#[test]
fn unattended_deploy_skips_a_quarantined_release() {
    let project = at_night();
    project.release("0.9", Behaviour::Exits);
    tonight(&project, "0.9", &[], 3);
    let printed = tonight(&project, "0.9", &[], 0);
    says(
        &printed,
        &[
            "skipped: 0.9 is quarantined since it failed as revision 2 (",
            "deploy a new build, or use --force",
        ],
    );
    assert_eq!(
        project.history(),
        ["2 0.9 rolled-back", "1 0.8 succeeded"],
        "nothing was tried"
    );
    let reported = project
        .ship(&[&nightly("0.9")[..], &["--output", "json"]].concat())
        .any_stdout()
        .run()
        .stdout;
    says(
        &reported,
        &["\"event\":\"skipped\"", "\"why\":\"0.9 is quarantined"],
    );
}

#[test]
fn frozen_fleet_refuses_deploys_until_thawed() {
    let project = at_night();
    let frozen = project
        .ship(&[
            "freeze",
            "inventory.toml",
            "--until",
            "3d",
            "--reason",
            "the sale",
        ])
        .any_stdout()
        .run();
    says(
        &frozen.stdout,
        &[
            "service `page` frozen by ",
            " until ",
            " (the sale)\nhint: `ship thaw` ends the freeze",
        ],
    );
    project.release("1.0", Behaviour::Good);
    for more in [&[][..], &["--unattended"]] {
        let args = [&["deploy", "inventory.toml", "--version", "1.0"], more].concat();
        let printed = project.ship(&args).any_stderr().status(6).run().stderr;
        says(
            &printed,
            &[
                "is frozen by ",
                "(the sale)",
                "no changes were made",
                "use --force",
            ],
        );
    }
    let status = project
        .ship(&["status", "inventory.toml"])
        .any_stdout()
        .run()
        .stdout;
    says(&status, &["frozen by ", "(the sale)"]);
    project
        .ship(&["thaw", "inventory.toml"])
        .stdout("service `page` thawed\n")
        .run();
    project
        .ship(&["thaw", "inventory.toml"])
        .stdout("service `page` was not frozen\n")
        .run();
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
    project.deploy("1.0");
}

#[test]
fn freeze_rejects_invalid_times() {
    let project = at_night();
    for (until, why) in [
        ("someday", "expected a duration from now"),
        ("2020-01-01", "--until is in the past"),
    ] {
        let done = project
            .ship(&["freeze", "inventory.toml", "--until", until])
            .any_stderr()
            .status(2)
            .run();
        says(&done.stderr, &[why]);
    }
}

/// A window of two hours that begins this many hours from now.
fn window(hours_ahead: u64) -> String {
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let clock = |at_s: u64| format!("{:02}:{:02}", at_s / 3600 % 24, at_s / 60 % 60);
    let from_s = now_s + hours_ahead * 3600 - 60;
    format!(
        "windows = \"{}-{}\"\ntime_zone = \"UTC\"\n",
        clock(from_s),
        clock(from_s + 7200)
    )
}

#[test]
fn unattended_deploy_outside_its_windows_is_refused() {
    let project = at_night().with(
        "soak = \"200ms\"\n",
        &format!("soak = \"200ms\"\n{}", window(5)),
    );
    let printed = tonight(&project, "0.9", &[], 6);
    says(
        &printed,
        &[
            "no deploy window is open; ",
            " UTC opens in 4h5",
            "no changes were made",
        ],
    );
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn concurrent_unattended_deploys_deploy_once() {
    let project = at_night();
    project.release("0.9", Behaviour::Gated);
    let mut first = project.ship(&nightly("0.9")).spawn();
    first.await_words("started   0.9");
    let printed = tonight(&project, "0.9", &["--lock-timeout", "100ms"], 6);
    says(&printed, &["locked by ", "waiting for up to 100ms"]);
    let mut second = project
        .ship(&[&nightly("0.9")[..], &["--lock-timeout", "1m"]].concat())
        .spawn();
    second.await_words("waiting for up to 1m");
    project.open_gate();
    first.wait().exits(0);
    second.wait().exits(0).prints(&["nothing to do: page 0.9"]);
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

/// Tonight's ship is killed in the middle.
fn interrupted() -> LocalProject {
    let project = at_night();
    project.release("0.9", Behaviour::Gated);
    let mut deploy = project.ship(&nightly("0.9")).spawn();
    deploy.await_words("started   0.9");
    deploy.signal("KILL");
    deploy.wait();
    project.open_gate();
    project
}

#[test]
fn interrupted_deploy_is_resumed_by_the_next_run() {
    let project = interrupted();
    tonight(&project, "0.9", &[], 0);
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn unattended_deploy_needs_no_home_path_or_terminal() {
    let project = at_night();
    let inventory = project.path("inventory.toml").display().to_string();
    let args = ["deploy", &inventory, "--version", "0.9", "--unattended"];
    let mut ship = ship_command(project.root(), &args);
    ship.env_clear().current_dir("/");
    Running::spawn(ship).wait().exits(0);
    assert_eq!(project.history()[0], "2 0.9 succeeded");
}
