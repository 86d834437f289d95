//! The whole command line on hosts that are all this machine, without root, sshd or network: what a user types, and
//! what comes back on stdout, on stderr and as the exit code.

#![expect(clippy::needless_raw_string_hashes, reason = "the snapshots are written by a tool")]

#[path = "../support/mod.rs"]
mod support;

mod call;
mod course;
mod project;
mod redact;
mod told;

mod aftermath;
mod analysis;
mod check;
mod deploy;
mod failure;
mod help;
mod history;
mod in_place;
mod input;
mod interrupt;
mod lookup;
mod loss;
mod pause;
mod plan;
mod readiness;
mod refusal;
mod report;
mod rollback;
mod scale;
mod secrets;
mod states;
mod status;
mod steps;
mod together;
mod traffic;
