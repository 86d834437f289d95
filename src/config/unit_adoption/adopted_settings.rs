//! What a playbook takes over from a unit.

use std::time::Duration;

use super::command_text::{CommandWriter, WrittenCommand};
use super::exec_line::ExecLine;
use super::origin::{ArtifactOrigin, is_default_directory, is_within};
use super::refusal::UnitRefusal;
use super::settings::SortedSettings;
use super::unit_name::UnitName;
use super::unit_ports::UnitPorts;
use super::unit_secret::is_secret_variable;
use super::unit_text::UnitText;
use super::unit_time::parse_unit_time;
use super::variables::variables;
use crate::config::names;
use crate::core::existing_unit::ExistingUnit;
use crate::core::release::unit::StopSignal;

/// The number of each signal that a playbook can name.
const SIGNALS: [(&str, StopSignal); 8] = [
    ("15", StopSignal::Term),
    ("2", StopSignal::Int),
    ("3", StopSignal::Quit),
    ("1", StopSignal::Hup),
    ("10", StopSignal::Usr1),
    ("12", StopSignal::Usr2),
    ("20", StopSignal::Tstp),
    ("28", StopSignal::Winch),
];

/// The user of a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UnitUser {
    Named(String),
    /// The unit names none, so it is root.
    Root,
    /// systemd creates one, as ship does.
    Dynamic,
    /// A user that a playbook cannot name, such as a number.
    Unusable,
}

/// The command with which a service reads its files again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AdoptedReload {
    pub(super) command: String,
    /// Whether the process finds the files of the next release without being started again.
    pub(super) finds_next_release: bool,
}

/// Everything that a playbook takes over.
#[derive(Debug)]
pub(super) struct AdoptedSettings {
    pub(super) name: UnitName,
    /// `ExecStart` as it was read.
    pub(super) start: ExecLine,
    pub(super) command: WrittenCommand,
    pub(super) reload: Option<AdoptedReload>,
    pub(super) origin: ArtifactOrigin,
    pub(super) ports: UnitPorts,
    /// Whether ports may be missing, because the processes hide them.
    pub(super) may_miss_ports: bool,
    pub(super) user: UnitUser,
    pub(super) stop_signal: StopSignal,
    /// `None` if the unit waits without a limit.
    pub(super) stop_timeout: Option<Duration>,
    pub(super) notifies: bool,
    /// The variables, as templates.
    pub(super) env: Vec<(String, String)>,
    /// The variables whose values are not copied.
    pub(super) secrets: Vec<String>,
    pub(super) settings: SortedSettings,
    pub(super) python: Vec<String>,
    /// Settings that still name the directory of the artifact.
    pub(super) naming_origin: Vec<String>,
    pub(super) needs_daemon_reload: bool,
}

impl AdoptedSettings {
    /// Reads a unit that can be adopted.
    pub(super) fn read(unit: &ExistingUnit, name: UnitName) -> Result<Self, UnitRefusal> {
        let text = UnitText::parse(&unit.text);
        let start = read_start(unit, &text, &name)?;
        let variables = variables(unit.property("Environment"));
        let named: Vec<&str> = start
            .texts()
            .chain(variables.iter().map(|(_, value)| value.as_str()))
            .collect();
        let ports = UnitPorts::find(unit, &named);
        let directory = unit.property("WorkingDirectory").trim_start_matches('!');
        let python = unit.python_environments.clone();
        let origin = ArtifactOrigin::of(directory, &start, &python);
        let writer = CommandWriter {
            ports: &ports,
            origin: &origin,
            python: &python,
        };
        // A release has a directory of its own, so the unit's must be entered.
        let is_elsewhere = !is_default_directory(directory) && origin.path() != Some(directory);
        let command = writer.write(&start.words, is_elsewhere.then_some(directory));
        let reload = read_reload(unit, &text, &name).map(|line| AdoptedReload {
            command: writer.write_reload(&line.words),
            finds_next_release: !command.names_artifact,
        });
        let mut settings = SortedSettings::of(&text, &name);
        if reload.is_none() && text.has("Service", "ExecReload") {
            let why = "`reload` is one command, without variables other than $MAINPID";
            settings.drop_setting("Service.ExecReload", why);
        }
        let mut secrets = command.secrets.clone();
        let mut env = Vec::new();
        for (variable, value) in &variables {
            if names::VARIABLE.check(variable).is_err()
                || names::check_variable_value(value).is_err()
            {
                let why = "its name or its value has characters that a playbook cannot express";
                settings.drop_setting(&format!("Environment {variable}"), why);
            } else if is_secret_variable(variable, value) {
                if !secrets.contains(variable) {
                    secrets.push(variable.clone());
                }
            } else {
                env.push((variable.clone(), writer.template(value)));
            }
        }
        env.retain(|(variable, _)| !secrets.contains(variable));
        let user = read_user(unit, &mut settings);
        let stop_signal = read_stop_signal(unit, &mut settings);
        let naming_origin = naming(&origin, &variables, &settings);
        Ok(Self {
            may_miss_ports: unit.hides_sockets,
            stop_timeout: parse_unit_time(unit.property("TimeoutStopUSec")),
            notifies: unit.property("Type").starts_with("notify"),
            needs_daemon_reload: unit.property("NeedDaemonReload") == "yes",
            name,
            start,
            command,
            reload,
            origin,
            ports,
            user,
            stop_signal,
            env,
            secrets,
            settings,
            python,
            naming_origin,
        })
    }
}

