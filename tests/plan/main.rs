//! The policy of a rollout, told as scenarios.

mod analysis;
mod asked;
mod left_behind;
mod loss;
mod rollout;
mod scenario;
mod steps;
mod traffic;
