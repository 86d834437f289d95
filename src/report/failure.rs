//! The block about a failed rollout: the host, the action, the last answer, the deadline, the log
//! and what happens next.

use std::borrow::Cow;

use super::phrases::{named, serving};
use super::text;
use crate::core::fleet::health::{LINK_LOCAL, REFUSED, UNRESOLVED};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::Direction;
use crate::core::rollout::failure::{Failure, FailureKind};
use crate::core::time::Human;

/// The failure in one sentence, for the line that names the host. `version` is the version that
/// should have run there.
pub(super) fn headline(failure: &Failure, version: &str) -> String {
    let waited = Human(failure.waited);
    let summary = match failure.kind {
        FailureKind::Stage => format!("cannot stage {version}"),
        FailureKind::Start => format!("cannot start {version}"),
        FailureKind::Reload => format!("cannot reload with {version}"),
        FailureKind::Stop => "cannot stop the old instance".to_owned(),
        FailureKind::Traffic => "a load balancer rejected or ignored a change".to_owned(),
        FailureKind::Exited => format!("{version} exited unexpectedly after {waited}"),
        FailureKind::Liveness => format!("{version} failed its liveness probe"),
        FailureKind::NotReady => format!("{version} is not ready after {waited}"),
        FailureKind::HostLost => format!("the host has been unreachable for {waited}"),
        FailureKind::Analysis => format!("{version} failed an analysis"),
        FailureKind::Stuck => format!("no progress for {waited}"),
        FailureKind::RequestsFailed => "requests failed".to_owned(),
        FailureKind::Hook => "a hook failed".to_owned(),
        FailureKind::Migration => format!("a migration for {version} failed"),
        FailureKind::Contract => "a contract migration failed".to_owned(),
        FailureKind::Aborted => "aborted".to_owned(),
    };
    match text::clean(failure.detail_without_host()) {
        seen if seen.is_empty() => summary,
        seen if failure.kind == FailureKind::Aborted => format!("{summary} by {seen}"),
        // The detail already has the counts: `3 of 90 requests failed, at most 0 may; …`.
        seen if failure.kind == FailureKind::RequestsFailed => seen,
        seen => format!("{summary}: {seen}"),
    }
}

/// The lines below the headline. `next` is what ship does next.
pub(super) fn block(failure: &Failure, version: &str, log: &[String], next: &str) -> Vec<String> {
    let mut doing = doing(failure.kind, version);
    if !failure.waited.is_zero() {
        doing = format!("{doing} ({})", Human(failure.waited));
    }
    let mut lines = vec![labelled("doing", &doing)];
    if !log.is_empty() {
        let source = if failure.kind.is_task_failure() {
            "its output"
        } else {
            "the instance's log"
        };
        let count = text::count(log.len(), "line");
        lines.push(labelled("log", &format!("last {count} of {source}")));
        lines.extend(log.iter().map(|line| {
            format!("  | {}", text::clean_indented(line))
                .trim_end()
                .to_owned()
        }));
    }
    lines.extend(hint(failure).map(|hint| labelled("hint", &hint)));
    lines.push(labelled("next", next));
    lines
}

/// The most likely cause of a failure and its fix, where one cause is common.
fn hint(failure: &Failure) -> Option<Cow<'static, str>> {
    let seen = failure.detail.split(';').next().unwrap_or_default();
    match failure.kind {
        FailureKind::NotReady if seen.starts_with(REFUSED) => Some(
            "is it listening on the right address? pass `{{ address }}` and `{{ port }}` in \
             `command` or `env`"
                .into(),
        ),
        FailureKind::NotReady if seen.starts_with(UNRESOLVED) || seen.contains(LINK_LOCAL) => Some(
            "probes connect from this machine to the host's address; set `via = \"ssh\"` in \
             [readiness] to probe over SSH"
                .into(),
        ),
        FailureKind::Exited => match seen.split_once(CANNOT_ENTER) {
            Some((_, dir)) => {
                Some(format!("run `chmod o+x {dir}` on the host, or set another base_dir").into())
            }
            None => exit_status_hint(seen).map(Cow::Borrowed),
        },
        FailureKind::Liveness => Some(
            "the instance passed [liveness] and then failed it; check its log, or raise `timeout` \
             or `failure_threshold` in [liveness]"
                .into(),
        ),
        _ => None,
    }
}

/// What the host's script prints between a user and a directory which that user cannot enter.
const CANNOT_ENTER: &str = " cannot enter ";

