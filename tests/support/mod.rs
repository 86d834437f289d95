//! What several tests need.
#![allow(dead_code, unreachable_pub, reason = "each test uses its own part")]

pub mod sshd;
