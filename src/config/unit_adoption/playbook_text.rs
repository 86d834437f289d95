//! The playbook of an adopted unit.

use super::adopted_settings::{AdoptedSettings, UnitUser};
use super::command_text::escape_template;
use super::exec_line::WordPart;
use super::origin::{ArtifactOrigin, uses_python_environment};
use super::toml_lines::{TomlLines, string, strings};
use super::unit_site::UnitSite;
use super::unit_time::playbook_time;
use crate::core::release::unit::{StopSignal, UnitSection};

/// The time between `stop_signal` and SIGKILL, where a unit has no limit.
const STOP_TIMEOUT: &str = "10m";

/// Directories that systemd removes when a unit stops, so that two instances cannot share them.
const UNSHARED: &str = "RuntimeDirectory";

pub(super) fn playbook_text(settings: &AdoptedSettings, site: &UnitSite<'_>) -> String {
    let mut lines = TomlLines::default();
    lines.comment(&format!(
        "From {} on {}. Each comment names the setting of the unit. Read this file before the first \
         deploy, most of all the artifact and the list at the end.",
        settings.name.full(),
        site.host
    ));
    let why = "The unit has none. `ship deploy --version` overrides it.";
    lines.key("version", "\"1\"", why);
    service(&mut lines, settings);
    environment(&mut lines, settings);
    directives(&mut lines, settings);
    artifact(&mut lines, settings, site);
    readiness(&mut lines, settings, site);
    rollout(&mut lines, settings);
    dropped(&mut lines, settings);
    lines.into_text()
}

fn service(lines: &mut TomlLines, settings: &AdoptedSettings) {
    lines.table("[service]");
    lines.key("name", &string(&settings.name.service()), "");
    lines.key(
        "command",
        &string(&settings.command.text),
        &about_command(settings),
    );
    if uses_python_environment(&settings.start, &settings.python) {
        lines.comment(
            "The program belongs to a Python environment. It cannot be moved, so it stays where it is \
             and is not part of a release.",
        );
    }
    ports(lines, settings);
    match &settings.user {
        UnitUser::Named(user) => lines.key("user", &string(user), "User"),
        UnitUser::Root => lines.key("user", "\"root\"", "The unit has no User."),
        UnitUser::Dynamic => lines.comment("DynamicUser: without `user`, ship creates a user."),
        UnitUser::Unusable => {
            lines.comment(
                "Set `user`: the one of the unit is not a name. Without it, ship creates one.",
            );
        }
    }
    if settings.stop_signal != StopSignal::default() {
        let signal = string(settings.stop_signal.name());
        lines.key("stop_signal", &signal, "KillSignal");
    }
    let (stop_timeout, why) = match settings.stop_timeout {
        Some(time) => (playbook_time(time), "TimeoutStopSec"),
        None => (
            STOP_TIMEOUT.to_owned(),
            "TimeoutStopSec has no limit, and ship needs one.",
        ),
    };
    lines.key("stop_timeout", &string(&stop_timeout), why);
    reload(lines, settings);
    if !settings.secrets.is_empty() {
        lines.comment(
            "Secrets of the unit, without their values. Set them in the environment of ship, or write \
             them as KEY=VALUE lines to a file and use `env_file = \"secrets.env\"` instead.",
        );
        lines.key("secrets", &strings(&settings.secrets), "");
    }
}

fn about_command(settings: &AdoptedSettings) -> String {
    let mut text = "ExecStart".to_owned();
    if settings.start.prefix.contains(['+', '!']) {
        text.push_str(", without the full privileges that its prefix asks for");
    }
    if settings.start.prefix.contains('-') {
        text.push_str(". Its prefix `-` is left out: a failure counts");
    }
    let is_variable = |part: &WordPart| matches!(part, WordPart::Variable { .. });
    let has_variables = settings.start.words.iter().flatten().any(is_variable);
    if settings.command.needs_shell {
        text.push_str(match (has_variables, settings.command.secrets.is_empty()) {
            (true, _) => ". ship does not replace variables, so a shell does",
            (false, false) => ". A shell replaces the secret, which is not copied",
            (false, true) => ". The shell enters the WorkingDirectory",
        });
    }
    if !settings.start.is_exact {
        text.push_str(". Check it: quotes may be missing");
    }
    text
}

fn ports(lines: &mut TomlLines, settings: &AdoptedSettings) {
    let ports = &settings.ports;
    let [first, ..] = &ports.all[..] else {
        if settings.may_miss_ports {
            lines.comment(
                "The ports of the service could not be seen. If it listens, write `ports = [8080]` \
                 instead, with its port.",
            );
        }
        let why = "The service does not listen on a TCP port.";
        let why = if settings.may_miss_ports { "" } else { why };
        return lines.key("slots", "1", why);
    };
    lines.key("ports", &ports.value(), "The ports on which it listens.");
    let unnamed = ports.all.iter().filter(|port| !ports.named.contains(port));
    let unnamed: Vec<_> = unnamed.map(ToString::to_string).collect();
    if unnamed.is_empty() {
        let second = first.checked_add(1).unwrap_or(first - 1);
        if ports.all.len() == 1 {
            lines.comment(&format!(
                "With a second port, as in [{first}, {second}], old and new run side by side; then \
                 remove both lines of [rollout]."
            ));
        }
        return;
    }
    lines.comment(&format!(
        "Neither the command nor the environment names {}: a configuration file or the program does. \
         To run two instances on a host, pass {{{{ port }}}} to the program.",
        unnamed.join(" and ")
    ));
}

