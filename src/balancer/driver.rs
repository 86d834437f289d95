//! The interface of balancer drivers.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use super::error::SwitchError;
use super::machine::BalancerMachine;
use super::slots::SlotDirectory;
use crate::core::fleet::traffic::BalancerState;
use crate::core::ids::{ActionId, Epoch, HostId, Slot};
use crate::remote::HostUnavailable;
use crate::script::HostContext;

/// The minimum time for the balancer's own check to pass for a ready instance.
const CHECK_TIMEOUT_MIN: Duration = Duration::from_secs(15);

/// Controls one kind of balancer. It keeps no state between two calls: [`BalancerMachine`] holds
/// what ship knows about a machine.
///
/// Each change returns the balancer's state after it.
pub trait BalancerDriver: Send + Sync {
    /// Reads the balancer's state of the slots; changes nothing.
    fn observe<'a>(
        &'a self,
        context: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>>;

    /// Admits new requests to a slot, with the full weight or a percentage of it.
    fn admit<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        weight_percent: Option<u32>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>>;

    /// Stops new requests to a slot. Pending requests continue.
    fn drain<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        mode: DrainMode,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>>;

    /// Interrupts pending requests to a slot, if the balancer can do that.
    fn cut<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>>;

    /// Problems in the balancer's configuration that would make changes fail.
    fn problems<'a>(
        &'a self,
        _context: DriverContext<'a>,
        _view: &'a BalancerState,
    ) -> BoxFuture<'a, Result<Vec<String>, HostUnavailable>> {
        async { Ok(Vec::new()) }.boxed()
    }

    /// The template of server names, for balancers that name their servers.
    fn server_template(&self) -> Option<&str> {
        None
    }
}

/// Which clients may still send requests to a slot while it drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainMode {
    /// Only clients that the balancer has bound to the slot.
    BoundClients,
    /// No clients.
    NoClients,
}

/// A change to a slot.
#[derive(Clone, Debug)]
pub struct SlotChange<'a> {
    pub slot: &'a Slot,
    pub epoch: Epoch,
    /// The number of the action in its rollout.
    pub order: ActionId,
    /// How long the balancer's own check may take to pass.
    pub check_timeout: Duration,
}

impl<'a> SlotChange<'a> {
    /// Creates a change in a rollout with this progress deadline.
    pub fn new(slot: &'a Slot, epoch: Epoch, order: ActionId, progress_deadline: Duration) -> Self {
        Self {
            slot,
            epoch,
            order,
            check_timeout: progress_deadline.max(CHECK_TIMEOUT_MIN),
        }
    }
}

/// The arguments of a driver: a balancer's machine, and the slots behind it.
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

    /// The context of a script that changes nothing.
    pub(super) fn read_only_context(&self) -> HostContext {
        self.machine.site().read_only_context(self.slots.service())
    }

    /// The context of a script that makes a change.
    pub(super) fn script_context(&self, change: &SlotChange<'_>) -> HostContext {
        self.machine
            .site()
            .script_context(self.slots.service(), change.epoch, change.order)
    }

    /// The context of a script that makes the machine reject older epochs, independent of an
    /// action.
    pub(super) fn claim_context(&self, change: &SlotChange<'_>) -> HostContext {
        self.machine
            .site()
            .script_context(self.slots.service(), change.epoch, ActionId::default())
    }
}
