//! `ship deploy --unattended`, `ship freeze` and `ship thaw`: what happens at night is decided by
//! day.

use std::time::{SystemTime, UNIX_EPOCH};

use snapbox::str;

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::{Running, ship_command};

/// Three replicas of 0.8; the first instance of what comes is not watched for long.
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

/// Deploys at night; what it said.
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
fn says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
}

#[test]
fn one_instance_comes_first_and_is_watched() {
    let project = at_night();
    let said = tonight(&project, "0.9", &[], 0);
    says(
        &said,
        &[
            "step 1 of 2 is reached, with 1 new instance; it soaks for 200ms",
            "rolled out",
        ],
    );
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn what_runs_already_is_left_as_it_is() {
    let project = at_night();
    project
        .ship(&nightly("0.8"))
        .stderr(str![[r#"
nothing to do: page 0.8 (revision 1) is available on 3 of 3

"#]])
        .run();
    assert_eq!(project.history().len(), 1);
}

#[test]
fn what_has_failed_is_skipped_until_there_is_a_new_build_or_somebody_insists() {
    let project = at_night();
    project.release("0.9", Behaviour::Exits);
    tonight(&project, "0.9", &[], 3);
    let said = tonight(&project, "0.9", &[], 0);
    says(
        &said,
        &[
            "skipped: 0.9 is quarantined since it failed as revision 2 (",
            "`ship deploy --force`",
        ],
    );
    assert_eq!(
        project.history(),
        ["2 0.9 rolled-back", "1 0.8 succeeded"],
        "nothing was tried"
    );
    let told = project
        .ship(&[&nightly("0.9")[..], &["--output", "json"]].concat())
        .any_stdout()
        .run()
        .stdout;
    says(
        &told,
        &["\"event\":\"skipped\"", "\"why\":\"0.9 is quarantined"],
    );
    tonight(&project, "0.9", &["--force"], 3);
    assert_eq!(project.history().len(), 3);
    // By day a person tries what he likes; by night a new build is tried.
    project.release("0.9", Behaviour::Good);
    tonight(&project, "0.9", &[], 0);
    assert_eq!(project.history()[0], "4 0.9 succeeded");
}

#[test]
fn what_a_person_went_back_from_does_not_come_back_at_night() {
    let project = at_night();
    project.deploy("0.9");
    project
        .ship(&["rollback", "inventory.toml"])
        .any_stderr()
        .run();
    says(
        &tonight(&project, "0.9", &[], 0),
        &["skipped: 0.9 is quarantined since revision 2 was gone back from"],
    );
    project.release("1.0", Behaviour::Good);
    tonight(&project, "1.0", &[], 0);
}

#[test]
fn a_fleet_that_is_not_well_gets_no_new_version_but_its_own_again() {
    let project = at_night();
    project.end_instance("node1", 8081);
    let said = tonight(&project, "0.9", &[], 2);
    says(
        &said,
        &[
            "the fleet is not healthy to begin with: 2 of 3 replicas are available",
            "nothing was touched",
        ],
    );
    assert_eq!(project.history().len(), 1);
    tonight(&project, "0.8", &[], 0);
    assert_eq!(project.running().len(), 3);
    tonight(&project, "0.9", &[], 0);
}

#[test]
fn what_waits_for_a_person_is_left_to_one() {
    let project = at_night();
    project.release("0.9", Behaviour::Wrong);
    let hold = [
        "--set",
        "rollout.on_failure=hold",
        "--set",
        "rollout.progress_deadline=2s",
    ];
    tonight(&project, "0.9", &hold, 4);
    let said = tonight(&project, "0.8", &[], 2);
    says(
        &said,
        &[
            "the last rollout is held",
            "a person is needed",
            "`ship abort`",
        ],
    );
}

#[test]
fn a_frozen_fleet_gets_nothing_new_until_it_is_thawed() {
    let project = at_night();
    project.deploy("0.9");
    let frozen = project
        .ship(&[
            "freeze",
            "inventory.toml",
            "--until",
            "3d",
            "--why",
            "the sale",
        ])
        .any_stdout()
        .run();
    says(
        &frozen.stdout,
        &[
            "deployment \"page\" frozen by ",
            " until ",
            " (the sale); `ship thaw` ends it",
        ],
    );
    project.release("1.0", Behaviour::Good);
    for more in [&[][..], &["--unattended"]] {
        let args = [&["deploy", "inventory.toml", "--version", "1.0"], more].concat();
        let said = project.ship(&args).any_stderr().status(6).run().stderr;
        says(
            &said,
            &[
                "is frozen by ",
                "(the sale)",
                "nothing was touched",
                "--force goes ahead",
            ],
        );
    }
    let status = project
        .ship(&["status", "inventory.toml"])
        .any_stdout()
        .run()
        .stdout;
    says(&status, &["frozen by ", "(the sale)"]);
    // To go back is always right.
    project
        .ship(&["rollback", "inventory.toml"])
        .any_stderr()
        .run();
    tonight(&project, "1.0", &["--force"], 0);
    project
        .ship(&["thaw", "inventory.toml"])
        .stdout(str![[r#"
deployment "page" thawed

"#]])
        .run();
    project.deploy("0.9");
    project
        .ship(&["thaw", "inventory.toml"])
        .stdout(str![[r#"
deployment "page" was not frozen

"#]])
        .run();
}

#[test]
fn a_freeze_in_the_middle_lets_end_what_was_begun_and_the_next_deploy_goes_on() {
    let project = LocalProject::new();
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("started   0.9");
    project
        .ship(&["freeze", "inventory.toml", "--until", "1h"])
        .any_stdout()
        .run();
    deploy.await_words("nothing new is begun");
    project.open_gate();
    let said = deploy.wait().exits(6).stderr;
    says(
        &said,
        &[
            "has stopped after ",
            "1 of 3 updated, 3 of 3 available",
            "the next deploy goes on from here",
        ],
    );
    assert_eq!(project.status()["state"], "paused");
    assert_eq!(
        project
            .running()
            .iter()
            .filter(|row| row.ends_with("0.9"))
            .count(),
        1
    );
    project.ship(&["thaw", "inventory.toml"]).any_stdout().run();
    project.deploy("0.9");
    assert_eq!(
        project
            .running()
            .iter()
            .filter(|row| row.ends_with("0.9"))
            .count(),
        3
    );
}

#[test]
fn moments_that_are_none_are_refused() {
    let project = at_night();
    for (until, why) in [
        ("someday", "no such moment; say for how long"),
        ("2020-01-01", "has passed already"),
    ] {
        let done = project
            .ship(&["freeze", "inventory.toml", "--until", until])
            .any_stderr()
            .status(2)
            .run();
        says(&done.stderr, &[why]);
    }
}

/// A window of two hours that begins so many hours from now.
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
fn outside_of_its_windows_nothing_begins() {
    let project = at_night().with(
        "soak = \"200ms\"\n",
        &format!("soak = \"200ms\"\n{}", window(5)),
    );
    let said = tonight(&project, "0.9", &[], 6);
    says(
        &said,
        &[
            "it is outside of the windows; ",
            " UTC opens in 4h5",
            "nothing was touched",
        ],
    );
    // Who is there decides himself when it is time.
    project.deploy("0.9");
    tonight(&project, "0.8", &["--force"], 0);
}

#[test]
fn within_its_window_what_can_end_in_time_begins_and_what_cannot_does_not() {
    let project = at_night().with(
        "soak = \"200ms\"\n",
        &format!("soak = \"200ms\"\n{}", window(0)),
    );
    let said = tonight(&project, "0.9", &["--set", "unattended.soak=3h"], 6);
    says(
        &said,
        &[
            " UTC closes in 1h5",
            "what would begin now takes 3h at least",
            "nothing was touched",
        ],
    );
    assert_eq!(project.history().len(), 1);
    tonight(&project, "0.9", &[], 0);
}

#[test]
fn two_at_once_wait_for_one_another_and_deploy_once() {
    let project = at_night();
    project.release("0.9", Behaviour::Gated);
    let mut first = project.ship(&nightly("0.9")).spawn();
    first.await_words("started   0.9");
    let said = tonight(&project, "0.9", &["--lock-wait", "100ms"], 6);
    says(&said, &["locked by ", "waiting for up to 100ms"]);
    let mut second = project
        .ship(&[&nightly("0.9")[..], &["--lock-wait", "1m"]].concat())
        .spawn();
    second.await_words("waiting for up to 1m");
    project.open_gate();
    first.wait().exits(0);
    second.wait().exits(0).says(&["nothing to do: page 0.9"]);
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

/// Tonight's ship is killed in the middle.
fn cut_off() -> LocalProject {
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
fn what_was_cut_off_goes_on_the_next_night() {
    let project = cut_off();
    tonight(&project, "0.9", &[], 0);
    assert_eq!(project.history(), ["2 0.9 succeeded", "1 0.8 succeeded"]);
}

#[test]
fn what_was_cut_off_goes_back_the_next_night_where_the_playbook_says_so() {
    let project = cut_off();
    let said = tonight(
        &project,
        "0.9",
        &["--set", "unattended.interrupted=abort"],
        3,
    );
    says(
        &said,
        &["the deploy of 0.9 was left unfinished, and goes back"],
    );
    assert!(
        project.running().iter().all(|row| row.ends_with("0.8")),
        "{:?}",
        project.running()
    );
    assert_eq!(project.running().len(), 3);
}

#[test]
fn it_needs_no_home_no_path_no_terminal_and_no_directory() {
    let project = at_night();
    let inventory = project.path("inventory.toml").display().to_string();
    let args = ["deploy", &inventory, "--version", "0.9", "--unattended"];
    let mut ship = ship_command(project.root(), &args);
    ship.env_clear().current_dir("/");
    Running::spawn(ship).wait().exits(0);
    assert_eq!(project.history()[0], "2 0.9 succeeded");
}
