//! Variables of ship's own environment that hold secrets: programs that ship calls do not inherit
//! them.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::config::notify::WebhookUrl;
use crate::config::project::Project;

/// The variable by which ship, called in a hook, continues under its caller's lease.
pub const LEASE: &str = "SHIP_LEASE";

static NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Withholds the secrets of a project from every program that is called from now on: those of its
/// service, and where its webhook is. Who needs one is given it by name.
pub fn withhold(project: &Project) {
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

/// Removes withheld variables from a program's environment.
pub fn without_secrets(command: &mut Command) {
    command.env_remove(LEASE);
    for name in NAMES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        command.env_remove(name);
    }
}
