//! The playbook's `[service]`.

use crate::config::value::Located;
use crate::core::ids::Port;
use crate::core::release::Driver;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    pub name: String,
    /// The program and its arguments, each a template over the slot.
    pub command: Vec<String>,
    /// The slots that each host offers.
    pub ports: Vec<Port>,
    /// The environment, each value a template over the slot.
    pub env: BTreeMap<String, String>,
    pub driver: Driver,
    /// The user that it runs as; `None` for the driver's default.
    pub user: Option<String>,
    /// The time from TERM to KILL.
    pub stop_timeout: Duration,
    pub secrets: SecretsConfig,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretsConfig {
    /// A file of `KEY=VALUE` lines, as found from the playbook.
    pub env_file: Option<Located<PathBuf>>,
    /// Variables to take from the environment of the control machine.
    pub names: Vec<Located<String>>,
}