fn reload(lines: &mut TomlLines, settings: &AdoptedSettings) {
    let Some(reload) = &settings.reload else {
        return;
    };
    let command = string(&reload.command);
    if reload.finds_next_release {
        return lines.key("reload", &command, "ExecReload");
    }
    lines.comment(
        "ExecReload. Use it only if the process finds the files of the next release without being \
         started again; docs/guides/reloads.md explains it.",
    );
    lines.comment_line(&format!("reload = {command}"));
}

fn environment(lines: &mut TomlLines, settings: &AdoptedSettings) {
    if settings.env.is_empty() {
        return;
    }
    lines.table("[service.env]");
    lines.comment("Environment");
    for (name, value) in &settings.env {
        lines.key(name, &string(value), "");
    }
}

fn directives(lines: &mut TomlLines, settings: &AdoptedSettings) {
    for section in UnitSection::ALL {
        let taken = settings.settings.taken.iter();
        let taken: Vec<_> = taken.filter(|taken| taken.section == section).collect();
        if taken.is_empty() {
            continue;
        }
        lines.table(&format!("[systemd.{}]", section.name()));
        for directive in taken {
            let values: Vec<_> = directive
                .values
                .iter()
                .map(|value| escape_template(value, str::to_owned))
                .collect();
            let value = match &values[..] {
                [value] => scalar(value),
                values => strings(values),
            };
            if directive.name == "EnvironmentFile" {
                lines.comment(
                    "The file stays on the host and does not roll back with a release. To change that, \
                     copy it beside this playbook, and name it with `env_file` in [service].",
                );
            }
            let why = if directive.name == UNSHARED {
                "Two instances on a host need two: add {{ slot }} to the name."
            } else {
                ""
            };
            lines.key(&directive.name, &value, why);
        }
    }
}

/// A value of a directive: a number if it is written like one.
fn scalar(value: &str) -> String {
    match value.parse::<u32>() {
        Ok(number) if number.to_string() == value => value.to_owned(),
        _ => string(value),
    }
}

fn artifact(lines: &mut TomlLines, settings: &AdoptedSettings, site: &UnitSite<'_>) {
    lines.table("[artifact]");
    let program = settings.start.program();
    let name = settings.name.service();
    let what = match &settings.origin {
        ArtifactOrigin::Service(path) => format!(
            "The directory of the service. Releases have their own copies of it, so list the \
             directories that must outlive a release, such as uploads, in `shared_dirs`. Nothing in \
             {path} is changed."
        ),
        ArtifactOrigin::Configuration(_) => format!(
            "The configuration. The program {program} is not part of a release: it comes from a package \
             of the host. Every user of a host can read the files of a release, so keep passwords out \
             of them."
        ),
        ArtifactOrigin::Program(_) => "The program, a single file.".to_owned(),
        ArtifactOrigin::Nothing => format!(
            "Nothing that the unit names is part of a release: {program} and its files stay on the host. \
             Put the files that change with a version into this directory, and use them in `command`; a \
             release needs at least one file."
        ),
    };
    lines.comment(&what);
    match settings.origin.path() {
        Some(path) if site.is_local => lines.key("source", &string(path), ""),
        Some(path) => {
            let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
            let is_file = matches!(settings.origin, ArtifactOrigin::Program(_));
            let (copy, target) = if is_file {
                ("scp", file)
            } else {
                ("scp -r", &*name)
            };
            let host = site.host;
            lines.comment_line(&format!(
                "Copy it here first: {copy} {host}:{path} {target}"
            ));
            lines.key("source", &string(target), "");
        }
        None => lines.key("source", &string(&name), ""),
    }
    if !settings.naming_origin.is_empty() {
        lines.comment(&format!(
            "These settings still name the old place of these files: {}.",
            settings.naming_origin.join(", ")
        ));
    }
}

fn readiness(lines: &mut TomlLines, settings: &AdoptedSettings, site: &UnitSite<'_>) {
    lines.table("[readiness]");
    if settings.notifies {
        return lines.key(
            "notify",
            "true",
            "Type=notify: the service reports READY=1.",
        );
    }
    if settings.ports.all.is_empty() {
        return lines.key(
            "running",
            "\"10s\"",
            "The same process must run for this long.",
        );
    }
    lines.key(
        "tcp",
        "true",
        "Better: http = \"/healthz\", if the service has such a page.",
    );
    if settings.ports.is_loopback && !site.is_local {
        lines.key("via", "\"ssh\"", "It listens on the loopback address only.");
    }
}

fn rollout(lines: &mut TomlLines, settings: &AdoptedSettings) {
    lines.table("[rollout]");
    let why = "One slot on each host: an instance stops before its successor starts.";
    lines.key("max_surge", "0", why);
    lines.key("max_unavailable", "1", "");
    if settings.ports.all.is_empty() {
        lines.comment("If two may run at once: slots = 2 above, and remove both lines.");
    }
}

fn dropped(lines: &mut TomlLines, settings: &AdoptedSettings) {
    if settings.settings.dropped.is_empty() {
        return;
    }
    lines.empty();
    lines.comment("Not taken over:");
    for dropped in &settings.settings.dropped {
        lines.comment(&format!("- {}: {}", dropped.name, dropped.why));
    }
}
