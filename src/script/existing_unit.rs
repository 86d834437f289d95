//! Describes a unit of systemd that ship does not manage.

use super::host_context::{Input, Script, Text, WORK};
use crate::core::existing_unit::{ExistingUnit, UnitListener};
use crate::script::unreadable::Unreadable;
use crate::script::values::{malformed, missing, number};

/// The properties that decide whether and how a unit can be adopted.
const PROPERTIES: [&str; 27] = [
    "Id",
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "FragmentPath",
    "DropInPaths",
    "NeedDaemonReload",
    "TriggeredBy",
    "Type",
    "ControlGroup",
    "MainPID",
    "ExecStart",
    "ExecReload",
    "User",
    "Group",
    "DynamicUser",
    "WorkingDirectory",
    "Environment",
    "EnvironmentFiles",
    "PassEnvironment",
    "KillSignal",
    "TimeoutStopUSec",
    "TimeoutStartUSec",
    "RemainAfterExit",
    "Result",
];

/// Describes a unit, without a change. [`read_existing_unit`] parses the output.
pub fn existing_unit(unit: &str) -> Script {
    Text::empty()
        .set("UNIT", unit)
        .set("PROPERTIES", PROPERTIES.join(","))
        .set("LOOPBACK", "")
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/ports.sh"))
        .add(include_str!("sh/systemd.sh"))
        .add(include_str!("sh/existing_unit.sh"))
        .script(Input::default(), WORK)
}

/// Parses the output of [`existing_unit`].
///
/// # Errors
/// If the output is incomplete or malformed, or the host has no systemd.
pub fn read_existing_unit(stdout: &str) -> Result<ExistingUnit, Unreadable> {
    let (_, body) = stdout
        .split_once("\nship=1\n")
        .ok_or(Unreadable::NoBeginning)?;
    let body = body.strip_suffix('\n').ok_or(Unreadable::NoEnd)?;
    let (body, end) = body.rsplit_once("end=").ok_or(Unreadable::NoEnd)?;
    match end.strip_prefix("failed ") {
        Some(why) => return Err(Unreadable::ObservationFailed(why.to_owned())),
        None if end != "done" => return Err(Unreadable::NoEnd),
        None => {}
    }
    let mut unit = ExistingUnit::default();
    let mut user_id = None;
    for line in body.lines() {
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| malformed(line, "is not `key=value`"))?;
        match key {
            "uid" => user_id = Some(number(line, value)?),
            "show" => {
                // A value of several lines continues without a name; none of these has one.
                if let Some((name, value)) = value.split_once('=') {
                    unit.properties.insert(name.to_owned(), value.to_owned());
                }
            }
            "text" => {
                unit.text.push_str(value);
                unit.text.push('\n');
            }
            "unreadable" => unit.unreadable = Some(value.to_owned()),
            "hidden" => unit.hides_sockets = true,
            "listen" => unit.listeners.push(listener(line, value)?),
            "python" => unit.python_environments.push(value.to_owned()),
            _ => return Err(malformed(line, "has an unknown key")),
        }
    }
    unit.user_id = user_id.ok_or_else(|| missing("the user ID"))?;
    unit.listeners.sort_unstable();
    unit.listeners.dedup();
    Ok(unit)
}

/// Parses `8080 any own`.
fn listener(line: &str, value: &str) -> Result<UnitListener, Unreadable> {
    let words: Vec<_> = value.split(' ').collect();
    let [
        port,
        reach @ ("any" | "loopback"),
        kind @ ("own" | "possible"),
    ] = words[..]
    else {
        return Err(malformed(line, "is not a listener"));
    };
    Ok(UnitListener {
        port: number(line, port)?,
        is_loopback: reach == "loopback",
        is_own: kind == "own",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_unit_is_parsed_with_its_files_and_listeners() {
        let text = "motd\n\nship=1\nuid=0\nshow=Id=web.service\nshow=Environment=A=b\n\
                    text=# /etc/systemd/system/web.service\ntext=[Service]\ntext=end=x\n\
                    listen=8080 any own\npython=/srv/web/venv\nend=done\n";
        let unit = read_existing_unit(text).expect("a description");
        assert_eq!(unit.property("Environment"), "A=b");
        assert_eq!(
            unit.text,
            "# /etc/systemd/system/web.service\n[Service]\nend=x\n"
        );
        let listener = UnitListener {
            port: 8080,
            is_loopback: false,
            is_own: true,
        };
        assert_eq!(unit.listeners, [listener]);
        assert_eq!(unit.python_environments, ["/srv/web/venv"]);
    }

    #[test]
    fn incomplete_description_is_an_error() {
        assert_eq!(
            read_existing_unit("\nship=1\nuid=0\nshow=Id=web"),
            Err(Unreadable::NoEnd)
        );
        assert_eq!(
            read_existing_unit("\nship=1\nend=failed systemctl show: no bus\n"),
            Err(Unreadable::ObservationFailed(
                "systemctl show: no bus".into()
            ))
        );
        assert!(read_existing_unit("\nship=1\nuid=0\nlisten=x any own\nend=done\n").is_err());
        assert!(read_existing_unit("\nship=1\nend=done\n").is_err());
    }
}
