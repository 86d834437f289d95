//! Balancers that are told by a script on their own machine.

use futures::future::join_all;

use super::{Hosts, Link, Switch, Switched, ended};
use crate::config::{CommandConfig, NginxConfig};
use crate::core::fleet::traffic::View;
use crate::core::ids::{ActionId, Epoch, HostId, Port, Slot};
use crate::engine::world::Unusable;
use crate::script::{self, End, Gatekeeper, Nginx, Script, SlotAddress};

impl Hosts {
    pub(super) async fn look_at_nginx(
        &self,
        link: &Link,
        settings: &NginxConfig,
    ) -> Result<View, Unusable> {
        let site = self.site(link, Epoch::default(), ActionId::default());
        let script = script::look_at_nginx(&site, &nginx(settings), &self.slot_addresses().await);
        self.look_by(link, &script).await
    }

    pub(super) async fn switch_nginx(
        &self,
        link: &Link,
        settings: &NginxConfig,
        switch: &Switch<'_>,
    ) -> Result<View, Switched> {
        let site = self.site(link, switch.epoch, switch.order);
        let slot = slot_address(self.link(&switch.slot.host)?, switch.slot.port).await;
        let script = script::switch_nginx(
            &site,
            &nginx(settings),
            &self.slot_addresses().await,
            &slot,
            switch.turn,
        );
        self.switch_by(link, &script).await
    }

    pub(super) async fn look_at_nftables(
        &self,
        link: &Link,
        public: Port,
    ) -> Result<View, Unusable> {
        let site = self.site(link, Epoch::default(), ActionId::default());
        self.look_by(link, &script::look_at_nftables(&site, name(link), public))
            .await
    }

    pub(super) async fn switch_nftables(
        &self,
        link: &Link,
        public: Port,
        switch: &Switch<'_>,
    ) -> Result<View, Switched> {
        let site = self.site(link, switch.epoch, switch.order);
        let script =
            script::switch_nftables(&site, name(link), public, switch.slot.port, switch.turn);
        self.switch_by(link, &script).await
    }

    pub(super) async fn look_at_gatekeepers(
        &self,
        link: &Link,
        settings: &CommandConfig,
    ) -> Result<View, Unusable> {
        let site = self.site(link, Epoch::default(), ActionId::default());
        self.look_by(
            link,
            &script::look_at_gatekeepers(&site, &self.gatekeepers(settings)?),
        )
        .await
    }

    pub(super) async fn switch_gatekeeper(
        &self,
        link: &Link,
        settings: &CommandConfig,
        switch: &Switch<'_>,
    ) -> Result<View, Switched> {
        let site = self.site(link, switch.epoch, switch.order);
        let (all, told) = (
            self.gatekeepers(settings)?,
            self.gatekeeper(settings, switch.slot)?,
        );
        self.switch_by(
            link,
            &script::switch_gatekeeper(&site, &all, &told, switch.turn),
        )
        .await
    }

    /// The user's own commands for every slot.
    fn gatekeepers(&self, settings: &CommandConfig) -> Result<Vec<Gatekeeper>, Unusable> {
        self.slots()
            .map(|slot| self.gatekeeper(settings, &slot))
            .collect()
    }

    fn gatekeeper(&self, settings: &CommandConfig, slot: &Slot) -> Result<Gatekeeper, Unusable> {
        let filled = |words: &[String]| {
            words
                .iter()
                .map(|word| self.filled(word, slot))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Gatekeeper {
            slot: slot.clone(),
            admit: filled(&settings.admit)?,
            drain: filled(&settings.drain)?,
            remaining: filled(&settings.remaining)?,
            cut: filled(settings.cut.as_deref().unwrap_or_default())?,
        })
    }

    /// Every slot, and where a balancer finds it.
    async fn slot_addresses(&self) -> Vec<SlotAddress> {
        let of = |link| move |port: &Port| slot_address(link, *port);
        join_all(
            self.links
                .values()
                .flat_map(|link| link.site.ports.iter().map(of(link))),
        )
        .await
    }

    async fn look_by(&self, link: &Link, script: &Script) -> Result<View, Unusable> {
        let unusable = |why: String| Unusable {
            why: format!("{}: {why}", name(link)),
        };
        match script::read_view(&self.run(link, script).await?)
            .map_err(|unreadable| unusable(unreadable.to_string()))?
        {
            (End::Failed(why), _) => Err(unusable(why)),
            (_, view) => Ok(view),
        }
    }

    async fn switch_by(&self, link: &Link, script: &Script) -> Result<View, Switched> {
        let unknown = |why: String| Switched::Unknown(format!("{}: {why}", name(link)));
        let _turn = link.turn.lock().await;
        let stdout = self.run(link, script).await?;
        let (end, view) =
            script::read_view(&stdout).map_err(|unreadable| unknown(unreadable.to_string()))?;
        ended(name(link), end).map(|()| view)
    }
}

fn name(link: &Link) -> &HostId {
    &link.site.target.name
}

fn nginx(settings: &NginxConfig) -> Nginx {
    let NginxConfig {
        include,
        upstream,
        test,
        reload,
    } = settings.clone();
    Nginx {
        include,
        upstream,
        test,
        reload,
    }
}

async fn slot_address(link: &Link, port: Port) -> SlotAddress {
    let address = link.network_address().await.to_owned();
    SlotAddress {
        slot: Slot {
            host: name(link).clone(),
            port,
        },
        address,
    }
}
