//! `ship check`: the files, then every host; all problems at once. Nothing is changed anywhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, StreamExt};

use crate::app::environment::{Environment, Reading, StoreAccess};
use crate::app::error::Error;
use crate::app::exit::Exit;
use crate::app::release::Release;
use crate::app::session::Session;
use crate::app::{channels, ownership, spec};
use crate::config::{Fetch, Overrides, Servers, TrafficDriver};
use crate::core::fleet::identity::Identity;
use crate::core::fleet::owner::Owner;
use crate::core::fleet::traffic::Server;
use crate::core::fleet::{Observation, Occupant};
use crate::core::ids::{HostId, Port, Slot};
use crate::core::release::hook::HookSite;
use crate::core::release::{Check as Readiness, Definition, Driver, LivenessCheck};
use crate::core::spec::impossible::Impossible;
use crate::engine::FleetExecutor;
use crate::remote::{Delays, HostUnavailable};
use crate::report::text::count;
use crate::script::{self, Facts, Needs};

/// How many hosts are checked together.
const TOGETHER: usize = 64;
/// What a login, a login shell or sudo may take before it is named as slow.
const SLOW: Duration = Duration::from_secs(2);

/// What was found on one machine.
pub struct MachineCheck {
    pub host: HostId,
    /// Whether it could be reached at all.
    pub is_reachable: bool,
    /// How it was reached, in a few words.
    pub reached: String,
    /// What is there.
    pub has: String,
    /// What keeps a deploy from working.
    pub problems: Vec<String>,
    /// What works, but slowly.
    pub slow: Vec<String>,
    /// What may go wrong one day. The check does not fail because of it.
    pub warnings: Vec<String>,
    /// The slots in which an instance runs.
    running: Vec<Slot>,
    owner: Option<Owner>,
    identity: Option<Identity>,
}

pub struct FleetCheck {
    pub inventory: PathBuf,
    pub playbook: PathBuf,
    /// The release that would be deployed, or why there is none.
    pub release: Result<Release, Error>,
    /// The hosts, then the balancers' machines.
    pub machines: Vec<MachineCheck>,
    /// Who deployed last, if that was not from here.
    pub elsewhere: Option<String>,
}

impl FleetCheck {
    /// The exit code of the run.
    pub fn exit(&self) -> Exit {
        if self.machines.iter().any(|machine| !machine.is_reachable) {
            return Exit::Unreachable;
        }
        let has_problems = |machine: &MachineCheck| !machine.problems.is_empty();
        match &self.release {
            Err(error) => error.exit(),
            Ok(_) if self.machines.iter().any(has_problems) => Exit::Refused,
            Ok(_) => Exit::Done,
        }
    }
}

/// Checks the files, then every host and every balancer's machine. Nothing is changed anywhere.
///
/// # Errors
/// If the inventory or the playbook is wrong, or the state cannot be read.
pub async fn check(env: &Arc<dyn Environment>, overrides: Overrides) -> Result<FleetCheck, Error> {
    // A host may be looked at although the artifact is missing: all problems are said at once.
    let (overrides, unresolved) = match channels::resolve(env, overrides.clone()).await {
        Ok(resolved) => (resolved.overrides, None),
        Err(error) => (overrides, Some(error)),
    };
    let session = Session::open(env, &overrides, Reading::Strict, StoreAccess::Read)?;
    let release = match unresolved {
        None => env.prepare_release(&session.project, &session.place).await,
        Some(error) => Err(error),
    };
    let hosts = Arc::new(session.fleet_hosts());
    let definition = release
        .as_ref()
        .ok()
        .map(|release| release.definition.clone());
    let size_bytes = release.as_ref().map_or(0, Release::size_on_host);
    let mut machines = look(&session, &hosts, definition.as_ref(), size_bytes).await;
    let balancers = look_at_balancers(&session, &hosts, &machines).await;
    machines.extend(balancers?);
    let owners = machines
        .iter()
        .filter_map(|machine| Some((machine.host.clone(), machine.owner.clone()?)))
        .collect();
    let elsewhere = session.last_elsewhere(&owners)?;
    Ok(FleetCheck {
        inventory: session.project.inventory.path.clone(),
        playbook: session.project.playbook.path.clone(),
        release,
        machines,
        elsewhere: elsewhere.map(|owner| owner.told(session.now())),
    })
}

