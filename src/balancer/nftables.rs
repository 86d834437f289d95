//! The packet filter of each host: every host is its own balancer.

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
    fn observe_script<'a>(
        &'a self,
        context: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        let site = context.read_only_context();
        let script = script::observe_nftables(&site, context.name(), self.settings.port);
        ready(Ok(script)).boxed()
    }

    fn switch_script<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        slot_switch: SlotSwitch,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        let (site, public) = (context.script_context(change), self.settings.port);
        let script = script::switch_nftables(
            &site,
            context.name(),
            public,
            change.slot.number,
            slot_switch,
        );
        ready(Ok(script)).boxed()
    }
}
