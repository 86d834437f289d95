//! Projections of a rollout's events: each folds the journal into what one reader needs.

pub mod notification;
pub mod pending_actions;
pub mod pending_orders;
pub mod placements;
pub mod rollout_summary;
pub mod rollout_view;
pub mod state;
pub mod status;
pub mod status_input;
