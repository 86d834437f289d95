//! The policy of a rollout, told as scenarios.

mod analysis;
mod asked;
mod availability;
mod belongs;
mod evidence;
mod failed_hosts;
mod hours;
mod once;
mod rollout;
mod scenario;
mod steps;
mod traffic;
mod waits;
