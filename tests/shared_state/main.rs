//! `ship` with shared state: several checkouts of one repository, on two machines, with real
//! servers.

mod checkout;
mod journal;
mod server;
mod team;

mod empty_checkout;
