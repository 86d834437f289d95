//! A script to run on a machine, what it reads, and what came back.

use crate::remote::words::clean;
use crate::script::Input;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// A POSIX sh script.
    pub script: &'a str,
    pub input: Input,
    /// Its time limit. Both ends watch it: here the wait ends, there the script is ended.
    pub deadline: Duration,
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
