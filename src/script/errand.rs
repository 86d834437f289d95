//! One command of a release on one host: a migration, say, or a hook of a whole rollout.

use std::collections::BTreeMap;
use std::time::Duration;

use super::env_file::env_file;
use super::hooks::{END, exports};
use super::report::Report;
use super::site::{
    HostContext, Input, LOCK_WAIT, SERVICE_PATH, Script, Text, WORK, driver_word, line_count,
    one_line,
};
use crate::core::fleet::Observation;
use crate::core::ids::ReleaseId;
use crate::core::release::Driver;
use crate::core::release::hook::{CommandEnd, CommandRun};
use crate::core::time::{Time, whole_seconds};
use crate::script::end::ScriptEnd;
use crate::script::launch::enter_with;
use crate::script::quote::quote_all;
use crate::script::unreadable::Unreadable;

/// What to run, with all templates filled in.
#[derive(Clone, Debug)]
pub struct TaskCommand {
    /// The staged release in whose directory it runs.
    pub release: ReleaseId,
    pub driver: Driver,
    /// The user that the service runs as; `None` for the driver's default.
    pub user: Option<String>,
    /// The program and its arguments. Other users of the host can see them.
    pub argv: Vec<String>,
    /// The release's environment, which its secrets override.
    pub env: BTreeMap<String, String>,
    /// Variables that override both, such as `SHIP_VERSION`.
    pub ship_env: BTreeMap<String, String>,
    /// How long it may take; rounded up to whole seconds.
    pub timeout: Duration,
    /// The mark that it was done; `None` where it may be done again.
    pub mark: Option<DoneMark>,
}

/// The mark on a host that an errand was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneMark {
    /// Its name: a migration's id, which is fit for a file.
    pub id: String,
    /// One line of text: when, and for which revision.
    pub note: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskCommandEnd {
    /// It was made now.
    Done(CommandRun),
    /// It was done before, and did not run again; this is the note of that time.
    AlreadyDone {
        /// The note of its [`DoneMark`].
        note: String,
    },
    /// It failed, or its mark could not be written.
    Failed {
        why: String,
        /// The run of the command; `None` if it did not start.
        run: Option<CommandRun>,
    },
    /// The host did not accept the order. Never [`ScriptEnd::Done`] nor [`ScriptEnd::Failed`].
    NotTaken(ScriptEnd),
}

/// Runs a command in a release's directory, as the service's user, with the release's environment
/// and its secrets. If its mark is there already, nothing is done. For [`read_errand`].
///
/// It holds the lock until its end. Like every order, it is completed and marked even if the
/// controller is gone; if the host itself goes down, the command may have run in part.
pub fn errand(site: &HostContext, errand: &TaskCommand) -> Script {
    let env = env_file(&errand.env);
    let env_path = format!("{}/tmp/errand/env", site.root());
    let enter = enter_with(site, &errand.release, &env_path);
    let run = format!(
        "{enter}\n{}exec \"$@\" {}",
        exports(&errand.ship_env),
        quote_all(&errand.argv)
    );
    let text = Text::acting(site, "errand")
        .set("RELEASE", &errand.release)
        .set("RUN", run)
        .running_as(site, errand.driver, errand.user.as_deref())
        .set("DRIVER", driver_word(errand.driver))
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("TIMEOUT_S", whole_seconds(errand.timeout))
        .set("ENV_LINES", line_count(&env))
        .set(
            "MARK",
            errand
                .mark
                .as_ref()
                .map(|mark| mark.id.as_str())
                .unwrap_or_default(),
        )
        .set(
            "NOTE",
            errand
                .mark
                .as_ref()
                .map(|mark| one_line(&mark.note))
                .unwrap_or_default(),
        )
        .running()
        .add(include_str!("sh/take.sh"))
        .add(include_str!("sh/errand.sh"));
    text.script(
        Input {
            head: env.into_bytes(),
            file: None,
        },
        LOCK_WAIT + errand.timeout + END + WORK,
    )
}

/// Reads what [`errand`] has printed, at `now` by this machine's clock.
///
/// # Errors
/// If it did not come to its end, or makes no sense: then nobody knows what it has done.
pub fn read_errand(stdout: &str, now: Time) -> Result<(TaskCommandEnd, Observation), Unreadable> {
    let Report {
        end,
        observation,
        errand,
        ..
    } = Report::read(stdout, now)?;
    let end = match (end, errand.run, errand.made) {
        (ScriptEnd::Done, Some(run), _) if run.end == CommandEnd::Exit(0) => {
            TaskCommandEnd::Done(run)
        }
        (ScriptEnd::Done, None, Some(note)) => TaskCommandEnd::AlreadyDone { note },
        (ScriptEnd::Done, ..) => {
            return Err(Unreadable::Missing("what became of the errand".to_owned()));
        }
        (ScriptEnd::Failed(why), run, _) => TaskCommandEnd::Failed { why, run },
        (end, ..) => TaskCommandEnd::NotTaken(end),
    };
    Ok((end, observation))
}
