//! A host as a table, as `[[hosts]]` and the command of `[hosts_from]` have it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::escalation::Escalation;
use super::inventory::{HostConfig, Transport};
use super::project::absolute;

/// A host with all its settings. A setting that ship leaves to `ssh` is absent.
#[derive(Debug, Serialize)]
pub struct HostTable<'a> {
    name: &'a str,
    address: &'a str,
    transport: &'static str,
    drain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known_hosts: Option<PathBuf>,
    connect_timeout: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    persist: Option<String>,
    sudo: Escalation,
    // The last one, because TOML has it as a table of its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a HostConfig> for HostTable<'a> {
    fn from(host: &'a HostConfig) -> Self {
        // The table may be pasted into an inventory in another directory.
        let path = |path: &Option<PathBuf>| path.as_deref().map(absolute);
        Self {
            name: host.name.as_str(),
            address: &host.address,
            transport: host.transport.name(),
            drain: host.drain,
            base_dir: host.base_dir.as_deref(),
            user: host.ssh.user.as_deref(),
            port: host.ssh.port,
            identity_file: path(&host.ssh.identity_file),
            config: path(&host.ssh.config),
            known_hosts: path(&host.ssh.known_hosts),
            connect_timeout: duration(host.ssh.connect_timeout),
            persist: (!host.ssh.persist.is_zero()).then(|| duration(host.ssh.persist)),
            sudo: host.ssh.escalation,
            labels: &host.labels,
        }
    }
}

impl Transport {
    /// The value of the key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Local => "local",
        }
    }
}

/// A duration as `parse_duration` reads it, without loss.
fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms.is_multiple_of(1000) {
        format!("{}s", ms / 1000)
    } else {
        format!("{ms}ms")
    }
}
