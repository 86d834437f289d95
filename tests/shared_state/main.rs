//! `ship` with shared state: several checkouts of one repository, on two machines, with real
//! servers.

mod checkout;
mod journal;
mod server;
mod team;

mod clock;
mod empty_checkout;
mod host_copy;
mod killed_controller;
mod leader;
mod outage;
mod preflight;
mod read_only;
mod relocation;
mod secrets;
mod statements;
mod two_operators;
