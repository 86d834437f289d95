//! The drain of a slot: it gets no new requests, and its open requests finish.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::fleet::traffic::{BalancerState, DrainResult};
use crate::core::ids::{HostId, Slot};

/// The drain of a slot.
///
/// First, the balancers send no new clients to the slot, and open and queued requests finish. Then
/// the balancers also reject the clients that they have bound to the slot, because otherwise the
/// slot might never be without requests.
#[derive(Clone, Debug)]
pub struct Drain {
    timeout: Duration,
    /// The requests sent to the slot until it was closed to new clients. Later requests are from
    /// clients that are bound to it.
    requests_total: Option<u64>,
    /// Whether bound clients are rejected, too.
    is_closed_to_bound: bool,
    /// The most open requests that were observed.
    in_flight_max: u32,
    /// The number of observations in a row that found no open request.
    quiet: u32,
    observations: u32,
    /// The number of requests that were cut.
    cut: Option<u32>,
    /// Until this time after the beginning, a balancer may have open requests that it does not
    /// count.
    uncounted_until: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainStep {
    /// Observe again after this time.
    Wait(Duration),
    /// Another process has opened the slot: stop new clients to it again.
    LimitToBound,
    /// Reject requests of clients that are bound to the slot, too.
    Close,
    /// The deadline has passed: cut the open requests.
    Cut,
    /// The instance gets no more requests.
    Done(DrainResult),
}

/// The number of observations in a row that must find no open request. A single observation may
/// fall between two requests of one connection.
const QUIET_OBSERVATIONS: u32 = 2;
/// The time in which requests that were cut must disappear.
const CUT_TIMEOUT: Duration = Duration::from_secs(5);

impl Drain {
    /// Begins a drain. `views` are the states of the slot's balancers before it was closed.
    pub fn begin(views: &BTreeMap<HostId, BalancerState>, slot: &Slot, timeout: Duration) -> Self {
        let in_flight_max = views.values().map(|view| view.in_flight(slot)).sum();
        let (requests_total, is_closed_to_bound, cut, uncounted_until) =
            (None, false, None, Duration::ZERO);
        Self {
            timeout,
            requests_total,
            is_closed_to_bound,
            in_flight_max,
            quiet: 0,
            observations: 0,
            cut,
            uncounted_until,
        }
    }

    /// Records that a balancer's process replaced another one `took_over` ago. `waited` is the time
    /// since the drain began. The new process does not count the requests that the old process
    /// still serves. Until the new process is as old as the drain timeout, a count of zero
    /// therefore does not prove that no request is open.
    pub fn distrust(&mut self, took_over: Duration, waited: Duration) {
        self.uncounted_until = self
            .uncounted_until
            .max((waited + self.timeout).saturating_sub(took_over));
    }

    /// Decides the next step from the balancers' states, `waited` after the slot was closed.
    pub fn step(
        &mut self,
        views: &BTreeMap<HostId, BalancerState>,
        slot: &Slot,
        waited: Duration,
    ) -> DrainStep {
        let in_flight: u32 = views.values().map(|view| view.in_flight(slot)).sum();
        self.in_flight_max = self.in_flight_max.max(in_flight);
        self.observations += 1;
        // ship does not wait forever for a balancer that does not keep the slot closed.
        let has_time = waited < self.timeout + CUT_TIMEOUT;
        if views.values().any(|view| view.is_open(slot)) {
            (self.quiet, self.requests_total) = (0, None);
            if has_time && self.is_closed_to_bound {
                return DrainStep::Close;
            } else if has_time {
                return DrainStep::LimitToBound;
            }
        }
        self.quiet = if in_flight == 0 { self.quiet + 1 } else { 0 };
        let is_closed = views.values().all(|view| view.is_closed(slot));
        if has_time && !is_closed && self.must_close(views, slot, waited) {
            (self.is_closed_to_bound, self.quiet) = (true, 0);
            return DrainStep::Close;
        }
        let is_all_counted = waited >= self.uncounted_until.min(self.timeout);
        if self.quiet >= QUIET_OBSERVATIONS && is_all_counted || !has_time {
            return DrainStep::Done(self.result(waited));
        }
        if waited >= self.timeout && self.cut.is_none() && in_flight > 0 {
            self.cut = Some(in_flight);
            return DrainStep::Cut;
        }
        DrainStep::Wait(self.pause(waited))
    }

    /// Whether to reject bound clients, too: the other clients are gone, the bound ones send more
    /// requests, or half of the time is over.
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
        let bound_clients_return = self
            .requests_total
            .zip(requests_total)
            .is_some_and(|(before, now)| now > before);
        self.requests_total = self.requests_total.or(requests_total);
        self.is_closed_to_bound
            || self.quiet >= QUIET_OBSERVATIONS
            || bound_clients_return
            || waited >= self.timeout / 2
    }

    fn result(&self, waited: Duration) -> DrainResult {
        let cut = self.cut.unwrap_or(0);
        DrainResult {
            waited,
            ended: self.in_flight_max.saturating_sub(cut),
            cut,
        }
    }

    /// The pause before the next observation. It grows, so that the end of a short drain is noticed
    /// early.
    fn pause(&self, waited: Duration) -> Duration {
        let pause = match self.observations {
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
            number: 8081,
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
    fn drain_is_done_after_two_observations_without_open_requests() {
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
    fn drain_cuts_and_counts_open_requests_once_at_the_deadline() {
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
    fn drain_ends_although_cut_requests_stay_open() {
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
        assert_eq!(
            step(&mut drain, SlotAdmission::Open, 0, 1),
            DrainStep::LimitToBound
        );
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
    fn drain_rejects_bound_clients_once_the_others_are_gone() {
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
    fn drain_rejects_bound_clients_once_one_sends_a_request() {
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
    fn drain_rejects_bound_clients_after_half_of_its_time() {
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
    fn drain_waits_for_requests_of_the_previous_balancer_process_until_its_timeout() {
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
