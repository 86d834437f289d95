//! Checks the hosts.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};

use super::machine::{MachineCheck, Requirements};
use crate::app::ownership;
use crate::app::session::Session;
use crate::config::Fetch;
use crate::core::ids::{HostId, Slot};
use crate::core::release::hook::HookSite;
use crate::core::release::{Check as Readiness, Definition, LivenessCheck};
use crate::engine::FleetExecutor;
use crate::remote::Delays;
use crate::script::{self, Needs, ReleaseSender};

/// Hosts that are checked at the same time.
const CONCURRENCY: usize = 64;
/// From this duration on, a login, a login shell or sudo is reported as slow.
const SLOW: Duration = Duration::from_secs(2);

/// Checks every host, in the inventory's order.
pub(super) async fn check_hosts(
    session: &Session,
    executor: &Arc<FleetExecutor>,
    definition: Option<&Definition>,
    size_bytes: u64,
) -> Vec<MachineCheck> {
    let needs = needs(session, definition);
    let required = Requirements {
        driver: needs.driver,
        slots: &session.project.playbook.service.slots.numbers(),
        size_bytes,
        escalation: "",
    };
    let checks = session
        .hosts()
        .into_iter()
        .map(|host| check_host(session, executor, host, (definition, needs), required));
    let mut checked: Vec<MachineCheck> = stream::iter(checks).buffered(CONCURRENCY).collect().await;
    add_misplaced(session, &mut checked);
    checked
}

fn needs<'a>(session: &'a Session, definition: Option<&'a Definition>) -> Needs<'a> {
    let playbook = &session.project.playbook;
    Needs {
        driver: playbook.service.driver,
        user: playbook.service.user.as_deref(),
        liveness: playbook.liveness.as_ref().map(|liveness| &liveness.check),
        sender: match playbook.artifact.fetch {
            Fetch::Push => ReleaseSender::ControlMachine,
            Fetch::Pull => ReleaseSender::Url,
            Fetch::Relay => ReleaseSender::Hosts,
        },
        instances: true,
        executes: definition.and_then(program_in_release),
        runs_commands: !playbook.migrations.is_empty()
            || playbook.hooks.iter().any(|hook| hook.at == HookSite::Host),
        shared_dirs: &[],
        unit: None,
    }
}

async fn check_host(
    session: &Session,
    executor: &FleetExecutor,
    host: HostId,
    (definition, needs): (Option<&Definition>, Needs<'_>),
    required: Requirements<'_>,
) -> MachineCheck {
    let unit = definition.filter(|definition| !definition.systemd.is_empty());
    let unit = unit.and_then(|definition| {
        let slot = Slot::new(host.clone(), *required.slots.first()?);
        executor.unit_of(&slot, definition).ok().flatten()
    });
    let shared_dirs = &session.project.playbook.service.shared_dirs;
    let shared_dirs: Vec<_> = shared_dirs.iter().map(|dir| dir.value.as_str()).collect();
    let needs = Needs {
        shared_dirs: &shared_dirs,
        unit: unit.as_deref(),
        ..needs
    };
    let printed = executor
        .query(&host, |site| script::check(site, &needs))
        .await;
    let read = match &printed {
        Ok(stdout) => script::read_check(stdout, session.now()).map_err(|error| error.to_string()),
        Err(unusable) => Err(unusable.why.clone()),
    };
    let (facts, observation) = match read {
        Ok(read) => read,
        Err(why) => return MachineCheck::unreachable(host, why),
    };
    let required = Requirements {
        escalation: session.escalation_words(&host),
        ..required
    };
    let mut found = MachineCheck::from_facts(host, required, &facts, &observation);
    let readiness = &session.project.playbook.readiness;
    if let Some(why) = executor.direct_probe_problem(&found.host, readiness).await {
        found.problems.push(format!(
            "{why}; to probe through SSH, set `via = \"ssh\"` in [readiness]"
        ));
    }
    let delays = executor.delays(&found.host).await;
    found.slow = delays.map(|delays| slow(&delays)).unwrap_or_default();
    found
}

/// Adds the problems of hosts that belong to another fleet or are listed twice.
fn add_misplaced(session: &Session, checked: &mut [MachineCheck]) {
    let named = |found: &MachineCheck| found.host.clone();
    let owners = checked
        .iter()
        .filter_map(|found| Some((named(found), found.owner.clone()?)))
        .collect();
    let identities = checked
        .iter()
        .filter_map(|found| Some((named(found), found.identity.clone()?)))
        .collect();
    let mut problems = ownership::problems(session, &owners, &identities);
    for found in checked {
        let problem = problems.remove(&found.host);
        found
            .problems
            .extend(problem.map(|problem| format!("{}; {}", problem.why, problem.hint)));
    }
}

/// The delays of every login or session that exceed [`SLOW`], each with its most frequent cause.
fn slow(delays: &Delays) -> Vec<String> {
    let parts = [
        (
            Some(delays.login),
            "the SSH login takes",
            "check whether the host resolves the names of its clients (`UseDNS` in sshd_config) \
             or PAM waits for a server",
        ),
        (
            delays.shell,
            "before the first script, the login shell takes",
            "check its startup files, such as ~/.bashrc, and the home directory",
        ),
        (
            delays.sudo,
            "before the first script, sudo takes",
            "check that the host can resolve its own name (`hostname` must be in /etc/hosts)",
        ),
    ];
    let slow = parts.into_iter().filter_map(|(took, what, cause)| {
        let took = took.filter(|took| *took >= SLOW)?;
        Some(format!("{what} {:.1}s; {cause}", took.as_secs_f64()))
    });
    slow.collect()
}

/// The first program of the service that is part of the release: a relative path.
fn program_in_release(definition: &Definition) -> Option<&str> {
    let readiness = match &definition.readiness.check {
        Readiness::Command(words) => Some(words),
        _ => None,
    };
    let liveness = definition
        .liveness
        .as_ref()
        .and_then(|liveness| match &liveness.check {
            LivenessCheck::Command(words) => Some(words),
            _ => None,
        });
    let hooks = definition
        .hooks
        .iter()
        .filter(|hook| hook.at == HookSite::Host)
        .map(|hook| &hook.command);
    let commands = [Some(&definition.command), readiness, liveness]
        .into_iter()
        .flatten()
        .chain(hooks);
    let programs = commands.filter_map(|words| words.first());
    programs
        .map(String::as_str)
        .find(|program| program.contains('/') && !program.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_login_shell_and_sudo_are_reported_with_seconds() {
        let seconds = Duration::from_secs;
        let quick = Delays {
            login: seconds(1),
            shell: Some(seconds(1)),
            sudo: None,
        };
        assert_eq!(slow(&quick), Vec::<String>::new());
        let lines = slow(&Delays {
            login: Duration::from_millis(5240),
            shell: Some(seconds(3)),
            sudo: Some(seconds(10)),
        });
        assert!(
            lines[0].starts_with("the SSH login takes 5.2s; "),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with("before the first script, the login shell takes 3.0s; "),
            "{lines:?}"
        );
        assert!(
            lines[2].starts_with("before the first script, sudo takes 10.0s; "),
            "{lines:?}"
        );
    }
}
