//! Shared parts of the tests: hosts, servers, clients, and `ship` as users run it.

pub mod behaviour;
pub mod browser;
pub mod clients;
pub mod command;
pub mod etcd_certificates;
pub mod etcd_cluster;
pub mod fake_clock;
pub mod flaky_proxy;
pub mod fleet;
pub mod haproxy;
pub mod inventory;
pub mod keepalive;
pub mod local_machine;
pub mod loopback;
pub mod mutation;
pub mod namespace;
pub mod postgres_server;
pub mod probe_client;
pub mod project;
pub mod project_dir;
pub mod rng;
pub mod sshd;
pub mod stack;
pub mod stack_kills;
pub mod traffic;
pub mod web;