fn read_start(
    unit: &ExistingUnit,
    text: &UnitText,
    name: &UnitName,
) -> Result<ExecLine, UnitRefusal> {
    let refused = |why: &str| UnitRefusal::Command(why.to_owned());
    let raw = match text.values("Service", "ExecStart")[..] {
        [raw] => raw,
        [] => return Err(refused("it has none")),
        [..] => return Err(refused("it has several")),
    };
    let line =
        ExecLine::read(raw, unit.property("ExecStart"), name).map_err(UnitRefusal::Command)?;
    if line.texts().any(|text| text.contains(char::is_control)) {
        return Err(refused("it contains control characters"));
    }
    Ok(line)
}

/// The command that reloads the service, if there is one that a playbook can have.
fn read_reload(unit: &ExistingUnit, text: &UnitText, name: &UnitName) -> Option<ExecLine> {
    let [raw] = text.values("Service", "ExecReload")[..] else {
        return None;
    };
    let line = ExecLine::read(raw, unit.property("ExecReload"), name).ok()?;
    let has_controls = line.texts().any(|text| text.contains(char::is_control));
    (!line.has_variables() && !has_controls).then_some(line)
}

fn read_user(unit: &ExistingUnit, settings: &mut SortedSettings) -> UnitUser {
    let user = unit.property("User");
    if unit.property("DynamicUser") == "yes" {
        return UnitUser::Dynamic;
    }
    if user.is_empty() {
        return UnitUser::Root;
    }
    if names::USER.check(user).is_err() {
        settings.drop_setting("Service.User", "`user` needs the name of a user");
        return UnitUser::Unusable;
    }
    UnitUser::Named(user.to_owned())
}

fn read_stop_signal(unit: &ExistingUnit, settings: &mut SortedSettings) -> StopSignal {
    let number = unit.property("KillSignal");
    let known = SIGNALS.iter().find(|(known, _)| *known == number);
    if known.is_none() && !number.is_empty() {
        let why = "`stop_signal` cannot name this signal, so ship sends TERM";
        settings.drop_setting("Service.KillSignal", why);
    }
    known.map(|(_, signal)| *signal).unwrap_or_default()
}

/// The variables and directives whose values name the directory of the artifact. A release is
/// elsewhere.
fn naming(
    origin: &ArtifactOrigin,
    variables: &[(String, String)],
    settings: &SortedSettings,
) -> Vec<String> {
    let (ArtifactOrigin::Service(path) | ArtifactOrigin::Program(path)) = origin else {
        return Vec::new();
    };
    let names_path = |value: &str| {
        let is_separator = |c: char| c.is_whitespace() || "=:,-+".contains(c);
        value.match_indices(path.as_str()).any(|(at, _)| {
            let before = value
                .get(..at)
                .and_then(|before| before.chars().next_back());
            let rest = value.get(at..).unwrap_or_default();
            let word = rest.split(is_separator).next().unwrap_or_default();
            before.is_none_or(is_separator) && (is_within(word, path) || is_within(rest, path))
        })
    };
    let variables = variables
        .iter()
        .filter(|(_, value)| names_path(value))
        .map(|(name, _)| name.clone());
    let directives = settings.taken.iter();
    let directives = directives
        .filter(|taken| taken.values.iter().any(|value| names_path(value)))
        .map(|taken| taken.name.clone());
    variables.chain(directives).collect()
}
