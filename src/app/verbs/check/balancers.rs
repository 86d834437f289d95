//! The check of the balancers' machines.

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

/// A balancer's machine runs no instance.
const REQUIRED: Requirements<'_> = Requirements {
    driver: Driver::Process,
    ports: &[],
    size_bytes: 0,
};

/// Checks the balancers' machines, what they say, and whether those get requests that run.
pub(super) async fn check_balancers(
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
    let checks = traffic
        .machines()
        .iter()
        .map(|balancer| check_balancer(session, world, balancer, running, wanted));
    Ok(join_all(checks).await)
}

async fn check_balancer(
    session: &Session,
    world: &FleetExecutor,
    balancer: &HostId,
    running: &[&Slot],
    wanted: usize,
) -> MachineCheck {
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
    let mut found = MachineCheck::judge(balancer.clone(), REQUIRED, &facts, &observation);
    match world.check_balancer(balancer).await {
        Ok((view, problems)) => {
            found.problems.extend(problems);
            found.problems.extend(too_few_serve(&view, running, wanted));
            found.has = servers(&view) + &added_servers(session);
        }
        Err(unusable) => {
            found.problems.push(unusable.why);
            found.is_reachable = false;
        }
    }
    found
}

fn too_few_serve(view: &BalancerState, running: &[&Slot], wanted: usize) -> Option<String> {
    let serves = |slot: &Slot| view.servers.get(slot).is_some_and(Server::serves);
    let busy = running.iter().filter(|slot| serves(slot)).count();
    let of = count(running.len(), "instance");
    (busy < wanted)
        .then(|| format!("only {busy} of {of} that run get requests; at least {wanted} must"))
}

fn servers(view: &BalancerState) -> String {
    let up = view.servers.values().filter(|server| server.serves());
    format!(
        "{} of {} servers get requests",
        up.count(),
        view.servers.len()
    )
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
