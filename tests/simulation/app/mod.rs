//! What each verb decides, on hosts in memory: no process, no port, no waiting.
//!
//! That the real binary takes the same ways is what `tests/cli` shows, with one test or a few for each verb.

mod environment;
mod project;
mod run;

mod drain;
mod failed;
mod plan;
mod rollback;
mod scale;
mod states;
mod steps;
mod stopped;
mod unattended;
