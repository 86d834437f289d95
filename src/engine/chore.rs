//! What is done once: how it is begun and heard of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::hooks;
use super::hosts::Hosts;
use super::run::{Message, Run};
use super::world::Unusable;
use crate::config::{render, uses};
use crate::core::ids::{ActionId, Epoch, HostId, ReleaseId, Revision, Slot};
use crate::core::rollout::event::Event;
use crate::core::rollout::task::{Chore, End, Errand};
use crate::core::time::Time;
use crate::remote::{self, Here, Output};
use crate::script::{self, ErrandEnd};

/// Of what a command prints so many lines are kept, and so much of each.
const OUTPUT_LINES_MAX: usize = 50;
const LINE_CHARS_MAX: usize = 500;

/// A chore with all that its place needs to know.
#[derive(Clone, Debug)]
pub struct Task {
    /// What is to be done.
    pub chore: Chore,
    /// On which host; `None` on the control machine.
    pub host: Option<HostId>,
    /// The number of the order.
    pub id: ActionId,
    /// The fencing number.
    pub epoch: Epoch,
    /// The release in whose directory it is done.
    pub release: ReleaseId,
    /// The revision that it is for.
    pub revision: Revision,
    /// What it is told by its environment.
    pub env: BTreeMap<String, String>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// How it ended.
    pub end: End,
    /// The last lines that it printed.
    pub output: Vec<String>,
}

impl Run<'_> {
    /// Begins something that is done once; the intent must be durable first.
    pub(super) fn begin_chore(&mut self, errand: &Errand) {
        let Some(chore) = self
            .engine
            .spec
            .chores
            .iter()
            .find(|chore| chore.name == errand.chore)
            .cloned()
        else {
            return;
        };
        let (id, host, migration) = (
            self.rollout.next_action_id(),
            errand.host.clone(),
            chore.migration.clone(),
        );
        self.record(Event::ChoreStarted {
            id,
            chore: chore.name.clone(),
            host: host.clone(),
            migration,
        });
        let goal = &self.rollout.goal;
        let (epoch, release, revision) = (self.rollout.epoch, goal.release.clone(), goal.revision);
        let env = self.environment(errand);
        self.intended_chore = Some(Task {
            chore,
            host,
            id,
            epoch,
            release,
            revision,
            env,
        });
    }

    /// What it is told: `SHIP_VERSION` and the like.
    fn environment(&self, errand: &Errand) -> BTreeMap<String, String> {
        let rollout = &self.rollout;
        let previous = rollout
            .fallback
            .as_ref()
            .map(|fallback| fallback.version.clone())
            .unwrap_or_default();
        let definition = self.engine.definitions.get(&rollout.goal.release);
        let known = definition
            .map(|it| hooks::environment(it, &self.engine.fleet_name, rollout.goal.revision));
        let mut env = known.unwrap_or_default();
        let mut tell = |name: &str, value: String| drop(env.insert(name.to_owned(), value));
        tell("SHIP_HOOK", errand.chore.clone());
        tell("SHIP_VERB", rollout.verb.noun().to_owned());
        tell("SHIP_PREVIOUS_VERSION", previous);
        if let Some(host) = &errand.host {
            tell("SHIP_HOST", host.to_string());
        }
        if let Some(outcome) = errand.outcome {
            tell("SHIP_OUTCOME", outcome.to_owned());
        }
        if let Some(failure) = rollout.failure() {
            tell("SHIP_FAILURE", failure.to_string());
        }
        env
    }

    /// Lets what was recorded go out.
    pub(super) fn send_chore(&mut self) {
        let Some(task) = self.intended_chore.take() else {
            return;
        };
        let world = Arc::clone(&self.engine.world);
        self.spawn(async move {
            let (chore, migration) = (task.chore.name.clone(), task.chore.migration.clone());
            let attempted = world.attempt(task).await;
            Message::ChoreEnded {
                chore,
                migration,
                attempted,
            }
        });
    }

    /// It has ended, as far as anybody knows.
    pub(super) fn chore_ended(
        &mut self,
        chore: String,
        migration: Option<(crate::core::release::migration::MigrationKind, String)>,
        attempted: Attempted,
        begun: Time,
    ) {
        let took = self.engine.clock.now().since(begun);
        let Attempted { end, output } = attempted;
        self.chore_output.clone_from(&output);
        self.record(Event::ChoreEnded {
            chore,
            end,
            migration,
            took,
            output,
        });
    }
}

