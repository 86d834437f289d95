//! What is said when a rollout fails: which host, what was being done, what was seen, how long, the
//! log, what now.

use std::borrow::Cow;

use super::phrases::{named, serving};
use super::text;
use crate::core::fleet::health::{LINK_LOCAL, REFUSED, UNRESOLVED};
use crate::core::journal::rollout_view::RolloutView;
use crate::core::journal::status::Status;
use crate::core::rollout::Direction;
use crate::core::rollout::failure::{Failure, FailureKind};
use crate::core::time::Human;

/// The failure in a few words, for the line that names the host; `version` is that which was to
/// run.
pub(super) fn headline(failure: &Failure, version: &str) -> String {
    match failure.kind {
        FailureKind::Stage => format!("{version} could not be brought to the host"),
        FailureKind::Start => format!("{version} could not be started"),
        FailureKind::Stop => "the old instance could not be stopped".to_owned(),
        FailureKind::Traffic => "the balancers do not do as they are told".to_owned(),
        FailureKind::Exited => format!("{version} ended by itself"),
        FailureKind::Liveness => format!("{version} failed its liveness probe"),
        FailureKind::NotReady => format!("{version} was not ready in time"),
        FailureKind::HostLost => "the host is out of reach".to_owned(),
        FailureKind::Analysis => format!("{version} does not do as well as it should"),
        FailureKind::Stuck => "nothing moves any more".to_owned(),
        FailureKind::RequestsFailed => "requests were lost".to_owned(),
        FailureKind::Hook => "a hook failed".to_owned(),
        FailureKind::Migration => format!("a migration for {version} failed"),
        FailureKind::Contract => "a contract failed".to_owned(),
        FailureKind::Aborted => "aborted".to_owned(),
    }
}

/// The lines below it. `version` is that which was to run; `now` is what follows.
pub(super) fn block(failure: &Failure, version: &str, log: &[String], now: &str) -> Vec<String> {
    let seen = text::clean(failure.seen());
    let mut lines = vec![
        labelled("doing", &doing(failure.kind, version)),
        labelled(
            if failure.kind == FailureKind::NotReady {
                "answer"
            } else {
                "seen"
            },
            if seen.is_empty() { "nothing" } else { &seen },
        ),
        labelled("waited", &Human(failure.waited).to_string()),
    ];
    if !log.is_empty() {
        let whose = if failure.kind.is_task_failure() {
            "that it printed"
        } else {
            "of the instance"
        };
        lines.push(labelled(
            "log",
            &format!("the last {} {whose}", text::count(log.len(), "line")),
        ));
        lines.extend(log.iter().map(|line| {
            format!("  | {}", text::clean_indented(line))
                .trim_end()
                .to_owned()
        }));
    }
    lines.extend(hint(failure).map(|hint| labelled("hint", &hint)));
    lines.push(labelled("now", now));
    lines
}

/// What is mostly behind it where nobody listens, and where a process has ended by itself: by the
/// shell's statuses, and by those of systemd (systemd.exec(5)).
fn hint(failure: &Failure) -> Option<Cow<'static, str>> {
    let seen = failure.detail.split(';').next().unwrap_or_default();
    match failure.kind {
        FailureKind::NotReady if seen.starts_with(REFUSED) => Some(
            "does it listen where it is asked? `{{ port }}` and `{{ address }}` tell it, in \
             `command` or `env`"
                .into(),
        ),
        FailureKind::NotReady if seen.starts_with(UNRESOLVED) || seen.contains(LINK_LOCAL) => Some(
            "probes go from this machine to the host's address; set `via = \"ssh\"` in \
             [readiness] to probe through ssh"
                .into(),
        ),
        FailureKind::Exited => match seen.split_once(BARRED) {
            Some((_, dir)) => Some(
                format!(
                    "let that user in with `chmod o+x {dir}`, or set \
                                            another base_dir"
                )
                .into(),
            ),
            None => hint_of_end(seen).map(Cow::Borrowed),
        },
        FailureKind::Liveness => Some(
            "the instance passed [liveness] at first and then failed it: see its log, or raise \
             `timeout` or `failures` there"
                .into(),
        ),
        _ => None,
    }
}

/// What stands between a user and the directory that the user cannot enter.
const BARRED: &str = " cannot enter ";

