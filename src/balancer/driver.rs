//! The interface of a kind of balancer.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use super::error::SwitchError;
use super::machine::BalancerMachine;
use super::slots::SlotDirectory;
use crate::core::fleet::traffic::BalancerState;
use crate::core::ids::{ActionId, Epoch, HostId, Slot};
use crate::remote::HostUnavailable;
use crate::script::HostContext;

/// The shortest time for a balancer's own check to pass a ready instance.
const CHECK_PATIENCE_MIN: Duration = Duration::from_secs(15);

/// Tells one kind of balancer. It keeps nothing between two calls: what is remembered of a machine
/// lies in [`BalancerMachine`].
///
/// Each change ends with a view that the balancer itself has given after it.
pub trait BalancerDriver: Send + Sync {
    /// Reads what the balancer does with the slots; changes nothing.
    fn observe<'a>(
        &'a self,
        at: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>>;

    /// Lets a slot get new requests, with the full weight or a percentage of it.
    fn admit<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        weight_percent: Option<u32>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>>;

    /// Stops new requests to a slot. Requests under way continue.
    fn drain<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        mode: DrainMode,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>>;

    /// Ends the requests under way to a slot, as far as the balancer can.
    fn cut<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>>;

    /// Problems in the balancer's configuration that would make changes fail.
    fn problems<'a>(
        &'a self,
        _at: DriverContext<'a>,
        _view: &'a BalancerState,
    ) -> BoxFuture<'a, Result<Vec<String>, HostUnavailable>> {
        async { Ok(Vec::new()) }.boxed()
    }

    /// The template of a slot's server, where the balancer knows servers by name.
    fn server_template(&self) -> Option<&str> {
        None
    }
}

/// Which clients may still send requests to a slot while it drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainMode {
    /// From clients that the balancer has bound to the slot, where it binds them.
    BoundClients,
    /// From no client.
    NoClients,
}

/// A change to a slot.
#[derive(Clone, Debug)]
pub struct SlotChange<'a> {
    pub slot: &'a Slot,
    pub epoch: Epoch,
    /// The number of the order in its rollout.
    pub order: ActionId,
    /// How long the balancer's own check may take to pass.
    pub patience: Duration,
}

impl<'a> SlotChange<'a> {
    /// Creates a change in a rollout with this progress deadline.
    pub fn new(slot: &'a Slot, epoch: Epoch, order: ActionId, progress_deadline: Duration) -> Self {
        Self {
            slot,
            epoch,
            order,
            patience: progress_deadline.max(CHECK_PATIENCE_MIN),
        }
    }
}

/// What a driver works on: a balancer's machine, and the slots behind it.
#[derive(Clone, Copy)]
pub struct DriverContext<'a> {
    /// The machine on which the balancer runs.
    pub machine: &'a BalancerMachine,
    pub slots: &'a SlotDirectory,
}

impl DriverContext<'_> {
    pub(super) fn name(&self) -> &HostId {
        self.machine.name()
    }

    /// Where a script that changes nothing runs.
    pub(super) fn read_only_context(&self) -> HostContext {
        self.machine.site().read_only_context(self.slots.service())
    }

    /// Where a script runs that makes a change.
    pub(super) fn site_of(&self, change: &SlotChange<'_>) -> HostContext {
        self.machine
            .site()
            .script_context(self.slots.service(), change.epoch, change.order)
    }

    /// The site of a script that makes the machine refuse older epochs, outside of any order.
    pub(super) fn claim_site(&self, change: &SlotChange<'_>) -> HostContext {
        self.machine
            .site()
            .script_context(self.slots.service(), change.epoch, ActionId::default())
    }
}
