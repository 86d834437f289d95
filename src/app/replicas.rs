//! How many instances are wanted: by the playbook, the command line, `ship scale`, or what was
//! there before.

use super::error::Error;
use super::session::Session;
use crate::core::spec::Amounts;
use crate::store::Scale;

impl Session {
    /// Whether the command line says how many instances are wanted.
    pub fn says_replicas(&self) -> bool {
        self.set.iter().any(|setting| Self::is_replicas(setting))
    }

    /// Whether anybody has said how many instances are wanted: the playbook, the command line or
    /// `ship scale`.
    pub fn wants_a_number(&self) -> bool {
        self.scale.is_some()
            || self.says_replicas()
            || self.project.playbook.rollout.replicas.is_some()
    }

    /// Whether a setting says how many instances are wanted.
    pub fn is_replicas(setting: &str) -> bool {
        setting
            .split_once('=')
            .is_some_and(|(key, _)| key.trim() == "rollout.replicas")
    }

    /// So many instances are wanted from now on.
    pub fn scale_to(&mut self, replicas: u32) {
        self.scale = Some(replicas);
    }

    /// So many instances are wanted in this rollout, unless the command line says another number.
    pub fn want(&mut self, replicas: u32) {
        self.replicas = Some(replicas);
    }

    /// As many instances are wanted as the newest rollout wanted, where there is still room for
    /// them: what the files say by now is for the next deploy.
    pub fn want_as_many(&mut self) {
        self.replicas = self.wanted_last();
    }

    /// How many instances the newest rollout wanted where it left the fleet, if there is still room
    /// for them.
    pub fn wanted_last(&self) -> Option<u32> {
        let slots =
            self.project.inventory.carriers().count() * self.project.playbook.service.ports.len();
        self.history.replicas_wanted_last(slots)
    }

    /// Remembers how many instances are wanted, if that was asked for, and forgets it where the
    /// command line says another number: a number from before must not come back with the next
    /// deploy.
    pub(crate) fn keep_scale(&mut self) -> Result<(), Error> {
        let Some(replicas) = self.scale else {
            if self.says_replicas() {
                self.store.clear_scale(&self.subject)?;
            }
            return Ok(());
        };
        let playbook = self.playbook_amounts().replicas;
        let who = self.operator().to_string();
        Ok(self
            .store
            .set_scale(&self.subject, Scale { replicas, playbook }, &who)?)
    }

    /// Instances wanted and the budget, as the files and the command line say.
    fn playbook_amounts(&self) -> Amounts {
        self.project
            .playbook
            .rollout
            .amounts(self.project.inventory.carriers().count())
    }

    /// Instances wanted and the budget, as the files, the command line and `ship scale` say.
    pub(crate) fn amounts(&self) -> Result<Amounts, Error> {
        let mut amounts = self.playbook_amounts();
        let kept = self
            .store
            .scale(&self.subject)?
            .filter(|scale| scale.playbook == amounts.replicas);
        if let Some(replicas) = self.scale {
            amounts.replicas = replicas;
        } else if let Some(wanted) = self
            .replicas
            .or(kept.map(|kept| kept.replicas))
            .filter(|_| !self.says_replicas())
        {
            amounts.replicas = wanted;
        }
        Ok(amounts)
    }
}
