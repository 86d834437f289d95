//! What balancers do with the slots: which of them get requests, and how many they still have.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::fleet::reach::Reach;
use crate::core::ids::{Epoch, HostId, Slot};
use crate::core::time::Human;

/// What the spec says of traffic. Without it nothing stands before the instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Who sends it.
    pub balancers: Balancers,
    /// How long an instance may take to finish what it has.
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

/// A balancer, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancer {
    /// Whether it can be reached.
    pub reach: Reach,
    /// What it says.
    pub view: View,
}

/// What one look at a balancer found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The newest epoch that it has seen for this service; `None` where it keeps none.
    pub epoch: Option<Epoch>,
    /// What makes it the same process with the same settings: when it changes, what was set may be
    /// forgotten.
    pub generation: String,
    /// The slots that it knows. One that is not listed gets nothing.
    pub servers: BTreeMap<Slot, Server>,
}

/// A slot, as a balancer sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Whether it gives the slot new requests.
    pub gate: Gate,
    /// What its own check says of the slot, if it has one.
    pub is_up: Option<bool>,
    /// Requests, or connections where it counts only these, that are under way or wait for the
    /// slot.
    pub in_flight: u32,
    /// How many the slot was given since the balancer started; `None` where that is not known, or
    /// where some wait in a queue and may be given to it at any time.
    pub given: Option<u64>,
    /// The slot's share of what others of the full weight get, in percent; `None` where there are
    /// no weights.
    pub weight_percent: Option<u32>,
    /// What it has counted since it started, if it counts.
    pub counters: Option<Counters>,
}

/// Whether a slot is given new requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// It is.
    Open,
    /// Only those of clients that the balancer has bound to it before, by a cookie or a table.
    Bound,
    /// It is not.
    #[default]
    Closed,
}

/// What a balancer has counted of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests that were answered, or failed.
    pub requests: u64,
    /// Of these, answered with a server's error (5xx), or with none.
    pub errors: u64,
    /// The mean time to an answer over the last requests, in ms, if it is known.
    pub mean_ms: Option<u32>,
}

/// How an instance was taken out of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// How long that took.
    pub waited: Duration,
    /// Requests under way at its beginning that ended by themselves.
    pub ended: u32,
    /// Requests that were cut at the deadline.
    pub cut: u32,
}

/// What the balancers together do with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// There are no balancers.
    Direct,
    /// Every balancer gives it new requests.
    Open,
    /// Every balancer would, but the check of one objects.
    Objected,
    /// Some balancer may give it new requests, and not every one does.
    Partly,
    /// None does.
    Closed,
}

impl Server {
    /// Whether requests come: the gate is open, and the balancer's own check does not object.
    pub fn serves(&self) -> bool {
        self.gate == Gate::Open && self.is_up != Some(false)
    }
}

impl Balancer {
    /// Whether it answered last time.
    pub fn is_reachable(&self) -> bool {
        self.reach == Reach::Reachable
    }
}

