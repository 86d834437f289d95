//! Every verb in every state: the cells of the table in docs/reference/states.md.

use std::sync::Arc;

use ship::app::conclusion::Conclusion;
use ship::app::environment::Environment;
use ship::app::error::Error;
use ship::app::exit::Exit;
use ship::app::verbs::abort::{AbortRequest, abort};
use ship::app::verbs::deploy::deploy;
use ship::app::verbs::freeze::{freeze, thaw};
use ship::app::verbs::migrate::{MigrateRequest, migrate};
use ship::app::verbs::pause::{PauseOutcome, pause};
use ship::app::verbs::promote::{PromoteRequest, Promotion, promote};
use ship::app::verbs::restart::{RestartRequest, restart};
use ship::app::verbs::resume::{ResumeRequest, resume};
use ship::app::verbs::rollback::{RollbackRequest, rollback};
use ship::app::verbs::scale::{ScaleRequest, scale};
use ship::app::verbs::unlock::Lock;

use super::project::{SimulatedProject, in_place, unattended, version, with_settings};
use super::run::{RunningVerb, VerbRun};
use crate::scenario::Quality;

const TABLE: &str = include_str!("../../../docs/reference/states.md");

/// Brings a project into a state. Returns the running deploy, if the state has one.
async fn enter(project: &SimulatedProject, state: &str) -> Option<RunningVerb> {
    match state {
        "new" => return None,
        "idle" => {}
        "rollback failed" => {
            project.build("0.8", Quality::Fragile);
            project.build("0.9", Quality::Mute);
        }
        "rolled back" | "held" => project.build("0.9", Quality::Needy),
        _ => project.build("0.9", Quality::Gated),
    }
    project.deploy_version("0.8").await;
    match state {
        "idle" => drop(project.deploy_version("0.9").await),
        "rolled back" => fail(project, "rollback", Exit::RolledBack).await,
        "held" => fail(project, "hold", Exit::Held).await,
        "rollback failed" => {
            // From now on, 0.8 exits as soon as it starts.
            project.open_gate();
            fail(project, "rollback", Exit::RollbackFailed).await;
            // From now on, 0.8 is good again.
            project.close_gate();
        }
        _ => {
            let running = project.start_deploy(version("0.9")).await;
            match state {
                "running" => return Some(running),
                "paused" => {
                    project.call(async |env| pause(env).await).await.value();
                    running.wait().await.exits(Exit::Paused);
                }
                "interrupted" => running.kill_and_expire().await,
                other => panic!("no such state: {other}"),
            }
        }
    }
    None
}

/// Deploys 0.9, and asserts that it fails with this exit code.
async fn fail(project: &SimulatedProject, on_failure: &str, exit: Exit) {
    let setting = format!("rollout.on_failure={on_failure}");
    let request = with_settings("0.9", &[&setting]);
    project.deploy(request).await.exits(exit);
}

/// Runs a verb with its default options; returns the exit code.
async fn exit_of(env: &Arc<dyn Environment>, verb: &str) -> Result<Exit, Error> {
    let new = version("1.0");
    let concluded: Conclusion = match verb {
        "deploy" => deploy(env, new).await?,
        "deploy --unattended" => {
            let request = with_settings("1.0", &["unattended.soak=0s"]);
            deploy(env, unattended(request)).await?
        }
        "rollback" => rollback(env, RollbackRequest::default()).await?,
        "resume" => resume(env, ResumeRequest::default()).await?,
        "abort" => abort(env, AbortRequest::default()).await?,
        "restart" => restart(env, RestartRequest::default()).await?,
        "migrate" => migrate(env, MigrateRequest::default()).await?,
        "scale" => {
            scale(
                env,
                ScaleRequest {
                    replicas: 1,
                    ..ScaleRequest::default()
                },
            )
            .await?
        }
        "promote" => match promote(env, PromoteRequest::default()).await? {
            Promotion::Requested(_) => return Ok(Exit::Done),
            Promotion::Concluded(conclusion) => conclusion,
        },
        "pause" => {
            let paused = pause(env).await?;
            assert_eq!(paused.outcome, PauseOutcome::Paused);
            return Ok(Exit::Done);
        }
        "freeze" => return freeze(env, |_| Ok(None), String::new()).map(|_| Exit::Done),
        "thaw" => return thaw(env).map(|_| Exit::Done),
        "unlock" => return unlock(env).await.map(|()| Exit::Done),
        other => panic!("no such verb: {other}"),
    };
    Ok(concluded.exit())
}

async fn unlock(env: &Arc<dyn Environment>) -> Result<(), Error> {
    let lock = Lock::read(env)?;
    if lock.holder.is_some() {
        let unreachable = lock.break_lease().await?;
        assert_eq!(unreachable, [], "every host is reachable");
    }
    Ok(())
}

/// The rows of the table: the verb, then its cells.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = TABLE
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// Runs every verb in one state, each in its own project. Returns the differences from the table.
fn differences(state: &'static str) -> Vec<String> {
    let states = rows().next().expect("a head");
    let column = states
        .iter()
        .position(|name| *name == state)
        .expect("a column");
    let mut differences = Vec::new();
    for row in rows().skip(1) {
        in_place(async |project| {
            differences.extend(difference(&project, state, row[0], row[column]).await);
        });
    }
    differences
}

async fn difference(
    project: &SimulatedProject,
    state: &str,
    verb: &str,
    cell: &str,
) -> Option<String> {
    let deploy = enter(project, state).await;
    if verb == "`status` says" {
        let output = format!("{:?}", project.status().await.state).to_lowercase();
        return (output != cell).then(|| format!("{state}: status says {output}, not {cell}"));
    }
    let verb = verb.trim_matches('`');
    let expected: u8 = cell
        .split(' ')
        .next()
        .and_then(|code| code.parse().ok())
        .expect("an exit code");
    // Open the gate, so that 0.9 becomes ready after `ship resume`.
    if verb == "resume" && state != "rollback failed" {
        project.open_gate();
    }
    let done: VerbRun<Exit> = project.call(async |env| exit_of(env, verb).await).await;
    drop(deploy);
    let screen = done.screen.clone();
    let exit = done.into_exit();
    (exit.code() != expected)
        .then(|| format!("{verb} when {state}: exit {exit:?}, not {expected}\n{screen}"))
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
        fn every_documented_state_is_tested() {
            assert_eq!(rows().next().expect("a head")[1..], [$($state),*]);
        }
    };
}

states! {
    when_nothing_was_ever_deployed: "new",
    when_the_last_rollout_succeeded: "idle",
    when_a_rollout_is_under_way: "running",
    when_a_rollout_is_paused: "paused",
    when_a_rollout_was_interrupted: "interrupted",
    when_a_rollout_was_rolled_back: "rolled back",
    when_the_rollback_failed_too: "rollback failed",
    when_a_rollout_is_held: "held",
}
