//! Each host's own packet filter: the host is its own balancer.

use futures::future::{BoxFuture, FutureExt, ready};

use super::driver::{DriverContext, SlotChange};
use super::script_driver::ScriptDriver;
use crate::config::NftablesConfig;
use crate::remote::HostUnavailable;
use crate::script::{self, Script, SlotSwitch};

pub(super) struct NftablesDriver {
    settings: NftablesConfig,
}

impl NftablesDriver {
    pub(super) fn new(settings: NftablesConfig) -> Self {
        Self { settings }
    }
}

impl ScriptDriver for NftablesDriver {
    fn observing<'a>(
        &'a self,
        at: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        let site = at.read_only_context();
        let script = script::look_at_nftables(&site, at.name(), self.settings.port);
        ready(Ok(script)).boxed()
    }

    fn switching<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        turn: SlotSwitch,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        let (site, public) = (at.site_of(change), self.settings.port);
        let script = script::switch_nftables(&site, at.name(), public, change.slot.port, turn);
        ready(Ok(script)).boxed()
    }
}
