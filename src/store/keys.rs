//! The keys of the records.
//!
//! ```text
//! meta                                       the format and the id of the history
//! counters                                   the newest rollout number
//! services/FLEET/SERVICE/lease
//! services/FLEET/SERVICE/counters            the newest epoch and revision number
//! services/FLEET/SERVICE/freeze
//! services/FLEET/SERVICE/inventory
//! services/FLEET/SERVICE/migrations/ID
//! services/FLEET/SERVICE/revisions/NUMBER
//! services/FLEET/SERVICE/rollouts/NUMBER
//! services/FLEET/SERVICE/scale
//! deployments/FLEET/NUMBER                   what one command changed across a stack
//! events/ROLLOUT/FIRST                       events of one commit, one per line
//! requests/ROLLOUT
//! ```
//!
//! Numbers have 10 digits, so that the order of the keys is that of the numbers.

use crate::core::ids::Revision;
use crate::core::stack::DeploymentNumber;
use crate::store::database::KeyRange;
use crate::store::records::{RolloutId, ServiceKey};

pub(super) const META: &str = "meta";
pub(super) const COUNTERS: &str = "counters";
pub(super) const SERVICES: &str = "services/";
pub(super) const DEPLOYMENTS: &str = "deployments/";
pub(super) const EVENTS: &str = "events/";
pub(super) const REQUESTS: &str = "requests/";

/// The keys of one service.
pub(super) struct ServiceKeys {
    prefix: String,
}

impl ServiceKeys {
    pub(super) fn new(service_key: &ServiceKey) -> Self {
        let (fleet, service) = (escape(&service_key.fleet), escape(&service_key.service));
        Self {
            prefix: format!("{SERVICES}{fleet}/{service}/"),
        }
    }

    pub(super) fn all(&self) -> KeyRange {
        KeyRange::Prefix(self.prefix.clone())
    }

    pub(super) fn lease(&self) -> String {
        self.named("lease")
    }

    pub(super) fn counters(&self) -> String {
        self.named("counters")
    }

    pub(super) fn freeze(&self) -> String {
        self.named("freeze")
    }

    pub(super) fn inventory(&self) -> String {
        self.named("inventory")
    }

    pub(super) fn scale(&self) -> String {
        self.named("scale")
    }

    pub(super) fn migration(&self, id: &str) -> String {
        self.named(&format!("migrations/{}", escape(id)))
    }

    pub(super) fn revision(&self, revision: Revision) -> String {
        self.named(&format!("revisions/{:010}", revision.0))
    }

    pub(super) fn rollout(&self, rollout: RolloutId) -> String {
        self.named(&format!("rollouts/{:010}", rollout.0))
    }

    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// What a key below `services/` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServiceRecordKind {
    Lease,
    Counters,
    Freeze,
    Inventory,
    Scale,
    Migration(String),
    Revision(Revision),
    Rollout(RolloutId),
}

/// Reads a key below `services/`; `None` for one that this version of ship does not know.
pub(super) fn parse(key: &str) -> Option<(ServiceKey, ServiceRecordKind)> {
    let mut parts = key.strip_prefix(SERVICES)?.splitn(3, '/');
    let (fleet, service, name) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = match name.split_once('/') {
        None => match name {
            "lease" => ServiceRecordKind::Lease,
            "counters" => ServiceRecordKind::Counters,
            "freeze" => ServiceRecordKind::Freeze,
            "inventory" => ServiceRecordKind::Inventory,
            "scale" => ServiceRecordKind::Scale,
            _ => return None,
        },
        Some(("migrations", id)) => ServiceRecordKind::Migration(unescape(id)),
        Some(("revisions", number)) => ServiceRecordKind::Revision(Revision(number.parse().ok()?)),
        Some(("rollouts", number)) => ServiceRecordKind::Rollout(RolloutId(number.parse().ok()?)),
        Some(_) => return None,
    };
    let service_key = ServiceKey {
        fleet: unescape(fleet),
        service: unescape(service),
    };
    Some((service_key, kind))
}

/// All deployments of a fleet.
pub(super) fn deployments(fleet: &str) -> KeyRange {
    KeyRange::Prefix(format!("{DEPLOYMENTS}{}/", escape(fleet)))
}

pub(super) fn deployment(fleet: &str, number: DeploymentNumber) -> String {
    format!("{DEPLOYMENTS}{}/{:010}", escape(fleet), number.0)
}

/// The events of a rollout.
pub(super) fn journal(rollout: RolloutId) -> KeyRange {
    KeyRange::Prefix(format!("{EVENTS}{:010}/", rollout.0))
}

/// The events of one commit, of which the first has this number.
pub(super) fn events(rollout: RolloutId, first: u64) -> String {
    format!("{EVENTS}{:010}/{first:010}", rollout.0)
}

pub(super) fn request(rollout: RolloutId) -> String {
    format!("{REQUESTS}{:010}", rollout.0)
}

/// Makes a name a part of a key.
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '%' => escaped.push_str("%25"),
            '/' => escaped.push_str("%2F"),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn unescape(part: &str) -> String {
    part.replace("%2F", "/").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_read_as_it_was_written() {
        let service_key = ServiceKey {
            fleet: "50%/a".into(),
            service: "%2F".into(),
        };
        let keys = ServiceKeys::new(&service_key);
        let cases = [
            (keys.lease(), ServiceRecordKind::Lease),
            (
                keys.migration("2026/11"),
                ServiceRecordKind::Migration("2026/11".into()),
            ),
            (
                keys.revision(Revision(7)),
                ServiceRecordKind::Revision(Revision(7)),
            ),
            (
                keys.rollout(RolloutId(8)),
                ServiceRecordKind::Rollout(RolloutId(8)),
            ),
        ];
        for (key, kind) in cases {
            assert_eq!(parse(&key), Some((service_key.clone(), kind)), "{key}");
        }
        assert_eq!(parse("services/a/b/later"), None);
        assert_eq!(parse("meta"), None);
    }

    #[test]
    fn keys_are_in_the_order_of_the_numbers() {
        assert!(events(RolloutId(9), 10) < events(RolloutId(10), 9));
        assert!(events(RolloutId(9), 9) < events(RolloutId(9), 10));
    }
}
