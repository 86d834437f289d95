//! `ship` on real hosts: Debian with systemd and sshd in namespaces of this machine. Requires root.
//! Each test has its own network and processes.

mod chaos;
mod fleet;
mod nightly;
mod reliability;
mod services;
mod sigkill;
mod test_hosts;
mod traffic;
