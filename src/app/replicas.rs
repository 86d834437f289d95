//! The number of instances: from the playbook, the command line, `ship scale`, or the latest
//! rollout.

use super::error::Error;
use super::session::Session;
use crate::core::spec::Amounts;
use crate::store::Scale;

impl Session {
    /// Whether the command line sets the number of instances.
    pub fn has_replicas_override(&self) -> bool {
        self.set.iter().any(|setting| Self::is_replicas(setting))
    }

    /// Whether the playbook, the command line or `ship scale` sets the number of instances.
    pub fn has_explicit_replicas(&self) -> bool {
        self.scale.is_some()
            || self.has_replicas_override()
            || self.project.playbook.rollout.replicas.is_some()
    }

    /// Whether an override sets the number of instances.
    pub fn is_replicas(setting: &str) -> bool {
        setting
            .split_once('=')
            .is_some_and(|(key, _)| key.trim() == "rollout.replicas")
    }

    /// Sets the number of instances for this and later rollouts.
    pub fn set_scale(&mut self, replicas: u32) {
        self.scale = Some(replicas);
    }

    /// Sets the number of instances for this rollout, unless the command line sets another.
    pub fn set_replicas(&mut self, replicas: u32) {
        self.replicas = Some(replicas);
    }

    /// Keeps the number of instances of the newest rollout, if there are still enough slots. The
    /// number in the files applies from the next deploy on.
    pub fn use_last_replicas(&mut self) {
        self.replicas = self.last_replicas();
    }

    /// The number of instances at the end of the newest rollout, if there are still enough slots.
    pub fn last_replicas(&self) -> Option<u32> {
        let slots = self.project.inventory.schedulable_hosts().count()
            * self.project.playbook.service.slots.numbers().len();
        self.history.last_wanted_replicas(slots)
    }

    /// Stores the number of `ship scale`. If the command line sets another number instead, removes
    /// the stored one, so that it does not apply to the next deploy.
    pub(crate) fn store_scale(&mut self) -> Result<(), Error> {
        let Some(replicas) = self.scale else {
            if self.has_replicas_override() {
                self.store.lock().set_scale(&self.service_key, None)?;
            }
            return Ok(());
        };
        let playbook = self.playbook_amounts().replicas;
        let who = self.operator().to_string();
        let scale = Scale {
            replicas,
            playbook,
            who,
        };
        Ok(self
            .store
            .lock()
            .set_scale(&self.service_key, Some(&scale))?)
    }

    /// The number of instances and the budget of the files and the command line.
    fn playbook_amounts(&self) -> Amounts {
        self.project
            .playbook
            .rollout
            .amounts(self.project.inventory.schedulable_hosts().count())
    }

    /// The number of instances and the budget of the files, the command line and `ship scale`.
    pub(crate) fn amounts(&self) -> Amounts {
        let mut amounts = self.playbook_amounts();
        let kept = self
            .records
            .scale
            .clone()
            .filter(|scale| scale.playbook == amounts.replicas);
        if let Some(replicas) = self.scale {
            amounts.replicas = replicas;
        } else if let Some(wanted) = self
            .replicas
            .or(kept.map(|kept| kept.replicas))
            .filter(|_| !self.has_replicas_override())
        {
            amounts.replicas = wanted;
        }
        amounts
    }
}
