//! `ship` behind real balancers under load: what clients notice of a deploy.

mod baseline;
mod faults;
pub(crate) mod haproxy;
mod nginx_nftables;
mod rolling;

use std::fmt;
use std::time::{Duration, Instant};

use haproxy::Haproxy;
use ship_testing::clients::{Clients, Load, LoadResult};
use ship_testing::fleet::Fleet;
use ship_testing::project::Project;

/// The clients of most tests.
const CLIENTS: Clients = Clients {
    keepalive: 20,
    short: 20,
    downloads: 0,
};
/// The same, and some with downloads that outlast a short drain.
const WITH_DOWNLOADS: Clients = Clients {
    downloads: 10,
    ..CLIENTS
};
/// The ports of the slots on each host.
const PORTS: [u16; 2] = [8081, 8082];
/// The number of answers before and after a rollout.
const ANSWERS_AROUND: u64 = 3000;

/// A service with three replicas, with this behaviour after SIGTERM and these lines in `[traffic]`.
fn service(fleet: &Fleet, at_term: &str, traffic: &str) -> Project {
    // A login to a machine under load takes longer.
    let inventory = |playbook: &str| fleet.inventory(playbook).replace("\"5s\"", "\"15s\"");
    Project::new(inventory)
        .with("page.py\"", "work.py\"")
        .with("PORT =", &format!("AT_TERM = \"{at_term}\", PORT ="))
        .with("[rollout]", &format!("[traffic]\n{traffic}\n\n[rollout]"))
}

/// The service behind `HAProxy`. It exits at once after SIGTERM, as most do.
fn behind_haproxy(fleet: &Fleet) -> Project {
    let traffic =
        "driver = \"haproxy\"\nsocket = \"/run/haproxy/admin.sock\"\ndrain_timeout = \"30s\"";
    service(fleet, "end", traffic)
}

/// The number of deploys in a row, each with a rollback, and the minimum of requests meanwhile.
fn rounds_and_requests() -> (u32, u64) {
    if std::env::var_os("SHIP_LONG").is_some() {
        (20, 400_000)
    } else {
        (5, 100_000)
    }
}

/// The result of an update under load.
struct UpdateResult {
    load_result: LoadResult,
    /// The fewest servers that were up at one time.
    fewest: usize,
    /// The duration of the update.
    took: Duration,
}

impl UpdateResult {
    /// Updates while clients send requests to a balancer.
    fn under_load(haproxy: &Haproxy<'_>, clients: Clients, update: impl FnOnce(&Load)) -> Self {
        let load = Load::begin(&haproxy.endpoint(), clients);
        load.await_answers(ANSWERS_AROUND);
        let (count, began) = (haproxy.count_servers(), Instant::now());
        update(&load);
        let (took, fewest) = (began.elapsed(), count.fewest());
        load.await_answers(ANSWERS_AROUND);
        let load_result = load.end();
        assert!(
            load_result.versions.len() > 1,
            "the version did not change: {load_result}"
        );
        Self {
            load_result,
            fewest,
            took,
        }
    }
}

impl fmt::Display for UpdateResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            load_result,
            fewest,
            took,
        } = self;
        write!(
            f,
            "{:.1} s, never fewer than {fewest} servers; {load_result}",
            took.as_secs_f64()
        )
    }
}
