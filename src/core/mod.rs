//! The policy of a rollout: pure code, without I/O.
//!
//! Nothing here awaits, logs, reads a clock or iterates a hash map: the same inputs give the same
//! plan. Therefore `tests/policy/model` can explore the policy exhaustively.

pub mod analysis;
pub mod availability;
pub mod existing_unit;
pub mod fleet;
pub mod ids;
pub mod journal;
pub mod planner;
pub mod policy;
pub mod printable;
pub mod redact;
pub mod release;
pub mod rollout;
pub mod spec;
pub mod stack;
pub mod text_difference;
pub mod time;
