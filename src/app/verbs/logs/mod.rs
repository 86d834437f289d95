//! `ship logs`: reads the logs of instances or of a rollout. It takes no lock and makes no changes.

mod filter;
mod growing_file;
pub mod host_logs;
pub mod instances;
pub mod request;
pub mod rollout;
pub mod sink;
