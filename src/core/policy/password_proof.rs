//! Which hosts may get the password for sudo: a wrong one must not lock the account on every host.

use std::collections::BTreeMap;

use crate::core::ids::HostId;

/// What a host did with the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordVerdict {
    Accepted,
    /// The host ran a script as root and did not ask.
    NotNeeded,
    Rejected,
}

/// Whether a script may start on a host that may ask for the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordPermission {
    Granted,
    /// No host has accepted the password: one host at a time, until one has.
    OneHostAtATime,
    /// Another host has accepted the password, this one has not been asked: one script at a time.
    OneScriptAtATime,
    /// A host has rejected the password. This one must not get it.
    Denied(PasswordRejection),
}

/// What the hosts have done with the password so far.
#[derive(Clone, Debug, Default)]
pub struct PasswordProof {
    verdicts: BTreeMap<HostId, PasswordVerdict>,
    /// The first host that accepted it.
    accepted_by: Option<HostId>,
    /// The first host that rejected it.
    rejected_by: Option<HostId>,
    /// What sudo printed on the hosts that rejected it.
    outputs: BTreeMap<HostId, String>,
}

/// A password that a host rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordRejection {
    pub host: HostId,
    /// Another host, which has accepted the password.
    pub accepted_by: Option<HostId>,
    /// What sudo printed.
    pub output: String,
}

impl PasswordProof {
    /// Whether a script may start on a host. After a rejection, only hosts that have run a script
    /// as root continue.
    pub fn permission(&self, host: &HostId) -> PasswordPermission {
        match (self.verdicts.get(host), self.rejection_for(host)) {
            (Some(PasswordVerdict::Accepted | PasswordVerdict::NotNeeded), _) => {
                PasswordPermission::Granted
            }
            (_, Some(rejection)) => PasswordPermission::Denied(rejection),
            _ if self.accepted_by.is_some() => PasswordPermission::OneScriptAtATime,
            _ => PasswordPermission::OneHostAtATime,
        }
    }

    /// Whether a host has accepted the password.
    pub fn is_accepted_by(&self, host: &HostId) -> bool {
        self.verdicts.get(host) == Some(&PasswordVerdict::Accepted)
    }

    /// The rejection because of which a host that asks now must not get the password.
    pub fn obstacle(&self, host: &HostId) -> Option<PasswordRejection> {
        match self.verdicts.get(host) {
            Some(PasswordVerdict::Accepted) => None,
            _ => self.rejection_for(host),
        }
    }

    /// The rejection by this host, or else the first one.
    fn rejection_for(&self, host: &HostId) -> Option<PasswordRejection> {
        match self.verdicts.get(host) {
            Some(PasswordVerdict::Rejected) => Some(self.rejection_by(host.clone())),
            _ => self.rejection(),
        }
    }

    /// Records what a host did. A rejection stays.
    pub fn record(&mut self, host: &HostId, verdict: PasswordVerdict) {
        let first = match verdict {
            PasswordVerdict::Accepted => &mut self.accepted_by,
            PasswordVerdict::Rejected => &mut self.rejected_by,
            PasswordVerdict::NotNeeded => {
                self.verdicts.entry(host.clone()).or_insert(verdict);
                return;
            }
        };
        first.get_or_insert_with(|| host.clone());
        if self.verdicts.get(host) != Some(&PasswordVerdict::Rejected) {
            self.verdicts.insert(host.clone(), verdict);
        }
    }

    /// Records what sudo printed on a host that rejected the password.
    pub fn record_output(&mut self, host: &HostId, output: String) {
        self.outputs.insert(host.clone(), output);
    }

    /// The first rejection.
    pub fn rejection(&self) -> Option<PasswordRejection> {
        Some(self.rejection_by(self.rejected_by.clone()?))
    }

    fn rejection_by(&self, host: HostId) -> PasswordRejection {
        let accepted_by = self.accepted_by.clone().filter(|other| *other != host);
        let output = self.outputs.get(&host).cloned().unwrap_or_default();
        PasswordRejection {
            host,
            accepted_by,
            output,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(verdicts: &[(&str, PasswordVerdict)]) -> PasswordProof {
        let mut proof = PasswordProof::default();
        for (host, verdict) in verdicts {
            proof.record(&HostId::from(*host), *verdict);
        }
        proof
    }

    fn permissions(proof: &PasswordProof) -> [PasswordPermission; 3] {
        ["a", "b", "c"].map(|host| proof.permission(&host.into()))
    }

    fn denied(host: &str, accepted_by: Option<&str>) -> PasswordPermission {
        PasswordPermission::Denied(PasswordRejection {
            host: host.into(),
            accepted_by: accepted_by.map(HostId::from),
            output: String::new(),
        })
    }

    #[test]
    fn first_host_proves_the_password_before_the_others_get_it() {
        use PasswordPermission::{Granted, OneHostAtATime, OneScriptAtATime};
        let unproven = || OneHostAtATime;
        assert_eq!(
            permissions(&proof(&[])),
            [unproven(), unproven(), unproven()]
        );
        assert_eq!(
            permissions(&proof(&[("a", PasswordVerdict::NotNeeded)])),
            [Granted, OneHostAtATime, OneHostAtATime],
            "a host that does not ask proves nothing"
        );
        assert_eq!(
            permissions(&proof(&[("a", PasswordVerdict::Accepted)])),
            [Granted, OneScriptAtATime, OneScriptAtATime]
        );
    }

    #[test]
    fn no_other_host_gets_a_rejected_password() {
        let proof = proof(&[
            ("b", PasswordVerdict::NotNeeded),
            ("a", PasswordVerdict::Rejected),
        ]);
        let expected = [
            denied("a", None),
            PasswordPermission::Granted,
            denied("a", None),
        ];
        assert_eq!(permissions(&proof), expected);
        for host in ["a", "b", "c"] {
            let obstacle = proof.obstacle(&host.into());
            assert!(
                obstacle.is_some(),
                "{host} does not get it, even if it asks later"
            );
        }
    }

    #[test]
    fn host_with_another_password_is_named_with_the_one_that_accepted() {
        let proof = proof(&[
            ("a", PasswordVerdict::Accepted),
            ("b", PasswordVerdict::Rejected),
        ]);
        let denied = || denied("b", Some("a"));
        let expected = [PasswordPermission::Granted, denied(), denied()];
        assert_eq!(permissions(&proof), expected);
        assert_eq!(proof.obstacle(&"a".into()), None);
    }

    #[test]
    fn host_that_has_rejected_the_password_never_gets_it_again() {
        let proof = proof(&[
            ("a", PasswordVerdict::Accepted),
            ("a", PasswordVerdict::Rejected),
            ("a", PasswordVerdict::Accepted),
        ]);
        assert_eq!(proof.permission(&"a".into()), denied("a", None));
    }
}
