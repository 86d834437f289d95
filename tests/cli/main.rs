//! The whole command line on hosts that are all this machine, without root, sshd or network: what a
//! user types, and what comes back on stdout, on stderr and as the exit code.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "the snapshots are written by a tool"
)]

mod call;
mod event_stream;
mod journal;
mod project;
mod redact;

mod adopt;
mod aftermath;
mod analysis;
mod channels;
mod check;
mod clock;
mod concurrency;
mod cron;
mod deploy;
mod drain;
mod failure;
mod habits;
mod help;
mod history;
mod hooks;
mod in_place;
mod init;
mod input;
mod interrupt;
mod logs;
mod lookup;
mod migrations;
mod monitor;
mod ownership;
mod pause;
mod plan;
mod pull;
mod readiness;
mod recall;
mod refusal;
mod report;
mod rollback;
mod rollout_log;
mod scale;
mod secrets;
mod sources;
mod status;
mod steps;
mod tasks;
mod traffic;
mod trust;
mod unattended;
