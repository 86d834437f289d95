//! The balancers of a service.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;

use super::driver::{BalancerDriver, DrainMode, DriverContext, SlotChange};
use super::error::{BalancerError, SwitchError};
use super::machine::BalancerMachine;
use super::registry::driver_for;
use super::slots::{ReleaseServer, SlotDirectory, SlotHost};
use crate::config::TrafficDriver;
use crate::core::fleet::Fleet;
use crate::core::fleet::traffic::{BalancerState, Traffic};
use crate::core::ids::{HostId, ReleaseId, Slot, SlotNumber};
use crate::core::policy::admission::refusal::ServerClash;
use crate::core::release::slots::Slots;
use crate::remote::{HostUnavailable, ServiceContext};
use crate::script::SlotSwitch;

/// The state of each balancer of a slot.
pub type SlotViews = BTreeMap<HostId, BalancerState>;

/// The balancers of a fleet.
#[derive(Clone, Debug)]
pub struct Balancing {
    /// Which balancers send requests to which slots.
    pub traffic: Traffic,
    pub driver: TrafficDriver,
    /// The slots of the playbook, which the balancers must know.
    pub slots: Slots,
    /// The name of the port that gets the requests; `None` for the first.
    pub port: Option<String>,
}

/// All balancers of a service. Each gets the same changes.
pub struct BalancerGroup {
    traffic: Traffic,
    driver: Box<dyn BalancerDriver>,
    machines: BTreeMap<HostId, BalancerMachine>,
    slots: SlotDirectory,
}

impl BalancerGroup {
    /// Creates the balancers on these machines, in front of these slots.
    pub fn new(
        balancing: &Balancing,
        hosts: Vec<SlotHost>,
        service: ServiceContext,
        releases: BTreeMap<ReleaseId, ReleaseServer>,
    ) -> Self {
        let driver = driver_for(&balancing.driver);
        Self::with_driver(balancing, driver, hosts, service, releases)
    }

    /// Creates the balancers with this driver instead of the playbook's.
    pub fn with_driver(
        balancing: &Balancing,
        driver: Box<dyn BalancerDriver>,
        hosts: Vec<SlotHost>,
        service: ServiceContext,
        releases: BTreeMap<ReleaseId, ReleaseServer>,
    ) -> Self {
        let machine = |host: &SlotHost| {
            let name = host.site.target.name.clone();
            (
                name,
                BalancerMachine::new(host.site.clone(), host.link.clone()),
            )
        };
        Self {
            traffic: balancing.traffic.clone(),
            driver,
            machines: hosts.iter().map(machine).collect(),
            slots: SlotDirectory::new(
                hosts,
                service,
                balancing.slots.clone(),
                balancing.port.clone(),
                releases,
            ),
        }
    }

