//! Environment variables with secrets, which the child processes of ship must not inherit.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::config::project::Project;
use crate::config::secret_url::SecretUrl;

/// The variable that passes the lease token to hooks, so that a ship process that a hook starts
/// runs under the lease of this process.
pub const LEASE: &str = "SHIP_LEASE";

/// The variable with the password for sudo, for runs without a terminal.
pub const SUDO_PASSWORD: &str = "SHIP_SUDO_PASSWORD";

static NAMES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The variables with which the databases of the state know their passwords.
const STATE_PASSWORDS: [&str; 3] = ["PGPASSWORD", "ETCDCTL_PASSWORD", "ETCDCTL_USER"];

/// Registers the variables with the secrets of a project: those of its service, and the URLs of its
/// webhook and its state. [`remove_secrets`] removes them from child processes.
pub fn register_secrets(project: &Project) {
    let playbook = &project.playbook;
    let webhook = playbook
        .notify
        .as_ref()
        .and_then(|notify| notify.webhook.as_ref());
    let urls = webhook.map(|webhook| &webhook.url).into_iter();
    let urls = urls.chain(&project.inventory.state);
    let urls = urls.filter_map(|url| match url {
        SecretUrl::Env(name) => Some(name.clone()),
        SecretUrl::Literal(_) | SecretUrl::File(_) => None,
    });
    let secrets = playbook
        .service
        .secrets
        .names
        .iter()
        .map(|name| name.value.clone());
    NAMES.lock().unwrap_or_else(PoisonError::into_inner).extend(
        secrets
            .chain(urls)
            .chain(STATE_PASSWORDS.map(str::to_owned)),
    );
}

/// Removes the registered variables, the lease token and the sudo password from the environment of a
/// child process.
pub fn remove_secrets(command: &mut Command) {
    command.env_remove(LEASE);
    command.env_remove(SUDO_PASSWORD);
    for name in NAMES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        command.env_remove(name);
    }
}
