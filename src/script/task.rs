//! Runs one command of a release on a host as a task: a migration or a hook of the rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use super::env_file::env_file;
use super::hooks::{KILL_TIME, exports};
use super::host_context::{
    HostContext, Input, LOCK_WAIT, SERVICE_PATH, Script, Text, WORK, driver_word, line_count,
    one_line,
};
use super::report::Report;
use crate::core::fleet::Observation;
use crate::core::ids::ReleaseId;
use crate::core::release::Driver;
use crate::core::release::hook::{CommandEnd, CommandRun};
use crate::core::time::{Time, whole_seconds};
use crate::script::end::ScriptEnd;
use crate::script::quote::quote_all;
use crate::script::start_spec::enter_with;
use crate::script::unreadable::Unreadable;

/// The command, with all templates rendered.
#[derive(Clone, Debug)]
pub struct TaskCommand {
    /// The staged release in whose directory the command runs.
    pub release: ReleaseId,
    pub driver: Driver,
    /// The service's user; `None` for the driver's default.
    pub user: Option<String>,
    /// The directories of the release that outlive it.
    pub shared_dirs: Vec<String>,
    /// The program and its arguments, which other users of the host can see.
    pub argv: Vec<String>,
    /// The release's environment, which its secrets override.
    pub env: BTreeMap<String, String>,
    /// Variables that override both, such as `SHIP_VERSION`.
    pub ship_env: BTreeMap<String, String>,
    /// The time limit, rounded up to whole seconds.
    pub timeout: Duration,
    /// The mark that the task was done; `None` if it may run again.
    pub mark: Option<DoneMark>,
}

/// The mark on a host that a task was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneMark {
    /// Its name: a migration's id, which is a valid file name.
    pub id: String,
    /// One line of text: when, and for which revision.
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskCommandEnd {
    /// The task ran now and succeeded.
    Done(CommandRun),
    /// The task was done before and did not run again.
    AlreadyDone {
        /// The note of its [`DoneMark`].
        note: String,
    },
    /// The task failed, or its mark could not be written.
    Failed {
        why: String,
        /// The run of the command; `None` if it did not start.
        run: Option<CommandRun>,
    },
    /// The host did not accept the action. Never [`ScriptEnd::Done`] or [`ScriptEnd::Failed`].
    Rejected(ScriptEnd),
}

/// Runs a command in a release's directory, as the service's user, with the release's environment
/// and secrets. If its mark exists, nothing is done. [`read_task`] parses the output.
///
/// The script holds the lock until its end. Like every action, a task is completed and marked even
/// if the controller is gone. If the host goes down, the command may have run in part.
pub fn task(context: &HostContext, task: &TaskCommand) -> Script {
    let env = env_file(&task.env);
    let env_path = format!("{}/tmp/task/env", context.root());
    let enter = enter_with(context, &task.release, &env_path);
    let run = format!(
        "{enter}\n{}exec \"$@\" {}",
        exports(&task.ship_env),
        quote_all(&task.argv)
    );
    let text = Text::changing(context, "task")
        .set("RELEASE", &task.release)
        .set("SHARED_DIRS", task.shared_dirs.join(" "))
        .set("RUN", run)
        .running_as(context, task.driver, task.user.as_deref())
        .set("DRIVER", driver_word(task.driver))
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("TIMEOUT_S", whole_seconds(task.timeout))
        .set("ENV_LINES", line_count(&env))
        .set(
            "MARK",
            task.mark
                .as_ref()
                .map(|mark| mark.id.as_str())
                .unwrap_or_default(),
        )
        .set(
            "NOTE",
            task.mark
                .as_ref()
                .map(|mark| one_line(&mark.note))
                .unwrap_or_default(),
        )
        .running_commands()
        .add(include_str!("sh/read_stdin.sh"))
        .add(include_str!("sh/shared_dirs.sh"))
        .add(include_str!("sh/task.sh"));
    text.script(
        Input {
            head: env.into_bytes(),
            file: None,
        },
        LOCK_WAIT + task.timeout + KILL_TIME + WORK,
    )
}

/// Parses the output of [`task`], printed at `now` by this machine's clock.
///
/// # Errors
/// If the output is incomplete or malformed. Then the effect of the task is unknown.
pub fn read_task(stdout: &str, now: Time) -> Result<(TaskCommandEnd, Observation), Unreadable> {
    let Report {
        end,
        observation,
        task,
        ..
    } = Report::read(stdout, now)?;
    let end = match (end, task.run, task.done_note) {
        (ScriptEnd::Done, Some(run), _) if run.end == CommandEnd::Exit(0) => {
            TaskCommandEnd::Done(run)
        }
        (ScriptEnd::Done, None, Some(note)) => TaskCommandEnd::AlreadyDone { note },
        (ScriptEnd::Done, ..) => {
            return Err(Unreadable::Missing("the result of the task".to_owned()));
        }
        (ScriptEnd::Failed(why), run, _) => TaskCommandEnd::Failed { why, run },
        (end, ..) => TaskCommandEnd::Rejected(end),
    };
    Ok((end, observation))
}