impl Hosts {
    /// Does it, here or on its host.
    pub(super) async fn do_once(&self, task: Task) -> Attempted {
        match task.host.clone() {
            None => self.do_here(&task).await,
            Some(host) => match self.do_there(&host, &task).await {
                Ok(attempted) => attempted,
                Err(Unusable { why }) => Attempted {
                    end: End::Unknown { why },
                    output: Vec::new(),
                },
            },
        }
    }

    async fn do_here(&self, task: &Task) -> Attempted {
        let mut env = self.control.env.clone();
        env.extend(task.env.clone());
        let (words, dir, deadline) = (
            &task.chore.command,
            self.control.dir.as_deref(),
            task.chore.timeout,
        );
        match remote::run_here(&Here {
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
                Attempted {
                    end: if status == 0 {
                        End::Done
                    } else {
                        End::Failed { error }
                    },
                    output,
                }
            }
            Err(error) => Attempted {
                end: End::Failed { error },
                output: Vec::new(),
            },
        }
    }

    async fn do_there(&self, host: &HostId, task: &Task) -> Result<Attempted, Unusable> {
        let failed = |error: String| Attempted {
            end: End::Failed { error },
            output: Vec::new(),
        };
        let errand = match self.errand(host, task) {
            Ok(errand) => errand,
            Err(error) => return Ok(failed(error)),
        };
        let link = self.link(host)?;
        let script = script::errand(&self.site(link, task.epoch, task.id), &errand);
        let stdout = self.run(link, &script).await?;
        let read = script::read_errand(&stdout, self.clock.now());
        let (end, _) = read.map_err(|error| Unusable {
            why: format!("{host}: {error}"),
        })?;
        Ok(match end {
            ErrandEnd::Done(run) => Attempted {
                end: End::Done,
                output: run.output,
            },
            ErrandEnd::AlreadyDone { note } => Attempted {
                end: End::DoneBefore,
                output: vec![note],
            },
            ErrandEnd::Failed { why, run } => Attempted {
                output: run.map(|run| run.output).unwrap_or_default(),
                ..failed(why)
            },
            ErrandEnd::NotTaken(end) => {
                let why = format!("{host}: the order was not taken: {end:?}");
                Attempted {
                    end: End::Unknown { why },
                    output: Vec::new(),
                }
            }
        })
    }

    /// The environment of the release on that host, but for what depends on a port: there is no
    /// instance here.
    fn errand(&self, host: &HostId, task: &Task) -> Result<script::Errand, String> {
        let link = self.link(host).map_err(|unusable| unusable.why)?;
        let definition = self.definition(&task.release)?;
        let nowhere = Slot {
            host: host.clone(),
            port: 0,
        };
        let vars = self.vars(link, &nowhere, definition);
        let of_host = definition
            .env
            .iter()
            .filter(|(_, value)| !uses(value, "port"));
        let env = of_host.map(|(key, value)| Ok((key.clone(), render(value, &vars)?)));
        let mark = task.chore.migration.as_ref().map(|(_, id)| script::Mark {
            id: id.clone(),
            note: format!("revision {}, at {}", task.revision, self.clock.now().0),
        });
        Ok(script::Errand {
            release: task.release.clone(),
            driver: definition.driver,
            user: definition.user.clone(),
            argv: task.chore.command.clone(),
            env: env.collect::<Result<_, String>>()?,
            ship_env: task.env.clone(),
            timeout: task.chore.timeout,
            mark,
        })
    }
}

/// The last lines of what a command has printed, none of them endless.
fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().rev().take(OUTPUT_LINES_MAX).collect();
    lines
        .into_iter()
        .rev()
        .map(|line| line.chars().take(LINE_CHARS_MAX).collect())
        .collect()
}
