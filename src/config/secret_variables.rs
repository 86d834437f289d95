//! Environment variables with secrets, which the child processes of ship must not inherit.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::config::notify::WebhookUrl;
use crate::config::project::Project;

/// The variable that passes the lease token to hooks, so that a ship process that a hook starts
/// runs under the lease of this process.
pub const LEASE: &str = "SHIP_LEASE";

static NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Registers the variables with the secrets of a project: those of its service, and the URL of its
/// webhook. [`remove_secrets`] removes them from child processes.
pub fn register_secrets(project: &Project) {
    let playbook = &project.playbook;
    let webhook = playbook
        .notify
        .as_ref()
        .and_then(|notify| notify.webhook.as_ref());
    let webhook = webhook.and_then(|webhook| match &webhook.url {
        WebhookUrl::Env(name) => Some(name.clone()),
        WebhookUrl::Literal(_) | WebhookUrl::File(_) => None,
    });
    let secrets = playbook
        .service
        .secrets
        .names
        .iter()
        .map(|name| name.value.clone());
    NAMES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(secrets.chain(webhook));
}

/// Removes the registered variables from the environment of a child process.
pub fn remove_secrets(command: &mut Command) {
    command.env_remove(LEASE);
    for name in NAMES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        command.env_remove(name);
    }
}
