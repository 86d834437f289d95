//! The lines in which scripts report the results of the user's commands.
//!
//! ```text
//! hook=before_start 0 1230       which, how it ended (a status, `timeout` or `late`), for how many ms it ran
//! errand=0 1230                  the same of the one command of an errand
//! said=a line                    of the command before
//! left=sleep (pid 4711), …       processes of it that have left its session and go on
//! made=by whom                   the errand was made before
//! ```

use std::time::Duration;

use super::hooks::SAID_LINES;
use crate::core::printable::strip_controls_but_tabs;
use crate::core::release::hook::{CommandEnd, CommandRun, HookPoint, HookRun, STILL_RUNNING};
use crate::script::number::{number, wrong};
use crate::script::unreadable::Unreadable;

/// A longer line is cut.
const LINE_CHARS_MAX: usize = 2000;
/// A status above it is a signal, as shells count.
const SIGNALS: u8 = 128;

/// The records about an errand.
#[derive(Default)]
pub(super) struct TaskRecords {
    pub(super) run: Option<CommandRun>,
    pub(super) made: Option<String>,
}

/// The runs of commands that the lines report so far.
#[derive(Default)]
pub(super) struct Runs {
    hooks: Vec<HookRun>,
    errand: TaskRecords,
    last: Option<Last>,
}

/// The command that the lines are about.
enum Last {
    Hook,
    Errand,
}

impl Runs {
    pub(super) fn open_hook(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        let (point, rest) = value
            .split_once(' ')
            .ok_or_else(|| wrong(line, "is too short"))?;
        let on = HookPoint::of_word(point).ok_or_else(|| wrong(line, "names no point"))?;
        self.hooks.push(HookRun {
            on,
            run: run(line, rest)?,
        });
        self.last = Some(Last::Hook);
        Ok(())
    }

    pub(super) fn open_errand(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        if self.errand.run.replace(run(line, value)?).is_some() {
            return Err(wrong(line, "comes twice"));
        }
        self.last = Some(Last::Errand);
        Ok(())
    }

    pub(super) fn made(&mut self, value: &str) {
        self.errand.made = Some(plain(value));
    }

    fn last(&mut self, line: &str) -> Result<&mut CommandRun, Unreadable> {
        let run = match self.last {
            Some(Last::Hook) => self.hooks.last_mut().map(|hook| &mut hook.run),
            Some(Last::Errand) => self.errand.run.as_mut(),
            None => None,
        };
        run.ok_or_else(|| wrong(line, "belongs to no command"))
    }

    pub(super) fn left(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        self.last(line)?
            .output
            .push(format!("{STILL_RUNNING}{}", plain(value)));
        Ok(())
    }

    pub(super) fn said(&mut self, line: &str, value: &str) -> Result<(), Unreadable> {
        let run = self.last(line)?;
        if run.output.len() >= SAID_LINES {
            return Err(wrong(line, "is one too many"));
        }
        run.output.push(plain(value));
        Ok(())
    }

    pub(super) fn finish(self) -> (Vec<HookRun>, TaskRecords) {
        (self.hooks, self.errand)
    }
}

/// `0 1230`, `timeout 60000` or `late 0`.
fn run(line: &str, value: &str) -> Result<CommandRun, Unreadable> {
    let (how, took_ms) = value
        .split_once(' ')
        .ok_or_else(|| wrong(line, "is too short"))?;
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
