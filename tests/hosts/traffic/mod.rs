//! `ship` behind real balancers, under load: what the clients of a service notice of a deploy.

mod baseline;
mod faults;
mod haproxy;
mod nginx_nftables;
mod rolling;

use std::fmt;
use std::time::{Duration, Instant};

use haproxy::Haproxy;
use ship_testing::clients::{Clients, Load, LoadResult};
use ship_testing::fleet::Fleet;
use ship_testing::project::Project;

/// Who asks.
const CLIENTS: Clients = Clients {
    keepalive: 20,
    short: 20,
    downloads: 0,
};
/// The same, and some whose answers take longer than anybody may wait for.
const WITH_DOWNLOADS: Clients = Clients {
    downloads: 10,
    ..CLIENTS
};
/// Two slots a host.
const PORTS: [u16; 2] = [8081, 8082];
/// Answers before a version is rolled out, and after it.
const AROUND: u64 = 3000;

/// A service with three replicas, what it does when it is told to end, and the lines of
/// `[traffic]`.
fn service(fleet: &Fleet, at_term: &str, traffic: &str) -> Project {
    // On a machine under load a login takes its time.
    let patient = |playbook: &str| fleet.inventory(playbook).replace("\"5s\"", "\"15s\"");
    Project::new(patient)
        .with("page.py\"", "work.py\"")
        .with("PORT =", &format!("AT_TERM = \"{at_term}\", PORT ="))
        .with("[rollout]", &format!("[traffic]\n{traffic}\n\n[rollout]"))
}

/// The service behind `HAProxy`. It ends at once when it is told to, as most do.
fn behind_haproxy(fleet: &Fleet) -> Project {
    let traffic =
        "driver = \"haproxy\"\nsocket = \"/run/haproxy/admin.sock\"\ndrain_timeout = \"30s\"";
    service(fleet, "end", traffic)
}

/// How many deploys in a row, each with a rollback, and at least how many requests meanwhile.
fn how_many() -> (u32, u64) {
    if std::env::var_os("SHIP_LONG").is_some() {
        (20, 400_000)
    } else {
        (5, 100_000)
    }
}

/// What was seen of a roll from one version to another.
struct Rolled {
    counted: LoadResult,
    /// The fewest servers that took requests at one time.
    fewest: usize,
    /// How long the roll itself took.
    took: Duration,
}

impl Rolled {
    /// Rolls while clients ask a balancer.
    fn under_load(haproxy: &Haproxy<'_>, clients: Clients, roll: impl FnOnce(&Load)) -> Self {
        let load = Load::begin(&haproxy.endpoint(), clients);
        load.await_answers(AROUND);
        let (count, began) = (haproxy.count_servers(), Instant::now());
        roll(&load);
        let (took, fewest) = (began.elapsed(), count.fewest());
        load.await_answers(AROUND);
        let counted = load.end();
        assert!(
            counted.versions.len() > 1,
            "a roll that was none: {counted}"
        );
        Self {
            counted,
            fewest,
            took,
        }
    }
}

impl fmt::Display for Rolled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            counted,
            fewest,
            took,
        } = self;
        write!(
            f,
            "{:.1} s, never fewer than {fewest} servers; {counted}",
            took.as_secs_f64()
        )
    }
}
