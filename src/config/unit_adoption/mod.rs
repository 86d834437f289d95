//! `ship adopt`: an inventory and a playbook for a service that runs under a unit of its own.
//!
//! The unit comes from a host as an [`ExistingUnit`](crate::core::existing_unit::ExistingUnit). What
//! systemd has computed (the program, the environment, the user, the timeouts) is read from its
//! properties, and everything else from the files of the unit, which alone show what is set
//! and what is a default. The steps: `unit_text`, `exec_line` and `variables` (read) →
//! `unit_ports`, `origin`, `unit_secret` and `settings` (decide) → `command_text`, `playbook_text`
//! and `inventory_text` (write).

mod adopted_service;
mod adopted_settings;
mod command_text;
mod exec_line;
mod inventory_text;
mod origin;
mod playbook_text;
mod refusal;
mod settings;
mod toml_lines;
mod unit_name;
mod unit_ports;
mod unit_secret;
mod unit_site;
mod unit_text;
mod unit_time;
mod variables;

pub use adopted_service::{AdoptedService, adopt_unit};
pub use inventory_text::{AdoptedHost, adopted_inventory, is_address, is_login};
pub use refusal::UnitRefusal;
pub use unit_name::UnitName;
pub use unit_site::UnitSite;
