//! `ship` on real hosts: Debian with systemd and sshd in namespaces of this machine, which needs
//! root. Each test has a network and processes of its own.

mod chaos;
mod fleet;
mod nightly;
mod reliability;
mod sigkill;
mod test_hosts;
mod traffic;
