//! The scripts, run for real by the shells of this machine: nothing here needs sshd or systemd, and
//! only what switches traffic needs root.

mod balancer_scripts;
mod base_dir;
mod command_balancer;
mod dead_mans_switch;
mod existing_unit;
mod fence;
mod hooks;
mod host;
mod linger;
mod link;
mod liveness;
mod logs;
mod patch;
mod pull;
mod quoting;
mod releases;
mod replies;
mod reports;
mod start_stop;
mod systemd;
mod task;
