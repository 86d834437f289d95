//! `ship` moves a fleet of bare machines from one version of a service to the next, with no request
//! lost.
//!
//! The modules are floors: each imports only floors below it (`tests/policy/architecture` keeps it so).
//!
//! | floor | modules | what lives there |
//! |---|---|---|
//! | 0 | [`core`] | the policy, pure: no I/O, no clock, no logging |
//! | 0 | [`system`] | what the operating system gives: accounts, process groups, random numbers |
//! | 1 | [`config`], [`script`], [`trust`] | text to spec; spec to POSIX sh and back; whose files are used |
//! | 2 | [`artifact`], [`remote`], [`probe`], [`store`], [`report`], [`notify`] | the world: bytes, hosts, ports, history, the terminal, who was not there |
//! | 3 | [`balancer`] | what stands before the instances, and how it is told |
//! | 4 | [`engine`] | observe → plan → record → execute, until done |
//! | 5 | [`app`] | what a verb does, from files to outcome |
//! | 6 | [`cli`] | arguments and printing |

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