async fn look(
    session: &Session,
    world: &Arc<FleetExecutor>,
    definition: Option<&Definition>,
    size_bytes: u64,
) -> Vec<MachineCheck> {
    let playbook = &session.project.playbook;
    let needs = Needs {
        driver: playbook.service.driver,
        user: playbook.service.user.as_deref(),
        liveness: playbook.liveness.as_ref().map(|liveness| &liveness.check),
        pulls: playbook.artifact.fetch == Fetch::Pull,
        instances: true,
        executes: definition.and_then(program_in_release),
        runs_commands: !playbook.migrations.is_empty()
            || playbook.hooks.iter().any(|hook| hook.at == HookSite::Host),
    };
    let ports = &playbook.service.ports;
    let checks = session.hosts().into_iter().map(|host| {
        let world = Arc::clone(world);
        async move {
            let asked = world.query(&host, |site| script::check(site, &needs)).await;
            let read = match &asked {
                Ok(stdout) => {
                    script::read_check(stdout, session.now()).map_err(|error| error.to_string())
                }
                Err(unusable) => Err(unusable.why.clone()),
            };
            match read {
                Ok((facts, observation)) => {
                    let mut found = judge(
                        host.clone(),
                        (needs.driver, ports),
                        &facts,
                        &observation,
                        size_bytes,
                    );
                    if let Some(why) = world.unprobed(&host, &playbook.readiness).await {
                        found.problems.push(format!(
                            "{why}; set `via = \"ssh\"` in [readiness] to probe through ssh"
                        ));
                    }
                    found.slow = world
                        .delays(&host)
                        .await
                        .map(|delays| slow(&delays))
                        .unwrap_or_default();
                    found
                }
                Err(why) => MachineCheck::unreachable(host, why),
            }
        }
    });
    let mut all: Vec<MachineCheck> = stream::iter(checks).buffered(TOGETHER).collect().await;
    let named = |found: &MachineCheck| found.host.clone();
    let owners = all
        .iter()
        .filter_map(|found| Some((named(found), found.owner.clone()?)))
        .collect();
    let identities = all
        .iter()
        .filter_map(|found| Some((named(found), found.identity.clone()?)))
        .collect();
    let mut problems = ownership::problems(session, &owners, &identities);
    for found in &mut all {
        let problem = problems.remove(&found.host);
        found
            .problems
            .extend(problem.map(|problem| format!("{}; {}", problem.why, problem.hint)));
    }
    all
}

/// The balancers' machines, what they say, and whether those get requests that run.
async fn look_at_balancers(
    session: &Session,
    world: &FleetExecutor,
    hosts: &[MachineCheck],
) -> Result<Vec<MachineCheck>, Error> {
    let Some(traffic) = session.traffic() else {
        return Ok(Vec::new());
    };
    let budget = spec::spec(session, &session.definitions(), None)?.budget;
    let running: Vec<_> = hosts.iter().flat_map(|host| &host.running).collect();
    let wanted = running
        .len()
        .min(usize::try_from(budget.min_available()).unwrap_or(usize::MAX));
    let running = &running;
    let looks = traffic.machines().iter().map(|balancer| async move {
        let script = world
            .query(balancer, |site| script::check(site, &Needs::NONE))
            .await;
        let read = script.and_then(|stdout| {
            let read = script::read_check(&stdout, session.now());
            read.map_err(|unreadable| HostUnavailable {
                why: unreadable.to_string(),
            })
        });
        let (facts, observation) = match read {
            Ok(read) => read,
            Err(unusable) => return MachineCheck::unreachable(balancer.clone(), unusable.why),
        };
        let mut found = judge(
            balancer.clone(),
            (Driver::Process, &[]),
            &facts,
            &observation,
            0,
        );
        match world.check_balancer(balancer).await {
            Ok((view, problems)) => {
                found.problems.extend(problems);
                let serves = |slot: &Slot| view.servers.get(slot).is_some_and(Server::serves);
                let busy = running.iter().filter(|slot| serves(slot)).count();
                if busy < wanted {
                    let of = count(running.len(), "instance");
                    found.problems.push(format!(
                        "only {busy} of {of} that run get requests; at least {wanted} must"
                    ));
                }
                let (up, all) = (
                    view.servers
                        .values()
                        .filter(|server| server.serves())
                        .count(),
                    view.servers.len(),
                );
                found.has = format!(
                    "{up} of {all} servers get requests{}",
                    added_servers(session)
                );
            }
            Err(unusable) => {
                found.problems.push(unusable.why);
                found.is_reachable = false;
            }
        }
        found
    });
    Ok(join_all(looks).await)
}

/// What is to be said of servers that ship itself adds to a balancer; empty where it adds none.
fn added_servers(session: &Session) -> String {
    match session
        .project
        .playbook
        .traffic
        .as_ref()
        .map(|traffic| &traffic.driver)
    {
        Some(TrafficDriver::Haproxy(haproxy)) if haproxy.servers == Servers::Dynamic => {
            let options = format!(
                "{} {}",
                crate::balancer::haproxy::protocol::ADDED_CHECK,
                haproxy.server_options
            );
            let options = options.trim_end();
            format!(
                "; ship adds servers with `{options}`; `default-server` does not apply to them, \
                 server_options in \
                 [traffic] does"
            )
        }
        _ => String::new(),
    }
}

