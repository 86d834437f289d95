//! The balancers: what they say, and how they are told.

mod haproxy;
mod scripts;
mod succession;

use std::collections::BTreeMap;
use std::time::Duration;

use self::haproxy::Haproxy;
pub(super) use self::succession::Succession;
use super::hosts::{Hosts, Link};
use super::world::Unusable;
use crate::config::{HaproxyConfig, SlotVars, TrafficDriver, render};
use crate::core::fleet::Fleet;
use crate::core::fleet::traffic::{Gate, Traffic, View};
use crate::core::ids::{ActionId, Epoch, HostId, Port, Slot};
pub(super) use crate::script::Turn;
use crate::script::{self, End};
use crate::traffic::haproxy::{Backend, Known};

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

/// What stands before the instances of a fleet.
#[derive(Clone, Debug)]
pub struct Balancing {
    /// Who sends requests to which slots.
    pub traffic: Traffic,
    /// How they are told.
    pub driver: TrafficDriver,
    /// The ports that the playbook offers: balancers must know these.
    pub ports: Vec<Port>,
}

impl Hosts {
    /// Looks at a balancer. The first look also asks which epoch its machine has seen.
    pub(super) async fn look_at_balancer(&self, balancer: &HostId) -> Result<View, Unusable> {
        let link = self.link(balancer)?;
        let view = match self.driver(balancer)? {
            TrafficDriver::Haproxy(settings) => {
                let seen = async {
                    let backend = self.haproxy(link, settings).look().await?;
                    let names = self.server_names(settings, &backend);
                    Ok((backend, names))
                };
                let (epoch, seen) = futures::join!(self.epoch_of(link), seen);
                let (backend, names) = seen.inspect_err(|_| link.succession.forget())?;
                link.succession.note(&backend.generation);
                View {
                    epoch: Some(epoch?),
                    ..backend.view(&names?)
                }
            }
            TrafficDriver::Nginx(settings) => self.look_at_nginx(link, settings).await?,
            TrafficDriver::Nftables(settings) => self.look_at_nftables(link, settings.port).await?,
            TrafficDriver::Command(settings) => self.look_at_gatekeepers(link, settings).await?,
        };
        Ok(view)
    }

    /// Looks at a balancer and at what would be in the way of telling it.
    ///
    /// # Errors
    /// If it cannot be looked at.
    pub async fn check_balancer(&self, balancer: &HostId) -> Result<(View, Vec<String>), Unusable> {
        let view = self.look_at_balancer(balancer).await?;
        let problems = match self.driver(balancer)? {
            TrafficDriver::Haproxy(settings) => {
                self.haproxy(self.link(balancer)?, settings)
                    .problems(&view)
                    .await?
            }
            _ => Vec::new(),
        };
        Ok((view, problems))
    }

    /// Tells a balancer, unless it has seen a newer epoch.
    pub(super) async fn switch(&self, balancer: &HostId, switch: &Switch<'_>) -> Switched {
        let told = async {
            let link = self.link(balancer)?;
            match self.driver(balancer)? {
                TrafficDriver::Haproxy(settings) => {
                    self.claim(link, switch.epoch).await?;
                    self.haproxy(link, settings).switch(switch).await
                }
                TrafficDriver::Nginx(settings) => self.switch_nginx(link, settings, switch).await,
                TrafficDriver::Nftables(settings) => {
                    self.switch_nftables(link, settings.port, switch).await
                }
                TrafficDriver::Command(settings) => {
                    self.switch_gatekeeper(link, settings, switch).await
                }
            }
        };
        match told.await {
            Ok(view) => Switched::Done(view),
            Err(trouble) => trouble,
        }
    }

    fn driver(&self, balancer: &HostId) -> Result<&TrafficDriver, Unusable> {
        let driver = self.balancing.as_ref().map(|balancing| &balancing.driver);
        driver.ok_or_else(|| Unusable {
            why: format!("{balancer}: the playbook has no [traffic]"),
        })
    }

