//! Probes an instance by a command on its host.

use std::time::Duration;

use super::site::{HostContext, Input, SERVICE_PATH, Script, Text, WORK};
use crate::core::ids::{Port, ReleaseId};
use crate::core::printable::strip_controls;
use crate::core::release::Driver;
use crate::core::time::whole_seconds;
use crate::script::launch::enter_release;
use crate::script::quote::quote_all;
use crate::script::unreadable::Unreadable;

/// What to ask, with all templates filled in.
#[derive(Clone, Debug)]
pub struct CommandProbe {
    pub port: Port,
    pub release: ReleaseId,
    pub driver: Driver,
    /// The user that it runs as; `None` for the driver's default.
    pub user: Option<String>,
    pub argv: Vec<String>,
    /// Its time limit, rounded up to whole seconds.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandProbeResult {
    /// Its exit status; 124 or 137 if it took too long.
    pub status: i32,
    /// The first line that it printed, on either stream.
    pub line: String,
}

/// Runs a command in a release's directory, with the environment and as the user of the instance in
/// a slot. For [`read_answer`].
pub fn probe_command(site: &HostContext, question: &CommandProbe) -> Script {
    let enter = enter_release(site, question.port, &question.release);
    Text::located(site)
        .set("PORT", question.port)
        .set("RELEASE", &question.release)
        .running_as(site, question.driver, question.user.as_deref())
        .set("SERVICE_PATH", SERVICE_PATH)
        .set("TIMEOUT_S", whole_seconds(question.timeout))
        .set(
            "RUN",
            format!("{enter}\nexec \"$@\" {}", quote_all(&question.argv)),
        )
        .add(include_str!("sh/base.sh"))
        .add(include_str!("sh/path.sh"))
        .add(include_str!("sh/ask.sh"))
        .add(include_str!("sh/probe.sh"))
        .script(Input::default(), question.timeout + WORK)
}

/// Reads what [`probe_command`] has printed.
///
/// # Errors
/// If it did not come to its end, or makes no sense.
pub fn read_answer(stdout: &str) -> Result<CommandProbeResult, Unreadable> {
    let body = stdout
        .strip_suffix("\nend=done\n")
        .ok_or(Unreadable::NoEnd)?;
    let (_, body) = body
        .split_once("\nship=1\n")
        .ok_or(Unreadable::NoBeginning)?;
    let value = |key: &str| body.lines().find_map(|line| line.strip_prefix(key));
    let status = value("exit=").and_then(|status| status.parse().ok());
    let line = value("line=").unwrap_or_default();
    Ok(CommandProbeResult {
        status: status.ok_or_else(|| Unreadable::Line {
            line: body.into(),
            why: "has no exit status".into(),
        })?,
        line: strip_controls(line).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_first_line() {
        let answer = read_answer("\nship=1\nline=ready\u{7}\nexit=0\nend=done\n");
        assert_eq!(
            answer,
            Ok(CommandProbeResult {
                status: 0,
                line: "ready".into()
            })
        );
    }

    #[test]
    fn an_answer_without_status_or_end_is_none() {
        assert!(matches!(
            read_answer("\nship=1\nline=ready\nend=done\n"),
            Err(Unreadable::Line { .. })
        ));
        assert_eq!(
            read_answer("\nship=1\nline=ready\nexit=0\n"),
            Err(Unreadable::NoEnd)
        );
        assert_eq!(
            read_answer("motd\nend=done\n"),
            Err(Unreadable::NoBeginning)
        );
    }
}
