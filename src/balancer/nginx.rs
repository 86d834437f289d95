//! nginx, controlled by a file that it includes and a reload.

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
    fn observing<'a>(
        &'a self,
        at: DriverContext<'a>,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        async move {
            let slots = at.slots.addresses().await?;
            Ok(script::look_at_nginx(
                &at.read_only_context(),
                &self.nginx,
                &slots,
            ))
        }
        .boxed()
    }

    fn switching<'a>(
        &'a self,
        at: DriverContext<'a>,
        change: &'a SlotChange<'a>,
        turn: SlotSwitch,
    ) -> BoxFuture<'a, Result<Script, HostUnavailable>> {
        async move {
            let slot = at.slots.address_of(change.slot).await?;
            let slots = at.slots.addresses().await?;
            let site = at.site_of(change);
            Ok(script::switch_nginx(
                &site,
                &self.nginx,
                &slots,
                &slot,
                turn,
            ))
        }
        .boxed()
    }
}
