//! Runs the tasks of a rollout on the control machine or on a host.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::context::FleetContext;
use crate::config::{render, uses};
use crate::core::ids::{HostId, Slot};
use crate::core::rollout::task::TaskOutcome;
use crate::engine::executor::{TaskOrder, TaskResult};
use crate::remote::{self, HostUnavailable, LocalCommand, Output};
use crate::script::{self, TaskCommandEnd};

/// The number of output lines that are kept.
const OUTPUT_LINES_MAX: usize = 50;
/// The number of characters that are kept of an output line.
const LINE_CHARS_MAX: usize = 500;

/// The settings with which commands of the playbook run on the control machine.
#[derive(Clone, Debug, Default)]
pub struct LocalCommandSettings {
    /// The working directory: the directory of the playbook; `None` for that of this process.
    pub dir: Option<PathBuf>,
    /// The additional environment variables of every command.
    pub env: BTreeMap<String, String>,
}

/// Runs tasks.
pub(super) struct TaskRunner {
    control: LocalCommandSettings,
}

impl TaskRunner {
    pub(super) fn new(control: LocalCommandSettings) -> Self {
        Self { control }
    }

    /// Runs a task on the control machine or on its host.
    pub(super) async fn run(&self, context: &FleetContext, task: TaskOrder) -> TaskResult {
        match task.host.clone() {
            None => self.run_locally(&task).await,
            Some(host) => match run_on_host(context, &host, &task).await {
                Ok(result) => result,
                Err(HostUnavailable { why }) => TaskResult {
                    end: TaskOutcome::Unknown { why },
                    output: Vec::new(),
                },
            },
        }
    }

    async fn run_locally(&self, task: &TaskOrder) -> TaskResult {
        let mut env = self.control.env.clone();
        env.extend(task.env.clone());
        let (words, dir, deadline) = (
            &task.task.command,
            self.control.dir.as_deref(),
            task.task.timeout,
        );
        match remote::run_supervised(&LocalCommand {
            words,
            env: &env,
            dir,
            deadline,
        })
        .await
        {
            Ok(Output {
                status,
                stdout,
                stderr,
                ..
            }) => {
                let output = last_lines(&format!("{stdout}{stderr}"));
                let last = output
                    .last()
                    .map(|last| format!(": {last}"))
                    .unwrap_or_default();
                let error = format!("exited with status {status}{last}");
                TaskResult {
                    end: if status == 0 {
                        TaskOutcome::Done
                    } else {
                        TaskOutcome::Failed { error }
                    },
                    output,
                }
            }
            Err(error) => TaskResult {
                end: TaskOutcome::Failed { error },
                output: Vec::new(),
            },
        }
    }
}

async fn run_on_host(
    context: &FleetContext,
    host: &HostId,
    task: &TaskOrder,
) -> Result<TaskResult, HostUnavailable> {
    let failed = |error: String| TaskResult {
        end: TaskOutcome::Failed { error },
        output: Vec::new(),
    };
    let command = match task_command(context, host, task) {
        Ok(command) => command,
        Err(error) => return Ok(failed(error)),
    };
    let linked = context.host(host)?;
    let script = script::task(
        &context.script_context(linked, task.epoch, task.id),
        &command,
    );
    let stdout = linked.link.run(&script).await?;
    let read = script::read_task(&stdout, context.now());
    let (end, _) = read.map_err(|error| HostUnavailable {
        why: format!("{host}: {error}"),
    })?;
    Ok(match end {
        TaskCommandEnd::Done(run) => TaskResult {
            end: TaskOutcome::Done,
            output: run.output,
        },
        TaskCommandEnd::AlreadyDone { note } => TaskResult {
            end: TaskOutcome::DoneBefore,
            output: vec![note],
        },
        TaskCommandEnd::Failed { why, run } => TaskResult {
            output: run.map(|run| run.output).unwrap_or_default(),
            ..failed(why)
        },
        TaskCommandEnd::Rejected(end) => {
            let why = format!("{host}: the host did not run the task: {end:?}");
            TaskResult {
                end: TaskOutcome::Unknown { why },
                output: Vec::new(),
            }
        }
    })
}

/// Builds the command of a task on a host. It receives the environment of the release, except for
/// variables that use `{{ port }}` or `{{ slot }}`: a task belongs to no instance.
fn task_command(
    context: &FleetContext,
    host: &HostId,
    task: &TaskOrder,
) -> Result<script::TaskCommand, String> {
    let linked = context.host(host).map_err(|unavailable| unavailable.why)?;
    let definition = context.definition(&task.release)?;
    let no_slot = Slot {
        host: host.clone(),
        number: 0,
    };
    let vars = context.vars(linked, &no_slot, definition);
    let host_env = definition.env.iter().filter(|(_, value)| {
        !["port", "ports", "slot"]
            .iter()
            .any(|name| uses(value, name))
    });
    let env = host_env.map(|(key, value)| Ok((key.clone(), render(value, &vars)?)));
    let mark = task
        .task
        .migration
        .as_ref()
        .map(|(_, id)| script::DoneMark {
            id: id.clone(),
            note: format!("revision {}, at {}", task.revision, context.now().0),
        });
    Ok(script::TaskCommand {
        release: task.release.clone(),
        driver: definition.driver,
        user: definition.user.clone(),
        shared_dirs: definition.shared_dirs.clone(),
        argv: task.task.command.clone(),
        env: env.collect::<Result<_, String>>()?,
        ship_env: task.env.clone(),
        timeout: task.task.timeout,
        mark,
    })
}

/// Returns the last lines of a command's output, each of them shortened.
fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().rev().take(OUTPUT_LINES_MAX).collect();
    lines
        .into_iter()
        .rev()
        .map(|line| line.chars().take(LINE_CHARS_MAX).collect())
        .collect()
}
