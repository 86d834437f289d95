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
    /// What the balancers say after it.
    pub views: SlotViews,
    /// How the slot was taken out of traffic; `None` where that was not begun, because too few
    /// others serve.
    pub receipt: Option<DrainResult>,
}

/// Takes a slot out of traffic, if `keep` others serve besides it by what each balancer says: no
/// balancer gives it new requests, and what is under way ends or is cut at the deadline.
///
/// # Errors
/// If a balancer cannot be asked, or does not do as it is told.
pub async fn drain(
    balancers: &BalancerGroup,
    change: &SlotChange<'_>,
    keep: u32,
) -> Result<DrainEnd, BalancerError> {
    let (slot, traffic) = (change.slot, balancers.traffic());
    let seen = balancers.observe_slot(slot).await?;
    if !seen.values().all(|view| view.spares(slot, keep)) {
        // Fewer serve than was thought: plan again on what the balancers say.
        return Ok(DrainEnd {
            views: seen,
            receipt: None,
        });
    }
    let mut views = balancers.turn(change, SlotSwitch::Ease).await?;
    let begun = Instant::now();
    let mut drain = Drain::begin(&seen, slot, traffic.drain_timeout);
    loop {
        for took_over in traffic
            .balancers_of(slot)
            .iter()
            .filter_map(|balancer| balancers.took_over(balancer))
        {
            drain.distrust(took_over, begun.elapsed());
        }
        let turn = match drain.step(&views, slot, begun.elapsed()) {
            DrainStep::Done(receipt) => {
                return Ok(DrainEnd {
                    views,
                    receipt: Some(receipt),
                });
            }
            DrainStep::Ease => Some(SlotSwitch::Ease),
            DrainStep::Close => Some(SlotSwitch::Close),
            DrainStep::Cut => Some(SlotSwitch::Cut),
            DrainStep::Wait(pause) => {
                tokio::time::sleep(pause).await;
                None
            }
        };
        if let Some(turn) = turn {
            balancers.turn(change, turn).await?;
        }
        views = balancers.observe_slot(slot).await?;
    }
}
