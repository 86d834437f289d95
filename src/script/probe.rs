//! Probes an instance with a command on its host.

use std::time::Duration;

use super::host_context::{HostContext, Input, SERVICE_PATH, Script, Text, WORK};
use crate::core::ids::{InstanceId, ReleaseId, SlotNumber};
use crate::core::printable::strip_controls;
use crate::core::release::Driver;
use crate::core::time::whole_seconds;
use crate::script::quote::{quote, quote_all};
use crate::script::start_spec::enter_release;
use crate::script::unreadable::Unreadable;

/// The probe, with all templates rendered.
#[derive(Clone, Debug)]
pub struct CommandProbe {
    pub number: SlotNumber,
    /// The instance that is probed. Its process is in `SHIP_PID`, its name in `SHIP_INSTANCE`.
    pub instance: InstanceId,
    pub release: ReleaseId,
    pub driver: Driver,
    /// The service's user; `None` for the driver's default.
    pub user: Option<String>,
    pub argv: Vec<String>,
    /// The time limit, rounded up to whole seconds.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandProbeResult {
    /// The exit status; 124 or 137 after a timeout.
    pub status: i32,
    /// The first line of output, of either stream.
    pub line: String,
    /// The process of the instance before and after the command, as in
    /// [`Sighting::process`](crate::core::fleet::Sighting); empty if there was none.
    pub process: String,
}

/// Runs a command in a release's directory, with the environment and as the user of the instance in
/// a slot. [`read_probe_result`] parses the output.
pub fn probe_command(context: &HostContext, probe: &CommandProbe) -> Script {
    let enter = enter_release(context, probe.number, &probe.release);
    Text::located(context)
        .set("NUMBER", probe.number)
        .set("NAME", &probe.instance)
        .set("RELEASE", &probe.release)
        .running_as(context, probe.driver, probe.user.as_deref())
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("TIMEOUT_S", whole_seconds(probe.timeout))
        .set("RUN", probe_run(&enter, &probe.instance, &probe.argv))
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/path.sh"))
        .add(include_str!("sh/process.sh"))
        .add(include_str!("sh/link.sh"))
        .add(include_str!("sh/probe_command.sh"))
        .add(include_str!("sh/probe.sh"))
        .script(Input::default(), probe.timeout + WORK)
}

/// The shell commands that become a probe. `$0` is the process of the instance; the other arguments
/// are the command prefix that changes the user.
pub(super) fn probe_run(enter: &str, instance: &InstanceId, argv: &[String]) -> String {
    format!(
        "{enter}\nSHIP_PID=$0 SHIP_INSTANCE={}\nexport SHIP_PID SHIP_INSTANCE\nexec \"$@\" {}",
        quote(instance.as_str()),
        quote_all(argv)
    )
}

/// Parses the output of [`probe_command`].
///
/// # Errors
/// If the output is incomplete or malformed.
pub fn read_probe_result(stdout: &str) -> Result<CommandProbeResult, Unreadable> {
    let body = stdout
        .strip_suffix("\nend=done\n")
        .ok_or(Unreadable::NoEnd)?;
    let (_, body) = body
        .split_once("\nship=1\n")
        .ok_or(Unreadable::NoBeginning)?;
    let value = |key: &str| body.lines().find_map(|line| line.strip_prefix(key));
    let status = value("exit=").and_then(|status| status.parse().ok());
    let line = value("line=").unwrap_or_default();
    let [before, after] = ["before=", "after="].map(|key| value(key).unwrap_or_default());
    Ok(CommandProbeResult {
        status: status.ok_or_else(|| Unreadable::Line {
            line: body.into(),
            why: "has no exit status".into(),
        })?,
        line: strip_controls(line).collect(),
        process: if before == after {
            before.to_owned()
        } else {
            String::new()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_result_has_the_status_and_the_first_line() {
        let answer = read_probe_result(
            "\nship=1\nbefore=12.34\nline=ready\u{7}\nexit=0\nafter=12.34\nend=done\n",
        );
        assert_eq!(
            answer,
            Ok(CommandProbeResult {
                status: 0,
                line: "ready".into(),
                process: "12.34".into(),
            })
        );
    }

    #[test]
    fn probe_result_without_status_or_end_is_an_error() {
        assert!(matches!(
            read_probe_result("\nship=1\nline=ready\nend=done\n"),
            Err(Unreadable::Line { .. })
        ));
        assert_eq!(
            read_probe_result("\nship=1\nline=ready\nexit=0\n"),
            Err(Unreadable::NoEnd)
        );
        assert_eq!(
            read_probe_result("motd\nend=done\n"),
            Err(Unreadable::NoBeginning)
        );
    }
}
