//! Drains a slot.

use std::time::Instant;

use super::driver::SlotChange;
use super::error::BalancerError;
use super::group::{BalancerGroup, SlotViews};
use crate::core::fleet::drain::{Drain, DrainStep};
use crate::core::fleet::traffic::DrainResult;
use crate::script::SlotSwitch;

#[derive(Clone, Debug)]
pub struct DrainEnd {
    /// The state of the balancers afterwards.
    pub views: SlotViews,
    /// How the slot was drained; `None` if the drain was not started, because too few other servers
    /// are up.
    pub drain_result: Option<DrainResult>,
}

/// Drains a slot, if each balancer has `keep` other servers that are up: the balancers send it no
/// new requests, and pending requests finish or are interrupted at the deadline.
///
/// # Errors
/// If a balancer cannot be reached, or rejects or ignores a change.
pub async fn drain(
    balancers: &BalancerGroup,
    change: &SlotChange<'_>,
    keep: u32,
) -> Result<DrainEnd, BalancerError> {
    let (slot, traffic) = (change.slot, balancers.traffic());
    let seen = balancers.observe_slot(slot).await?;
    if !seen.values().all(|view| view.others_serve(slot, keep)) {
        // Fewer servers are up than the plan assumed: plan again with the balancers' state.
        return Ok(DrainEnd {
            views: seen,
            drain_result: None,
        });
    }
    let mut views = balancers.switch(change, SlotSwitch::LimitToBound).await?;
    let started = Instant::now();
    let mut drain = Drain::begin(&seen, slot, traffic.drain_timeout);
    loop {
        for took_over in traffic
            .balancers_of(slot)
            .iter()
            .filter_map(|balancer| balancers.time_since_takeover(balancer))
        {
            drain.distrust(took_over, started.elapsed());
        }
        let slot_switch = match drain.step(&views, slot, started.elapsed()) {
            DrainStep::Done(drain_result) => {
                return Ok(DrainEnd {
                    views,
                    drain_result: Some(drain_result),
                });
            }
            DrainStep::LimitToBound => Some(SlotSwitch::LimitToBound),
            DrainStep::Close => Some(SlotSwitch::Close),
            DrainStep::Cut => Some(SlotSwitch::Cut),
            DrainStep::Wait(pause) => {
                tokio::time::sleep(pause).await;
                None
            }
        };
        if let Some(slot_switch) = slot_switch {
            balancers.switch(change, slot_switch).await?;
        }
        views = balancers.observe_slot(slot).await?;
    }
}
