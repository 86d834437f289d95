//! The verbs, from the user's files to an outcome.
//!
//! This module does not know the terminal: a verb takes a request and an
//! [`environment::Environment`] and returns an outcome or an [`error::Error`]. While it runs, it
//! sends [`notice::Notice`]s. The simulation calls the same verbs.

pub mod adoption;
pub mod after_rollout;
pub mod channels;
pub mod conclusion;
pub mod connection;
pub mod control_machine;
pub mod deadline;
mod deployment_page_name;
pub mod discovery;
pub mod environment;
pub mod error;
mod escalation;
pub mod exit;
pub mod goal;
pub mod host_copy;
mod hosts_command;
mod identity_note;
mod known_rollout;
pub mod last_known_good;
pub mod logging;
pub mod monitor;
pub mod nearby_files;
pub mod new_files;
pub mod notice;
pub mod opened_service;
pub mod orphans;
pub mod ownership;
mod preparation;
mod prepared_artifacts;
pub mod recovery;
pub mod release;
pub mod replicas;
pub mod report_destination;
pub mod report_page;
pub mod rollout;
mod rollout_choice;
pub mod session;
pub mod spec;
pub mod stack;
mod state_location;
pub mod sudo_password;
pub mod survey;
#[cfg(test)]
mod testing;
pub mod unattended;
pub mod verbs;
