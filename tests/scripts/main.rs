//! The scripts, run for real by the shells of this machine: nothing here needs sshd or systemd, and
//! only what switches traffic needs root.

mod act;
mod balancer_scripts;
mod base_dir;
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
mod replies;
mod systemd;
mod task;
