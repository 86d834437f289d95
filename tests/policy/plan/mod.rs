//! The policy of a rollout, told as scenarios.

mod analysis;
mod asked;
mod belongs;
mod evidence;
mod hours;
mod left_behind;
mod loss;
mod once;
mod rollout;
mod scenario;
mod steps;
mod traffic;
mod waits;