impl Balancer {
    /// It does so with a slot. A host's only public port is taken over from the slot that had it.
    pub fn switch(&mut self, slot: &Slot, gate: Gate, balancers: &Balancers) {
        if gate == Gate::Open && *balancers == Balancers::OnHosts {
            self.view
                .servers
                .values_mut()
                .for_each(|server| server.gate = Gate::Closed);
        }
        let server = self.view.servers.entry(slot.clone()).or_default();
        (server.gate, server.is_up) = (gate, Some(true));
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

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = |n: u32| if n == 1 { "request" } else { "requests" };
        write!(
            f,
            "drained in {}: {} {} ended by themselves",
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

impl View {
    /// Whether so many others serve besides a slot.
    pub fn spares(&self, slot: &Slot, keep: u32) -> bool {
        let others = self
            .servers
            .iter()
            .filter(|(other, server)| *other != slot && server.serves())
            .count();
        others >= usize::try_from(keep).unwrap_or(usize::MAX)
    }

    /// Whether a slot is given new requests, of anybody.
    pub fn is_open(&self, slot: &Slot) -> bool {
        self.servers
            .get(slot)
            .is_some_and(|server| server.gate == Gate::Open)
    }

    /// Whether a slot is given no new requests, of nobody.
    pub fn is_closed(&self, slot: &Slot) -> bool {
        self.servers
            .get(slot)
            .is_none_or(|server| server.gate == Gate::Closed)
    }

    fn given(&self, slot: &Slot) -> Option<u64> {
        self.servers.get(slot)?.given
    }

    fn in_flight(&self, slot: &Slot) -> u32 {
        self.servers.get(slot).map_or(0, |server| server.in_flight)
    }
}

/// A slot on its way out of traffic, with requests still under way.
///
/// First no balancer sends new clients there; what is under way and what waits in queues ends. Then
/// those that a balancer has bound to the slot are turned away too, or it would never be without
/// requests.
#[derive(Clone, Debug)]
pub struct Drain {
    timeout: Duration,
    /// What the slot was given when it was closed to new clients: more after that is from clients
    /// bound to it.
    given: Option<u64>,
    is_barred: bool,
    /// Requests that were under way at the beginning, or the most that were seen since.
    begun_with: u32,
    /// How often in a row none was under way.
    quiet: u32,
    looks: u32,
    cut: Option<u32>,
    /// Until so long after its beginning there may be more under way than is counted.
    uncounted_until: Duration,
}

/// What a drain does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStep {
    /// Look again after so long.
    Wait(Duration),
    /// Somebody has opened it meanwhile: let no new clients in again.
    Ease,
    /// Turn away also the clients that are bound to it.
    Close,
    /// Its time is up: end what is still under way.
    Cut,
    /// It is out of traffic.
    Done(Receipt),
}

/// So many looks in a row must find nothing under way: between two requests of a connection there
/// is a moment without.
const QUIET_LOOKS: u32 = 2;
/// How long what was cut may take to be gone.
const AFTER_CUT: Duration = Duration::from_secs(5);

impl Drain {
    /// Begins; `views` are those of the slot's balancers before it was closed.
    pub fn begin(views: &BTreeMap<HostId, View>, slot: &Slot, timeout: Duration) -> Self {
        let begun_with = views.values().map(|view| view.in_flight(slot)).sum();
        let (given, is_barred, cut, uncounted_until) = (None, false, None, Duration::ZERO);
        Self {
            timeout,
            given,
            is_barred,
            begun_with,
            quiet: 0,
            looks: 0,
            cut,
            uncounted_until,
        }
    }

    /// A balancer's process took the place of another, so long ago, `waited` after the drain's
    /// beginning: what the one before still has under way nobody counts. Until it is as old as a
    /// drain may take, nothing counted is not nothing.
    pub fn distrust(&mut self, took_over: Duration, waited: Duration) {
        self.uncounted_until = self
            .uncounted_until
            .max((waited + self.timeout).saturating_sub(took_over));
    }

    /// Takes in what the slot's balancers say, so long after it was closed.
    pub fn step(
        &mut self,
        views: &BTreeMap<HostId, View>,
        slot: &Slot,
        waited: Duration,
    ) -> DrainStep {
        let in_flight: u32 = views.values().map(|view| view.in_flight(slot)).sum();
        self.begun_with = self.begun_with.max(in_flight);
        self.looks += 1;
        // A balancer that does not stay closed is not waited for without end.
        let has_time = waited < self.timeout + AFTER_CUT;
        if views.values().any(|view| view.is_open(slot)) {
            (self.quiet, self.given) = (0, None);
            if has_time {
                return if self.is_barred {
                    DrainStep::Close
                } else {
                    DrainStep::Ease
                };
            }
        }
        self.quiet = if in_flight == 0 { self.quiet + 1 } else { 0 };
        if has_time && !views.values().all(|view| view.is_closed(slot)) {
            let given = views
                .values()
                .map(|view| view.given(slot))
                .sum::<Option<u64>>();
            let bound_clients_come = self
                .given
                .zip(given)
                .is_some_and(|(before, now)| now > before);
            self.given = self.given.or(given);
            if self.is_barred
                || self.quiet >= QUIET_LOOKS
                || bound_clients_come
                || waited >= self.timeout / 2
            {
                (self.is_barred, self.quiet) = (true, 0);
                return DrainStep::Close;
            }
        }
        let ended = self.begun_with.saturating_sub(self.cut.unwrap_or(0));
        let receipt = Receipt {
            waited,
            ended,
            cut: self.cut.unwrap_or(0),
        };
        let is_all_counted = waited >= self.uncounted_until.min(self.timeout);
        if self.quiet >= QUIET_LOOKS && is_all_counted || waited >= self.timeout + AFTER_CUT {
            return DrainStep::Done(receipt);
        }
        if waited >= self.timeout && self.cut.is_none() && in_flight > 0 {
            self.cut = Some(in_flight);
            return DrainStep::Cut;
        }
        // What is quick is seen quickly; what is slow is not asked about all the time.
        let pause = match self.looks {
            0..=5 => Duration::from_millis(50),
            6..=20 => Duration::from_millis(200),
            _ => Duration::from_millis(500),
        };
        DrainStep::Wait(
            pause
                .min(self.timeout.saturating_sub(waited))
                .max(Duration::from_millis(20)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn slot() -> Slot {
        Slot {
            host: "web1".into(),
            port: 8081,
        }
    }

    fn view(gate: Gate, in_flight: u32) -> View {
        let server = Server {
            gate,
            in_flight,
            ..Server::default()
        };
        View {
            servers: BTreeMap::from([(slot(), server)]),
            ..View::default()
        }
    }

    fn views(gate: Gate, in_flight: u32) -> BTreeMap<HostId, View> {
        [("lb1".into(), view(gate, in_flight))].into()
    }

    fn begun(in_flight: u32) -> Drain {
        Drain::begin(&views(Gate::Open, in_flight), &slot(), TIMEOUT)
    }

    fn step(drain: &mut Drain, gate: Gate, in_flight: u32, waited_s: u64) -> DrainStep {
        drain.step(
            &views(gate, in_flight),
            &slot(),
            Duration::from_secs(waited_s),
        )
    }

    #[test]
    fn it_is_over_when_nothing_was_under_way_twice_in_a_row() {
        let mut drain = begun(3);
        assert!(matches!(
            step(&mut drain, Gate::Closed, 2, 0),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 1),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, Gate::Closed, 1, 1),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 2),
            DrainStep::Wait(_)
        ));
        let receipt = Receipt {
            waited: Duration::from_secs(2),
            ended: 3,
            cut: 0,
        };
        assert_eq!(
            step(&mut drain, Gate::Closed, 0, 2),
            DrainStep::Done(receipt)
        );
    }

    #[test]
    fn at_the_deadline_the_rest_is_cut_once_and_counted() {
        let mut drain = begun(3);
        assert!(matches!(
            step(&mut drain, Gate::Closed, 2, 9),
            DrainStep::Wait(_)
        ));
        assert_eq!(step(&mut drain, Gate::Closed, 2, 10), DrainStep::Cut);
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 10),
            DrainStep::Wait(_)
        ));
        let receipt = Receipt {
            waited: TIMEOUT,
            ended: 1,
            cut: 2,
        };
        assert_eq!(
            step(&mut drain, Gate::Closed, 0, 10),
            DrainStep::Done(receipt)
        );
    }

    #[test]
    fn what_cannot_be_cut_does_not_hold_it_up_for_ever() {
        let mut drain = begun(1);
        assert_eq!(step(&mut drain, Gate::Closed, 1, 10), DrainStep::Cut);
        assert!(matches!(
            step(&mut drain, Gate::Closed, 1, 12),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, Gate::Closed, 1, 15),
            DrainStep::Done(Receipt { cut: 1, .. })
        ));
    }

    #[test]
    fn a_slot_that_somebody_opens_meanwhile_is_closed_again() {
        let mut drain = begun(0);
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 0),
            DrainStep::Wait(_)
        ));
        assert_eq!(step(&mut drain, Gate::Open, 0, 1), DrainStep::Ease);
        assert!(
            matches!(step(&mut drain, Gate::Closed, 0, 1), DrainStep::Wait(_)),
            "it counts anew"
        );
    }

    /// A look at a slot to which only bound clients get.
    fn bound(drain: &mut Drain, in_flight: u32, given: Option<u64>, waited_ms: u64) -> DrainStep {
        let mut view = view(Gate::Bound, in_flight);
        view.servers.get_mut(&slot()).expect("known").given = given;
        drain.step(
            &[("lb1".into(), view)].into(),
            &slot(),
            Duration::from_millis(waited_ms),
        )
    }

    #[test]
    fn drain_turns_bound_clients_away_once_the_others_are_gone() {
        let mut drain = begun(1);
        assert!(matches!(
            bound(&mut drain, 1, Some(7), 0),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            bound(&mut drain, 0, Some(7), 100),
            DrainStep::Wait(_)
        ));
        assert_eq!(bound(&mut drain, 0, Some(7), 200), DrainStep::Close);
        assert!(
            matches!(step(&mut drain, Gate::Closed, 0, 1), DrainStep::Wait(_)),
            "it counts anew"
        );
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 1),
            DrainStep::Done(Receipt {
                ended: 1,
                cut: 0,
                ..
            })
        ));
    }

    #[test]
    fn drain_turns_bound_clients_away_as_soon_as_one_comes() {
        let mut drain = begun(1);
        assert!(matches!(
            bound(&mut drain, 1, Some(7), 0),
            DrainStep::Wait(_)
        ));
        assert_eq!(bound(&mut drain, 1, Some(8), 50), DrainStep::Close);
        assert!(matches!(
            step(&mut drain, Gate::Closed, 1, 1),
            DrainStep::Wait(_)
        ));
        // Somebody lets them in again.
        assert_eq!(bound(&mut drain, 1, Some(9), 2000), DrainStep::Close);
    }

    #[test]
    fn drain_leaves_bound_clients_no_more_than_half_of_its_time() {
        let mut drain = begun(1);
        assert!(matches!(
            bound(&mut drain, 1, None, 4999),
            DrainStep::Wait(_)
        ));
        assert_eq!(bound(&mut drain, 1, None, 5000), DrainStep::Close);
    }

    #[test]
    fn drain_without_bound_clients_takes_one_phase() {
        let mut drain = begun(0);
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 0),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 0),
            DrainStep::Done(_)
        ));
    }

    #[test]
    fn what_a_balancers_process_before_still_has_is_waited_for_and_not_for_ever() {
        let mut drain = begun(0);
        drain.distrust(Duration::from_secs(4), Duration::from_secs(1));
        for waited_s in [1, 2, 6] {
            assert!(
                matches!(
                    step(&mut drain, Gate::Closed, 0, waited_s),
                    DrainStep::Wait(_)
                ),
                "{waited_s} s"
            );
        }
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 7),
            DrainStep::Done(_)
        ));
        let mut drain = begun(0);
        drain.distrust(Duration::ZERO, Duration::from_secs(9));
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 9),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, Gate::Closed, 0, 10),
            DrainStep::Done(Receipt { cut: 0, .. })
        ));
    }

    #[test]
    fn others_must_serve_in_the_balancers_own_eyes() {
        let mut view = view(Gate::Open, 0);
        for (port, gate, is_up) in [
            (8082, Gate::Open, Some(true)),
            (8083, Gate::Open, Some(false)),
            (8084, Gate::Closed, None),
        ] {
            view.servers.insert(
                Slot {
                    host: "web1".into(),
                    port,
                },
                Server {
                    gate,
                    is_up,
                    ..Server::default()
                },
            );
        }
        assert!(view.spares(&slot(), 1));
        assert!(!view.spares(&slot(), 2));
    }
}
