//! Where a host is on the network, for probes that do not go through ssh.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::login::address_options;
use super::settings::Settings;
use super::{Target, Transport};

const LOOKUP_DEADLINE: Duration = Duration::from_secs(5);

/// The address to probe. An `address` that only the user's `ssh_config` knows (a `Host` alias) is what that says its
/// `HostName` is; where nobody knows better it is left as it is.
pub async fn network_address(target: &Target) -> String {
    let address = &target.address;
    if target.transport == Transport::Local || address.parse::<IpAddr>().is_ok() || is_known(address).await {
        return address.clone();
    }
    let settings = Settings::of(&address_options(target), address).await;
    settings.and_then(|settings| settings.host_name).unwrap_or_else(|| address.clone())
}

async fn is_known(name: &str) -> bool {
    match timeout(LOOKUP_DEADLINE, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(mut found)) => found.next().is_some(),
        Ok(Err(_)) | Err(_) => false,
    }
}
