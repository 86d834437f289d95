//! `[service]`: the program and its environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command;
use super::diagnostic::{Diagnostic, SourceSpan};
use super::fields::{Fields, Sink};
use super::link;
use super::local_path::resolve_relative;
use super::names;
use super::reload;
use super::shared_dirs;
use super::slots;
use super::templates::Templates;
use super::toml_tree::Node;
use super::value::{Faults, Located, ValueError, boolean, choice, located, positive_duration};
use crate::core::release::slots::Slots;
use crate::core::release::unit::StopSignal;
use crate::core::release::{Driver, own_user};

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    pub name: String,
    /// The program and its arguments, each a template for the slot.
    /// Empty with the driver `link`, which runs no process.
    pub command: Vec<String>,
    /// The command after the switch of `current`, each word a template for the slot; empty for none.
    pub activate: Vec<String>,
    /// The command with which a running instance reads the files of another release; empty if it
    /// cannot.
    pub reload: Vec<String>,
    /// The slots of each host.
    pub slots: Slots,
    /// The environment. Each value is a template for the slot.
    pub env: BTreeMap<String, String>,
    pub driver: Driver,
    /// Whether two instances must never run at once.
    pub is_singleton: bool,
    /// The user that the service runs as; `None` for the default of the driver.
    pub user: Option<String>,
    /// The signal that asks an instance to stop.
    pub stop_signal: StopSignal,
    /// The time between `stop_signal` and SIGKILL.
    pub stop_timeout: Duration,
    /// How long a replaced instance may finish its work after `stop_signal`.
    pub linger: Option<Duration>,
    /// Directories of the release that outlive it, relative to it.
    pub shared_dirs: Vec<Located<String>>,
    pub secrets: SecretsConfig,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretsConfig {
    /// A file of `KEY=VALUE` lines, relative to the playbook.
    pub env_file: Option<Located<PathBuf>>,
    /// Variables to read from the environment of ship.
    pub names: Vec<Located<String>>,
}

/// Reads the table; errors go to `sink`.
pub(super) fn read(
    fields: &Fields<'_>,
    dir: &Path,
    templates: &mut Templates,
    sink: &Sink,
) -> Option<ServiceConfig> {
    let name = fields.required("name", "name = \"testpage\"", names::service);
    let command = fields.optional("command", command::command);
    let slots = slots::read(fields, sink);
    let env = fields.map(
        "env",
        |key| names::VARIABLE.check(key),
        located(names::variable_value),
    );
    let driver = fields.optional_or(
        "driver",
        Driver::Systemd,
        choice(&[
            ("systemd", Driver::Systemd),
            ("process", Driver::Process),
            ("link", Driver::Link),
        ]),
    );
    let activate = fields.optional("activate", command::command);
    let reload = fields.optional("reload", command::command);
    let is_singleton = fields.optional_or("singleton", false, boolean);
    let user = fields.optional("user", names::user);
    let stop_signal = fields.optional_or("stop_signal", StopSignal::Term, choice(&StopSignal::ALL));
    let default = if driver == Some(Driver::Link) {
        Duration::ZERO
    } else {
        STOP_TIMEOUT
    };
    let stop_timeout = fields.optional_or("stop_timeout", default, positive_duration);
    let linger = fields.optional("linger", linger);
    let shared_dirs = shared_dirs::read(fields, sink);
    let env_file = fields.optional("env_file", located(|node| resolve_relative(dir, node)));
    let secrets = fields.list("secrets", "secrets = [\"DB_PASSWORD\"]", names::variable);
    fields.finish();
    link::check_service(fields, driver, slots.as_ref(), sink);
    let runs_process = driver != Some(Driver::Link);
    if runs_process && command == Some(None) {
        fields.report_missing("command", "command = \"/usr/bin/python3 testpage.py\"");
        return None;
    }
    reload::check_driver(fields, driver);
    if let (Some(name), Some(Driver::Systemd), Some(None)) = (&name, &driver, &user) {
        check_user_name(name, fields.place_of("name"), sink);
    }

    let (command, activate) = (command?.unwrap_or_default(), activate?.unwrap_or_default());
    let reload = reload?.unwrap_or_default();
    templates.extend(fields.place_of("command"), &command);
    templates.extend(fields.place_of("activate"), &activate);
    templates.extend(fields.place_of("reload"), &reload);
    for value in env.iter().flat_map(BTreeMap::values) {
        let text = std::slice::from_ref(&value.value);
        templates.extend(Some(value.place.clone()), text);
    }
    let (env, secrets) = (env?, secrets?);
    check_duplicate_variables(&env, &secrets, sink);
    Some(ServiceConfig {
        name: name?,
        command,
        activate,
        reload,
        slots: slots?,
        env: env
            .into_iter()
            .map(|(key, value)| (key, value.value))
            .collect(),
        driver: driver?,
        is_singleton: is_singleton?,
        user: user?,
        stop_signal: stop_signal?,
        stop_timeout: stop_timeout?,
        linger: linger?,
        shared_dirs: shared_dirs?,
        secrets: SecretsConfig {
            env_file: env_file?,
            names: secrets,
        },
    })
}

/// Reads `linger`, which hosts count in whole seconds.
fn linger(node: &Node) -> Result<Duration, Faults> {
    let linger = positive_duration(node)?;
    if linger.subsec_nanos() == 0 {
        return Ok(linger);
    }
    Err(ValueError::new("must be whole seconds")
        .help("for example \"90s\"")
        .into())
}

/// The longest user name that systemd accepts.
const USER_CHARS_MAX: usize = 31;

/// Reports a service whose name is too long for its own user.
fn check_user_name(service: &str, place: Option<SourceSpan>, sink: &Sink) {
    let (user, Some(place)) = (own_user(service), place) else {
        return;
    };
    if user.len() > USER_CHARS_MAX {
        let message = format!(
            "the user of the service, `{user}`, would have {} characters; the maximum is \
             {USER_CHARS_MAX}",
            user.len()
        );
        sink.push(Diagnostic::at(&place, message).help("set `user`, or shorten the name"));
    }
}

/// Reports variables that are defined twice.
fn check_duplicate_variables(
    env: &BTreeMap<String, Located<String>>,
    secrets: &[Located<String>],
    sink: &Sink,
) {
    let mut seen: BTreeMap<&str, &SourceSpan> = env
        .iter()
        .map(|(key, value)| (key.as_str(), &value.place))
        .collect();
    for secret in secrets {
        if let Some(first) = seen.insert(&secret.value, &secret.place) {
            let message = format!("variable `{}` is defined twice", secret.value);
            let diagnostic =
                Diagnostic::at(&secret.place, message).related(first, "first defined here");
            sink.push(diagnostic.help("keep one of the two"));
        }
    }
}