    /// Updates the known releases.
    pub fn set_releases(
        &mut self,
        service: ServiceContext,
        releases: BTreeMap<ReleaseId, ReleaseServer>,
    ) {
        self.slots.set_releases(service, releases);
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Reads the balancer's state of the slots; changes nothing. The first state also contains the
    /// newest epoch that its machine has seen.
    ///
    /// # Errors
    /// If its state cannot be read.
    pub async fn observe(&self, balancer: &HostId) -> Result<BalancerState, HostUnavailable> {
        self.driver.observe(self.context(balancer)?).await
    }

    /// Reads the balancer's state, and the problems that would make changes fail.
    ///
    /// # Errors
    /// If its state cannot be read.
    pub async fn check(
        &self,
        balancer: &HostId,
    ) -> Result<(BalancerState, Vec<String>), HostUnavailable> {
        let context = self.context(balancer)?;
        let view = self.driver.observe(context).await?;
        let problems = self.driver.problems(context, &view).await?;
        Ok((view, problems))
    }

    /// Reads the state of all balancers of a slot.
    ///
    /// # Errors
    /// If the state of one of them cannot be read.
    pub async fn observe_slot(&self, slot: &Slot) -> Result<SlotViews, BalancerError> {
        let observations = self
            .traffic
            .balancers_of(slot)
            .iter()
            .map(|balancer| async move { (balancer.clone(), self.observe(balancer).await) });
        let mut views = SlotViews::new();
        for (balancer, observed) in join_all(observations).await {
            match observed {
                Ok(view) => drop(views.insert(balancer, view)),
                Err(HostUnavailable { why }) => return Err(BalancerError::Lost { balancer, why }),
            }
        }
        Ok(views)
    }

    /// Admits new requests to a slot, with the full weight or a percentage of it.
    ///
    /// # Errors
    /// If not every balancer makes the change.
    pub async fn admit(
        &self,
        change: &SlotChange<'_>,
        weight_percent: Option<u32>,
    ) -> Result<SlotViews, BalancerError> {
        self.switch(change, SlotSwitch::Open { weight_percent })
            .await
    }

    /// Makes sure that a slot gets no requests before an instance is started there, because that
    /// instance is not proven yet.
    ///
    /// # Errors
    /// If a balancer may send requests to the slot.
    pub async fn close(&self, change: &SlotChange<'_>) -> Result<SlotViews, BalancerError> {
        let views = self.observe_slot(change.slot).await?;
        if views.values().all(|view| view.is_closed(change.slot)) {
            return Ok(views);
        }
        self.switch(change, SlotSwitch::Close).await
    }

    /// Makes a change on every balancer of a slot and returns their state afterwards.
    pub(super) async fn switch(
        &self,
        change: &SlotChange<'_>,
        slot_switch: SlotSwitch,
    ) -> Result<SlotViews, BalancerError> {
        let balancers = self.traffic.balancers_of(change.slot).iter();
        let switches = balancers.map(|balancer| async move {
            (
                balancer,
                self.switch_one(balancer, change, slot_switch).await,
            )
        });
        let mut views = SlotViews::new();
        let mut first_error = None;
        for (balancer, switched) in join_all(switches).await {
            match switched {
                Ok(view) => drop(views.insert(balancer.clone(), view)),
                // A newer epoch outweighs all other errors.
                Err(SwitchError::Fenced(seen)) => {
                    first_error = Some(BalancerError::Fenced { seen });
                }
                Err(SwitchError::Failed(error)) => {
                    first_error.get_or_insert(BalancerError::Failed {
                        error: format!("{balancer}: {error}"),
                    });
                }
                Err(SwitchError::Unknown(why)) => {
                    let balancer = balancer.clone();
                    first_error.get_or_insert(BalancerError::Lost { balancer, why });
                }
            }
        }
        match first_error {
            None => Ok(views),
            Some(error) => Err(error),
        }
    }

    async fn switch_one(
        &self,
        balancer: &HostId,
        change: &SlotChange<'_>,
        slot_switch: SlotSwitch,
    ) -> Result<BalancerState, SwitchError> {
        let (context, driver) = (self.context(balancer)?, &self.driver);
        match slot_switch {
            SlotSwitch::Open { weight_percent } => {
                driver.admit(context, change, weight_percent).await
            }
            SlotSwitch::LimitToBound => {
                driver.drain(context, change, DrainMode::BoundClients).await
            }
            SlotSwitch::Close => driver.drain(context, change, DrainMode::NoClients).await,
            SlotSwitch::Cut => driver.cut(context, change).await,
        }
    }

    /// How long ago a new process of the balancer replaced another one; `None` if ship has not
    /// observed that. The new process counts only its own requests.
    pub(super) fn time_since_takeover(&self, balancer: &HostId) -> Option<Duration> {
        self.machines
            .get(balancer)?
            .generation()
            .time_since_takeover()
    }

    /// Two slots that would be the same server at the balancers, if there are such slots: one where
    /// an instance runs, and one of `slots` for its successor.
    pub fn server_clash(&self, slots: &[SlotNumber], fleet: &Fleet) -> Option<ServerClash> {
        let playbook_template = self.driver.server_template()?;
        let playbook_slots = self
            .slots
            .hosts()
            .filter(|host| fleet.hosts.contains_key(*host));
        let playbook_slots = playbook_slots.flat_map(|host| {
            slots.iter().map(|number| Slot {
                host: host.clone(),
                number: *number,
            })
        });
        let next_slots: BTreeMap<_, _> = playbook_slots
            .filter_map(|slot| Some((self.slots.render(playbook_template, &slot).ok()?, slot)))
            .collect();
        fleet.instances().find_map(|(slot, _, instance)| {
            let release = self.slots.release(&instance.release)?;
            let template = release.template().unwrap_or(playbook_template);
            let name = self.slots.render(template, &slot).ok()?;
            let other = next_slots.get(&name).filter(|other| **other != slot)?;
            Some(ServerClash {
                present: slot,
                next: other.clone(),
                name,
            })
        })
    }

    fn context(&self, balancer: &HostId) -> Result<DriverContext<'_>, HostUnavailable> {
        let machine = self.machines.get(balancer).ok_or_else(|| HostUnavailable {
            why: format!("{balancer} is not in the inventory"),
        })?;
        Ok(DriverContext {
            machine,
            slots: &self.slots,
        })
    }
}