/// The cause of an exit status of the shell (126, 127), of systemd (200 and more, see
/// systemd.exec(5)), or of a signal.
fn exit_status_hint(status: &str) -> Option<&'static str> {
    match status {
        "exit status 0" => Some(
            "a service must stay in the foreground; one that continues in the background counts \
             as exited",
        ),
        "exit status 126" => Some(
            "the command is not executable: check its mode, its interpreter, and whether base_dir \
             is on a noexec mount",
        ),
        "exit status 200" => Some("the service's user cannot enter the release's directory"),
        "exit status 127" | "exit status 203" => {
            Some("the command or its interpreter is neither in the release nor on the host's path")
        }
        "exit status 217" => Some("the user does not exist on the host"),
        "signal 9" => Some(
            "the process was killed; the kernel does this when memory runs out (see `dmesg` on \
             the host)",
        ),
        _ => None,
    }
}

fn doing(kind: FailureKind, version: &str) -> String {
    match kind {
        FailureKind::Stage => format!("sending {version} to the host and unpacking it"),
        FailureKind::Start => format!("starting {version}"),
        FailureKind::Reload => format!("reloading with {version}"),
        FailureKind::Stop => "stopping the instance that was replaced".to_owned(),
        FailureKind::Traffic => "changing what the load balancers send where".to_owned(),
        FailureKind::Exited | FailureKind::Liveness => {
            format!("starting {version}, then watching its process")
        }
        FailureKind::NotReady => format!("starting {version}, then probing until it is ready"),
        FailureKind::HostLost => "reconnecting to the host".to_owned(),
        FailureKind::Analysis => format!("analyzing {version}"),
        FailureKind::Stuck => "waiting for the fleet to change".to_owned(),
        FailureKind::RequestsFailed => {
            format!("rolling out {version} and monitoring the service")
        }
        FailureKind::Hook => "running a hook".to_owned(),
        FailureKind::Migration => format!("running a migration for {version}"),
        FailureKind::Contract => "running a contract migration".to_owned(),
        FailureKind::Aborted => format!("rolling out {version}"),
    }
}

/// What ship does after the rollout has failed. The rollout includes the failure.
pub(super) fn next_after_failure(rollout: &RolloutView, status: &Status) -> String {
    let serving = serving(rollout, status);
    match (rollout.direction(), rollout.rollback_target()) {
        (Direction::Held { why, .. }, _) => {
            format!(
                "holding, no further changes: {}; {serving}",
                text::clean(why)
            )
        }
        (_, Some(rollback_target)) => {
            let rollback_target = text::clean(&named(rollback_target));
            format!("rolling back to {rollback_target}; {serving}")
        }
        (_, None) => format!("rolling back; {serving}"),
    }
}

/// What ship does after it has given up one host.
pub(super) fn next_without_host(rollout: &RolloutView, status: &Status) -> String {
    format!(
        "continuing on the other hosts; {}",
        serving(rollout, status)
    )
}

/// A line with a label: `hint: …`.
pub(super) fn labelled(label: &str, text: &str) -> String {
    format!("{label}: {text}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn hint_names_the_cause_of_common_failures() {
        let hint_for = |kind, detail: &str| {
            let (detail, waited) = (detail.to_owned(), Duration::from_secs(1));
            let failure = Failure {
                kind,
                host: None,
                slot: None,
                detail,
                waited,
            };
            let lines = block(&failure, "0.9", &[], "rolling back");
            lines
                .iter()
                .find_map(|line| line.strip_prefix("hint: "))
                .map(str::to_owned)
        };
        let hint = |detail| hint_for(FailureKind::Exited, detail).unwrap_or_default();
        assert!(hint("exit status 0").contains("stay in the foreground"));
        assert!(hint("exit status 127").contains("on the host's path"));
        assert!(hint("exit status 203; systemd starts it again").contains("on the host's path"));
        assert!(hint("signal 9").contains("memory"));
        let cannot_enter =
            "exit status 200: user ship-page cannot enter /data; systemd starts it again";
        assert_eq!(
            hint(cannot_enter),
            "run `chmod o+x /data` on the host, or set another base_dir"
        );
        assert_eq!(hint_for(FailureKind::Exited, "exit status 7"), None);
        assert_eq!(
            hint_for(FailureKind::NotReady, "exit status 0"),
            None,
            "the status of a probe's command"
        );
        assert!(
            hint_for(FailureKind::NotReady, "connection refused")
                .expect("a hint")
                .contains("{{ port }}")
        );
        assert_eq!(
            hint_for(FailureKind::NotReady, "503 Service Unavailable"),
            None
        );
        for seen in [
            "cannot resolve web1.internal on this machine: no such name",
            "fe80::1 is a link-local address",
        ] {
            assert!(
                hint_for(FailureKind::NotReady, seen)
                    .expect("a hint")
                    .contains("via = \"ssh\"")
            );
        }
    }
}
