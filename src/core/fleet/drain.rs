//! Taking a slot out of traffic without cutting requests.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::fleet::traffic::{BalancerState, DrainResult};
use crate::core::ids::{HostId, Slot};

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
    requests_total: Option<u64>,
    is_barred: bool,
    /// The most requests that were under way, at the beginning or later.
    begun_with: u32,
    /// How many observations in a row found no request under way.
    quiet: u32,
    looks: u32,
    cut: Option<u32>,
    /// Until this time after the beginning, some requests under way may not be counted yet.
    uncounted_until: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStep {
    /// Observe again after this time.
    Wait(Duration),
    /// The slot was opened by someone else: stop new clients to it again.
    Ease,
    /// Refuse requests of the clients that are bound to it, too.
    Close,
    /// The deadline has passed: end the requests under way.
    Cut,
    /// The instance gets no requests any more.
    Done(DrainResult),
}

/// How many observations in a row must find no request under way. A single observation may fall
/// between two requests of one connection.
const QUIET_LOOKS: u32 = 2;
/// The time limit for requests that were cut to be gone.
const AFTER_CUT: Duration = Duration::from_secs(5);

impl Drain {
    /// Begins a drain; `views` are those of the slot's balancers before it was closed.
    pub fn begin(views: &BTreeMap<HostId, BalancerState>, slot: &Slot, timeout: Duration) -> Self {
        let begun_with = views.values().map(|view| view.in_flight(slot)).sum();
        let (requests_total, is_barred, cut, uncounted_until) = (None, false, None, Duration::ZERO);
        Self {
            timeout,
            requests_total,
            is_barred,
            begun_with,
            quiet: 0,
            looks: 0,
            cut,
            uncounted_until,
        }
    }

    /// Records that a balancer's process replaced another one `took_over` ago. `waited` is the time
    /// since the drain began. The new process does not count the requests that the old process
    /// still serves. Until the new process is as old as the drain timeout, a count of zero
    /// therefore does not prove that no request is under way.
    pub fn distrust(&mut self, took_over: Duration, waited: Duration) {
        self.uncounted_until = self
            .uncounted_until
            .max((waited + self.timeout).saturating_sub(took_over));
    }

    /// Takes in the balancers' views at this time after the slot was closed.
    pub fn step(
        &mut self,
        views: &BTreeMap<HostId, BalancerState>,
        slot: &Slot,
        waited: Duration,
    ) -> DrainStep {
        let in_flight: u32 = views.values().map(|view| view.in_flight(slot)).sum();
        self.begun_with = self.begun_with.max(in_flight);
        self.looks += 1;
        // A balancer that does not stay closed is not waited for without end.
        let has_time = waited < self.timeout + AFTER_CUT;
        if views.values().any(|view| view.is_open(slot)) {
            (self.quiet, self.requests_total) = (0, None);
            if has_time && self.is_barred {
                return DrainStep::Close;
            } else if has_time {
                return DrainStep::Ease;
            }
        }
        self.quiet = if in_flight == 0 { self.quiet + 1 } else { 0 };
        let is_closed = views.values().all(|view| view.is_closed(slot));
        if has_time && !is_closed && self.must_close(views, slot, waited) {
            (self.is_barred, self.quiet) = (true, 0);
            return DrainStep::Close;
        }
        let is_all_counted = waited >= self.uncounted_until.min(self.timeout);
        if self.quiet >= QUIET_LOOKS && is_all_counted || !has_time {
            return DrainStep::Done(self.result(waited));
        }
        if waited >= self.timeout && self.cut.is_none() && in_flight > 0 {
            self.cut = Some(in_flight);
            return DrainStep::Cut;
        }
        DrainStep::Wait(self.pause(waited))
    }

    /// Whether the clients that are bound to the slot are turned away too: the others are gone, the
    /// bound ones come again and again, or half of the time is over.
    fn must_close(
        &mut self,
        views: &BTreeMap<HostId, BalancerState>,
        slot: &Slot,
        waited: Duration,
    ) -> bool {
        let requests_total = views
            .values()
            .map(|view| view.requests_total(slot))
            .sum::<Option<u64>>();
        let bound_clients_come = self
            .requests_total
            .zip(requests_total)
            .is_some_and(|(before, now)| now > before);
        self.requests_total = self.requests_total.or(requests_total);
        self.is_barred
            || self.quiet >= QUIET_LOOKS
            || bound_clients_come
            || waited >= self.timeout / 2
    }

    fn result(&self, waited: Duration) -> DrainResult {
        let cut = self.cut.unwrap_or(0);
        DrainResult {
            waited,
            ended: self.begun_with.saturating_sub(cut),
            cut,
        }
    }

