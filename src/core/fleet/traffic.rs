//! The traffic of slots: which slots get requests from the balancers, and how many requests are
//! open.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::fleet::reach::Reach;
use crate::core::ids::{Epoch, HostId, Slot};
use crate::core::time::Human;

/// The balancers of a service. Without balancers, requests reach instances directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub balancers: Balancers,
    /// The time limit for an instance's open requests.
    pub drain_timeout: Duration,
}

/// Where the balancers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balancers {
    /// On machines in front of the fleet. Each of them knows every slot.
    Shared(Vec<HostId>),
    /// On every host, for its own slots: one slot has the host's public port, and its successor
    /// takes the port over in one step.
    OnHosts,
}

/// A balancer, as last observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancer {
    pub reach: Reach,
    pub view: BalancerState,
}

/// One observation of a balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalancerState {
    /// The newest epoch that the balancer has seen for this service; `None` if it stores none.
    pub epoch: Option<Epoch>,
    /// Identifies the process and its configuration. After a change, the balancer may have lost
    /// what ship has set.
    pub generation: String,
    /// The slots that the balancer knows. Every other slot gets no requests.
    pub servers: BTreeMap<Slot, Server>,
}

/// A slot in the view of a balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Whether the balancer sends new requests to the slot.
    pub admission: SlotAdmission,
    /// The state of the balancer's own check of the slot, if it has one.
    pub is_up: Option<bool>,
    /// Open and queued requests of the slot, or its connections if the balancer counts only these.
    pub in_flight: u32,
    /// The requests that the balancer has sent to the slot since its start; `None` if the number
    /// is unknown, or if requests are queued for the slot, which may still be sent to it.
    pub requests_total: Option<u64>,
    /// The slot's weight, in percent of its full weight; `None` if the balancer has no weights.
    pub weight_percent: Option<u32>,
    /// The balancer's counters for the slot since its start, if it has any.
    pub counters: Option<Counters>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotAdmission {
    /// The slot may get any request.
    Open,
    /// The slot gets only requests of clients that the balancer has bound to it by a cookie or a
    /// table.
    Bound,
    /// The slot gets no new requests.
    #[default]
    Closed,
}

/// A balancer's counters for a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests that were answered or failed.
    pub requests: u64,
    /// Requests with a server error (5xx) or without an answer.
    pub errors: u64,
    /// The mean latency of the last requests, in ms, if it is known.
    pub mean_ms: Option<u32>,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DrainResult {
    pub waited: Duration,
    /// Open requests that finished.
    pub ended: u32,
    /// Open requests that were cut at the deadline.
    pub cut: u32,
}

/// Whether a slot gets requests, considering all its balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficState {
    /// There are no balancers.
    Direct,
    /// Every balancer sends new requests to the slot.
    Open,
    /// Every balancer admits the slot, but the own check of at least one fails.
    CheckFailing,
    /// Some balancers may send new requests to the slot, but not all do.
    Mixed,
    /// No balancer sends new requests to the slot.
    Closed,
}

impl Server {
    /// Whether the slot gets requests: it is admitted, and the balancer's own check does not fail.
    pub fn serves(&self) -> bool {
        self.admission == SlotAdmission::Open && self.is_up != Some(false)
    }
}

impl Balancer {
    /// Whether the balancer answered the last command.
    pub fn is_reachable(&self) -> bool {
        self.reach == Reach::Reachable
    }

    /// Changes the admission of a slot. A slot that is opened on a host takes the public port over
    /// from the slot that had it.
    pub fn switch(&mut self, slot: &Slot, admission: SlotAdmission, balancers: &Balancers) {
        if admission == SlotAdmission::Open && *balancers == Balancers::OnHosts {
            self.view
                .servers
                .values_mut()
                .for_each(|server| server.admission = SlotAdmission::Closed);
        }
        let server = self.view.servers.entry(slot.clone()).or_default();
        (server.admission, server.is_up) = (admission, Some(true));
    }
}

impl Traffic {
    /// The shared balancers.
    pub fn machines(&self) -> &[HostId] {
        match &self.balancers {
            Balancers::Shared(all) => all,
            Balancers::OnHosts => &[],
        }
    }

    /// The balancers that send requests to a slot.
    pub fn balancers_of<'a>(&'a self, slot: &'a Slot) -> &'a [HostId] {
        match &self.balancers {
            Balancers::Shared(all) => all,
            Balancers::OnHosts => std::slice::from_ref(&slot.host),
        }
    }
}

impl fmt::Display for DrainResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = |n: u32| if n == 1 { "request" } else { "requests" };
        write!(
            f,
            "drained in {}: {} {} finished",
            Human(self.waited),
            self.ended,
            requests(self.ended)
        )?;
        if self.cut > 0 {
            write!(f, ", {} cut at the deadline", self.cut)
        } else {
            f.write_str(", none cut")
        }
    }
}

impl BalancerState {
    /// Whether at least `keep` other slots get requests.
    pub fn others_serve(&self, slot: &Slot, keep: u32) -> bool {
        let others = self
            .servers
            .iter()
            .filter(|(other, server)| *other != slot && server.serves())
            .count();
        others >= usize::try_from(keep).unwrap_or(usize::MAX)
    }

    /// Whether a slot may get requests of any client.
    pub fn is_open(&self, slot: &Slot) -> bool {
        self.servers
            .get(slot)
            .is_some_and(|server| server.admission == SlotAdmission::Open)
    }

    /// Whether a slot gets no new requests.
    pub fn is_closed(&self, slot: &Slot) -> bool {
        self.servers
            .get(slot)
            .is_none_or(|server| server.admission == SlotAdmission::Closed)
    }

    /// The number of requests that a slot got since the balancer's start, if it is known.
    pub(super) fn requests_total(&self, slot: &Slot) -> Option<u64> {
        self.servers.get(slot)?.requests_total
    }

    /// The open and queued requests of a slot.
    pub(super) fn in_flight(&self, slot: &Slot) -> u32 {
        self.servers.get(slot).map_or(0, |server| server.in_flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(admission: SlotAdmission, is_up: Option<bool>) -> Server {
        Server {
            admission,
            is_up,
            ..Server::default()
        }
    }

    #[test]
    fn others_serve_counts_only_servers_that_pass_the_balancers_check() {
        let servers = [
            (8081, server(SlotAdmission::Open, None)),
            (8082, server(SlotAdmission::Open, Some(true))),
            (8083, server(SlotAdmission::Open, Some(false))),
            (8084, server(SlotAdmission::Closed, None)),
        ];
        let servers = servers.map(|(number, server)| (Slot::new("web1", number), server));
        let view = BalancerState {
            servers: BTreeMap::from(servers),
            ..BalancerState::default()
        };
        assert!(view.others_serve(&Slot::new("web1", 8081), 1));
        assert!(!view.others_serve(&Slot::new("web1", 8081), 2));
    }
}
