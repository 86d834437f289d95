//! A service on a host, as scripts see it.

use std::collections::BTreeMap;

use super::target::Target;
use crate::config::Transport;
use crate::core::fleet::owner::Owner;
use crate::core::ids::{ActionId, Epoch, Port, ReleaseId, SlotNumber};
use crate::core::time::Time;
use crate::script::HostContext;

/// A host and what ship needs to know to work on it.
#[derive(Clone, Debug)]
pub struct HostSite {
    pub target: Target,
    /// Labels from the inventory, for templates.
    pub labels: BTreeMap<String, String>,
    /// The directory below which ship keeps its files.
    pub base_dir: String,
    /// The slots, each with its ports, which no other process may use.
    pub slots: BTreeMap<SlotNumber, Vec<Port>>,
}

/// The service on which scripts act.
#[derive(Clone, Debug)]
pub struct ServiceContext {
    /// What the hosts record about the deployer: fleet and service.
    pub owner: Owner,
    /// The releases that have become available on every replica, and when each was deployed.
    pub proven: BTreeMap<ReleaseId, Time>,
}

impl HostSite {
    /// The context of a script that changes the host under an epoch.
    pub fn script_context(
        &self,
        context: &ServiceContext,
        epoch: Epoch,
        order: ActionId,
    ) -> HostContext {
        HostContext {
            service: context.owner.service.clone(),
            base_dir: self.base_dir.clone(),
            epoch,
            order,
            host_address: self.target.address.clone(),
            slots: self.slots.clone(),
            proven: context.proven.clone(),
            owner: context.owner.clone(),
            is_remote: self.target.transport == Transport::Ssh
                || self.target.ssh.escalation.is_root(),
        }
    }

    /// The context of a script that changes nothing.
    pub fn read_only_context(&self, context: &ServiceContext) -> HostContext {
        self.script_context(context, Epoch::default(), ActionId::default())
    }
}
