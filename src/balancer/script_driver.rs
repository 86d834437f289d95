//! Balancers that are controlled by scripts on their own machine.

use futures::future::{BoxFuture, FutureExt};

use super::driver::{BalancerDriver, DrainMode, DriverContext, SlotChange};
use super::error::SwitchError;
use crate::core::fleet::traffic::BalancerState;
use crate::remote::HostUnavailable;
use crate::script::{Script, SlotSwitch};

/// A driver that only selects the script to run. It binds no clients to a slot, so both values of
/// [`DrainMode`] have the same effect.
pub(super) trait ScriptDriver: Send + Sync {
    /// The script that reads the balancer's state.
    fn observe_script<'a>(
        &'a self,
        context: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>>;

    /// The script that makes a change and then reads the balancer's state.
    fn switch_script<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        slot_switch: SlotSwitch,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>>;
}

async fn switch(
    driver: &impl ScriptDriver,
    context: DriverContext<'_>,
    change: &SlotChange<'_>,
    slot_switch: SlotSwitch,
) -> Result<BalancerState, SwitchError> {
    let script = driver.switch_script(context, change, slot_switch).await?;
    context.machine.switch_by(&script).await
}

impl<T: ScriptDriver> BalancerDriver for T {
    fn observe<'a>(
        &'a self,
        context: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>> {
        async move {
            let script = self.observe_script(context).await?;
            context.machine.observe_by(&script).await
        }
        .boxed()
    }

    fn admit<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        weight_percent: Option<u32>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        switch(self, context, change, SlotSwitch::Open { weight_percent }).boxed()
    }

    fn drain<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        _mode: DrainMode,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        switch(self, context, change, SlotSwitch::Close).boxed()
    }

    fn cut<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        switch(self, context, change, SlotSwitch::Cut).boxed()
    }
}
