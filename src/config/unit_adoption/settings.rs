//! Which settings of a unit a playbook takes over, and why not.

use super::unit_name::UnitName;
use super::unit_secret::{has_password, secret_option};
use super::unit_text::UnitText;
use crate::config::names;
use crate::config::systemd::ownership_reason;
use crate::core::printable::strip_controls;
use crate::core::release::unit::UnitSection;

/// A directive for `[systemd.Service]` or `[systemd.Unit]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TakenDirective {
    pub(super) section: UnitSection,
    pub(super) name: String,
    /// At least one value.
    pub(super) values: Vec<String>,
}

/// A setting that is not in the playbook.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DroppedSetting {
    /// The name with its section, as `Service.KillMode`.
    pub(super) name: String,
    pub(super) why: String,
}

#[derive(Debug, Default)]
pub(super) struct SortedSettings {
    pub(super) taken: Vec<TakenDirective>,
    pub(super) dropped: Vec<DroppedSetting>,
}

/// Settings that have a key of their own in a playbook.
const WITH_KEY: [&str; 9] = [
    "ExecStart",
    "ExecReload",
    "User",
    "DynamicUser",
    "WorkingDirectory",
    "Environment",
    "KillSignal",
    "TimeoutStopSec",
    "TimeoutSec",
];

impl SortedSettings {
    /// Sorts the settings of all sections.
    pub(super) fn of(text: &UnitText, unit: &UnitName) -> Self {
        let mut sorted = Self::default();
        for section in UnitSection::ALL {
            for name in text.names(section.name()) {
                sorted.sort(section, name, text, unit);
            }
        }
        let known = UnitSection::ALL.map(UnitSection::name);
        for section in text.sections() {
            if !section.is_empty() && !known.contains(&section) {
                sorted.drop_setting(
                    &format!("[{section}]"),
                    "ship enables the units of its slots itself",
                );
            }
        }
        if let [.., timeout] = text.values("Service", "TimeoutSec")[..]
            && !text.has("Service", "TimeoutStartSec")
        {
            sorted.taken.push(TakenDirective {
                section: UnitSection::Service,
                name: "TimeoutStartSec".to_owned(),
                values: vec![timeout.to_owned()],
            });
        }
        sorted
    }

    fn sort(&mut self, section: UnitSection, name: &str, text: &UnitText, unit: &UnitName) {
        let is_service = section == UnitSection::Service;
        if is_service && WITH_KEY.contains(&name) {
            return;
        }
        let values = text.values(section.name(), name);
        if is_service && name == "Type" {
            // The others are the default, or follow from the readiness check.
            if let [.., kind @ ("exec" | "notify-reload")] = values[..] {
                self.take(section, name, vec![kind.to_owned()]);
            }
            return;
        }
        let full = format!("{}.{}", section.name(), name);
        if let Some(why) = reason(section, name) {
            return self.drop_setting(&full, &why);
        }
        if values.is_empty() {
            let why = "its value is empty, which a playbook cannot express";
            return self.drop_setting(&full, why);
        }
        let values: Vec<_> = values.iter().map(|value| unit.resolve_own(value)).collect();
        let is_writable =
            |value: &String| !value.ends_with('\\') && !value.contains(char::is_control);
        if !values.iter().all(is_writable) {
            return self.drop_setting(
                &full,
                "its value has characters that a playbook cannot express",
            );
        }
        if values.iter().any(|value| may_hold_secret(value)) {
            let why = "it may contain a secret; use `secrets` and a hook or a file of the host";
            return self.drop_setting(&full, why);
        }
        self.take(section, name, values);
    }

    fn take(&mut self, section: UnitSection, name: &str, mut values: Vec<String>) {
        if is_single(name) {
            // Only the last one counts, which is usually that of a drop-in.
            values.drain(..values.len().saturating_sub(1));
        }
        self.taken.push(TakenDirective {
            section,
            name: name.to_owned(),
            values,
        });
    }

