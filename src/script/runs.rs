//! Parses the lines in which scripts report the results of the user's commands.
//!
//! ```text
//! hook=before_start 0 1230       point, result (a status, `timeout` or `late`), duration in ms
//! task=0 1230                    the same for the command of a task
//! output=a line                  a line of output of the last command
//! left=sleep (pid 4711), …       its processes that have left its session and are still running
//! made=by whom                   the task was done before
//! ```

use std::time::Duration;

use super::hooks::OUTPUT_LINES_MAX;
use crate::core::printable::strip_controls_but_tabs;
use crate::core::release::hook::{CommandEnd, CommandRun, HookPoint, HookRun, STILL_RUNNING};
use crate::script::unreadable::Unreadable;
use crate::script::values::{malformed, number};

/// Longer lines are truncated.
const LINE_CHARS_MAX: usize = 2000;
/// A higher status is 128 plus a signal, as in shells.
const SIGNALS: u8 = 128;

/// The records about a task.
#[derive(Default)]
pub(super) struct TaskRecords {
    pub(super) run: Option<CommandRun>,
    /// The note of a task that was done before.
    pub(super) done_note: Option<String>,
}

/// The command runs reported so far.
#[derive(Default)]
pub(super) struct Runs {
    hooks: Vec<HookRun>,
    task: TaskRecords,
    last: Option<Last>,
}

/// The command to which the following lines belong.
enum Last {
    Hook,
    Task,
}

impl Runs {
    pub(super) fn open_hook(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        let (point, rest) = value
            .split_once(' ')
            .ok_or_else(|| malformed(line, "is incomplete"))?;
        let on = HookPoint::from_word(point)
            .ok_or_else(|| malformed(line, "does not contain a known point"))?;
        self.hooks.push(HookRun {
            on,
            run: run(line, rest)?,
        });
        self.last = Some(Last::Hook);
        Ok(())
    }

    pub(super) fn open_task(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        if self.task.run.replace(run(line, value)?).is_some() {
            return Err(malformed(line, "is a duplicate"));
        }
        self.last = Some(Last::Task);
        Ok(())
    }

    pub(super) fn set_done_before(&mut self, value: &str) {
        self.task.done_note = Some(plain(value));
    }

    fn last(&mut self, line: &str) -> Result<&mut CommandRun, Unreadable> {
        let run = match self.last {
            Some(Last::Hook) => self.hooks.last_mut().map(|hook| &mut hook.run),
            Some(Last::Task) => self.task.run.as_mut(),
            None => None,
        };
        run.ok_or_else(|| malformed(line, "does not follow a command"))
    }

    pub(super) fn add_leftover(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        self.last(line)?
            .output
            .push(format!("{STILL_RUNNING}{}", plain(value)));
        Ok(())
    }

    pub(super) fn add_output(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        let run = self.last(line)?;
        if run.output.len() >= OUTPUT_LINES_MAX {
            return Err(malformed(line, "exceeds the limit of lines"));
        }
        run.output.push(plain(value));
        Ok(())
    }

    pub(super) fn finish(self) -> (Vec<HookRun>, TaskRecords) {
        (self.hooks, self.task)
    }
}

/// `0 1230`, `timeout 60000` or `late 0`.
fn run(line: &str, value: &str) -> Result<CommandRun, Unreadable> {
    let (how, took_ms) = value
        .split_once(' ')
        .ok_or_else(|| malformed(line, "is incomplete"))?;
    let end = match how {
        "timeout" => CommandEnd::TimedOut,
        "late" => CommandEnd::NotRun,
        status => match number::<u8>(line, status)? {
            status @ 0..=SIGNALS => CommandEnd::Exit(status.into()),
            status => CommandEnd::Signal((status - SIGNALS).into()),
        },
    };
    Ok(CommandRun {
        end,
        took: Duration::from_millis(number(line, took_ms)?),
        output: Vec::new(),
    })
}

fn plain(text: &str) -> String {
    strip_controls_but_tabs(text).take(LINE_CHARS_MAX).collect()
}