fn hint_of_end(status: &str) -> Option<&'static str> {
    match status {
        "exit status 0" => Some(
            "a service is to stay in the foreground: one that goes on in the background counts as \
             ended",
        ),
        "exit status 126" => Some(
            "the command may not be executed: its mode, the interpreter that it names, or a \
             base_dir on a noexec mount",
        ),
        "exit status 200" => Some("the service's user cannot enter the release's directory"),
        "exit status 127" | "exit status 203" => Some(
            "the command, or the interpreter that it names, is neither in the release nor on the \
             host's path",
        ),
        "exit status 217" => Some("there is no such user on the host"),
        "signal 9" => Some(
            "somebody killed it: the kernel does so when memory runs out (`dmesg` on the host)",
        ),
        _ => None,
    }
}

fn doing(kind: FailureKind, version: &str) -> String {
    match kind {
        FailureKind::Stage => format!("sending {version} and unpacking it"),
        FailureKind::Start => format!("starting {version}"),
        FailureKind::Stop => "stopping the instance that was replaced".to_owned(),
        FailureKind::Traffic => "switching the traffic".to_owned(),
        FailureKind::Exited | FailureKind::Liveness => {
            format!("starting {version}, then watching its process")
        }
        FailureKind::NotReady => format!("starting {version}, then asking until it is ready"),
        FailureKind::HostLost => "trying to reach the host again".to_owned(),
        FailureKind::Analysis => format!("measuring how {version} does"),
        FailureKind::Stuck => "waiting for the fleet to change".to_owned(),
        FailureKind::RequestsFailed => {
            format!("rolling out {version}, and asking the service all the while")
        }
        FailureKind::Hook => "running a command of the playbook's".to_owned(),
        FailureKind::Migration => format!("changing what all instances share, for {version}"),
        FailureKind::Contract => "taking away what only older versions need".to_owned(),
        FailureKind::Aborted => format!("rolling out {version}"),
    }
}

/// What follows the failure of a rollout. The rollout includes the failure.
pub(super) fn now(rollout: &RolloutView, status: &Status) -> String {
    let serving = serving(rollout, status);
    match (rollout.direction(), rollout.fallback()) {
        (Direction::Held { why, .. }, _) => {
            format!("nothing more is changed: {}; {serving}", text::clean(why))
        }
        (_, Some(fallback)) => {
            format!("going back to {}; {serving}", text::clean(&named(fallback)))
        }
        (_, None) => format!("going back; {serving}"),
    }
}

/// What follows when the rollout gives up a host.
pub(super) fn now_without(rollout: &RolloutView, status: &Status) -> String {
    format!(
        "the other hosts go on without it; {}",
        serving(rollout, status)
    )
}

/// A line with its label in a column of its own.
pub(super) fn labelled(label: &str, text: &str) -> String {
    format!("{label:<7} {text}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_mostly_behind_it_is_said_where_something_mostly_is() {
        let told = |kind, detail: &str| {
            let (detail, waited) = (detail.to_owned(), Duration::from_secs(1));
            let failure = Failure {
                kind,
                host: None,
                slot: None,
                detail,
                waited,
            };
            let lines = block(&failure, "0.9", &[], "going back");
            lines
                .iter()
                .find_map(|line| line.strip_prefix("hint    "))
                .map(str::to_owned)
        };
        let hint = |detail| told(FailureKind::Exited, detail).unwrap_or_default();
        assert!(hint("exit status 0").contains("stay in the foreground"));
        assert!(hint("exit status 127").contains("on the host's path"));
        assert!(hint("exit status 203; systemd starts it again").contains("on the host's path"));
        assert!(hint("signal 9").contains("memory"));
        let barred = "exit status 200: user ship-page cannot enter /data; systemd starts it again";
        assert_eq!(
            hint(barred),
            "let that user in with `chmod o+x /data`, or set another base_dir"
        );
        assert_eq!(told(FailureKind::Exited, "exit status 7"), None);
        assert_eq!(
            told(FailureKind::NotReady, "exit status 0"),
            None,
            "a probe's command"
        );
        assert!(
            told(FailureKind::NotReady, "connection refused")
                .expect("a hint")
                .contains("{{ port }}")
        );
        assert_eq!(told(FailureKind::NotReady, "503 Service Unavailable"), None);
        for seen in [
            "cannot resolve web1.internal on this machine: no such name",
            "fe80::1 is a link-local address",
        ] {
            assert!(
                told(FailureKind::NotReady, seen)
                    .expect("a hint")
                    .contains("via = \"ssh\"")
            );
        }
    }
}
