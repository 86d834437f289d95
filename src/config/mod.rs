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
mod server_check;
mod service;
mod shared_dirs;
mod slots;
mod source;
mod state;
mod systemd;
mod template;
mod templates;
mod toml_tree;
mod traffic;
mod unattended;
mod value;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
pub use state::state_url;
pub use template::{SlotVars, render, uses};
pub use traffic::{
    AdminSocket, CommandConfig, HaproxyConfig, NftablesConfig, NginxConfig, Servers, TrafficConfig,
    TrafficDriver,
};
pub use unattended::UnattendedConfig;
pub use value::{Located, parse_duration};

pub use self::project::Project;
use self::project::tidied;
use diagnostic::SourceText;
use fields::Sink;
use toml_tree::Node;

/// The size limit of an inventory or a playbook.
pub(crate) const FILE_BYTES_MAX: usize = 4 << 20;

/// Reads an inventory and its playbook, and applies the overrides of the command line.
///
/// # Errors
/// All errors in either file.
pub fn load(inventory: &Path, overrides: &Overrides) -> Result<Project, Diagnostics> {
    load_with(inventory, overrides, |path| std::fs::read(path))
}

/// [`load`], with the files from `read`.
///
/// # Errors
/// All errors in either file.
pub fn load_with(
    inventory: &Path,
    overrides: &Overrides,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Project, Diagnostics> {
    load_with_hosts(inventory, overrides, read, None)
}

/// [`load_with`], with the output of the command of `[hosts_from]`. Without it, the project has
/// only the hosts of the inventory itself, and what depends on the number of hosts is not checked.
///
/// # Errors
/// All errors in either file or in the output.
pub fn load_with_hosts(
    inventory: &Path,
    overrides: &Overrides,
    read: impl Fn(&Path) -> io::Result<Vec<u8>>,
    hosts: Option<&HostsOutput>,
) -> Result<Project, Diagnostics> {
    let sink = Sink::default();
    let (playbook_path, inventory_read) = read_inventory(inventory, &read, hosts, &sink);
    sink.end_file();
    let mut files = vec![inventory.display().to_string()];
    files.extend(hosts.map(|hosts| hosts.name().to_owned()));
    let mut playbook_read = None;
    if let Some(path) = playbook_path {
        files.push(path.value.display().to_string());
        let draft = read_playbook(&path, overrides, &read, &sink);
        playbook_read =
            draft.and_then(|draft| draft.checked_against(complete(inventory_read.as_ref()), &sink));
    }
    let found = sink.into_inner();
    match (inventory_read, playbook_read) {
        (Some(inventory), Some(playbook)) if found.is_empty() => Ok(Project {
            inventory,
            playbook,
        }),
        _ => Err(Diagnostics::sorted(found, &files)),
    }
}

/// The state's URL and the name of the fleet in an inventory that may have errors elsewhere; `None`
/// if the inventory names no URL, or no fleet.
pub fn shared_state(inventory: &Path) -> Option<(SecretUrl, String)> {
    let (read, sink) = (|path: &Path| std::fs::read(path), Sink::default());
    let unreadable = |why: String| Diagnostic::file(inventory.display().to_string(), why);
    let (Parsed::Whole(root) | Parsed::Broken(root)) = parsed(inventory, &read, &sink, unreadable)
    else {
        return None;
    };
    inventory::read_shared_state(&root, inventory)
}

/// The inventory, if all its hosts are known.
fn complete(inventory: Option<&Inventory>) -> Option<&Inventory> {
    inventory.filter(|inventory| {
        let from = inventory.hosts_from.as_ref();
        from.is_none_or(|from| from.printed.is_some())
    })
}

type Reader<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

fn read_inventory(
    path: &Path,
    read: Reader<'_>,
    hosts: Option<&HostsOutput>,
    sink: &Sink,
) -> (Option<Located<PathBuf>>, Option<Inventory>) {
    let help = "name an inventory, as in `ship deploy inventory/production.toml`";
    let unreadable = |why: String| Diagnostic::file(path.display().to_string(), why).help(help);
    let (playbook, inventory) = match parsed(path, read, sink, unreadable) {
        Parsed::Whole(root) => inventory::read(&root, path, hosts, sink),
        // The incomplete tree may still name the playbook. Other errors in it are not reported,
        // because the broken syntax may be their cause.
        Parsed::Broken(root) => (inventory::read(&root, path, None, &Sink::default()).0, None),
        Parsed::Nothing => (None, None),
    };
    let tidy = |path: PathBuf| tidied(&path).unwrap_or(path);
    let playbook = playbook.map(|it| Located {
        value: tidy(it.value),
        place: it.place,
    });
    let inventory = inventory.map(|it| Inventory {
        playbook: tidy(it.playbook),
        ..it
    });
    (playbook, inventory)
}

fn read_playbook(
    path: &Located<PathBuf>,
    overrides: &Overrides,
    read: Reader<'_>,
    sink: &Sink,
) -> Option<playbook::PlaybookDraft> {
    let help = "the path is relative to the inventory";
    let unreadable = |why: String| Diagnostic::at(&path.place, why).help(help);
    let Parsed::Whole(mut root) = parsed(&path.value, read, sink, unreadable) else {
        return None;
    };
    let mut found = Vec::new();
    overrides.apply(&mut root, &mut found);
    sink.extend(found);
    playbook::read(&root, &path.value, sink)
}

enum Parsed {
    Whole(Node),
    /// The tree is incomplete.
    Broken(Node),
    Nothing,
}

/// Parses a file. `unreadable` builds the diagnostic if the file cannot be read.
fn parsed(
    path: &Path,
    read: Reader<'_>,
    sink: &Sink,
    unreadable: impl Fn(String) -> Diagnostic,
) -> Parsed {
    let shown = path.display().to_string();
    let bytes = match read(path) {
        Ok(bytes) if bytes.len() > FILE_BYTES_MAX => {
            sink.push(unreadable(format!(
                "{shown} is larger than {} MiB",
                FILE_BYTES_MAX >> 20
            )));
            return Parsed::Nothing;
        }
        Ok(bytes) => bytes,
        Err(why) => {
            sink.push(unreadable(format!("cannot read {shown}: {why}")));
            return Parsed::Nothing;
        }
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let (line, column) = position(error.as_bytes(), error.utf8_error().valid_up_to());
            let diagnostic =
                Diagnostic::line(shown, line, column, "the file is not valid UTF-8 here");
            sink.push(diagnostic.help("save it as UTF-8"));
            return Parsed::Nothing;
        }
    };
    let (root, errors) = toml_tree::parse(&Arc::new(SourceText::file(shown, text)));
    if errors.is_empty() {
        return Parsed::Whole(root);
    }
    sink.extend(errors);
    Parsed::Broken(root)
}

/// Line and column of a byte, both counted from 1.
fn position(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = String::from_utf8_lossy(bytes.get(..at).unwrap_or(bytes));
    let line = before.rsplit('\n').next().unwrap_or_default();
    (1 + before.matches('\n').count(), 1 + line.chars().count())
}
