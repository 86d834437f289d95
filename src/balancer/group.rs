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
use crate::core::ids::{HostId, Port, ReleaseId, Slot};
use crate::core::policy::admission::refusal::ServerClash;
use crate::remote::{HostUnavailable, ServiceContext};
use crate::script::SlotSwitch;

/// What each balancer of a slot says.
pub type SlotViews = BTreeMap<HostId, BalancerState>;

/// The balancers of a fleet.
#[derive(Clone, Debug)]
pub struct Balancing {
    /// Who sends requests to which slots.
    pub traffic: Traffic,
    pub driver: TrafficDriver,
    /// The ports of the playbook, which balancers must know.
    pub ports: Vec<Port>,
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

    /// Creates the balancers with another driver than the playbook's.
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
            slots: SlotDirectory::new(hosts, service, balancing.ports.clone(), releases),
        }
    }

    /// Updates the known releases.
    pub fn know(&mut self, service: ServiceContext, releases: BTreeMap<ReleaseId, ReleaseServer>) {
        self.slots.know(service, releases);
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Reads what a balancer does with the slots; changes nothing. The first view also tells which
    /// epoch its machine has seen.
    ///
    /// # Errors
    /// If it gives no view.
    pub async fn observe(&self, balancer: &HostId) -> Result<BalancerState, HostUnavailable> {
        self.driver.observe(self.at(balancer)?).await
    }

    /// Reads what a balancer does, and what would be in the way of telling it.
    ///
    /// # Errors
    /// If it gives no view.
    pub async fn check(
        &self,
        balancer: &HostId,
    ) -> Result<(BalancerState, Vec<String>), HostUnavailable> {
        let at = self.at(balancer)?;
        let view = self.driver.observe(at).await?;
        let problems = self.driver.problems(at, &view).await?;
        Ok((view, problems))
    }

    /// Reads what the balancers of a slot do now.
    ///
    /// # Errors
    /// If one of them gives no view.
    pub async fn observe_slot(&self, slot: &Slot) -> Result<SlotViews, BalancerError> {
        let looks = self
            .traffic
            .balancers_of(slot)
            .iter()
            .map(|balancer| async move { (balancer.clone(), self.observe(balancer).await) });
        let mut views = SlotViews::new();
        for (balancer, looked) in join_all(looks).await {
            match looked {
                Ok(view) => drop(views.insert(balancer, view)),
                Err(HostUnavailable { why }) => return Err(BalancerError::Lost { balancer, why }),
            }
        }
        Ok(views)
    }

    /// Gives a slot new requests, of the full weight or of so many percent of it.
    ///
    /// # Errors
    /// If not every balancer does so.
    pub async fn admit(
        &self,
        change: &SlotChange<'_>,
        weight_percent: Option<u32>,
    ) -> Result<SlotViews, BalancerError> {
        self.turn(change, SlotSwitch::Open { weight_percent }).await
    }

    /// Makes sure that a slot gets no requests before something is started there: what has not been
    /// proven gets none.
    ///
    /// # Errors
    /// If a balancer may send it some.
    pub async fn close(&self, change: &SlotChange<'_>) -> Result<SlotViews, BalancerError> {
        let views = self.observe_slot(change.slot).await?;
        if views.values().all(|view| view.is_closed(change.slot)) {
            return Ok(views);
        }
        self.turn(change, SlotSwitch::Close).await
    }

    /// Makes a change on every balancer of a slot; returns their views afterwards.
    pub(super) async fn turn(
        &self,
        change: &SlotChange<'_>,
        turn: SlotSwitch,
    ) -> Result<SlotViews, BalancerError> {
        let balancers = self.traffic.balancers_of(change.slot).iter();
        let turns = balancers
            .map(|balancer| async move { (balancer, self.turn_one(balancer, change, turn).await) });
        let mut views = SlotViews::new();
        let mut trouble = None;
        for (balancer, turned) in join_all(turns).await {
            match turned {
                Ok(view) => drop(views.insert(balancer.clone(), view)),
                // Who is fenced off has nothing more to say.
                Err(SwitchError::Fenced(seen)) => trouble = Some(BalancerError::Fenced { seen }),
                Err(SwitchError::Failed(error)) => {
                    trouble.get_or_insert(BalancerError::Failed {
                        error: format!("{balancer}: {error}"),
                    });
                }
                Err(SwitchError::Unknown(why)) => {
                    let balancer = balancer.clone();
                    trouble.get_or_insert(BalancerError::Lost { balancer, why });
                }
            }
        }
        match trouble {
            None => Ok(views),
            Some(error) => Err(error),
        }
    }

    async fn turn_one(
        &self,
        balancer: &HostId,
        change: &SlotChange<'_>,
        turn: SlotSwitch,
    ) -> Result<BalancerState, SwitchError> {
        let (at, driver) = (self.at(balancer)?, &self.driver);
        match turn {
            SlotSwitch::Open { weight_percent } => driver.admit(at, change, weight_percent).await,
            SlotSwitch::Ease => driver.drain(at, change, DrainMode::BoundClients).await,
            SlotSwitch::Close => driver.drain(at, change, DrainMode::NoClients).await,
            SlotSwitch::Cut => driver.cut(at, change).await,
        }
    }

    /// How long ago a balancer's process took the place of another before our eyes, one that counts
    /// only its own requests.
    pub(super) fn took_over(&self, balancer: &HostId) -> Option<Duration> {
        self.machines.get(balancer)?.generation().took_over()
    }

    /// Two slots that would be one server at the balancers, if there are such: one in which an
    /// instance runs, and one of `ports` that is to follow it.
    pub fn server_clash(&self, ports: &[Port], fleet: &Fleet) -> Option<ServerClash> {
        let own = self.driver.server_template()?;
        let offered = self
            .slots
            .hosts()
            .filter(|host| fleet.hosts.contains_key(*host));
        let offered = offered.flat_map(|host| {
            ports.iter().map(|port| Slot {
                host: host.clone(),
                port: *port,
            })
        });
        let to_be: BTreeMap<_, _> = offered
            .filter_map(|slot| Some((self.slots.fill(own, &slot).ok()?, slot)))
            .collect();
        fleet.instances().find_map(|(slot, _, instance)| {
            let release = self.slots.release(&instance.release)?;
            let template = release.template().unwrap_or(own);
            let name = self.slots.fill(template, &slot).ok()?;
            let other = to_be.get(&name).filter(|other| **other != slot)?;
            Some(ServerClash {
                present: slot,
                next: other.clone(),
                name,
            })
        })
    }

    fn at(&self, balancer: &HostId) -> Result<DriverContext<'_>, HostUnavailable> {
        let machine = self.machines.get(balancer).ok_or_else(|| HostUnavailable {
            why: format!("{balancer} is not in the inventory"),
        })?;
        Ok(DriverContext {
            machine,
            slots: &self.slots,
        })
    }
}
