//! Layer 1: the configuration files, from text to a validated project. Does not connect to hosts.
//!
//! `load` reads the inventory and the playbook that it refers to, and reports all errors at once,
//! each with its place and a hint. Errors that appear only later (a missing artifact, a secret that
//! is not set) are reported in the same way, because the project keeps the [`SourceSpan`]s.
//!
//! The steps: `toml_tree` (TOML with places) → `overrides` (`--set`) → `fields` and `value` (parse
//! values, collect errors) → `inventory`, `playbook` → checks that need both.

mod analysis;
mod artifact;
mod channel;
mod check;
mod command;
mod definition;
mod diagnostic;
mod escalation;
mod fields;
mod hooks;
mod host_table;
mod hosts_from;
mod inventory;
mod json_tree;
mod link;
mod liveness;
mod load;
mod local_path;
mod migrations;
mod monitor;
mod names;
mod notify;
mod overrides;
mod playbook;
mod playbook_tables;
pub(crate) mod project;
mod readiness;
mod reload;
mod rollout;
mod secret_url;
mod secret_variables;
mod secrets;
mod selector;
mod server_check;
mod service;
mod service_hosts;
mod services;
mod shared_dirs;
mod slots;
mod source;
mod stack;
mod state;
mod systemd;
mod template;
mod templates;
mod toml_tree;
mod traffic;
mod unattended;
mod unit_adoption;
mod value;

pub use artifact::{
    ArtifactConfig, ArtifactPlaces, Fetch, MinisignKey, SignatureConfig, Signer, Sums,
};
pub use channel::{Channel, check_version};
pub(crate) use definition::hex;
pub use definition::{definition, release_id};
pub use diagnostic::{Diagnostic, Diagnostics, SourceSpan};
pub use escalation::Escalation;
pub use host_table::HostTable;
pub use hosts_from::{HostsFrom, HostsOutput, host_names};
pub use inventory::{HostConfig, Inventory, SshConfig, Transport};
pub(crate) use load::FILE_BYTES_MAX;
pub use load::{Selection, load, load_service, load_with, shared_state};
pub use notify::{
    MailConfig, MetricsConfig, NotifyConfig, WebhookConfig, WebhookFormat, webhook_url,
};
pub use overrides::Overrides;
pub use playbook::Playbook;
pub use rollout::RolloutConfig;
pub use secret_url::SecretUrl;
pub use secret_variables::{LEASE, SUDO_PASSWORD, register_secrets, remove_secrets};
pub use secrets::{Secrets, read_secrets};
pub use service::SecretsConfig;
pub use service::ServiceConfig;
pub use source::Source;
pub use stack::{Stack, StackOrder, StackOverrides, StackService, load_order, load_stack};
pub use state::state_url;
pub use template::{SlotVars, render, uses};
pub use traffic::{
    AdminSocket, CommandConfig, HaproxyConfig, NftablesConfig, NginxConfig, Servers, TrafficConfig,
    TrafficDriver,
};
pub use unattended::UnattendedConfig;
pub use unit_adoption::{
    AdoptedHost, AdoptedService, UnitName, UnitRefusal, UnitSite, adopt_unit, adopted_inventory,
    is_address, is_login,
};
pub use value::{Located, parse_duration};

pub use self::project::Project;
