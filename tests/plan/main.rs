//! The policy of a rollout, told as scenarios.

mod analysis;
mod asked;
mod hours;
mod left_behind;
mod loss;
mod rollout;
mod scenario;
mod steps;
mod traffic;
