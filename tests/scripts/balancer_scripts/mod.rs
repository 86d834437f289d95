//! The scripts that switch traffic, run for real by the shells of this machine against a real nginx
//! and a real packet filter, each test in a network of its own.

mod nftables;
mod nginx;
