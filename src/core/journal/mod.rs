//! Projections of a rollout's events: each folds the journal into what one kind of reader needs.
//! They are pure, and they return values: sentences belong to the reports.
//!
//! | projection | what it answers |
//! |---|---|
//! | `rollout_view` | where does the rollout come from, where does it go, how does it stand? |
//! | `rollout_summary` | the same of a whole journal, in a few lines |
//! | `pending_orders`, `pending_actions` | which orders are under way, and since when? |
//! | `status_input`, `status` | how does each instance stand now? |
//! | `placements` | which instance is in which slot? |
//! | `outages` | which hosts and balancers cannot be reached? |
//! | `event_context` | what do earlier events say about the subject of this one? |
//! | `instance_timeline` | which instance was where, from when to when, in what state? |
//! | `capacity_timeline` | how many instances served, from moment to moment? |
//! | `notification` | what did a run come to? |

pub mod capacity_timeline;
pub mod event_context;
pub mod instance_timeline;
pub mod notification;
pub mod outages;
pub mod pending_actions;
pub mod pending_orders;
pub mod placements;
pub mod rollout_summary;
pub mod rollout_view;
pub mod state;
pub mod status;
pub mod status_input;
#[cfg(test)]
pub(crate) mod testing;
