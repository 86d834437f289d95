//! `ship` moves a fleet of bare machines from one version of a service to the next, with no request
//! lost.
//!
//! The modules are floors: each imports only floors below it (`tests/policy/architecture` keeps it so).
//!
//! | floor | modules | what lives there |
//! |---|---|---|
//! | 0 | [`core`] | the policy, pure: no I/O, no clock, no logging |
//! | 1 | [`config`], [`script`], [`traffic`], [`trust`] | text to spec; spec to POSIX sh and to balancers, and back; whose files are used |
//! | 2 | [`artifact`], [`remote`], [`probe`], [`store`], [`report`], [`notify`] | the world: bytes, hosts, ports, history, the terminal, who was not there |
//! | 3 | [`engine`] | observe → plan → record → perform, until done |
//! | 4 | [`cli`] | the verbs |

pub mod artifact;
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
pub mod traffic;
pub mod trust;
