//! The machine to which a name leads.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::lookup::lookup;

/// A name, and the addresses to which it led at one time, in their order; none if it was unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResolvedName {
    name: String,
    addresses: Vec<IpAddr>,
}

impl ResolvedName {
    pub(super) async fn resolve(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            addresses: addresses(name).await,
        }
    }

    /// Whether the name still leads to the same addresses.
    pub(super) async fn is_current(&self) -> bool {
        self.addresses == addresses(&self.name).await
    }
}

/// The addresses of a name, without the order in which a server returns them.
async fn addresses(name: &str) -> Vec<IpAddr> {
    let mut addresses = lookup(name).await;
    addresses.sort();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn name_is_current_until_it_leads_elsewhere() {
        for name in ["localhost", "192.0.2.7", "web1.invalid"] {
            assert!(
                ResolvedName::resolve(name).await.is_current().await,
                "{name}"
            );
        }
        let elsewhere = ResolvedName {
            name: "localhost".to_owned(),
            addresses: vec![IpAddr::from([192, 0, 2, 7])],
        };
        assert!(!elsewhere.is_current().await);
    }
}
