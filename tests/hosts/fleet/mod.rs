//! `ship` on real hosts: each test boots its own fleet and observes it as users do.

mod balancers;
mod debian;
mod escalation;
mod failed_hosts;
mod failure;
mod hooks;
mod in_place;
mod liveness;
mod logs;
mod refusal;
mod relay;
mod rollout;
mod service;
mod stack;
mod stack_zones;
mod zones;

use ship_testing::fleet::Fleet;
use ship_testing::probe_client::Monitor;
use ship_testing::project::Project;

/// Four hosts, and a project with three replicas.
fn four_hosts() -> (Fleet, Project) {
    let fleet = Fleet::boot(4);
    let project = Project::new(|playbook| fleet.inventory(playbook));
    (fleet, project)
}

/// Every endpoint of the fleet.
fn endpoints(fleet: &Fleet) -> Vec<String> {
    let ports = [8081, 8082];
    fleet
        .hosts
        .iter()
        .flat_map(|host| ports.map(|port| format!("{}:{port}", host.address)))
        .collect()
}

/// Starts requests to every endpoint; returns when some answers have arrived.
fn monitor_all(fleet: &Fleet) -> Monitor {
    let monitor = Monitor::start(endpoints(fleet));
    monitor.await_answers(20);
    monitor
}
