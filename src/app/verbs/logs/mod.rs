//! `ship logs`: what the instances write, and what ship did in a rollout. It takes no lock and
//! changes nothing.

mod filter;
mod growing_file;
pub mod host_logs;
pub mod instances;
pub mod request;
pub mod rollout;
pub mod sink;
