//! Arguments that several verbs have.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::exit::CliError;
use crate::config::{self, Overrides, StackOverrides};
use crate::report::ProgressFormat;

#[derive(Clone, Debug, Args)]
pub struct InventoryArg {
    /// Inventory file [default: the one last deployed from this directory or a parent]
    #[arg(value_name = "INVENTORY")]
    pub inventory: Option<PathBuf>,
    /// Service of a stack; repeatable [default: all]
    #[arg(long = "service", value_name = "NAME")]
    pub services: Vec<String>,
}

/// Values that override the playbook's.
#[derive(Clone, Debug, Args)]
pub struct OverrideArgs {
    /// Version or channel to deploy [default: the playbook's]; `api=VERSION` for one service of a
    /// stack, repeatable
    #[arg(long, value_name = "VERSION")]
    pub version: Vec<String>,
    /// Override a playbook key, for example `rollout.max_surge=2`; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl OverrideArgs {
    /// The overrides of the playbook of one service.
    pub(super) fn of_service(self, inventory: &InventoryArg) -> Result<Overrides, CliError> {
        let service = inventory.services.first();
        let overrides = StackOverrides {
            services: inventory.services.clone(),
            versions: self.version,
            set: self.set,
        };
        if let Some(named) = overrides.versions.iter().find(|text| text.contains('='))
            && service.is_none()
        {
            return Err(CliError::refused(format!(
                "error: `--version {named}` names a service, but the inventory has only one\nhint: write \
                 the version alone, or name the service with `--service`"
            )));
        }
        Ok(overrides.of(service.map_or("", String::as_str)))
    }
}

/// The availability monitor of a rollout.
#[derive(Clone, Debug, Args)]
pub struct MonitorArg {
    /// Send requests to URL during the rollout; fail if any fails. `off` disables `[monitor]`
    #[arg(long, value_name = "URL|off")]
    pub monitor: Option<String>,
}

impl MonitorArg {
    /// Appends the option to the overrides, as `monitor.url`.
    pub fn append_to(self, mut set: Vec<String>) -> Vec<String> {
        set.extend(self.monitor.map(|url| format!("monitor.url={url}")));
        set
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub struct LockArg {
    /// Wait this long for another deploy to finish, for example 10m
    #[arg(long, value_name = "TIME", value_parser = config::parse_duration, default_value = "0s", hide_default_value = true)]
    pub lock_timeout: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct ReasonArg {
    /// Record why; `ship history` and `ship status` show it
    #[arg(
        long,
        alias = "cause",
        value_name = "TEXT",
        allow_hyphen_values = true,
        value_parser = parse_reason
    )]
    pub reason: Option<String>,
}

/// Parses a reason: one line, because tables and messages repeat it.
fn parse_reason(text: &str) -> Result<String, String> {
    let chars = text.chars().count();
    if chars > REASON_CHARS_MAX {
        return Err(format!(
            "expected at most {REASON_CHARS_MAX} characters, found {chars}"
        ));
    }
    if text.chars().any(char::is_control) {
        return Err("expected one line without control characters".to_owned());
    }
    Ok(text.to_owned())
}

const REASON_CHARS_MAX: usize = 500;

/// Output of a verb that prints data.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArg {
    /// Output format
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "text|json",
        hide_possible_values = true
    )]
    pub output: OutputFormat,
}

/// Output of a verb that rolls out.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct DisplayArgs {
    /// Output format; json prints one event per line to stdout
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "text|json",
        hide_possible_values = true
    )]
    pub output: OutputFormat,
    /// Show progress on stderr [default: auto, or none with --output json]
    #[arg(
        long,
        value_enum,
        value_name = "auto|live|plain",
        hide_possible_values = true
    )]
    pub progress: Option<ProgressFormat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    #[default]
    Text,
    Json,
}

/// The output formats of `ship inventory`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum HostsFormat {
    #[default]
    Text,
    Json,
    Toml,
}
