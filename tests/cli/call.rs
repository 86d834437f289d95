//! Runs `ship` with arguments and checks its output and exit code. Unexpected output fails the
//! test.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use snapbox::{Assert, Data, IntoData, str};

use crate::redact::Redact;
use ship_testing::command::{Done, Running, ship_command};

/// A command to run and its expected result: by default no output and exit code 0.
#[must_use = "nothing is called before `run`"]
pub(crate) struct Call<'a> {
    command: Command,
    redact: &'a Redact,
    stdout: Option<Data>,
    stderr: Option<Data>,
    stdout_lines: Vec<String>,
    stderr_lines: Vec<String>,
    status: i32,
}

impl<'a> Call<'a> {
    /// Calls `ship` in a directory.
    pub(crate) fn new(dir: &Path, args: &[&str], redact: &'a Redact) -> Self {
        let mut command = ship_command(dir, args);
        // One that is killed leaves its temporary files: they go with the project.
        command.env("TMPDIR", dir.join("home"));
        Self {
            command,
            redact,
            stdout: Some(str![].into_data()),
            stderr: Some(str![].into_data()),
            stdout_lines: Vec::new(),
            stderr_lines: Vec::new(),
            status: 0,
        }
    }

    /// In another directory.
    pub(crate) fn within(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// With one more variable in its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Expects this on stdout.
    pub(crate) fn stdout(mut self, expected: impl IntoData) -> Self {
        self.stdout = Some(expected.into_data());
        self
    }

    /// Expects this on stderr.
    pub(crate) fn stderr(mut self, expected: impl IntoData) -> Self {
        self.stderr = Some(expected.into_data());
        self
    }

    /// Expects these parts of lines on stdout, in this order, whatever else there is.
    pub(crate) fn stdout_lines(mut self, lines: &[&str]) -> Self {
        self.stdout_lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.any_stdout()
    }

    /// Expects these parts of lines on stderr, in this order, whatever else there is.
    pub(crate) fn stderr_lines(mut self, lines: &[&str]) -> Self {
        self.stderr_lines = lines.iter().map(|line| (*line).to_owned()).collect();
        self.any_stderr()
    }

    /// Permits any stdout; the test checks it.
    pub(crate) fn any_stdout(mut self) -> Self {
        self.stdout = None;
        self
    }

    /// Does not mind what is on stderr: another test has it word for word.
    pub(crate) fn any_stderr(mut self) -> Self {
        self.stderr = None;
        self
    }

    /// Expects this exit code.
    pub(crate) fn status(mut self, status: i32) -> Self {
        self.status = status;
        self
    }

    /// Starts it; the expectations are left to the test.
    pub(crate) fn spawn(self) -> Running {
        Running::spawn(self.command)
    }

    /// Calls it and compares.
    #[track_caller]
    pub(crate) fn run(self) -> Done {
        let done = Running::spawn(self.command).wait().exits(self.status);
        let assert = Assert::new().action_env("SNAPSHOTS").normalize_paths(false);
        for (printed, expected) in [(&done.stdout, self.stdout), (&done.stderr, self.stderr)] {
            if let Some(expected) = expected {
                assert.eq(self.redact.apply(printed), expected);
            }
        }
        assert_lines(&self.redact.apply(&done.stdout), &self.stdout_lines);
        assert_lines(&self.redact.apply(&done.stderr), &self.stderr_lines);
        done
    }
}

#[track_caller]
fn assert_lines(text: &str, expected: &[String]) {
    let mut lines = text.lines();
    for part in expected {
        let found = lines.any(|line| line.contains(part));
        assert!(found, "no {part:?}, or not in this order, in:\n{text}");
    }
}

/// The JSON objects of a stream that has one a line.
#[track_caller]
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    let parse = |line| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
    };
    text.lines().map(parse).collect()
}

/// The one JSON value of a stream.
#[track_caller]
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}):\n{text}"))
}