    /// A pause that grows with the drain, so that a quick one is noticed quickly.
    fn pause(&self, waited: Duration) -> Duration {
        let pause = match self.looks {
            0..=5 => Duration::from_millis(50),
            6..=20 => Duration::from_millis(200),
            _ => Duration::from_millis(500),
        };
        pause
            .min(self.timeout.saturating_sub(waited))
            .max(Duration::from_millis(20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::traffic::{Server, SlotAdmission};

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn slot() -> Slot {
        Slot {
            host: "web1".into(),
            port: 8081,
        }
    }

    fn view(admission: SlotAdmission, in_flight: u32) -> BalancerState {
        let server = Server {
            admission,
            in_flight,
            ..Server::default()
        };
        BalancerState {
            servers: BTreeMap::from([(slot(), server)]),
            ..BalancerState::default()
        }
    }

    fn views(admission: SlotAdmission, in_flight: u32) -> BTreeMap<HostId, BalancerState> {
        [("lb1".into(), view(admission, in_flight))].into()
    }

    fn begun(in_flight: u32) -> Drain {
        Drain::begin(&views(SlotAdmission::Open, in_flight), &slot(), TIMEOUT)
    }

    fn step(
        drain: &mut Drain,
        admission: SlotAdmission,
        in_flight: u32,
        waited_s: u64,
    ) -> DrainStep {
        drain.step(
            &views(admission, in_flight),
            &slot(),
            Duration::from_secs(waited_s),
        )
    }

    #[test]
    fn it_is_over_when_nothing_was_under_way_twice_in_a_row() {
        let mut drain = begun(3);
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 2, 0),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 0, 1),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 1, 1),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 0, 2),
            DrainStep::Wait(_)
        ));
        let result = DrainResult {
            waited: Duration::from_secs(2),
            ended: 3,
            cut: 0,
        };
        assert_eq!(
            step(&mut drain, SlotAdmission::Closed, 0, 2),
            DrainStep::Done(result)
        );
    }

    #[test]
    fn at_the_deadline_the_rest_is_cut_once_and_counted() {
        let mut drain = begun(3);
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 2, 9),
            DrainStep::Wait(_)
        ));
        assert_eq!(
            step(&mut drain, SlotAdmission::Closed, 2, 10),
            DrainStep::Cut
        );
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 0, 10),
            DrainStep::Wait(_)
        ));
        let result = DrainResult {
            waited: TIMEOUT,
            ended: 1,
            cut: 2,
        };
        assert_eq!(
            step(&mut drain, SlotAdmission::Closed, 0, 10),
            DrainStep::Done(result)
        );
    }

    #[test]
    fn what_cannot_be_cut_does_not_hold_it_up_for_ever() {
        let mut drain = begun(1);
        assert_eq!(
            step(&mut drain, SlotAdmission::Closed, 1, 10),
            DrainStep::Cut
        );
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 1, 12),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 1, 15),
            DrainStep::Done(DrainResult { cut: 1, .. })
        ));
    }

    #[test]
    fn drain_closes_slot_again_after_another_process_opened_it() {
        let mut drain = begun(0);
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 0, 0),
            DrainStep::Wait(_)
        ));
        assert_eq!(step(&mut drain, SlotAdmission::Open, 0, 1), DrainStep::Ease);
        assert!(
            matches!(
                step(&mut drain, SlotAdmission::Closed, 0, 1),
                DrainStep::Wait(_)
            ),
            "the drain counts quiet observations from zero again"
        );
    }

    /// An observation of a slot that only gets bound clients.
    fn bound(
        drain: &mut Drain,
        in_flight: u32,
        requests_total: Option<u64>,
        waited_ms: u64,
    ) -> DrainStep {
        let mut view = view(SlotAdmission::Bound, in_flight);
        view.servers.get_mut(&slot()).expect("known").requests_total = requests_total;
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
            matches!(
                step(&mut drain, SlotAdmission::Closed, 0, 1),
                DrainStep::Wait(_)
            ),
            "the drain counts quiet observations from zero again"
        );
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 0, 1),
            DrainStep::Done(DrainResult {
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
            step(&mut drain, SlotAdmission::Closed, 1, 1),
            DrainStep::Wait(_)
        ));
        // Another process admits bound clients again.
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
            step(&mut drain, SlotAdmission::Closed, 0, 0),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 0, 0),
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
                    step(&mut drain, SlotAdmission::Closed, 0, waited_s),
                    DrainStep::Wait(_)
                ),
                "{waited_s} s"
            );
        }
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 0, 7),
            DrainStep::Done(_)
        ));
        let mut drain = begun(0);
        drain.distrust(Duration::ZERO, Duration::from_secs(9));
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 0, 9),
            DrainStep::Wait(_)
        ));
        assert!(matches!(
            step(&mut drain, SlotAdmission::Closed, 0, 10),
            DrainStep::Done(DrainResult { cut: 0, .. })
        ));
    }
}
