//! The scripts that switch traffic, run for real by the shells of this machine against a real nginx
//! and a real packet filter, each test in a network of its own.

#[path = "../script/host.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod host;
mod nftables;
mod nginx;
#[path = "../support/mod.rs"]
mod support;
