//! Projections of a rollout's events: each computes from the journal what one kind of reader needs.
//! They are pure and return values. The wording belongs to the reports.
//!
//! | projection | content |
//! |---|---|
//! | `rollout_view` | the start, the target and the current state of the rollout |
//! | `rollout_summary` | the same for a whole journal, in a few lines |
//! | `pending_orders`, `pending_actions` | the actions in flight, and since when |
//! | `status_input`, `status` | the current state of each instance |
//! | `placements` | the instance in each slot |
//! | `outages` | the unreachable hosts and balancers |
//! | `event_context` | earlier events about the subject of an event |
//! | `instance_timeline` | the slot and the states of each instance over time |
//! | `capacity_timeline` | the number of available instances over time |
//! | `notification` | the result of a run |

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
