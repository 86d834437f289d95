//! nginx, controlled by a file that its configuration includes, and a reload.

use futures::future::{BoxFuture, FutureExt};

use super::driver::{DriverContext, SlotChange};
use super::script_driver::ScriptDriver;
use crate::config::NginxConfig;
use crate::remote::HostUnavailable;
use crate::script::{self, Nginx, Script, SlotSwitch};

pub(super) struct NginxDriver {
    nginx: Nginx,
}

impl NginxDriver {
    pub(super) fn new(settings: NginxConfig) -> Self {
        let NginxConfig {
            include,
            upstream,
            test,
            reload,
        } = settings;
        Self {
            nginx: Nginx {
                include,
                upstream,
                test,
                reload,
            },
        }
    }
}

impl ScriptDriver for NginxDriver {
    fn observe_script<'a>(
        &'a self,
        context: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        async move {
            let slots = context.slots.addresses().await?;
            Ok(script::observe_nginx(
                &context.read_only_context(),
                &self.nginx,
                &slots,
            ))
        }
        .boxed()
    }

    fn switch_script<'a>(
        &'a self,
        context: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        slot_switch: SlotSwitch,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        async move {
            let slot = context.slots.address_of(change.slot).await?;
            let slots = context.slots.addresses().await?;
            let site = context.script_context(change);
            Ok(script::switch_nginx(
                &site,
                &self.nginx,
                &slots,
                &slot,
                slot_switch,
            ))
        }
        .boxed()
    }
}
