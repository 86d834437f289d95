//! A script to run on a machine, its input, and its output.

use crate::remote::sanitize::clean;
use crate::script::Input;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// A POSIX sh script.
    pub script: &'a str,
    pub input: Input,
    /// Both ends enforce it: this side stops waiting, and the host kills the script.
    pub deadline: Duration,
}

/// The output of a script. Each stream is kept up to 4 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub status: i32,
    /// Whether more was printed than is kept.
    pub truncated: bool,
}

impl Output {
    /// Standard error on one line, without control characters.
    pub fn error_text(&self) -> String {
        match clean(&self.stderr).as_str() {
            "" => format!(
                "the script ended with exit status {} and printed nothing",
                self.status
            ),
            words => words.to_owned(),
        }
    }
}
