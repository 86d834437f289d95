//! How the scripts of a session become root, and whether the hosts accept the password.

use std::sync::Arc;

use super::error::Error;
use super::session::Session;
use super::sudo_password::sudo_password;
use crate::config::Escalation;
use crate::core::ids::HostId;
use crate::remote::SudoPassword;

impl Session {
    /// How scripts become root on a machine, for `ship check`; empty if they do not.
    pub(crate) fn escalation_words(&self, machine: &HostId) -> &'static str {
        let password = self.env.known_sudo_password();
        let asked = password.is_some_and(|password| password.is_needed_by(machine));
        match (self.project.inventory.escalation_of(machine), asked) {
            (Escalation::None, _) => "",
            (Escalation::SudoPassword, true) => " through sudo with a password",
            (Escalation::Sudo | Escalation::SudoPassword, _) => " through sudo",
            (Escalation::Doas, _) => " through doas",
        }
    }

    /// The password for sudo, if a machine needs it.
    ///
    /// # Errors
    /// If it is not set and no one can be asked.
    pub(crate) fn sudo_password(&self) -> Result<Option<Arc<SudoPassword>>, Error> {
        sudo_password(&*self.env, &self.project.inventory, self.mode)
    }

    /// Fails if a host has rejected the password for sudo: then nothing may be changed, even if the
    /// other hosts would suffice.
    ///
    /// # Errors
    /// Which host rejected it.
    pub(crate) fn check_sudo_password(&self) -> Result<(), Error> {
        let password = self.sudo_password()?;
        match password.and_then(|password| password.rejection()) {
            Some(rejection) => Err(Error::SudoPassword(rejection)),
            None => Ok(()),
        }
    }
}
