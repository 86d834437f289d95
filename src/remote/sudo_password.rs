//! The password for sudo, which all hosts of a command share, and who may get it when.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::ids::HostId;
use crate::core::policy::password_proof::{
    PasswordPermission, PasswordProof, PasswordRejection, PasswordVerdict,
};
use crate::core::redact::Redactor;

/// The password for sudo, and what the hosts of this command have done with it. It cannot be
/// printed.
pub struct SudoPassword {
    text: String,
    proof: Mutex<PasswordProof>,
    /// Held by the host that is the first to get the password.
    proving: tokio::sync::Mutex<()>,
}

/// Held while a script may be the one that shows whether a host accepts the password.
pub(super) type Turn<'a> = tokio::sync::MutexGuard<'a, ()>;

impl SudoPassword {
    /// A password without line breaks, because sudo reads one line.
    pub fn new(text: String) -> Self {
        Self {
            text,
            proof: Mutex::default(),
            proving: tokio::sync::Mutex::default(),
        }
    }

    /// The first rejection by a host.
    pub fn rejection(&self) -> Option<PasswordRejection> {
        self.proof().rejection()
    }

    /// Whether a host asked for the password and accepted it.
    pub fn is_needed_by(&self, host: &HostId) -> bool {
        self.proof().is_accepted_by(host)
    }

    /// The password, for redaction.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The line that sudo reads.
    pub(super) fn line(&self) -> Vec<u8> {
        format!("{}\n", self.text).into_bytes()
    }

    /// The text without the password.
    pub(super) fn redact(&self, text: &str) -> String {
        Redactor::new([self.text.clone()]).redact(text)
    }

    /// Waits until sudo may start on a host. sudo must not start earlier: one that asks for a
    /// password and gets none counts as a failed login, too. `own` is held by the first script on
    /// this host.
    ///
    /// # Errors
    /// If a host has rejected the password.
    pub(super) async fn turn<'a>(
        &'a self,
        host: &HostId,
        own: &'a tokio::sync::Mutex<()>,
    ) -> Result<Option<Turn<'a>>, PasswordRejection> {
        let mut held: Option<(PasswordPermission, Turn<'a>)> = None;
        loop {
            let permission = self.proof().permission(host);
            let lock = match permission.clone() {
                PasswordPermission::Granted => return Ok(None),
                PasswordPermission::Denied(rejection) => return Err(rejection),
                PasswordPermission::OneHostAtATime => &self.proving,
                PasswordPermission::OneScriptAtATime => own,
            };
            if let Some((_, turn)) = held.take_if(|(of, _)| *of == permission) {
                return Ok(Some(turn));
            }
            // The other lock is released before this one is awaited.
            drop(held);
            held = Some((permission, lock.lock().await));
        }
    }

    /// The rejection because of which a host that asks must not get the password.
    pub(super) fn obstacle(&self, host: &HostId) -> Option<PasswordRejection> {
        self.proof().obstacle(host)
    }

    pub(super) fn record_output(&self, host: &HostId, output: String) {
        self.proof().record_output(host, output);
    }

    pub(super) fn record(&self, host: &HostId, verdict: PasswordVerdict) {
        self.proof().record(host, verdict);
    }

    fn proof(&self) -> MutexGuard<'_, PasswordProof> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SudoPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SudoPassword(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_not_printed() {
        let password = SudoPassword::new("geheim".into());
        assert_eq!(format!("{password:?}"), "SudoPassword(…)");
        assert_eq!(password.redact("tried geheim"), "tried …");
    }

    #[tokio::test]
    async fn other_hosts_wait_for_the_verdict_of_the_first() {
        let password = SudoPassword::new("geheim".into());
        let (first, second) = (HostId::from("a"), HostId::from("b"));
        let own = tokio::sync::Mutex::default();
        let turn = password.turn(&first, &own).await.unwrap();
        assert!(turn.is_some());
        let mut waiting = Box::pin(password.turn(&second, &own));
        assert!(futures::poll!(&mut waiting).is_pending());
        password.record(&first, PasswordVerdict::Rejected);
        drop(turn);
        assert_eq!(waiting.await.unwrap_err().host, first);
    }
}
