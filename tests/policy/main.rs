//! What is decided and read in memory: the planner, the configuration, the journal. Nothing here
//! starts a process or needs a host.

mod architecture;
mod config;
mod fuzz;
mod generators;
mod model;
mod plan;
mod plan_properties;
