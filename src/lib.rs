//! `ship` rolls out new versions of a service across plain VMs over SSH, one batch at a time,
//! without dropping requests.
//!
//! The modules are layered: each imports only modules below it (`tests/policy/architecture` checks
//! it).
//!
//! | layer | modules | contents |
//! |---|---|---|
//! | 0 | [`core`] | the policy, without I/O, clock or logging |
//! | 0 | [`system`] | the operating system: accounts, process groups, random numbers |
//! | 1 | [`config`], [`script`], [`trust`] | configuration files; scripts for the hosts; trust in files |
//! | 2 | [`artifact`], [`remote`], [`probe`], [`store`], [`report`], [`notify`] | artifacts, SSH, probes, history, output, notifications |
//! | 3 | [`balancer`] | the load balancers |
//! | 4 | [`engine`] | observe → plan → record → execute, until done |
//! | 5 | [`app`] | the verbs, from files to outcome |
//! | 6 | [`cli`] | arguments and output |

pub mod app;
pub mod artifact;
pub mod balancer;
pub mod cli;
pub mod config;
pub mod core;
pub mod engine;
pub mod notify;
pub mod probe;
pub mod remote;
pub mod report;
pub mod script;
pub mod store;
pub mod system;
pub mod trust;
