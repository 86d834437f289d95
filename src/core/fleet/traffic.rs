//! What balancers do with the slots: which of them get requests, and how many they still have.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::fleet::reach::Reach;
use crate::core::ids::{Epoch, HostId, Slot};
use crate::core::time::Human;

/// The balancers by the spec. Without them, requests reach instances directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    pub balancers: Balancers,
    /// The time limit for an instance's open requests.
    pub drain_timeout: Duration,
}

/// Who sends requests to the instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balancers {
    /// Machines before the fleet, each of which knows every slot.
    Shared(Vec<HostId>),
    /// Each host its own: one slot of it has the host's public port, and the next takes it over in
    /// one step.
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
    /// The newest epoch that it has seen for this service; `None` where it keeps none.
    pub epoch: Option<Epoch>,
    /// What makes it the same process with the same settings: when it changes, what was set may be
    /// forgotten.
    pub generation: String,
    /// The slots that it knows. Any other slot gets no requests.
    pub servers: BTreeMap<Slot, Server>,
}

/// A slot in the view of a balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Whether it gives the slot new requests.
    pub admission: SlotAdmission,
    /// The state of its own check of the slot, if it has one.
    pub is_up: Option<bool>,
    /// Requests, or connections where it counts only these, that are under way or wait for the
    /// slot.
    pub in_flight: u32,
    /// The requests that the balancer has sent to the slot since its start; `None` if the number
    /// is unknown, or if requests are queued for the slot, which may still be sent to it.
    pub requests_total: Option<u64>,
    /// The slot's weight, in percent of its full weight; `None` if the balancer has no weights.
    pub weight_percent: Option<u32>,
    /// Its counters since its start, if it counts.
    pub counters: Option<Counters>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotAdmission {
    /// It may get any request.
    Open,
    /// Only requests of clients that the balancer has bound to it by a cookie or a table.
    Bound,
    /// It gets no new request.
    #[default]
    Closed,
}

/// A balancer's counters for a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests that were answered or failed.
    pub requests: u64,
    /// Requests with an error of the server (5xx) or without an answer.
    pub errors: u64,
    /// The mean latency of the last requests, in ms, if it is known.
    pub mean_ms: Option<u32>,
}

/// How the drain of an instance went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DrainResult {
    pub waited: Duration,
    /// Requests under way at the beginning that ended by themselves.
    pub ended: u32,
    /// Requests that were cut at the deadline.
    pub cut: u32,
}

/// What all balancers together do with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficState {
    /// There are no balancers.
    Direct,
    /// Every balancer gives it new requests.
    Open,
    /// Every balancer would, but the check of one fails.
    CheckFailing,
    /// Some balancer may give it new requests, but not all do.
    Mixed,
    /// No balancer gives it new requests.
    Closed,
}

impl Server {
    /// Whether it gets requests: it is admitted, and the balancer's own check does not fail.
    pub fn serves(&self) -> bool {
        self.admission == SlotAdmission::Open && self.is_up != Some(false)
    }
}

impl Balancer {
    /// Whether it answered last time.
    pub fn is_reachable(&self) -> bool {
        self.reach == Reach::Reachable
    }

    /// Changes a slot. A host's only public port is taken over from the slot that had it.
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
    /// The machines before the fleet.
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
    /// Whether at least `keep` other slots still get requests.
    pub fn spares(&self, slot: &Slot, keep: u32) -> bool {
        let others = self
            .servers
            .iter()
            .filter(|(other, server)| *other != slot && server.serves())
            .count();
        others >= usize::try_from(keep).unwrap_or(usize::MAX)
    }

    /// Whether a slot may get any new request.
    pub fn is_open(&self, slot: &Slot) -> bool {
        self.servers
            .get(slot)
            .is_some_and(|server| server.admission == SlotAdmission::Open)
    }

    /// Whether a slot gets no new request at all.
    pub fn is_closed(&self, slot: &Slot) -> bool {
        self.servers
            .get(slot)
            .is_none_or(|server| server.admission == SlotAdmission::Closed)
    }

    /// The requests that a slot got since the balancer's start, if that is known.
    pub(super) fn requests_total(&self, slot: &Slot) -> Option<u64> {
        self.servers.get(slot)?.requests_total
    }

    /// The requests that a slot has under way or waiting.
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
    fn others_must_serve_in_the_balancers_own_eyes() {
        let servers = [
            (8081, server(SlotAdmission::Open, None)),
            (8082, server(SlotAdmission::Open, Some(true))),
            (8083, server(SlotAdmission::Open, Some(false))),
            (8084, server(SlotAdmission::Closed, None)),
        ];
        let servers = servers.map(|(port, server)| (Slot::new("web1", port), server));
        let view = BalancerState {
            servers: BTreeMap::from(servers),
            ..BalancerState::default()
        };
        assert!(view.spares(&Slot::new("web1", 8081), 1));
        assert!(!view.spares(&Slot::new("web1", 8081), 2));
    }
}
