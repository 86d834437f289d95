//! The policy of the planner, as scenarios of a rollout.

mod analysis;
mod availability;
mod deadlines;
mod failed_hosts;
mod freshness;
mod linger;
mod release_settings;
mod reload;
mod requests;
mod rollout;
mod scenario;
mod steps;
mod tasks;
mod traffic;
mod windows;
mod zones;
