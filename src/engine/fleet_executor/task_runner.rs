//! Runs a rollout's tasks, on this machine or on a host.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::context::FleetContext;
use crate::config::{render, uses};
use crate::core::ids::{HostId, Slot};
use crate::core::rollout::task::TaskOutcome;
use crate::engine::executor::{TaskOrder, TaskResult};
use crate::remote::{self, HostUnavailable, LocalCommand, Output};
use crate::script::{self, TaskCommandEnd};

/// The limit of output lines that are kept of a command.
const OUTPUT_LINES_MAX: usize = 50;
const LINE_CHARS_MAX: usize = 500;

/// How commands of the playbook's run on this machine.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// The working directory, which is the playbook's; `None` for that of this process.
    pub dir: Option<PathBuf>,
    /// The environment that all commands get.
    pub env: BTreeMap<String, String>,
}

pub(super) struct TaskRunner {
    control: Control,
}

impl TaskRunner {
    pub(super) fn new(control: Control) -> Self {
        Self { control }
    }

    /// Runs a task, here or on its host.
    pub(super) async fn run(&self, context: &FleetContext, task: TaskOrder) -> TaskResult {
        match task.host.clone() {
            None => self.run_here(&task).await,
            Some(host) => match run_there(context, &host, &task).await {
                Ok(result) => result,
                Err(HostUnavailable { why }) => TaskResult {
                    end: TaskOutcome::Unknown { why },
                    output: Vec::new(),
                },
            },
        }
    }

    async fn run_here(&self, task: &TaskOrder) -> TaskResult {
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
                let error = format!("it ended with exit status {status}{last}");
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

async fn run_there(
    context: &FleetContext,
    host: &HostId,
    task: &TaskOrder,
) -> Result<TaskResult, HostUnavailable> {
    let failed = |error: String| TaskResult {
        end: TaskOutcome::Failed { error },
        output: Vec::new(),
    };
    let errand = match errand(context, host, task) {
        Ok(errand) => errand,
        Err(error) => return Ok(failed(error)),
    };
    let linked = context.host(host)?;
    let script = script::task(&context.site(linked, task.epoch, task.id), &errand);
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
        TaskCommandEnd::NotTaken(end) => {
            let why = format!("{host}: the order was not taken: {end:?}");
            TaskResult {
                end: TaskOutcome::Unknown { why },
                output: Vec::new(),
            }
        }
    })
}

/// The environment of the release on that host, but for what depends on a port: there is no
/// instance here.
fn errand(
    context: &FleetContext,
    host: &HostId,
    task: &TaskOrder,
) -> Result<script::TaskCommand, String> {
    let linked = context.host(host).map_err(|unavailable| unavailable.why)?;
    let definition = context.definition(&task.release)?;
    let nowhere = Slot {
        host: host.clone(),
        port: 0,
    };
    let vars = context.vars(linked, &nowhere, definition);
    let of_host = definition
        .env
        .iter()
        .filter(|(_, value)| !uses(value, "port"));
    let env = of_host.map(|(key, value)| Ok((key.clone(), render(value, &vars)?)));
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
        argv: task.task.command.clone(),
        env: env.collect::<Result<_, String>>()?,
        ship_env: task.env.clone(),
        timeout: task.task.timeout,
        mark,
    })
}

/// The last lines of a command's output, each of them shortened.
fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().rev().take(OUTPUT_LINES_MAX).collect();
    lines
        .into_iter()
        .rev()
        .map(|line| line.chars().take(LINE_CHARS_MAX).collect())
        .collect()
}
