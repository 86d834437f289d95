//! What several tests need.
#![allow(dead_code, unreachable_pub, reason = "each test uses its own part")]

pub mod asker;
pub mod browser;
pub mod clients;
pub mod command;
pub mod fleet;
pub mod haproxy;
pub mod kept;
pub mod loopback;
pub mod mutation;
pub mod project;
pub mod relay;
pub mod reliability;
pub mod sshd;
pub mod traffic;
pub mod web;
pub mod world;
