//! What each verb does in each state: the table of docs/STATES.md, cell by cell.

use std::thread;

use crate::project::LocalProject;
use ship_testing::behaviour::Behaviour;
use ship_testing::command::Running;

const TABLE: &str = include_str!("../../docs/STATES.md");

/// Two instances that are replaced in place, and two good versions, but for what a state needs.
fn project() -> LocalProject {
    let project = LocalProject::new()
        .with("[8081, 8082]", "[8081]")
        .with("replicas = 3", "replicas = 2")
        .with("max_surge = 1", "max_surge = 0")
        .with("max_unavailable = 0", "max_unavailable = 1")
        .on(&["node1", "node2"]);
    project.release("1.0", Behaviour::Good);
    project
}

/// Deploys 0.9, which is to fail before long.
fn fail(project: &LocalProject, on_failure: &str, status: i32) {
    let on_failure = format!("rollout.on_failure={on_failure}");
    let args = [
        "deploy",
        "inventory.toml",
        "--version",
        "0.9",
        "--set",
        &on_failure,
    ];
    project.ship(&args).any_stderr().status(status).run();
}

/// A project in a state, and the deploy that runs in it.
fn in_state(state: &str) -> (LocalProject, Option<Running>) {
    let project = project();
    if state == "new" {
        return (project, None);
    }
    match state {
        "stuck" => {
            project.release("0.8", Behaviour::Fragile);
            project.release("0.9", Behaviour::Exits);
        }
        "rolled back" | "held" => project.release("0.9", Behaviour::Needy),
        "idle" => {}
        _ => project.release("0.9", Behaviour::Gated),
    }
    project.deploy("0.8");
    match state {
        "idle" => drop(project.deploy("0.9")),
        "rolled back" => fail(&project, "rollback", 3),
        "held" => fail(&project, "hold", 4),
        "stuck" => {
            // From now on 0.8 ends as soon as it is started.
            project.open_gate();
            fail(&project, "rollback", 5);
            // What was wrong with it is mended.
            project.close_gate();
        }
        _ => {
            let mut deploy = project.start_deploy("0.9");
            deploy.await_words("started   0.9");
            match state {
                "running" => return (project, Some(deploy)),
                "paused" => {
                    project
                        .ship(&["pause", "inventory.toml"])
                        .any_stdout()
                        .run();
                    deploy.wait().exits(8);
                }
                "cut off" => {
                    deploy.signal("KILL");
                    deploy.wait();
                }
                other => panic!("no such state: {other}"),
            }
        }
    }
    (project, None)
}

/// The command line of a verb, and whether what 0.9 waits for is to be there.
fn call(verb: &str) -> (Vec<&str>, bool) {
    let args = match verb {
        "deploy" => vec!["deploy", "inventory.toml", "--version", "1.0"],
        "deploy --unattended" => {
            let soak = ["--set", "unattended.soak=0s"];
            [
                &[
                    "deploy",
                    "inventory.toml",
                    "--version",
                    "1.0",
                    "--unattended",
                ][..],
                &soak,
            ]
            .concat()
        }
        "scale" => vec!["scale", "inventory.toml", "--replicas", "1"],
        "unlock" => vec!["unlock", "inventory.toml", "--yes"],
        verb => vec![verb, "inventory.toml"],
    };
    (args, verb == "resume")
}

/// The rows of the table: a verb, and its cells.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = TABLE
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// Tries every verb in one state, each in a project of its own; what differs from the table.
fn differences(state: &'static str) -> Vec<String> {
    let states = rows().next().expect("a head");
    let column = states
        .iter()
        .position(|name| *name == state)
        .expect("a column");
    let cells: Vec<_> = rows().skip(1).map(|row| (row[0], row[column])).collect();
    let tries: Vec<_> = cells
        .into_iter()
        .map(|(verb, cell)| thread::spawn(move || difference(state, verb, cell)))
        .collect();
    tries
        .into_iter()
        .filter_map(|each| each.join().expect("no cell panics"))
        .collect()
}

fn difference(state: &str, verb: &str, cell: &str) -> Option<String> {
    let (project, deploy) = in_state(state);
    if verb == "`status` says" {
        let said = project.status()["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        return (said != cell).then(|| format!("{state}: status says {said}, not {cell}"));
    }
    let verb = verb.trim_matches('`');
    let expected: i32 = cell
        .split(' ')
        .next()
        .and_then(|code| code.parse().ok())
        .expect("an exit code");
    let (args, opens) = call(verb);
    if opens && state != "stuck" {
        project.open_gate();
    }
    let done = project.ship(&args).spawn().wait();
    drop(deploy);
    (done.code != Some(expected)).then(|| {
        format!(
            "{verb} when {state}: exit {:?}, not {expected}\n{}{}",
            done.code, done.stdout, done.stderr
        )
    })
}

macro_rules! states {
    ($($test:ident: $state:literal,)*) => {
        $(
            #[test]
            fn $test() {
                let differences = differences($state);
                assert!(differences.is_empty(), "{}", differences.join("\n"));
            }
        )*

        #[test]
        fn every_state_of_the_table_is_tried() {
            assert_eq!(rows().next().expect("a head")[1..], [$($state),*]);
        }
    };
}

states! {
    when_nothing_was_ever_deployed: "new",
    when_the_last_rollout_succeeded: "idle",
    when_a_rollout_is_under_way: "running",
    when_a_rollout_is_paused: "paused",
    when_a_rollout_was_cut_off: "cut off",
    when_a_rollout_was_rolled_back: "rolled back",
    when_the_way_back_failed_too: "stuck",
    when_a_rollout_is_held: "held",
}
