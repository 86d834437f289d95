//! The place of a service on a host.

use std::collections::BTreeMap;

use super::target::Target;
use crate::config::Transport;
use crate::core::fleet::owner::Owner;
use crate::core::ids::{ActionId, Epoch, Port, ReleaseId};
use crate::core::time::Time;
use crate::script::HostContext;

/// One host and what ship needs to know to work on it.
#[derive(Clone, Debug)]
pub struct HostSite {
    pub target: Target,
    /// Free-form labels, for templates.
    pub labels: BTreeMap<String, String>,
    /// The directory below which ship keeps its own.
    pub base_dir: String,
    /// The ports on which another process would be in the way.
    pub ports: Vec<Port>,
}

/// The service that scripts act for.
#[derive(Clone, Debug)]
pub struct ServiceContext {
    /// What the hosts record of who deploys: it names the fleet and the service.
    pub owner: Owner,
    /// The releases that have served on every replica, and when each was deployed.
    pub proven: BTreeMap<ReleaseId, Time>,
}

impl HostSite {
    /// The site of a script that acts on the host under an epoch.
    pub fn script_site(
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
            ports: self.ports.clone(),
            proven: context.proven.clone(),
            owner: context.owner.clone(),
            is_remote: self.target.transport == Transport::Ssh || self.target.ssh.sudo,
        }
    }

    /// The site of a script that changes nothing.
    pub fn read_only_site(&self, context: &ServiceContext) -> HostContext {
        self.script_site(context, Epoch::default(), ActionId::default())
    }
}
