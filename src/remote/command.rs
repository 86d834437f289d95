//! A script to run on a machine, what it reads, and what came back.

use crate::remote::words::clean;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What to run, and for how long.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// A POSIX sh script.
    pub script: &'a str,
    /// What its standard input holds.
    pub input: Input,
    /// How long it may run. Both ends watch it: here the wait ends, there the script is ended.
    pub deadline: Duration,
}

/// A script's standard input: some bytes, then a file. Empty by default.
#[derive(Clone, Default)]
pub struct Input {
    /// What comes first.
    pub head: Vec<u8>,
    /// A file of this machine that follows.
    pub file: Option<PathBuf>,
}

/// What a script has said. Each stream is kept up to 4 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
    /// Its exit status.
    pub status: i32,
    /// Whether more was printed than is kept.
    pub truncated: bool,
}

impl Output {
    /// What it complained about, in one line without what would move a terminal's cursor.
    pub fn complaint(&self) -> String {
        match clean(&self.stderr).as_str() {
            "" => format!(
                "the script ended with exit status {} and printed nothing",
                self.status
            ),
            words => words.to_owned(),
        }
    }
}

impl Input {
    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.file.is_none()
    }
}

impl fmt::Debug for Input {
    /// Never the bytes: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("head_bytes", &self.head.len())
            .field("file", &self.file)
            .finish()
    }
}

impl From<Vec<u8>> for Input {
    fn from(head: Vec<u8>) -> Self {
        Self { head, file: None }
    }
}
