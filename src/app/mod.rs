//! What a verb does, from the user's files to its outcome.
//!
//! Nothing here knows a terminal: a verb gets a request and an [`environment::Environment`], and
//! gives back an outcome or an [`error::Error`]. What it tells meanwhile are
//! [`notice::Notice`]s. The simulation calls the same verbs.

pub mod adoption;
pub mod after_rollout;
pub mod channels;
pub mod conclusion;
pub mod connection;
pub mod control_machine;
pub mod discovery;
pub mod environment;
pub mod error;
pub mod exit;
pub mod goal;
pub mod known_rollout;
pub mod last_known_good;
pub mod logging;
pub mod monitor;
pub mod nearby_files;
pub mod notice;
pub mod opened_service;
pub mod orphans;
pub mod ownership;
pub mod page;
pub mod patience;
pub mod release;
pub mod replicas;
pub mod rollout;
mod rollout_choice;
pub mod session;
pub mod spec;
pub mod survey;
#[cfg(test)]
mod testing;
pub mod unattended;
pub mod verbs;
