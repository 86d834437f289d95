//! Identifiers: of hosts, slots, releases, revisions, instances, epochs and actions.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A TCP port on which an instance listens.
pub type Port = u16;

/// The number of a slot on its host: the first port of its instances, or, in a service without
/// ports, a number from 1.
pub type SlotNumber = u16;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(Arc<str>);

        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl From<String> for $type {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// The name of a host, unique in its fleet: `web1`.
    HostId
}

name! {
    /// The digest that identifies a release: the SHA-256 of its definition, as 64 lower-case hex
    /// digits.
    ReleaseId
}

name! {
    /// The name of an instance: `testpage-515849216a-059b0`. After `ship restart`, the new instance
    /// has a new name.
    InstanceId
}

impl ReleaseId {
    /// The first ten digits, for display.
    pub fn short(&self) -> &str {
        self.as_str().get(..10).unwrap_or(self.as_str())
    }
}

impl InstanceId {
    /// Names an instance after its service, its release and the action that starts it, which makes
    /// the name unique.
    pub fn new(service: &str, release: &ReleaseId, epoch: Epoch, action: ActionId) -> Self {
        Self::from(format!(
            "{service}-{}-{}",
            release.short(),
            base32(epoch, action)
        ))
    }

    /// Whether the name is that of an instance of this release.
    pub fn is_of(&self, service: &str, release: &ReleaseId) -> bool {
        let rest = self
            .as_str()
            .strip_prefix(service)
            .and_then(|rest| rest.strip_prefix('-'));
        rest.and_then(|rest| rest.split_once('-'))
            .is_some_and(|(short, _)| short == release.short())
    }
}

/// Five digits that differ clearly between successive actions, so that people can distinguish
/// instances. Two actions of one rollout never have the same digits; two actions of different
/// rollouts have them with a probability of 1 in 33 million.
fn base32(epoch: Epoch, action: ActionId) -> String {
    const DIGITS: &[u8; 32] = b"bcdfghjklmnpqrstvwxz0123456789ae";
    const BITS: u32 = 25;
    // The final steps of splitmix64: each bit of the epoch influences the result.
    let epoch = (epoch.0 ^ (epoch.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let epoch = (epoch ^ (epoch >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    // The factor is odd, so that the multiplication is a bijection on 25 bits.
    let action = action.0.wrapping_mul(0x9E37_79B1);
    let mixed = (epoch >> 31).wrapping_add(action) & ((1 << BITS) - 1);
    (0..5)
        .map(|i| DIGITS[usize::try_from(mixed >> (i * 5) & 31).unwrap_or(0)] as char)
        .collect()
}

/// A place for one instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    pub host: HostId,
    // The journals of earlier versions have this name.
    #[serde(rename = "port")]
    pub number: SlotNumber,
}

impl Slot {
    /// The slot with a number on `host`.
    pub fn new(host: impl Into<HostId>, number: SlotNumber) -> Self {
        Self {
            host: host.into(),
            number,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.number)
    }
}

/// The number of a revision in the history, counted from 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u32);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The fencing token of a controller: a host rejects actions with an older epoch than it has seen.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an action within its rollout, counted from 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ActionId(pub u64);

impl HostId {
    /// Removes this host's name from the beginning of a text, because the name is shown elsewhere.
    pub fn without_name<'a>(&self, text: &'a str) -> &'a str {
        let rest = text
            .strip_prefix(self.as_str())
            .and_then(|rest| rest.strip_prefix(": "));
        rest.map_or(text, |rest| self.without_name(rest))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_start_of_a_rollout_gets_its_own_instance_name() {
        let release = ReleaseId::from("515849216abbbbbbbbbb");
        let names: BTreeSet<_> = (0..4000)
            .map(|n| InstanceId::new("testpage", &release, Epoch(7), ActionId(n)).to_string())
            .collect();
        assert_eq!(names.len(), 4000);
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("testpage-515849216a-"))
        );
    }

    #[test]
    fn instance_name_identifies_its_release() {
        let (release, other) = (
            ReleaseId::from("515849216abbbbbbbbbb"),
            ReleaseId::from("615849216abbbbbbbbbb"),
        );
        let name = InstanceId::new("test-page", &release, Epoch(7), ActionId(1));
        assert!(name.is_of("test-page", &release));
        assert!(
            !name.is_of("test-page", &other)
                && !name.is_of("test", &release)
                && !name.is_of("page", &release)
        );
    }
}
