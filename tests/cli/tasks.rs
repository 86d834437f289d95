//! Hooks that run once per rollout: `before_all`, `after_all`, `on_success` and `on_failure`.

use std::fmt::Write as _;
use std::fs;

use crate::project::{DEADLINE, LocalProject};
use ship_testing::behaviour::Behaviour;
use ship_testing::namespace::until;

/// A project whose playbook has these hooks. Their commands receive the path of the file `printed`.
fn with_hooks(hooks: &[(&str, &str)]) -> LocalProject {
    let project = LocalProject::new();
    let printed = project.path("printed").display().to_string();
    let mut tables = String::new();
    for (head, command) in hooks {
        let command = command.replace("PRINTED", &printed);
        write!(
            tables,
            "[[hooks]]\n{head}\ncommand = '''sh -c \"{command}\"'''\n\n"
        )
        .expect("memory");
    }
    project.with("[rollout]\n", &format!("{tables}[rollout]\n"))
}

/// The output of the hooks so far.
fn printed(project: &LocalProject) -> Vec<String> {
    fs::read_to_string(project.path("printed"))
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn tasks_run_once_in_order_with_their_environment() {
    let project = with_hooks(&[
        (
            "on = \"on_success\"",
            "echo on_success $SHIP_OUTCOME >> PRINTED",
        ),
        ("on = \"on_failure\"", "echo on_failure >> PRINTED"),
        (
            "on = \"after_all\"\nat = \"host\"",
            "echo after_all $SHIP_HOST $VERSION ${PORT-no port} >> PRINTED",
        ),
        (
            "on = \"before_all\"",
            "echo before_all $SHIP_VERB $SHIP_SERVICE $SHIP_FLEET $SHIP_VERSION $SHIP_REVISION \
             from \
             $SHIP_PREVIOUS_VERSION. >> PRINTED",
        ),
        ("on = \"before_start\"", "echo start >> PRINTED"),
    ]);
    project.deploy("0.8");
    let first = [
        "before_all deploy page local 0.8 1 from .",
        "start",
        "start",
        "start",
    ];
    let last = ["after_all node1 0.8 no port", "on_success succeeded"];
    assert_eq!(printed(&project), [&first[..], &last].concat());
    // A deploy of the running version is not a rollout.
    project.deploy("0.8");
    assert_eq!(printed(&project).len(), 6);
    let done = project.deploy("0.9");
    assert!(
        done.stderr.contains("before_all: done in "),
        "{}",
        done.stderr
    );
    assert_eq!(
        printed(&project)[6],
        "before_all deploy page local 0.9 2 from 0.8."
    );
    project
        .ship(&["rollback", "inventory.toml"])
        .any_stderr()
        .run();
    assert_eq!(
        printed(&project)[12],
        "before_all rollback page local 0.8 3 from 0.9."
    );
}

#[test]
fn failed_before_all_hook_makes_no_changes() {
    let project = with_hooks(&[
        (
            "on = \"before_all\"",
            "echo the disk of the database is full >&2; test $SHIP_VERSION = 0.8",
        ),
        (
            "on = \"on_failure\"",
            "echo on_failure $SHIP_OUTCOME: $SHIP_FAILURE >> PRINTED",
        ),
    ]);
    project.deploy("0.8");
    let before = project.pages();
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    for words in [
        "a hook failed",
        "| the disk of the database is full",
        "rolling back to 0.8 (revision 1)",
    ] {
        assert!(
            done.stderr.contains(words),
            "no {words:?} in:\n{}",
            done.stderr
        );
    }
    assert_eq!(project.pages(), before);
    let why = "hook before_all: exited with status 1: the disk of the database is full";
    assert_eq!(
        printed(&project),
        [format!("on_failure rolled-back: {why}")]
    );
}

#[test]
fn failed_after_all_hook_rolls_back() {
    let project = with_hooks(&[("on = \"after_all\"", "test $SHIP_VERSION = 0.8")]);
    project.deploy("0.8");
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    assert!(
        project.running().iter().all(|row| row.ends_with("0.8")),
        "{:?}",
        project.running()
    );
    assert_eq!(project.running().len(), 3);
}

#[test]
fn failed_on_success_hook_is_only_reported() {
    let project = with_hooks(&[("on = \"on_success\"", "exit 7")]);
    let done = project.deploy("0.8");
    assert!(
        done.stderr.contains("on_success: failed after "),
        "{}",
        done.stderr
    );
    assert_eq!(project.history(), ["1 0.8 succeeded"]);
}

#[test]
fn hanging_task_is_killed_with_its_children_at_the_timeout() {
    let project = with_hooks(&[(
        "on = \"before_all\"\ntimeout = \"300ms\"",
        "echo waits; sleep 600 & sleep 600",
    )]);
    let done = project
        .ship(&["deploy", "inventory.toml"])
        .any_stderr()
        .status(4)
        .run();
    assert!(
        done.stderr
            .contains("it did not finish within 300ms; last output: waits"),
        "{}",
        done.stderr
    );
    until("the end of what it began", DEADLINE, || {
        project.processes().is_empty().then_some(())
    });
}

#[test]
fn completed_tasks_are_not_repeated_after_a_crash() {
    let project = with_hooks(&[
        ("on = \"before_all\"", "echo one >> PRINTED"),
        (
            "on = \"before_all\"",
            "echo two >> PRINTED; test ! -e PRINTED.wait || sleep 600",
        ),
    ]);
    project.release("0.9", Behaviour::Gated);
    project.deploy("0.8");
    fs::write(project.path("printed"), "").expect("our own file");
    fs::write(project.path("printed.wait"), "").expect("our own file");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("before_all 2");
    until("the second", DEADLINE, || {
        (printed(&project).len() == 2).then_some(())
    });
    deploy.signal("KILL");
    deploy.wait();
    // The hook ends with its ship process; the instances continue.
    until("the end of the hook", DEADLINE, || {
        (project.processes().len() == 3).then_some(())
    });
    fs::remove_file(project.path("printed.wait")).expect("our own file");
    let mut deploy = project.start_deploy("0.9");
    deploy.await_words("started   0.9");
    assert_eq!(printed(&project), ["one", "two", "two"]);
    deploy.signal("KILL");
    deploy.wait();
    project.open_gate();
    project
        .ship(&["resume", "inventory.toml"])
        .any_stderr()
        .run();
    assert_eq!(printed(&project), ["one", "two", "two"]);
}

#[test]
fn hook_may_call_ship() {
    let ship = env!("CARGO_BIN_EXE_ship");
    let project = with_hooks(&[
        (
            "on = \"before_all\"",
            &format!("{ship} history $SHIP_INVENTORY --output json >> PRINTED"),
        ),
        (
            "on = \"on_failure\"",
            &format!("{ship} freeze $SHIP_INVENTORY --reason 'it failed' >> PRINTED"),
        ),
        ("on = \"after_all\"", "test $SHIP_VERSION = 0.8"),
    ]);
    project.deploy("0.8");
    assert!(
        printed(&project)
            .concat()
            .contains("\"outcome\": \"running\""),
        "{:?}",
        printed(&project)
    );
    project
        .ship(&["deploy", "inventory.toml", "--version", "0.9"])
        .any_stderr()
        .status(3)
        .run();
    let done = project
        .ship(&["deploy", "inventory.toml", "--version", "0.8"])
        .any_stderr()
        .status(6)
        .run();
    assert!(done.stderr.contains("(it failed)"), "{}", done.stderr);
}

#[test]
fn plan_shows_the_tasks() {
    let project = with_hooks(&[
        ("on = \"before_all\"", "true"),
        ("on = \"after_all\"", "true"),
    ]);
    let plan = project
        .ship(&["plan", "inventory.toml"])
        .any_stdout()
        .run()
        .stdout;
    let at = |words: &str| {
        plan.find(words)
            .unwrap_or_else(|| panic!("no {words:?} in:\n{plan}"))
    };
    assert!(at("once: before_all") < at("start  0.8"), "{plan}");
    assert!(at("start  0.8") < at("once: after_all"), "{plan}");
}
