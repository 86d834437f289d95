//! The scripts, run for real by the shells of this machine: nothing here needs root, sshd or
//! systemd.

mod act;
mod base_dir;
mod errand;
mod fence;
mod gatekeeper;
mod guard;
mod hooks;
mod host;
mod liveness;
mod logs;

mod look;
mod pull;
mod quoting;
mod releases;
mod systemd;
#[path = "../support/web.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is shared with other tests")]
mod web;
