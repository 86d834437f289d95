//! The balancers: what they say, and how they are told.

use std::time::Duration;

use super::hosts::Hosts;
use super::world::Unusable;
use crate::core::names::{ActionId, Epoch, HostId, Slot};
use crate::core::traffic::View;

/// What a balancer is to do with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Send new requests, of the full weight or of so many percent of it.
    Open {
        /// `None` for the full weight.
        weight_percent: Option<u32>,
    },
    /// Send no new requests. Those under way go on.
    Close,
    /// End what is still under way.
    Cut,
}

/// One order to one balancer.
#[derive(Clone, Debug)]
pub(super) struct Switch<'a> {
    pub(super) slot: &'a Slot,
    pub(super) turn: Turn,
    pub(super) epoch: Epoch,
    pub(super) order: ActionId,
    /// How long the balancer's own check may take to pass.
    pub(super) patience: Duration,
}

/// How an order to a balancer ended.
#[derive(Clone, Debug)]
pub(super) enum Switched {
    /// It was carried out; what the balancer says now.
    Done(View),
    /// It refused or failed; nothing was changed, or what was changed is changed back.
    Failed(String),
    /// It has seen a newer epoch.
    Fenced(Epoch),
    /// Nobody knows.
    Unknown(String),
}

impl Hosts {
    /// Looks at a balancer.
    pub(super) async fn look_at_balancer(&self, balancer: &HostId) -> Result<View, Unusable> {
        Err(Unusable { why: format!("{balancer}: no balancer is known yet") })
    }

    /// Tells a balancer.
    pub(super) async fn switch(&self, balancer: &HostId, switch: &Switch<'_>) -> Switched {
        Switched::Failed(format!("{balancer}: {switch:?}"))
    }
}
