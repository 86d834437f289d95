//! A script to run on a machine, what it reads, and what came back.

use crate::remote::words::clean;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// A POSIX sh script.
    pub script: &'a str,
    pub input: Input,
    /// Its time limit. Both ends watch it: here the wait ends, there the script is ended.
    pub deadline: Duration,
}

/// A script's standard input: some bytes, then a file. Empty by default.
#[derive(Clone, Default)]
pub struct Input {
    /// The bytes that come first.
    pub head: Vec<u8>,
    /// A file of this machine that follows them.
    pub file: Option<PathBuf>,
}

/// The output of a script. Each stream is kept up to 4 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    /// Its exit status.
    pub status: i32,
    /// Whether more was printed than is kept.
    pub truncated: bool,
}

impl Output {
    /// Standard error on one line, without control characters.
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
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.file.is_none()
    }
}

impl fmt::Debug for Input {
    /// Does not print the bytes, which may be secrets.
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