    pub(super) fn drop_setting(&mut self, name: &str, why: &str) {
        self.dropped.push(DroppedSetting {
            name: strip_controls(name).collect(),
            why: why.to_owned(),
        });
    }
}

/// Whether a directive is known to have one value, so that a later one replaces it. Others may be
/// lists, to which each value adds.
fn is_single(name: &str) -> bool {
    const STARTS: [&str; 14] = [
        "CPUQuota",
        "CPUWeight",
        "Group",
        "IOWeight",
        "Limit",
        "Memory",
        "Nice",
        "NoNewPrivileges",
        "OOM",
        "Private",
        "Protect",
        "Slice",
        "TasksMax",
        "UMask",
    ];
    name.ends_with("Sec") || STARTS.iter().any(|start| name.starts_with(start))
}

/// Why a playbook cannot or should not set a directive.
fn reason(section: UnitSection, name: &str) -> Option<String> {
    const OWN_SHELL: &str = "ship starts the program through /bin/sh and from its own directory, which this would prevent";
    let own = match (section, name) {
        (UnitSection::Unit, "Description" | "Documentation" | "SourcePath") => {
            "it describes the unit that ship replaces"
        }
        (UnitSection::Unit, "StopWhenUnneeded") => "ship stops the unit",
        (UnitSection::Service, "NoExecPaths" | "ExecPaths" | "RootDirectory" | "RootImage") => {
            OWN_SHELL
        }
        (UnitSection::Service, "Sockets" | "NonBlocking") => "ship passes no sockets",
        (UnitSection::Service, "BusName" | "GuessMainPID") => {
            "it belongs to a type of service that ship does not have"
        }
        (UnitSection::Service, "SetCredential" | "SetCredentialEncrypted") => {
            "it may contain a secret; use `secrets` or `env_file`"
        }
        (UnitSection::Service, "PassEnvironment") => {
            "it names variables of systemd; set those that the service needs in `env`"
        }
        _ if names::DIRECTIVE.check(name).is_err() || name.starts_with("X-") => {
            "it is not a directive of systemd"
        }
        _ => return ownership_reason(section, name).map(str::to_owned),
    };
    Some(own.to_owned())
}

/// Whether a command in a directive contains a password.
fn may_hold_secret(value: &str) -> bool {
    let has_option = value.split_whitespace().any(|word| {
        let option = word.split_once('=').map_or(word, |(option, _)| option);
        secret_option(option).is_some()
    });
    has_option || has_password(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_taken_over_unless_ship_owns_them() {
        let text = UnitText::parse(
            "[Unit]\nDescription=x\nAfter=a.service\nStartLimitBurst=3\n[Service]\nExecStart=/bin/a\n\
             Type=exec\nKillMode=process\nLimitNOFILE=1\nLimitNOFILE=2\nCapabilityBoundingSet=\n\
             ReadWritePaths=/a\nReadWritePaths=/b\nStateDirectory=%p 100%%\nExecStartPre=/bin/b --password x\nTimeoutSec=5\n\
             SetCredential=a:b\n[Install]\nWantedBy=multi-user.target\n",
        );
        let unit = UnitName::parse("web").expect("a valid name");
        let sorted = SortedSettings::of(&text, &unit);
        let taken: Vec<_> = sorted
            .taken
            .iter()
            .map(|taken| format!("{}={}", taken.name, taken.values.join("|")))
            .collect();
        assert_eq!(
            taken,
            [
                "Type=exec",
                "LimitNOFILE=2",
                "ReadWritePaths=/a|/b",
                "StateDirectory=web 100%%",
                "After=a.service",
                "TimeoutStartSec=5",
            ]
        );
        let dropped: Vec<_> = sorted.dropped.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(
            dropped,
            [
                "Service.KillMode",
                "Service.CapabilityBoundingSet",
                "Service.ExecStartPre",
                "Service.SetCredential",
                "Unit.Description",
                "Unit.StartLimitBurst",
                "[Install]",
            ]
        );
    }
}
