//! Floor 0: the whole policy of a rollout, pure.
//!
//! Nothing here awaits, logs, reads a clock or iterates a hash map: the same inputs give the same
//! plan. That is what lets `tests/model.rs` explore it exhaustively.

pub mod account;
pub mod action;
pub mod adoption;
pub mod analysis;
pub mod budget;
pub mod cadence;
pub mod calendar;
pub mod census;
pub mod chore;
pub mod event;
pub mod failure;
pub mod fleet;
pub mod health;
pub mod history;
pub mod hold;
pub mod hook;
pub mod identity;
pub mod loss;
pub mod migration;
pub mod names;
pub mod night;
pub mod notice;
pub mod owner;
pub mod plan;
pub mod preview;
pub mod release;
pub mod rollout;
pub mod roster;
pub mod scaling;
pub mod spec;
pub mod standing;
pub mod status;
pub mod step;
pub mod time;
pub mod traffic;
pub mod veil;
pub mod version;
