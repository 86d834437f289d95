//! The decisions of each verb, on hosts in memory without processes, ports or waiting. `tests/cli`
//! shows with a few tests per verb that the real binary behaves in the same way.

mod environment;
mod project;
mod run;

mod drain;
mod failed;
mod plan;
mod rollback;
mod scale;
mod stack;
mod states;
mod steps;
mod stopped;
mod unattended;
