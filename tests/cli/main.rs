//! Tests of the command line on hosts that are all this machine, without root, sshd or network:
//! each runs a command and checks stdout, stderr and the exit code.

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
mod adopt_unit;
mod after_rollout;
mod analysis;
mod artifact_sources;
mod channels;
mod check;
mod clock;
mod concurrency;
mod cron;
mod deploy;
mod disconnect;
mod discovery;
mod drain;
mod failure;
mod help;
mod history;
mod hooks;
mod hosts_from;
mod in_place;
mod init;
mod input;
mod interrupt;
mod inventory;
mod kubectl_habits;
mod last_known_good;
mod logs;
mod migrations;
mod monitor;
mod ownership;
mod pause;
mod plan;
mod pull;
mod readiness;
mod refusal;
mod report;
mod rollback;
mod rollout_log;
mod scale;
mod secrets;
mod services;
mod stack;
mod stack_kills;
mod status;
mod steps;
mod sudo_password;
mod tasks;
mod traffic;
mod trust;
mod unattended;
mod zones;