    fn haproxy<'a>(&'a self, link: &'a Link, settings: &'a HaproxyConfig) -> Haproxy<'a> {
        Haproxy {
            hosts: self,
            link,
            settings,
        }
    }

    /// The newest epoch that a balancer's machine has seen, as it was at the first look.
    async fn epoch_of(&self, link: &Link) -> Result<Epoch, Unusable> {
        let observe = async || Ok(self.observe(&link.site.target.name).await?.epoch);
        link.epoch.get_or_try_init(observe).await.copied()
    }

    /// Makes a balancer's machine refuse older epochs, or is refused. The orders of an epoch go to
    /// it side by side: they have no order among them.
    async fn claim(&self, link: &Link, epoch: Epoch) -> Result<(), Switched> {
        let name = &link.site.target.name;
        let script = script::claim(&self.site(link, epoch, ActionId::default()));
        let stdout = self.run(link, &script).await?;
        let unknown = |why: String| Switched::Unknown(format!("{name}: {why}"));
        let reply = script::read_reply(&stdout, self.clock.now())
            .map_err(|unreadable| unknown(unreadable.to_string()))?;
        ended(name, reply.end)
    }

    /// Every slot and the name of its server, as a backend knows it.
    fn server_names(
        &self,
        settings: &HaproxyConfig,
        seen: &Backend,
    ) -> Result<BTreeMap<Slot, String>, Unusable> {
        let name = |slot: Slot| {
            self.server_name(settings, &slot, seen)
                .map(|name| (slot, name))
        };
        self.slots().map(name).collect()
    }

    /// Every slot. A balancer's machine has none.
    fn slots(&self) -> impl Iterator<Item = Slot> {
        self.links.values().flat_map(|link| {
            let name = &link.site.target.name;
            link.site.ports.iter().map(|port| Slot {
                host: name.clone(),
                port: *port,
            })
        })
    }

    /// The slots of the playbook, and the names of their servers.
    fn playbook_names(&self, settings: &HaproxyConfig) -> Result<BTreeMap<Slot, String>, Unusable> {
        let is_offered = |slot: &Slot| {
            self.balancing
                .as_ref()
                .is_some_and(|it| it.ports.contains(&slot.port))
        };
        let name = |slot: Slot| {
            self.filled(&settings.server, &slot)
                .map(|name| (slot, name))
        };
        self.slots().filter(is_offered).map(name).collect()
    }

    /// The name of a slot's server. Releases may name the servers of one slot differently, and what
    /// an earlier one was admitted by must be closed: of the names that the backend knows that
    /// which gets requests, or still has some; then the playbook's.
    fn server_name(
        &self,
        settings: &HaproxyConfig,
        slot: &Slot,
        seen: &Backend,
    ) -> Result<String, Unusable> {
        let names = self.possible_names(settings, slot)?;
        let rank = |name: &String| {
            let server = seen.servers.get(name).map(Known::server);
            server.map(|server| {
                (
                    server.gate == Gate::Open,
                    server.gate == Gate::Bound,
                    server.in_flight,
                )
            })
        };
        // Of equal ones the last is taken.
        names
            .into_iter()
            .rev()
            .max_by_key(rank)
            .ok_or_else(|| Unusable {
                why: format!("{slot} has no server"),
            })
    }

    /// The names that a slot's server may have: the playbook's first, then those of releases with
    /// that slot.
    fn possible_names(
        &self,
        settings: &HaproxyConfig,
        slot: &Slot,
    ) -> Result<Vec<String>, Unusable> {
        let mut names = vec![self.filled(&settings.server, slot)?];
        for definition in self
            .definitions()
            .filter(|definition| definition.ports.contains(&slot.port))
        {
            if let Some(template) = definition
                .server
                .as_ref()
                .filter(|template| **template != settings.server)
            {
                names.push(self.filled(template, slot)?);
            }
        }
        Ok(names)
    }

    /// Slots that would be one server at the balancers: one in which an instance runs, and one of
    /// `ports` that is to follow it, and the server's name.
    pub fn server_clash(&self, ports: &[Port], fleet: &Fleet) -> Option<(Slot, Slot, String)> {
        let TrafficDriver::Haproxy(settings) = &self.balancing.as_ref()?.driver else {
            return None;
        };
        let offered = self
            .links
            .keys()
            .filter(|host| fleet.hosts.contains_key(*host));
        let offered = offered.flat_map(|host| {
            ports.iter().map(|port| Slot {
                host: host.clone(),
                port: *port,
            })
        });
        let to_be: BTreeMap<_, _> = offered
            .filter_map(|slot| Some((self.filled(&settings.server, &slot).ok()?, slot)))
            .collect();
        fleet.instances().find_map(|(slot, _, instance)| {
            let definition = self.definition(&instance.release).ok()?;
            let name = self
                .filled(
                    definition.server.as_ref().unwrap_or(&settings.server),
                    &slot,
                )
                .ok()?;
            let other = to_be.get(&name).filter(|other| **other != slot)?;
            Some((slot, other.clone(), name))
        })
    }

    /// A template of `[traffic]` filled in. It is about a slot, whatever runs there.
    fn filled(&self, template: &str, slot: &Slot) -> Result<String, Unusable> {
        let link = self.link(&slot.host)?;
        let vars = SlotVars {
            version: "",
            port: slot.port,
            address: &link.site.target.address,
            host: &slot.host,
            service: &self.service,
            fleet: &self.fleet,
            labels: &link.site.labels,
        };
        render(template, &vars).map_err(|why| Unusable {
            why: format!("[traffic] for {slot}: {why}"),
        })
    }
}

impl From<Unusable> for Switched {
    fn from(unusable: Unusable) -> Self {
        Self::Unknown(unusable.why)
    }
}

/// Whether a script on a balancer's machine has done what it was to do, or why not.
fn ended(balancer: &HostId, end: End) -> Result<(), Switched> {
    let unknown = |why: String| Err(Switched::Unknown(format!("{balancer}: {why}")));
    match end {
        End::Done => Ok(()),
        End::Fenced { seen } => Err(Switched::Fenced(seen)),
        End::Failed(why) => Err(Switched::Failed(why)),
        End::Late { .. } => unknown("it has carried out a later order meanwhile".to_owned()),
        End::LockBusy { holder } => unknown(format!("another script holds the lock ({holder})")),
    }
}
