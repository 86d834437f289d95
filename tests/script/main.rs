//! The scripts, run for real by the shells of this machine: nothing here needs root, sshd or systemd.

mod act;
mod fence;
mod gatekeeper;
mod guard;
mod host;
mod liveness;
mod logs;
mod look;
mod quoting;
mod releases;
mod systemd;
