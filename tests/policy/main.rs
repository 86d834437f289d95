//! Tests of the planner, the configuration and the journal. They run in memory: none needs a host.

mod adoption;
mod architecture;
mod config;
mod fuzz;
mod generators;
mod model;
mod plan;
mod plan_properties;