impl MachineCheck {
    fn unreachable(host: HostId, why: String) -> Self {
        let (reached, has) = (String::new(), String::new());
        Self {
            host,
            is_reachable: false,
            reached,
            has,
            problems: vec![why],
            slow: Vec::new(),
            warnings: Vec::new(),
            running: Vec::new(),
            owner: None,
            identity: None,
        }
    }
}

/// What holds up every login or every script for longer than a host should, with its most frequent
/// cause.
fn slow(delays: &Delays) -> Vec<String> {
    let parts = [
        (
            Some(delays.login),
            "the SSH login takes",
            "does the host resolve the names of its clients (`UseDNS` in sshd_config), or does \
             PAM wait for a server?",
        ),
        (
            delays.shell,
            "before every script, the login shell takes",
            "look at its startup files, such as ~/.bashrc, and at the home directory",
        ),
        (
            delays.sudo,
            "before every script, sudo takes",
            "can the host resolve its own name? `hostname` must be in /etc/hosts",
        ),
    ];
    let slow = parts.into_iter().filter_map(|(took, what, cause)| {
        let took = took.filter(|took| *took >= SLOW)?;
        Some(format!("{what} {:.1}s; {cause}", took.as_secs_f64()))
    });
    slow.collect()
}

/// The first program of the service's that lies in the release: a path that is not absolute.
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

fn judge(
    host: HostId,
    (driver, ports): (Driver, &[Port]),
    facts: &Facts,
    observation: &Observation,
    size_bytes: u64,
) -> MachineCheck {
    let mut problems = Vec::new();
    if !facts.missing.is_empty() {
        problems.push(format!(
            "needs {}, which is not there; install it",
            facts.missing.join(", ")
        ));
    }
    problems.extend(facts.problems.iter().cloned());
    if driver == Driver::Systemd {
        if facts.systemd.is_none() {
            problems.push("systemd does not run here; use driver = \"process\"".into());
        }
        if facts.user != "root" {
            problems.push(format!(
                "the systemd driver needs root, but scripts run as {}; set sudo = true",
                facts.user
            ));
        }
    }
    for (port, occupant) in &observation.slots {
        if let Occupant::Stranger(who) = occupant
            && ports.contains(port)
        {
            let taken = Impossible::PortTaken {
                slot: Slot {
                    host: host.clone(),
                    port: *port,
                },
                who: who.clone(),
            };
            problems.push(taken.to_string());
        }
    }
    let needed_kib = size_bytes.div_ceil(1024);
    if let Some(free) = observation.free_kib.filter(|free| *free < needed_kib) {
        problems.push(format!(
            "{free} KiB are free, but unpacking the release takes about {needed_kib} KiB; make room"
        ));
    }
    let free = observation
        .free_kib
        .map_or(String::new(), |free| format!(", {} MiB free", free / 1024));
    let instances = observation
        .slots
        .values()
        .filter(|slot| matches!(slot, Occupant::Instance(_)))
        .count();
    let (reached, has) = (
        format!("reached as {}{free}", facts.user),
        count(instances, "instance"),
    );
    let runs = |occupant: &Occupant| matches!(occupant, Occupant::Instance(instance) if instance.is_running());
    let running = observation
        .slots
        .iter()
        .filter(|(_, occupant)| runs(occupant));
    let running = running
        .map(|(port, _)| Slot {
            host: host.clone(),
            port: *port,
        })
        .collect();
    let (owner, identity) = (observation.owner.clone(), observation.identity.clone());
    let warnings = facts.warnings.clone();
    let slow = Vec::new();
    MachineCheck {
        host,
        is_reachable: true,
        reached,
        has,
        problems,
        slow,
        warnings,
        running,
        owner,
        identity,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_sudo_and_login_are_named_with_their_seconds() {
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
            lines[1].starts_with("before every script, the login shell takes 3.0s; "),
            "{lines:?}"
        );
        assert!(
            lines[2].starts_with("before every script, sudo takes 10.0s; "),
            "{lines:?}"
        );
    }

    #[test]
    fn free_space_is_held_against_what_unpacking_takes() {
        let seen = |free_kib| Observation {
            free_kib: Some(free_kib),
            ..Observation::default()
        };
        let facts = Facts {
            user: "root".into(),
            ..Facts::default()
        };
        let problems = |free| {
            judge(
                "web1".into(),
                (Driver::Process, &[]),
                &facts,
                &seen(free),
                5 << 20,
            )
            .problems
        };
        assert_eq!(problems(6 << 10), Vec::<String>::new());
        let said = "4096 KiB are free, but unpacking the release takes about 5120 KiB; make room";
        assert_eq!(problems(4 << 10), [said]);
    }
}
