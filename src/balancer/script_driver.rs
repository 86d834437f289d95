//! A balancer that is controlled by scripts on its own machine.

use futures::future::{BoxFuture, FutureExt};

use super::driver::{BalancerDriver, DrainMode, DriverContext, SlotChange};
use super::error::SwitchError;
use crate::core::fleet::traffic::BalancerState;
use crate::remote::HostUnavailable;
use crate::script::{Script, SlotSwitch};

/// A driver that only has to know which script to run. It binds no clients to a slot, so either
/// [`DrainMode`] is the same to it.
pub(super) trait ScriptDriver: Send + Sync {
    /// The script that reads what the balancer does.
    fn observing<'a>(
        &'a self,
        at: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>>;

    /// The script that makes a change, and then reads as the other one does.
    fn switching<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        turn: SlotSwitch,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>>;
}

async fn switch(
    driver: &impl ScriptDriver,
    at: DriverContext<'_>,
    change: &SlotChange<'_>,
    turn: SlotSwitch,
) -> Result<BalancerState, SwitchError> {
    let script = driver.switching(at, change, turn).await?;
    at.machine.switch_by(&script).await
}

impl<T: ScriptDriver> BalancerDriver for T {
    fn observe<'a>(
        &'a self,
        at: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, HostUnavailable>> {
        async move {
            let script = self.observing(at).await?;
            at.machine.observe_by(&script).await
        }
        .boxed()
    }

    fn admit<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        weight_percent: Option<u32>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        switch(self, at, change, SlotSwitch::Open { weight_percent }).boxed()
    }

    fn drain<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        _mode: DrainMode,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        switch(self, at, change, SlotSwitch::Close).boxed()
    }

    fn cut<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
    ) -> BoxFuture<'a, Result<BalancerState, SwitchError>> {
        switch(self, at, change, SlotSwitch::Cut).boxed()
    }
}
