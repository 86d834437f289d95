//! Checks the balancers.

use futures::future::join_all;

use super::machine::{MachineCheck, Requirements};
use crate::app::error::Error;
use crate::app::session::Session;
use crate::app::spec;
use crate::config::{Servers, TrafficDriver};
use crate::core::fleet::traffic::{BalancerState, Server};
use crate::core::ids::{HostId, Slot};
use crate::core::release::Driver;
use crate::engine::FleetExecutor;
use crate::remote::HostUnavailable;
use crate::report::text::count;
use crate::script::{self, Needs};

/// The machine of a balancer runs no instances.
const REQUIRED: Requirements<'_> = Requirements {
    driver: Driver::Process,
    slots: &[],
    size_bytes: 0,
    escalation: "",
};

/// Checks the machines of the balancers, their configuration, and whether the running instances
/// receive requests.
pub(super) async fn check_balancers(
    session: &Session,
    executor: &FleetExecutor,
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
    let checks = traffic
        .machines()
        .iter()
        .map(|balancer| check_balancer(session, executor, balancer, running, wanted));
    Ok(join_all(checks).await)
}

async fn check_balancer(
    session: &Session,
    executor: &FleetExecutor,
    balancer: &HostId,
    running: &[&Slot],
    wanted: usize,
) -> MachineCheck {
    let script = executor
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
    let required = Requirements {
        escalation: session.escalation_words(balancer),
        ..REQUIRED
    };
    let mut found = MachineCheck::from_facts(balancer.clone(), required, &facts, &observation);
    match executor.check_balancer(balancer).await {
        Ok((state, problems)) => {
            found.problems.extend(problems);
            let too_few = too_few_servers(&state, running, wanted);
            found.problems.extend(too_few);
            found.workload = servers(&state) + &added_servers(session);
        }
        Err(unusable) => {
            found.problems.push(unusable.why);
            found.is_reachable = false;
        }
    }
    found
}

fn too_few_servers(state: &BalancerState, running: &[&Slot], wanted: usize) -> Option<String> {
    let serves = |slot: &Slot| state.servers.get(slot).is_some_and(Server::serves);
    let serving = running.iter().filter(|slot| serves(slot)).count();
    let all = count(running.len(), "running instance");
    (serving < wanted)
        .then(|| format!("only {serving} of {all} receive requests; expected at least {wanted}"))
}

fn servers(state: &BalancerState) -> String {
    let serving = state.servers.values().filter(|server| server.serves());
    format!(
        "{} of {} servers receive requests",
        serving.count(),
        state.servers.len()
    )
}

/// A remark about servers that ship adds to a balancer; empty if it adds none.
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
                "; ship adds servers with `{options}` (`default-server` does not apply to them; use \
                 server_options in [traffic])"
            )
        }
        _ => String::new(),
    }
}
