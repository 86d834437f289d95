//! The playbook's `[service]`.

use crate::config::secrets::SecretsConfig;
use crate::core::ids::Port;
use crate::core::release::Driver;
use std::collections::BTreeMap;
use std::time::Duration;

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The service's name.
    pub name: String,
    /// The program and its arguments, each a template over the slot.
    pub command: Vec<String>,
    /// The slots that each host offers.
    pub ports: Vec<Port>,
    /// The environment, each value a template over the slot.
    pub env: BTreeMap<String, String>,
    /// What supervises it.
    pub driver: Driver,
    /// The user that it runs as; `None` for the driver's default.
    pub user: Option<String>,
    /// From TERM to KILL.
    pub stop_timeout: Duration,
    /// Where its secrets are.
    pub secrets: SecretsConfig,
}
